import pytest
import torch

from genie_robo.precision import (
    Precision,
    imagines_in_bf16,
    supports_bf16,
    trains_in_bf16,
)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_asked_for_is_what_computes(device):
    for decide in (trains_in_bf16, imagines_in_bf16):
        assert decide(Precision.bf16, device)
        assert not decide(Precision.fp32, device)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_follows_the_device_but_imagines_in_fp32_on_a_cpu(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)

    for device in ("cpu", "cuda"):
        assert supports_bf16(device) == has_bf16
        assert trains_in_bf16(Precision.auto, device) == has_bf16
    assert imagines_in_bf16(Precision.auto, "cuda") == has_bf16
    assert not imagines_in_bf16(Precision.auto, "cpu")
