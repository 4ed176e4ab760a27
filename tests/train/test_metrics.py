import json

from genie_robo.train.metrics import JsonLinesLog, read_log


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


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "log.jsonl"
    JsonLinesLog(path, resume_at=0).write(1, {"loss": float("nan")})

    assert json.loads(path.read_text()) == {"step": 1, "loss": None}


def test_missing_log_is_empty(tmp_path):
    assert read_log(tmp_path / "none.jsonl") == []
