import json
import logging
import math
import os

import pytest
import torch

from genie_robo.models.quantizer import CodeUse
from genie_robo.train.metrics import CodebookWatch, JsonLinesLog, log_names, read_log


def test_log_goes_on_at_the_restored_step(tmp_path):
    path = tmp_path / "stage" / "log.jsonl"
    first = JsonLinesLog(path, resume_at=0)
    for step in (1, 2, 3):
        first.write(step, {"loss": float(step)})

    JsonLinesLog(path, resume_at=2).write(3, {"loss": 30.0})

    assert [line["loss"] for line in read_log(path)] == [1.0, 2.0, 30.0]


def test_line_cut_by_a_crash_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')

    assert read_log(path) == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xfe",
        b"[1, 2]",
        b"7",
        b'{"loss": 1.0}',
        b'{"step": "two"}',
        b'{"step": 2, "loss": {}}',
    ],
)
def test_a_damaged_line_costs_itself_alone(tmp_path, caplog, damaged):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.0}\n' + damaged + b'\n{"step": 3, "loss": 1.0}\n')

    assert [line["step"] for line in read_log(path)] == [1, 3]
    assert "has 1 damaged lines" in caplog.text
    JsonLinesLog(path, resume_at=3)
    assert [line["loss"] for line in read_log(path)] == [2.0, 1.0]


def test_a_log_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "log.jsonl")

    with pytest.raises(ValueError, match="is not a regular file"):
        read_log(tmp_path / "log.jsonl")


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "log.jsonl"
    JsonLinesLog(path, resume_at=0).write(1, {"loss": float("nan")})

    assert json.loads(path.read_text()) == {"step": 1, "loss": None}


def test_missing_log_is_empty(tmp_path):
    assert read_log(tmp_path / "none.jsonl") == []


def watch(perplexities, num_codes=8) -> None:
    watched = CodebookWatch("the codebook", num_codes)
    for step, perplexity in enumerate(perplexities, start=1):
        watched.see(step, perplexity)


def test_few_codes_for_long_are_a_collapse(caplog):
    with caplog.at_level(logging.WARNING):
        watch([1.1] * 120)

    assert len(caplog.messages) == 2  # every 50 steps
    for step, message in zip((50, 100), caplog.messages, strict=True):
        assert message.startswith(f"step {step}: the codebook has collapsed: 1.1 of 8 codes in us")
        for remedy in ("learning rate", "warmup_steps", "entropy_weight", "reset_after", "batch"):
            assert remedy in message


@pytest.mark.parametrize(
    "perplexities",
    [
        [1.0] * 49,
        [5.0] * 200,
        [1.0] * 10 + [4.0] * 40,
        [math.nan] * 200,
        [math.nan] * 49 + [1.0] * 49,
    ],
    ids=["short", "healthy", "recovered", "not quantised", "short after the warm-up"],
)
def test_otherwise_nothing_is_said(caplog, perplexities):
    with caplog.at_level(logging.WARNING):
        watch(perplexities)
    assert not caplog.messages


def test_more_codes_must_be_used_where_there_are_more(caplog):
    with caplog.at_level(logging.WARNING):
        watch([2.0] * 50, num_codes=8)
        assert not caplog.messages
        watch([2.0] * 50, num_codes=1024)
    assert "2.0 of 1024 codes" in caplog.text


def test_use_by_name():
    use = CodeUse(*(torch.tensor(number) for number in (3.0, 2, 1)))
    assert log_names("lam_", use) == {
        "lam_perplexity": 3.0,
        "lam_dead_codes": 2.0,
        "lam_code_resets": 1.0,
    }
