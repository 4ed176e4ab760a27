import subprocess
import sys
import time

import pytest

from genie_robo import progress as progress_module
from genie_robo.progress import progress_bar

LONG = "word " * 60


def test_lines_in_a_pipe_are_whole_and_hold_no_control_characters():
    program = (
        "import time\n"
        "from genie_robo import progress\n"
        "progress.LINE_EVERY_S = 0.2\n"
        "with progress.progress_bar('work [red]', total=3, unit='parts') as advance:\n"
        "    advance()\n"
        "    time.sleep(0.7)\n"
        f"    advance(2, note={LONG!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    text = done.stderr.decode()
    assert text.replace("\n", "").isprintable()
    *during, last = text.splitlines()
    assert len(during) >= 2  # although nothing was finished meanwhile
    assert all(line.startswith("work [red]: 1/3 parts, 0:00:0") for line in during)
    assert last.startswith("work [red]: 3/3 parts")
    assert last.endswith(f"spent, {LONG}")
    assert not done.stdout


def test_a_line_at_least_every_half_minute():
    assert progress_module.LINE_EVERY_S <= 30


@pytest.mark.parametrize("visible", [True, False])
def test_only_a_visible_one_leaves_a_line(capsys, visible):
    with progress_bar("work", total=2, unit="parts", completed=1, visible=visible) as advance:
        advance()
    assert capsys.readouterr().err.count("work: 2/2 parts") == visible


def test_the_last_line_tells_how_far_work_came_that_failed(capsys):
    with pytest.raises(ValueError, match="broken"), progress_bar("work", total=2, unit="parts"):
        raise ValueError("broken")
    assert capsys.readouterr().err.startswith("work: 0/2 parts, 0:00:00 spent")


def test_short_work_has_none(capsys):
    with progress_bar("work", total=2, unit="parts", after_s=0.1) as advance:
        advance()
        assert not capsys.readouterr().err
        time.sleep(0.15)
        advance()
    assert "2/2 parts" in capsys.readouterr().err
    with progress_bar("work", total=1, unit="parts", after_s=100) as advance:
        advance()
    assert not capsys.readouterr().err
