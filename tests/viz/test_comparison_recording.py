"""Several models on one episode: the truth once, everything else side by side."""

import subprocess

import numpy as np
import pytest

from viz.rollout import by_episode, write_rollouts
from viz.rollout_view import ReadPath
from viz.viewer import find_viewer


@pytest.fixture
def views(make_view):
    rng = np.random.default_rng(5)

    def path():
        errors = {name: rng.uniform(size=7) for name in ("imagined", "copy_last")}
        return ReadPath(positions=rng.normal(size=(7, 3)), error_mm=errors)

    other = rng.integers(0, 256, (7, 16, 24, 3), dtype=np.uint8)
    return {
        "episode_0/small": make_view(read_path=path()),
        "episode_0/large": make_view(imagined_video=other, read_path=path()),
        "episode_1": make_view(replay=None),
    }


def test_truth_is_logged_once(views, tmp_path, read):
    contents = read(write_rollouts(tmp_path / "a.rrd", views, name="demo"))
    logged = {key.partition(":")[0] for key in contents}
    for name in ("camera/true", "robot_action/translation", "scene/geoms/table"):
        assert [e for e in logged if e.endswith(name)].count(f"/episode_0/{name}") == 1
        assert f"/episode_0/small/{name}" not in logged
    for model in ("small", "large"):
        stored = contents[f"/episode_0/{model}/camera/imagined:Image:buffer"].values
        wanted = views[f"episode_0/{model}"].imagined_video
        np.testing.assert_array_equal(
            np.array(stored, dtype=np.uint8).reshape(wanted.shape), wanted
        )
        assert f"/episode_0/{model}/camera/difference" in logged
        assert f"/episode_0/{model}/scene/end_effector/imagined/path" in logged
    assert "/episode_1/camera/true" in logged


def test_comparison_is_verified_and_deterministic(views, tmp_path):
    made = [write_rollouts(tmp_path / name, views, name="demo") for name in ("a.rrd", "b.rrd")]
    rrd = [str(find_viewer()), "rrd"]
    assert subprocess.run([*rrd, "verify", *made], capture_output=True).returncode == 0
    compare = [*rrd, "compare", "--unordered", *made]
    assert subprocess.run(compare, capture_output=True).returncode == 0


def test_only_siblings_are_compared(make_view):
    view = make_view()
    roots = ["", "episode_0/a", "episode_0/b", "episode_1/a", "episode_2"]
    found = by_episode(dict.fromkeys(roots, view))
    assert {root: list(models) for root, models in found.items()} == {
        "": [""],
        "episode_0": ["episode_0/a", "episode_0/b"],
        "episode_1/a": ["episode_1/a"],
        "episode_2": ["episode_2"],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"true_video": np.zeros((7, 16, 24, 3), np.uint8)},
        {"true_video": None},
        {"num_prompt_frames": 1},
        {"control_hz": 5.0},
    ],
)
def test_models_with_different_truths_are_refused(make_view, tmp_path, changes):
    views = {"episode_0/a": make_view(), "episode_0/b": make_view(**changes)}
    with pytest.raises(ValueError, match="models of episode episode_0 have different truths"):
        write_rollouts(tmp_path / "a.rrd", views, name="demo")
    assert list(tmp_path.iterdir()) == []


def test_views_have_no_truth_to_share(make_view, tmp_path, read):
    nothing = {"true_video": None, "robot_actions": None, "replay": None, "psnr": {}}
    views = {f"branches/code_{code}": make_view(**nothing) for code in range(3)}
    contents = read(write_rollouts(tmp_path / "a.rrd", views, name="demo"))
    cameras = {key.partition(":")[0] for key in contents if "/camera/" in key}
    assert cameras == {f"/branches/code_{code}/camera/imagined" for code in range(3)}
    assert contents.num_blueprints == 1
