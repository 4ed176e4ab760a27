import numpy as np
import pytest

from genie_robo.eval_suites.simulated.pose_reading import PoseReader
from genie_robo.eval_suites.simulated.truth import PALETTE, Poses, to_pixels
from genie_robo.sim.scene import COLORS, CameraSpec

RNG = np.random.default_rng(0)
# Looks straight down, as far as a camera with an upright image can: 32 cm fill 32 pixels.
CAMERA = CameraSpec(position=(-1e-3, 0.0, 1.0), target=(0.0, 0.0, 0.0), fovy=18.18)


def scene(tool, boxes):
    """An orange tool and boxes on a grey table, seen from above: 1 cm is one pixel."""
    frame = np.full((32, 32, 3), 170, np.uint8)
    for name, place in boxes.items():
        _paint(frame, place, np.array(COLORS[name]) * 255)
    _paint(frame, tool, np.array([230, 120, 30]))
    return frame


def _paint(frame, place, color):
    x, y = np.round(np.array(place[:2]) * 100 + 16).astype(int)
    frame[y - 1 : y + 2, x - 1 : x + 2] = color


def sample(count):
    tools = RNG.integers(-14, 15, size=(count, 3)) / 100 * [1, 1, 0]
    boxes = np.full((count, len(PALETTE), 3), np.nan)
    frames = []
    for t in range(count):
        names = RNG.permutation(PALETTE)[:2]
        places = {name: np.array([*RNG.integers(-12, 13, size=2) / 100, 0.02]) for name in names}
        for name, place in places.items():
            boxes[t, PALETTE.index(name)] = place
        frames.append(scene(tools[t], places))
    return np.stack(frames), Poses(tools, boxes, np.zeros(count), np.ones(count))


def test_tool_and_boxes_of_unseen_frames_are_read():
    reader = PoseReader.fit(*sample(400), camera=CAMERA)
    frames, true = sample(60)
    read = reader.read(frames)
    tool = np.linalg.norm(read.tool - true.tool, axis=-1)
    boxes = np.linalg.norm(read.boxes - true.boxes, axis=-1)
    # Boxes lie about 8 cm from the middle, and the tool hides some.
    assert np.median(tool) < 0.01
    assert np.nanmedian(boxes) < 0.01
    assert np.isfinite(read.boxes).all()


def test_equal_frames_read_equal():
    reader = PoseReader.fit(*sample(50), camera=CAMERA)
    frames, _ = sample(4)
    assert (reader.read(frames).tool == reader.read(frames.copy()).tool).all()


def test_without_boxes_none_is_read():
    frames, poses = sample(50)
    none = poses._replace(boxes=np.full_like(poses.boxes, np.nan))
    reader = PoseReader.fit(frames, none, camera=CAMERA)
    assert np.isnan(reader.read(frames).boxes).all()


def test_no_frame_is_refused():
    frames, poses = sample(1)
    with pytest.raises(ValueError, match="needs frames"):
        PoseReader.fit(frames[:0], Poses(*(part[:0] for part in poses)), camera=CAMERA)


def carried(count):
    """Half of the time one box is in the gripper, which covers none of it, at any height.

    The camera looks along the diagonal, so a lifted box looks as if it lay further back.
    """
    slanted = CameraSpec(position=(-0.8, 0.0, 0.8), target=(0.0, 0.0, 0.0), fovy=24.0)
    tools = np.concatenate(
        [RNG.uniform(-0.1, 0.1, size=(count, 2)), RNG.uniform(0.03, 0.2, size=(count, 1))], axis=1
    )
    boxes = np.full((count, len(PALETTE), 3), np.nan)
    boxes[:, :2, :2] = RNG.uniform(-0.12, 0.12, size=(count, 2, 2))
    boxes[:, :2, 2] = 0.02
    is_carried = RNG.random(count) < 0.5
    boxes[is_carried, 0] = tools[is_carried] + [0.0, 0.0, 0.005]
    frames = np.full((count, 64, 64, 3), 170, np.uint8)
    for t in range(count):
        places = to_pixels(np.vstack([tools[t], boxes[t, :2]]), slanted, image_size=(64, 64))
        colors = [np.array([230, 120, 30]), *(np.array(COLORS[n]) * 255 for n in PALETTE[:2])]
        sizes = (round(3 + 40 * tools[t, 2]), 2, 2)  # the tool tells its height, boxes do not
        for (row, column), color, reach in zip(places, colors, sizes, strict=True):
            i, j = round(row), round(column)
            frames[t, max(i - reach, 0) : i + reach, max(j - reach, 0) : j + reach] = color
    gripper = np.where(is_carried, 0.0, 1.0)
    return frames, Poses(tools, boxes, np.zeros(count), gripper), slanted, is_carried


def test_a_box_in_the_gripper_is_read_where_the_tool_is():
    frames, poses, camera, _ = carried(600)
    reader = PoseReader.fit(frames, poses, camera=camera)
    frames, true, _, is_carried = carried(100)
    read = reader.read(frames)
    errors = np.linalg.norm(read.boxes - true.boxes, axis=-1)
    assert np.median(errors[is_carried, 0]) < 0.02
    assert np.median(errors[~is_carried, 0]) < 0.01
    assert np.median(errors[:, 1]) < 0.01


def test_boxes_that_are_never_grasped_are_all_read_on_the_table():
    frames, poses, camera, is_carried = carried(400)
    lying = ~is_carried
    known = Poses(*(part[lying] for part in poses))
    far = np.linalg.norm(known.boxes[:, :2] - known.tool[:, None], axis=-1).min(axis=1) > 0.04
    reader = PoseReader.fit(
        frames[lying][far], Poses(*(part[far] for part in known)), camera=camera
    )
    assert np.allclose(reader.read(frames).boxes[:, :2, 2], 0.02, atol=5e-3)
