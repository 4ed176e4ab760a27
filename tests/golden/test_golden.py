"""Numbers of a short training, kept: a change that was meant to be neutral must leave them alone.

Where they are meant to change, write the new ones and read the difference before committing it:

    GOLDEN=write .venv/bin/pytest tests/golden
"""

import json
import os
from pathlib import Path

import pytest

from genie_robo.run_folder import RunFolder
from genie_robo.train.metrics import read_log

COUNTED = ("accuracy", "perplexity", "dead_codes", "resets")
"""Numbers that one token can turn, on another processor: not compared."""

GOLDEN = sorted(Path(__file__).parent.glob("*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_training_gives_the_kept_numbers(path, tmp_path, genie_robo):
    golden = json.loads(path.read_text())
    dataset, run = f"{tmp_path}/dataset", tmp_path / "run"
    for words in (
        ["record", f"path={dataset}", *golden["record"]],
        ["train", f"run={run}", f"data.path={dataset}", *golden["train"]],
    ):
        done = genie_robo(*words)
        assert done.returncode == 0, done.stderr

    found = {stage: read_log(RunFolder.at(run).log(stage)) for stage in golden["expected"]}

    if os.environ.get("GOLDEN") == "write":
        path.write_text(json.dumps(golden | {"expected": found}, indent=1) + "\n")
        pytest.skip(f"wrote {path.name}; read its difference before you commit it")
    for stage, lines in golden["expected"].items():
        assert len(lines) == len(found[stage]) > 1
        for expected, line in zip(lines, found[stage], strict=True):
            tolerant = pytest.approx(_measured(expected), rel=golden["tolerance"], abs=1e-6)
            assert _measured(line) == tolerant, stage


def test_something_is_kept():
    assert GOLDEN


def _measured(line):
    return {name: value for name, value in line.items() if not name.endswith(COUNTED)}
