"""What policies observe of boxes that come and go, and what such trials are judged to be."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from genie_robo.eval_suites.simulated.closed_loop import play
from genie_robo.eval_suites.simulated.pose_reading import SEEN_PIXELS, read_seen
from genie_robo.eval_suites.simulated.trials import Start, solved
from genie_robo.eval_suites.simulated.truth import PALETTE, Poses
from genie_robo.inference.world import HeldFrame, Prompt
from genie_robo.sim.scene import BoxSpec, SceneSpec

RED = PALETTE.index("red")
SCENE = SceneSpec(
    robot="arm",
    task="reach",
    boxes=tuple(
        BoxSpec(
            color=color,
            rgba=(1.0, 0.0, 0.0, 1.0),
            half_size=(0.02, 0.02, 0.02),
            position=(0.1, 0.1),
            yaw=0.0,
        )
        for color in ("red", "blue")
    ),
)


def shows(num_red) -> np.ndarray:
    """A frame with so many red pixels and a hundred blue ones."""
    frame = np.zeros((1, 16, 16, 3), np.uint8)
    frame.reshape(-1, 3)[:num_red] = [255, 0, 0]
    frame.reshape(-1, 3)[100:200] = [0, 0, 255]
    return frame


class Middle:
    """A reader that is always finite: all boxes in the middle of the table, under the tool."""

    def read(self, video):
        boxes = np.zeros((len(video), len(PALETTE), 3))
        tool = np.tile([0, 0, 0.02], (len(video), 1))
        return Poses(tool, boxes, *np.zeros((2, len(video))))

    def box_pixels(self, video):
        found = np.full(video.shape[:3], len(PALETTE))
        found[video[..., 0] == 255] = RED
        found[video[..., 2] == 255] = PALETTE.index("blue")
        return found


class Losing(HeldFrame):
    """A world that shows the prompt, and then fewer red pixels."""

    def __init__(self, num_red):
        self._num_red = num_red

    def start(self, prompts, seeds):
        self._step = replace(HeldFrame().start(prompts, seeds), frames=shows(self._num_red[0]))
        return self._step

    def step(self, actions):
        self._num_red = self._num_red[1:]
        return replace(self._step, frames=shows(self._num_red[0]))


class Watching:
    """A policy that stands still and remembers what it saw."""

    seen = ()

    def reset(self, instruction, seed):
        self.seen = type(self).seen

    def act(self, observation):
        self.seen.append(observation)
        return [0, 0, 0, 0, 0, 0, 1]


def watch(num_red, **settings):
    """A trial in a world that shows so many red pixels in every frame, and what was observed."""
    Watching.seen = []
    start = Start(Prompt(frames=shows(num_red[0])), SCENE)
    played = play(
        Watching(),
        Losing(num_red),
        partial(read_seen, Middle()),
        [start],
        num_steps=len(num_red) - 1,
        seeds=[0],
        name="it",
        **settings,
    )
    return played.poses[0], Watching.seen


def test_a_box_that_vanishes_keeps_its_place_and_solves_nothing():
    poses, seen = watch([0, 0, SEEN_PIXELS - 1, 0])
    for observation in seen:
        np.testing.assert_array_equal(observation.boxes["red"], [0.1, 0.1, 0.02])
        np.testing.assert_array_equal(observation.boxes["blue"], np.zeros(3))
    assert np.isnan(poses.boxes[:, RED]).all()
    assert not solved(poses, SCENE).any()


def test_a_box_that_is_seen_is_read():
    poses, seen = watch([SEEN_PIXELS, 0, SEEN_PIXELS])
    for observation in seen:
        np.testing.assert_array_equal(observation.boxes["red"], np.zeros(3))
    assert solved(poses, SCENE).tolist() == [False, True]
    assert np.isfinite(poses.boxes[[0, 2], RED]).all()


@pytest.mark.parametrize("poses_are_read", [True, False])
def test_policies_are_told_where_poses_come_from(poses_are_read):
    _, seen = watch([9, 9], poses_are_read=poses_are_read)
    assert [observation.poses_are_read for observation in seen] == [poses_are_read]
