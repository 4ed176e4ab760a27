"""What tests of recordings share: the views of a layout, and whether two recordings agree."""

import subprocess
from pathlib import Path

import rerun.blueprint as rrb

from genie_robo.viz.viewer import find_viewer


def views_of(part: rrb.Blueprint | rrb.Container | rrb.View) -> list[rrb.View]:
    """All views of a layout, from left to right and top to bottom."""
    if isinstance(part, rrb.View):
        return [part]
    container = part.root_container if isinstance(part, rrb.Blueprint) else part
    return [view for child in container.contents for view in views_of(child)]


def assert_same_recordings(first: Path, second: Path) -> None:
    """Both are valid, and Rerun finds no difference."""
    for words in (["verify"], ["compare", "--unordered"]):
        command = [find_viewer(), "rrd", *words, first, second]
        assert subprocess.run(command, capture_output=True).returncode == 0, words
