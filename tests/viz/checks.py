"""What tests of recordings share: the views of a layout, and whether two recordings agree."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import rerun.blueprint as rrb

from genie_robo.viz.viewer import find_viewer

WINDOW_PX, LETTER_PX, BUTTONS_PX = 1280, 7, 105
"""Widths of the window, of a letter, and of the icon and buttons of a title bar."""


def views_of(part: rrb.Blueprint | rrb.Container | rrb.View) -> list[rrb.View]:
    """All views of a layout, from left to right and top to bottom."""
    if isinstance(part, rrb.View):
        return [part]
    container = part.root_container if isinstance(part, rrb.Blueprint) else part
    return [view for child in container.contents for view in views_of(child)]


def titles_that_are_cut(blueprint: rrb.Blueprint, *, beside_px: int = BUTTONS_PX) -> list[str]:
    """Titles that are longer than their view has room for, in a window of 1280 pixels."""
    return [
        f"{view.name}: {len(str(view.name))} letters in {width_px:.0f} px"
        for view, width_px in _widths(blueprint.root_container, WINDOW_PX)
        if len(str(view.name)) * LETTER_PX + beside_px > width_px
    ]


def _widths(part: rrb.Container | rrb.View, width_px: float) -> Iterator[tuple[rrb.View, float]]:
    if isinstance(part, rrb.View):
        yield part, width_px
        return
    shares = [1.0] * len(part.contents)
    if isinstance(part, rrb.Horizontal):
        total = sum(part.column_shares or shares)
        shares = [share / total for share in part.column_shares or shares]
    elif isinstance(part, rrb.Grid):
        shares = [1 / part.grid_columns for _ in part.contents]
    for child, share in zip(part.contents, shares, strict=True):
        yield from _widths(child, width_px * share)


def assert_same_recordings(first: Path, second: Path) -> None:
    """Both are valid, and Rerun finds no difference."""
    for words in (["verify"], ["compare", "--unordered"]):
        command = [find_viewer(), "rrd", *words, first, second]
        assert subprocess.run(command, capture_output=True).returncode == 0, words
