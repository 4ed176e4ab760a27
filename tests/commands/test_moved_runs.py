"""Commands on a run that was moved, and on one whose dataset is another one now."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from genie_robo import cli
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS
from genie_robo.config import RecordConfig, TrainConfig
from genie_robo.config_file import plain, read_config
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset

FAST = ("horizon=2", "num_episodes=1", "sampler.num_steps=1", "renderer=raycast")


@pytest.fixture
def moved(runs, tmp_path, monkeypatch) -> RunFolder:
    """A copy of a run, its dataset inside, opened from another working directory."""
    original = RunFolder.at(runs[0])
    data = read_config(original, TrainConfig).data.path
    run = RunFolder.at(shutil.copytree(original.path, tmp_path / "first" / "run"))
    shutil.copytree(data, run.path / "data")
    run.config.write_text(run.config.read_text().replace(data, "data"))
    (tmp_path / "first").rename(tmp_path / "second")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return RunFolder.at("../second/run")


@pytest.fixture
def other_dataset(tmp_path):
    sizes = {"num_episodes": 9, "num_steps": 4, "image_size": 32, "num_workers": 1, "seed": 8}
    return record_dataset(RecordConfig(path=str(tmp_path / "other"), **sizes))


def lines(moved):
    return {
        "imagine": ("imagine", f"run={moved.path}", *FAST),
        "tokenize": ("tokenize", f"run={moved.path}"),
        "eval": ("eval", f"run={moved.path}", "suite=tokenizer", "fast=true"),
        "play": ("play", f"run={moved.path}", "ui=terminal"),
    }


@pytest.mark.parametrize("name", ["imagine", "tokenize", "eval"])
def test_a_moved_run_finds_its_dataset(moved, run_cli, name):
    outcome = run_cli(*lines(moved)[name])
    assert outcome.status == cli.OK, outcome.err


@pytest.mark.parametrize("name", ["imagine", "tokenize", "eval", "play"])
def test_a_dataset_that_is_gone_is_missed_in_one_line(moved, run_cli, name):
    shutil.rmtree(moved.path / "data")
    outcome = run_cli(*lines(moved)[name])
    assert outcome.status == cli.FAILED
    assert "data" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("name", ["imagine", "tokenize", "eval"])
def test_a_dataset_that_was_moved_is_named_by_data_path(moved, run_cli, name, tmp_path):
    (moved.path / "data").rename(tmp_path / "away")
    outcome = run_cli(*lines(moved)[name], f"data.path={tmp_path / 'away'}")
    assert outcome.status == cli.OK, outcome.err
    assert not list((moved.path / "eval").glob("*@*"))


@pytest.mark.parametrize("name", ["imagine", "tokenize", "eval", "play"])
def test_another_dataset_at_the_same_place_is_refused(moved, run_cli, name, other_dataset):
    shutil.rmtree(moved.path / "data")
    shutil.copytree(other_dataset, moved.path / "data")
    outcome = run_cli(*lines(moved)[name])
    assert outcome.status == cli.FAILED
    assert "12 episodes -> 9, 0 the same" in outcome.err
    assert "other_dataset=true" in outcome.err
    assert not moved.rollouts.exists()
    assert not moved.tokens.exists()


@pytest.mark.parametrize("name", ["imagine", "tokenize", "eval"])
def test_another_dataset_is_taken_on_purpose(moved, run_cli, name, other_dataset):
    words = (f"data.path={other_dataset}", "other_dataset=true")
    outcome = run_cli(*lines(moved)[name], *words)
    assert outcome.status == cli.OK, outcome.err
    assert not moved.action_map.exists()
    assert [each.name for each in moved.path.glob("eval/*")] == ["tokenizer@tabletop"] * (
        name == "eval"
    )


def test_data_path_alone_changes_nothing_else(moved, run_cli):
    outcome = run_cli("imagine", f"run={moved.path}", "data.path=x", "data.frame_stride=2")
    assert outcome.status == cli.USAGE
    assert "data.frame_stride belongs to data, which is not chosen" in outcome.err


def test_a_picture_needs_no_dataset(moved, run_cli, tmp_path):
    shutil.rmtree(moved.path / "data")
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    outcome = run_cli("imagine", f"run={moved.path}", f"prompt={tmp_path}/grey.png", *FAST)
    assert outcome.status == cli.OK, outcome.err
    assert (moved.rollouts / "picture_grey.rrd").exists()


def test_an_export_needs_no_dataset(moved, run_cli, tmp_path):
    shutil.rmtree(moved.path / "data")
    outcome = run_cli("export", f"run={moved.path}", f"output={tmp_path / 'mine'}")
    assert outcome.status == cli.OK, outcome.err


@pytest.mark.parametrize("name", ["imagine", "tokenize", "eval", "play", "export"])
def test_a_folder_that_is_no_run_stays_as_it_is(tmp_path, run_cli, name):
    words = ("output=x",) if name == "export" else ()
    outcome = run_cli(name, f"run={tmp_path / 'none'}", *words)
    assert outcome.status == cli.FAILED
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_rollouts_of_a_report_stay_when_others_are_imagined(moved, run_cli):
    words = lines(moved)["imagine"]
    assert run_cli(*words).status == cli.OK
    as_report(moved, words)
    before = {path.name: path.read_bytes() for path in moved.rollouts.iterdir()}

    assert run_cli("-m", *words, "seed=1,2").status == cli.OK
    assert run_cli(*words, "sampler.temperature=0.5", "actions=[0,1]").status == cli.OK

    after = {path.name: path.read_bytes() for path in moved.rollouts.iterdir()}
    assert after.items() >= before.items()
    new = sorted({name.partition(".")[0] for name in after.keys() - before.keys()})
    assert new[:2] == ["episode_000-seed_1", "episode_000-seed_2"]
    assert new[2].startswith("episode_000-settings_")


@pytest.mark.slow
def test_rollouts_of_a_sweep_stay_where_no_demo_was(moved, run_cli):
    words = lines(moved)["imagine"]
    assert run_cli("-m", *words, "seed=0,1").status == cli.OK
    assert run_cli(*words, "branches=true", "seed=1").status == cli.OK
    before = {path.name: path.read_bytes() for path in moved.rollouts.glob("*.npz")}
    names = {"episode_000.npz", "episode_000-seed_1.npz", "episode_000_branches.npz"}
    assert set(before) == names
    assert before["episode_000.npz"] != before["episode_000-seed_1.npz"]

    assert run_cli("-m", *words, "seed=1,0").status == cli.OK  # the same again
    assert {path.name: path.read_bytes() for path in moved.rollouts.glob("*.npz")} == before

    moved.rollout_settings.write_text("[]")  # nothing is known of them now
    assert run_cli(*words).status == cli.OK
    after = {path.name: path.read_bytes() for path in moved.rollouts.glob("*.npz")}
    assert after.items() > before.items()
    (new,) = after.keys() - before.keys()
    assert new.startswith("episode_000-settings_")


def test_the_place_of_a_mixed_dataset_is_given_to_train(moved, run_cli, tmp_path):
    text = moved.config.read_text()
    assert "  mix: {}\n" in text
    member = (
        f"\n    more:\n      path: {tmp_path}/gone\n      source: {{camera: observation/image}}\n"
    )
    moved.config.write_text(text.replace("  mix: {}\n", f"  mix:{member}"))
    outcome = run_cli(*lines(moved)["tokenize"], f"data.path={moved.path}/data")
    assert outcome.status == cli.FAILED
    assert f"the dataset more of the mixture of {moved.path} is not at" in outcome.err
    assert "data.mix.more.path=FOLDER" in outcome.err


def as_report(run, words):
    """Note the rollouts as those of a demo's report."""

    made_with = plain(
        to_config(COMMANDS["imagine"], compose_config(COMMANDS["imagine"], words[1:]))
    )
    (run.path / "stages").mkdir()
    stamp = {"settings": {"imagine": made_with}, "finished": True}
    (run.path / "stages" / "imagine.json").write_text(json.dumps(stamp))
    listed = [f"rollouts/{path.name}\n" for path in run.rollouts.iterdir()]
    (run.path / "stages" / "imagine.files").write_text("".join(listed))
