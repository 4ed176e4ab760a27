"""A training that does not fit on the disk says so in one sentence and resumes with more room."""

from pathlib import Path

import pytest
import torch

from genie_robo.disk_space import NoSpaceError
from genie_robo.train.metrics import JsonLinesLog
from genie_robo.train.run import train

SENTENCE = r"^cannot write .*{name}, which needs 0\.\d MB: .*ulimit -f.*run the same command again$"


def test_a_checkpoint_that_does_not_fit(config, small_files_only, trained, weights):
    with (
        small_files_only(40_000),
        pytest.raises(NoSpaceError, match=SENTENCE.format(name="step_00000008")) as raised,
    ):
        train(config)
    assert "\n" not in str(raised.value)
    checkpoints = Path(config.run) / "tokenizer" / "checkpoints"
    assert list(checkpoints.iterdir()) == []  # no part of it fills the disk

    train(config)
    one, other = weights(trained.run), weights(config.run)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_that_do_not_fit(copy_of_trained, small_files_only, trained, weights):
    config = copy_of_trained()
    (Path(config.run) / "tokenizer" / "tokenizer.safetensors").unlink()
    with (
        small_files_only(40_000),
        pytest.raises(NoSpaceError, match=SENTENCE.format(name=r"tokenizer\.safetensors")),
    ):
        train(config)
    assert [path.name for path in Path(config.run).rglob(".*.tmp")] == []

    train(config)
    one, other = weights(trained.run), weights(config.run)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_log_that_does_not_fit(tmp_path, small_files_only):
    log = JsonLinesLog(tmp_path / "log.jsonl", resume_at=0)
    with (
        small_files_only(30),
        pytest.raises(NoSpaceError, match=r"cannot write .*log\.jsonl, which needs \d+ bytes"),
    ):
        log.write(1, {"loss": 2.0, "some_more_numbers": 3.0})
