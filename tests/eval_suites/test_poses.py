"""Known answers of what is read about boxes and the gripper."""

import numpy as np
import pytest

from genie_robo.eval_suites.simulated.poses import TRUE_FRAMES, PoseTable, Source
from genie_robo.eval_suites.simulated.truth import FIRST_BOX, PALETTE, Poses, Truth
from genie_robo.eval_suites.simulated.wrist_reading import WristReader
from genie_robo.eval_suites.table import Table
from genie_robo.sim.scene import CameraSpec

FRAMES = 5


class FixedReader:
    """Reads the poses that it was given, and no box in any pixel but those of box 0."""

    def __init__(self, poses, shows):
        self.poses, self.shows = poses, shows

    def read(self, video):
        return self.poses

    def box_pixels(self, video):
        return np.where(self.shows >= FIRST_BOX, self.shows - FIRST_BOX, len(PALETTE))


def poses(*, gripper, first=(0.0, 0.0, 0.0), second_x=(0.0,) * FRAMES):
    boxes = np.full((FRAMES, len(PALETTE), 3), np.nan)
    boxes[:, 0], boxes[:, 1] = first, 0.1
    boxes[:, 1, 0] += second_x
    zeros = np.zeros(FRAMES)
    return Poses(np.zeros((FRAMES, 3)), boxes, zeros, np.array(gripper, float))


def table_of(read, true, *, seen=None, lifted=()):
    shows = np.zeros((FRAMES, 4, 4), np.uint8)
    shows[:, :2] = FIRST_BOX
    is_lifted = np.zeros((FRAMES, len(PALETTE)), bool)
    is_lifted[-1, list(lifted)] = True
    video = np.zeros((1, FRAMES, 4, 4, 3), np.uint8)
    truth = Truth(video[0], true, is_lifted, shows)
    reader = FixedReader(read, shows if seen is None else seen)
    return PoseTable(Table(["a"]), [truth], {TRUE_FRAMES: Source(reader, video)})


def test_gripper_accuracy_is_balanced_between_changed_and_unchanged_frames():
    true = poses(gripper=[1, 1, 1, 1, 0])
    held = table_of(poses(gripper=[1, 1, 1, 1, 1]), true)
    half = table_of(poses(gripper=[1, 0, 1, 1, 0]), true)
    assert held.gripper(TRUE_FRAMES).value == pytest.approx(0.5)
    assert half.gripper(TRUE_FRAMES).value == pytest.approx((1 + 2 / 3) / 2)
    never = poses(gripper=[1] * FRAMES)
    assert table_of(never, never).gripper(TRUE_FRAMES).value is None


def test_moved_and_still_boxes_have_errors_of_their_own():
    true = poses(gripper=[1] * FRAMES, second_x=(0, 0, 0, 0.01, 0.03))
    read = poses(gripper=[1] * FRAMES, first=(0.005, 0.0, 0.0))
    found = table_of(read, true)
    assert found.error("still_box_error", TRUE_FRAMES).value == pytest.approx(5.0)
    assert found.error("moved_box_error", TRUE_FRAMES).value == pytest.approx((10 + 30) / 4)
    assert found.error("box_error", TRUE_FRAMES).value == pytest.approx((4 * 5 + 40) / 8)


def test_the_outline_of_a_box_is_compared_by_its_overlap():
    same = poses(gripper=[1] * FRAMES)
    seen = np.zeros((FRAMES, 4, 4), np.uint8)
    seen[:, 1:3] = FIRST_BOX
    assert table_of(same, same).error("box_iou", TRUE_FRAMES).value == 1.0
    assert table_of(same, same, seen=seen).error("box_iou", TRUE_FRAMES).value == pytest.approx(
        1 / 3
    )


def test_a_box_is_seen_while_a_pixel_has_its_colour():
    same = poses(gripper=[1] * FRAMES)
    seen = np.zeros((FRAMES, 4, 4), np.uint8)
    seen[:3, 3, 3] = FIRST_BOX  # somewhere else, then nowhere
    found = table_of(same, same, seen=seen)
    assert found.error("box_seen", TRUE_FRAMES).value == pytest.approx(2 / 4)
    assert found.error("box_iou", TRUE_FRAMES).value == 0.0


def test_a_grasp_is_kept_if_the_box_is_read_at_the_tool():
    near, far = (poses(gripper=[0] * FRAMES, first=(x, 0.0, 0.0)) for x in (0.04, 0.06))
    assert table_of(near, near, lifted=[0]).error("grasp_kept", TRUE_FRAMES).value == 1.0
    assert table_of(far, near, lifted=[0]).error("grasp_kept", TRUE_FRAMES).value == 0.0
    assert table_of(near, near).error("grasp_kept", TRUE_FRAMES).value is None


def test_an_open_gripper_is_seen_near_the_tool():
    rng = np.random.default_rng(0)
    frames = rng.integers(100, 120, size=(440, 32, 32, 3), dtype=np.uint8)
    is_open = np.arange(440) % 2 == 0
    frames[is_open, 14:18, 12:14] = 250
    frames[is_open, 14:18, 18:20] = 250
    camera = CameraSpec(position=(-1e-3, 0.0, 1.0), target=(0.0, 0.0, 0.0), fovy=18.18)
    tool = np.zeros((440, 3))
    reader = WristReader.fit(
        frames[:400], tool[:400], tool[:400, 0], is_open[:400] * 1.0, camera=camera
    )
    yaw, gripper = reader.read(frames[400:], tool[400:])
    assert ((gripper > 0.5) == is_open[400:]).all()
    assert np.abs(yaw).max() < 0.05
