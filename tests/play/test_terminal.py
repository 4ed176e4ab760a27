import numpy as np
import pytest

from genie_robo.play.game import CODE_KEYS, DIRECTIONS, GRIPPER_KEY, QUIT, RECORD, RESET, UNDO
from genie_robo.play.terminal import draw, follow_keys, half_blocks, status


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """Let a game read keys; gives its status after each."""

    def type_keys(game, text):
        (tmp_path / "keys").write_text(text)
        lines = []
        with (tmp_path / "keys").open() as keys:
            monkeypatch.setattr("sys.stdin", keys)
            follow_keys(game, lambda: lines.append(status(game).split("|")[0].strip()))
        return lines

    return type_keys


def test_keys_of_a_pipe_are_followed_until_quit(make, typed):
    assert typed(make(), "01?u\n3xq5\n") == [
        "frame 0  actions: none",
        "frame 1  actions: 0",
        "frame 2  actions: 0, 1",
        "frame 2  actions: 0, 1",
        "frame 1  actions: 0",
        "frame 2  actions: 0, 3",
        "frame 0  actions: none",
    ]


def test_robot_keys_work_with_an_action_map_only(make, mapped, typed):
    assert typed(make(), "w")[-1] == "frame 0  actions: none"
    assert typed(mapped(), "wg")[-1] == "frame 2  actions: +x, close"


def test_no_key_has_two_meanings():
    keys = [*CODE_KEYS, *DIRECTIONS, GRIPPER_KEY, UNDO, RESET, RECORD, QUIT]
    assert len(set(keys)) == len(keys)


def test_the_frame_is_drawn_in_half_blocks(make):
    text = draw(make())
    assert text.plain.count("▀") == 64 * 32
    assert text.plain.endswith("0..4 act, u undo, x reset, q quit")


def test_half_blocks_put_two_pixels_into_one_character():
    frame = np.zeros((2, 1, 3), np.uint8)
    frame[0, 0], frame[1, 0] = (255, 0, 0), (0, 0, 255)
    text = half_blocks(frame)
    assert text.plain == "▀\n"
    assert str(text.spans[0].style) == "rgb(255,0,0) on rgb(0,0,255)"
