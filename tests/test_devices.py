import pytest
import torch

from genie_robo.build import build_device
from genie_robo.config import EngineConfig
from genie_robo.train.engine import make_fabric


@pytest.fixture
def gpus(monkeypatch):
    def have(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return have


@pytest.mark.parametrize(
    ("number", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
        (2, "cpu", "cpu"),
    ],
)
def test_devices_of_this_machine(gpus, number, name, device):
    gpus(number)
    assert build_device(name) == torch.device(device)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1", "gpu"])
def test_a_gpu_where_there_is_none(gpus, name):
    gpus(0)
    with pytest.raises(
        ValueError, match=rf"device={name} needs a GPU, but torch sees no CUDA.*cpu"
    ):
        build_device(name)
    with pytest.raises(
        ValueError, match=rf"engine\.device={name} needs a GPU.*engine\.device=auto"
    ):
        make_fabric(EngineConfig(device=name))


@pytest.mark.parametrize("name", ["gpu", "cuda:2", "cuda:-1", "cuda:x", "tpu", "meta", "", "CPU"])
def test_other_devices_are_refused_with_the_choices(gpus, name):
    gpus(2)
    with pytest.raises(
        ValueError, match=r"is no device here; choose one of auto, cpu, cuda, cuda:0"
    ):
        build_device(name)


def test_a_training_does_not_choose_among_gpus(gpus):
    gpus(2)
    with pytest.raises(ValueError, match=r"engine\.device=cuda with CUDA_VISIBLE_DEVICES=1"):
        make_fabric(EngineConfig(device="cuda:1"))
