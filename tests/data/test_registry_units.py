"""Each dataset says in its file and in docs/data.md whether its actions are in metres."""

import re
from pathlib import Path

import pytest
from test_data_conf import NAMES, load

DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", DOCS, flags=re.MULTILINE))
LISTED = [name for name in NAMES if name in ROWS]
SCALED = {"droid": (0.075, 0.15), "maniskill": (0.1, 0.1), "taco_play": (0.02, 0.05)}
"""Metres and radians in a stored 1, by the papers and code of the datasets."""


def test_scales_that_their_authors_state():
    found = {}
    for name in NAMES:
        action = load(name).source.action
        if (action.translation_scale, action.rotation_scale) != (1, 1):
            scales = (action.translation_scale, action.rotation_scale)
            found[name.removesuffix("_dataset_converted_externally_to_rlds")] = scales
    assert found == SCALED


@pytest.mark.parametrize("name", LISTED)
def test_the_table_says_what_the_file_says(name):
    source, row = load(name).source, ROWS[name]
    action = source.action
    scaled = f"scaled: {action.translation_scale:g} m, {action.rotation_scale:g} rad"
    assert (scaled in row) == (action.translation_scale != 1)
    is_unknown = "not in metres" in row or "unit?" in row
    assert is_unknown == (not action.in_metres)


@pytest.mark.parametrize("name", ["viola", "utaustin_mutex", "jaco_play", "fmb"])
def test_commands_of_a_controller_are_not_in_metres(name):
    """Published statistics: they end at -1 and 1, or would be metres per second."""
    assert not load(name).source.action.in_metres
    assert "not in metres" in ROWS[name]


def test_positions_without_a_measured_pose_are_no_motion():
    """TOTO stores where the tool shall be; without a pose that gives no motion."""
    action = load("toto").source.action
    assert (action.translation, action.rotation) == ("", "")
    assert action.gripper == "action/open_gripper"
