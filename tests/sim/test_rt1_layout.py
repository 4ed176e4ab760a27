"""Recordings with the columns of RT-1: the documented schema, read by its preset."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sim_episodes import read_raw

from genie_robo import cli
from genie_robo.config import RecordConfig, RecordLayout
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.schema import open_schema
from genie_robo.inspection.proposal import known_sources
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset
from genie_robo.sim.robots import base_position

FACTS = Path(__file__).parents[2].parent / "shared" / "data" / "oxe_datasets.yaml"
NAME = "fractal20220817_data"
SPEC = RecordConfig(num_episodes=2, num_steps=6, push=0.0, random=0.0, num_workers=1, seed=5)


@pytest.fixture(scope="module")
def tabletop(tmp_path_factory) -> RldsDataset:
    """The same episodes in the columns of tabletop."""
    path = tmp_path_factory.mktemp("tabletop")
    folder = record_dataset(replace(SPEC, path=str(path), image_size=16))
    return RldsDataset(folder, known_sources()["tabletop"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rt1")
    return record_dataset(replace(SPEC, path=str(path), layout=RecordLayout.rt1))


@pytest.fixture(scope="module")
def steps(folder):
    """The steps of the first episode, as TFDS gives them."""
    return read_raw(folder)[0]["steps"]


def test_the_schema_is_that_of_rt1(folder):
    if not FACTS.is_file():
        pytest.skip(f"the description of RT-1 is not there: {FACTS}")
    wanted = yaml.safe_load(FACTS.read_text())["rt1_fractal_features"]
    schema = open_schema(folder)
    assert (schema.name, folder.name) == (NAME, "0.1.0")
    found = {key: str(feature) for key, feature in schema.features.items()}
    assert found == {key: _described(text) for key, text in _flat(wanted["steps"])}
    top = json.loads((folder / "features.json").read_text())["featuresDict"]["features"]
    for group in ("aspects", "attributes"):
        described = top[group]["featuresDict"]["features"]
        types = {name: content["tensor"]["dtype"] for name, content in described.items()}
        assert {name: t.replace("object", "string") for name, t in types.items()} == wanted["top"][
            group
        ]


def _flat(described, prefix=""):
    for name, content in described.items():
        if isinstance(content, dict):
            yield from _flat(content, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", content


def _described(text: str) -> str:
    """A type of the facts, as `Feature` writes it."""
    kind = text.split()[0]
    if kind == "string":
        return "text"
    return f"{kind} jpeg image" if "jpeg" in text else kind


def test_images_are_jpeg_of_full_size(steps):
    image = Image.open(io.BytesIO(steps[0]["observation"]["image"]))
    assert (image.format, image.size) == ("JPEG", (320, 256))


def test_the_last_step_terminates(steps):
    modes = [step["action"]["terminate_episode"].tolist() for step in steps]
    assert modes == [[0, 1, 0]] * (len(steps) - 1) + [[1, 0, 0]]
    assert [step["is_terminal"] for step in steps] == [step["is_last"] for step in steps]
    last = steps[-1]["action"]
    for name in ("world_vector", "rotation_delta", "gripper_closedness_action"):
        assert not last[name].any()
    for step in steps:
        assert not step["action"]["base_displacement_vector"].any()


def test_the_preset_reads_the_same_episodes(folder, tabletop):
    dataset = RldsDataset(folder, known_sources()[NAME])
    assert len(dataset) == len(tabletop) == 2
    base = np.array(base_position("arm"))
    for episode, other in zip(dataset, tabletop, strict=True):
        count = episode.num_steps
        assert (episode.instruction, episode.control_hz) == (other.instruction, 3.0)
        actions, wanted = episode.robot_actions[:-1], other.robot_actions[: count - 1]
        np.testing.assert_allclose(actions[:, :6], wanted[:, :6], atol=1e-6)
        np.testing.assert_array_equal(actions[:, 6], wanted[:, 6] > 0.5)
        pose, measured = episode.end_effector_pose, other.end_effector_pose[:count]
        np.testing.assert_allclose(pose[:, :3] + base, measured[:, :3], atol=1e-6)
        np.testing.assert_allclose(pose[:, 3:], measured[:, 3:], atol=1e-5)
        assert episode.action_mask.all()
        assert not episode.is_simulated


@pytest.mark.parametrize("changes", [{"image_size": 128}, {"control_hz": 5.0}])
def test_other_sizes_and_rates_are_refused(changes):
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=rf"256 x 320 .* leave out record\.{name}={value}"):
        RecordConfig(path="x", layout=RecordLayout.rt1, **changes)


@pytest.mark.slow
def test_recorded_with_the_google_robot_trained_and_probed(tmp_path, menagerie, capfd):
    """From JPEG of 256 x 320 to the probe, by the preset of RT-1."""
    small = ["num_episodes=12", "num_steps=7", "pick=0", "push=1", "random=1", "play=0"]
    words = ["robot=google_robot", "layout=rt1", *small, f"path={tmp_path / 'rt1'}"]
    assert cli.main(["record", *words]) == cli.OK
    run = RunFolder(tmp_path / "run")
    words = [f"data={NAME}", f"data.path={tmp_path / 'rt1'}", "model=tiny"]
    words += ["data.val_fraction=0.35", "data.test_fraction=0.35", "tokenizer.num_steps=3"]
    words += [f"{stage}.num_frames=4" for stage in ("tokenizer", "world_model")]
    assert cli.main(["train", f"run={run.path}", *words, "world_model.num_steps=3"]) == cli.OK
    assert cli.main(["eval", f"run={run.path}", "suite=latent_probe", "fast=true"]) == cli.OK
    found = json.loads((run.suite("latent_probe") / "metrics.json").read_text())["metrics"]
    assert found["achieved/xyz/r2"]["value"] is not None
    assert cli.main(["imagine", f"run={run.path}", "horizon=3", "num_episodes=1"]) == cli.OK
