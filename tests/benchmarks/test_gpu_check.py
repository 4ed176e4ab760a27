import json
import subprocess
import sys
from pathlib import Path

import gpu_check
import gpu_wheels
import pytest
import torch
from gpu_check import Options, differences, is_far, loss_curves, run_part, shares
from gpu_page import gpu_page

FOUND = {
    "environment": {
        "state": "ok",
        "seconds": 5.0,
        "found": {
            "device": "NVIDIA H200",
            "CUDA": None,
            "xformers": "0.0.35, forward and backward run on this GPU",
            "versions": {"torch": "2.11.0", "mujoco": None},
        },
    },
    "equality": {
        "state": "failed (1)",
        "seconds": 3.0,
        "said": ["Traceback", "the device differs | badly"],
    },
    "training": {
        "state": "ok",
        "seconds": 60.0,
        "found": {
            "41M auto_bf16": {"parameters": 41, "tokens per second": 123456.7},
            "1B auto_bf16": {"out of memory": True},
        },
    },
    "100 steps": {
        "state": "cut off",
        "seconds": 90.0,
        "said": ["step 50"],
        "found": {"world_model": {"loss": [[10, 9.0], [20, 8.0], [30, 7.5], [40, 7.0], [50, 6.0]]}},
    },
}


def test_a_part_that_fails_or_takes_too_long_is_said_to():
    failing = run_part(
        [sys.executable, "-c", "raise SystemExit('broken')"], limit_s=30, is_json=True
    )
    assert failing["state"] == "failed (1)"
    assert "broken" in failing["said"][-1]
    waiting = run_part(
        [sys.executable, "-c", "import time; time.sleep(60)"], limit_s=1, is_json=True
    )
    assert waiting["state"] == "cut off"


def test_the_page_has_what_was_found_and_what_failed():
    page = gpu_page(FOUND)
    assert "| device | NVIDIA H200 |\n| torch | 2.11.0 |\n\n" in page
    assert "xformers 0.0.35, forward and backward run on this GPU." in page
    assert "|  | parameters | tokens per second | out of memory |" in page
    assert "| 41M auto_bf16 | 41 | 1.235e+05 |  |" in page
    assert "| 1B auto_bf16 |  |  | True |" in page
    assert "| world_model | 9 at step 10, 7.5 at step 30, 6 at step 50 |" in page
    assert "## Play" not in page
    assert r"| equality | failed (1) | 3 | the device differs \| badly |" in page
    assert "| 100 steps | cut off | 90 | step 50 |" in page


def test_the_page_is_written_without_a_measurement(tmp_path):
    (tmp_path / "gpu_check.json").write_text(json.dumps(FOUND))
    docs = tmp_path / "gpu.md"
    assert gpu_check.main([f"--out={tmp_path}", f"--docs={docs}"]) == 0
    assert docs.read_text() == gpu_page(FOUND)


def test_the_dynamics_is_the_default_unless_the_paper_is_asked_for(tmp_path):
    ours = Options(device="cpu", is_tiny=True, is_paper=False, out=tmp_path)
    assert ours.dynamics == {"clean_past": True, "copies": True, "relative_places": True}
    paper = Options(device="cpu", is_tiny=False, is_paper=True, out=tmp_path)
    assert paper.dynamics == {"clean_past": False, "copies": False, "relative_places": False}
    commands = gpu_check.commands(paper)
    assert "model.dynamics.clean_past=false" in commands["100 steps"]
    assert "--paper" in commands["training"]
    assert "--tiny" not in commands["training"]


def test_differences_of_logits_and_of_the_worst_gradient():
    logits = torch.tensor([0.0, 2.0])
    expected = logits, {"a": torch.tensor([3.0, 4.0]), "b": torch.ones(2)}
    found = logits + 0.1, {"a": torch.tensor([3.0, 4.5]), "b": torch.ones(2)}
    row = differences(found, expected)
    assert row["logits"] == pytest.approx(0.1 / 2**0.5)
    assert (row["gradients"], row["largest in"]) == (pytest.approx(0.1), "a")
    assert not is_far(row | {"allowed": {"logits": 0.08, "gradients": 0.11}})
    assert is_far(row | {"allowed": {"logits": 0.08, "gradients": 0.09}})
    assert is_far(row | {"gradients": float("nan"), "allowed": {"gradients": 0.1}})


def test_a_device_that_differs_fails_the_part(monkeypatch, tmp_path):
    right = gpu_check.logits_and_gradients

    def wrong(task):
        logits, gradients = right(task)
        is_asked = task.attention == "sdpa"
        return logits, {name: g * (1.5 if is_asked else 1) for name, g in gradients.items()}

    monkeypatch.setattr(gpu_check, "logits_and_gradients", wrong)
    with pytest.raises(SystemExit, match=r"differs from the CPU in .*sdpa_fp32"):
        gpu_check.equality(Options(device="cpu", is_tiny=True, is_paper=False, out=tmp_path))


def test_shares_of_two_peaks():
    assert shares(395.0, "NVIDIA H200") == {
        "% of the data sheet's 989": pytest.approx(39.94, abs=0.01),
        "% of 790, reached by large products": 50,
    }
    assert list(shares(100.0, "NVIDIA L4")) == ["% of the data sheet's 121"]
    assert shares(100.0, "Abacus 3000") == {}


def test_loss_curves_are_those_of_the_logs(tmp_path):
    assert loss_curves(tmp_path) == {}
    log = tmp_path / "world_model" / "log.jsonl"
    log.parent.mkdir()
    log.write_text('{"step": 10, "loss": 2.5}\n{"step": 20, "val_loss": 3}\n')
    assert loss_curves(tmp_path) == {"world_model": {"loss": [[10, 2.5]]}}


def test_wheels_are_those_of_the_packages_here_and_their_size_is_printed(
    monkeypatch, tmp_path, capsys
):
    lines = []

    def run(line, check):
        assert check
        lines.append(line)
        suffix = "wheel-1.whl" if "wheel" in line else "source-1.tar.gz"
        Path(tmp_path, suffix).write_bytes(bytes(3 * 2**20))

    monkeypatch.setattr(subprocess, "run", run)
    gpu_wheels.main([str(tmp_path), "--python=3.12", "--without", "numpy"])
    download, build = lines
    assert "--python-version=3.12" in download
    names = {word.partition("==")[0] for word in download if "==" in word}
    assert names > {"einops", "hydra-core", "mujoco", "pytest"}
    assert not names & {"numpy", "torch", "genie-robo"}
    assert build[-1].endswith("source-1.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["wheel-1.whl"]
    assert capsys.readouterr().out == f"1 wheels, 3 MiB in {tmp_path}\n"
