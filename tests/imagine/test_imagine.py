"""What `genie-robo imagine` starts from, what steers it, and what it leaves."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from toy_labels import labels

from genie_robo import cli
from genie_robo import fit_action_map as fitting
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS
from genie_robo.config import ImagineConfig
from genie_robo.eval_suites.adapters import GenieEncoder
from genie_robo.imagine.actions import check_steering
from genie_robo.imagine.prompts import read_files
from genie_robo.inference.action_map import ActionMap
from genie_robo.run_folder import RunFolder
from genie_robo.trained_run import open_run
from genie_robo.types import Split
from genie_robo.viz.recording import check_recording

ACTION = [0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
PAGE = Path(__file__).parents[2] / "docs" / "imagination.md"
DOCUMENTED = [
    *(
        line
        for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for line in block.splitlines()
    ),
    *COMMANDS["imagine"].examples,
]
FAST = ("horizon=4", "num_episodes=1", "sampler.num_steps=2", "renderer=raycast")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"actions": "forward"},
            "actions=forward is not inferred, inferred_alone, latents, robot, random",
        ),
        ({"actions": []}, r"actions=\[\] is not inferred"),
        ({"actions": [0, 8, 1]}, r"wants codes 0\.\.7, .*; got 8"),
        ({"actions": [0, -1, 1]}, r"wants codes 0\.\.7, .*; got -1"),
        ({"actions": [0, 1.5, 1]}, r"wants codes 0\.\.7, .*; got 1\.5"),
        ({"actions": [0, 1]}, "has 2 actions, but horizon=3 frames want one each; give horizon=2"),
        ({"actions": [ACTION, ACTION[:6], ACTION]}, r"7 finite numbers each, dx .*number 1 is"),
        (
            {"actions": [ACTION, ACTION, [*ACTION[:6], float("nan")]]},
            r"7 finite numbers each, dx .* number 2 is \[.*nan\]",
        ),
        ({"actions": [0, 1, 2], "branches": True}, "holds each of the 8 codes, so actions="),
        ({"horizon": 0}, "horizon=0 and num_prompt_frames=1 must be at least 1"),
    ],
)
def test_actions_that_nothing_can_follow_are_refused(settings, message):
    config = ImagineConfig(**{"run": "unused", "horizon": 3} | settings)
    with pytest.raises(ValueError, match=message):
        check_steering(config, num_codes=8, action_dim=7)


@pytest.mark.parametrize("actions", [None, "inferred", "robot", "random", [0, 7, 3], [ACTION] * 3])
def test_actions_that_can_be_followed(actions):
    config = ImagineConfig(run="unused", horizon=3, actions=actions)
    assert check_steering(config, num_codes=8, action_dim=7) is None


def test_image_files_are_read_by_name(tmp_path):
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    config = ImagineConfig(run="unused", prompt=[str(tmp_path / "a.png"), str(tmp_path / "b.jpg")])
    assert read_files(config) == [("a.png", b"a.png"), ("b.jpg", b"b.jpg")]
    with pytest.raises(FileNotFoundError, match=r"prompt=.*none.png is not there: prompt is epi"):
        read_files(ImagineConfig(run="unused", prompt=str(tmp_path / "none.png")))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A trained run, hardly."""
    folder = tmp_path_factory.mktemp("runs") / "hardly"
    words = (
        "demo",
        "experiment=smoke",
        f"run={folder}",
        "record.num_episodes=6",
        "record.num_steps=10",
        "record.num_workers=1",
        "engine=exact",
        "tokenizer.num_steps=2",
        "world_model.num_steps=2",
        "suite=tokenizer",
        "imagine.num_episodes=0",
    )
    assert cli.main(words) == cli.OK
    return RunFolder(folder)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "my photo.jpg"
    pixels = np.random.default_rng(1).integers(256, size=(50, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(autouse=True)
def no_rollouts_of_other_tests(request):
    """Those of other settings would stay, and new ones take other names."""
    if "run" in request.fixturenames:
        forget_rollouts(request.getfixturevalue("run"))


def forget_rollouts(run):
    shutil.rmtree(run.rollouts, ignore_errors=True)
    run.rollout_settings.unlink(missing_ok=True)


def read_npz(run, name):
    with np.load(run.rollouts / f"{name}.npz") as saved:
        return dict(saved)


def num_video_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "name", "has_truth"),
    [
        ((), "episode_000", True),
        (("actions=robot",), "episode_000", True),
        (("actions=random", "start=2", "num_prompt_frames=2"), "episode_000", True),
        (("actions=[0,3,3,1]",), "episode_000", True),
        ((f"actions={[ACTION] * 4}".replace(" ", ""),), "episode_000", True),
        (("prompt=simulator", "seed=3"), "simulator_003", True),
        (("prompt=simulator", "actions=[0,0,0,0]", "seed=4"), "simulator_004", True),
    ],
)
def test_imagine_leaves_recording_video_strip_and_archive(run, run_cli, words, name, has_truth):
    outcome = run_cli("imagine", f"run={run.path}", *FAST, *words)
    assert outcome.status == cli.OK, outcome.err
    assert f"look at it  genie-robo view run={run.path}" in outcome.out
    num_prompt = 2 if "num_prompt_frames=2" in words else 1
    saved = read_npz(run, name)
    assert saved["tokens"].shape == (num_prompt + 4, 64)
    assert saved["latent_actions"].shape == (num_prompt + 3,)
    assert saved["uncertainty"].shape == (num_prompt + 4,)
    assert (saved["uncertainty"][:num_prompt] == 0).all()
    assert (saved["uncertainty"][num_prompt:] > 0).all()
    assert np.isnan(saved["trust"][:num_prompt]).all()
    assert ((saved["trust"][num_prompt:] > 0) & (saved["trust"][num_prompt:] <= 1)).all()
    assert saved["robot_actions"].shape == (num_prompt + 3, 7)
    if "actions=[0,3,3,1]" in words:
        assert saved["latent_actions"].tolist() == [0, 3, 3, 1]
    check_recording(run.rollouts / f"{name}.rrd")
    assert num_video_frames(run.rollouts / f"{name}.mp4") == num_prompt + 4
    with Image.open(run.rollouts / f"{name}.png") as strip:
        assert strip.height > (2 if has_truth else 1) * 64


@pytest.mark.slow
def test_an_image_is_imagined_without_a_truth(run, run_cli, photo):
    words = (f"prompt='{photo}'", "actions=[1,2,1,2]")
    outcome = run_cli("imagine", f"run={run.path}", *FAST, *words)
    assert outcome.status == cli.OK, outcome.err
    saved = read_npz(run, "picture_my_photo")
    assert saved["latent_actions"].tolist() == [1, 2, 1, 2]
    assert "robot_actions" not in saved
    check_recording(run.rollouts / "picture_my_photo.rrd")
    assert num_video_frames(run.rollouts / "picture_my_photo.mp4") == 5

    forget_rollouts(run)
    two = (f"prompt=['{photo}','{photo}']",)
    assert run_cli("imagine", f"run={run.path}", *FAST, *two).status == cli.OK
    assert read_npz(run, "picture_my_photo")["num_prompt_frames"] == 2


@pytest.mark.slow
def test_branches_hold_every_code_from_one_prompt(run, run_cli):
    outcome = run_cli("imagine", f"run={run.path}", *FAST, "branches=true")
    assert outcome.status == cli.OK, outcome.err
    saved = read_npz(run, "episode_000_branches")
    assert saved["latent_actions"].tolist() == [[code] * 4 for code in range(8)]
    assert saved["tokens"].shape == (8, 5, 64)
    assert (saved["tokens"][:, 0] == saved["tokens"][0, 0]).all()
    check_recording(run.rollouts / "episode_000_branches.rrd")
    assert num_video_frames(run.rollouts / "episode_000_branches.mp4") == 5
    with Image.open(run.rollouts / "episode_000_branches.png") as grid:
        assert grid.height > 8 * 64


@pytest.mark.slow
def test_fits_the_first_labels_of_val_and_measures_on_test(run, monkeypatch):
    asked = []

    def read(trained, split, *, max_episodes):
        asked.append((split, max_episodes))
        side = labels([0, 1, 0, 1]) if split is Split.val else labels([1, 1, 0])
        for _ in range(9):
            yield side.codes, side.latents, side.robot_actions, side.mask

    monkeypatch.setattr(fitting, "_read", read)
    trained = open_run(str(run.path), device="cpu")
    made = fitting.fit_action_map(trained, num_labels=6, origin={"num_labels": 6})

    assert asked == [(Split.val, None), (Split.test, fitting.MAX_TEST_EPISODES)]
    assert made.dictionary.counts.tolist() == [3, 3, 0, 0, 0, 0, 0, 0]
    assert (made.report.num_labels, made.report.num_fit_episodes) == (6, 2)
    assert (made.report.num_test_steps, made.report.num_test_episodes) == (27, 9)
    with pytest.raises(ValueError, match=r"labelled steps of val episodes.*num_labels=0"):
        fitting.fit_action_map(trained, num_labels=0, origin={})


@pytest.mark.slow
@pytest.mark.parametrize(("start", "num_prompt"), [(0, 1), (3, 1), (1, 3)])
def test_inferred_codes_are_of_the_rollout_as_a_whole_or_each_alone(
    run, run_cli, monkeypatch, start, num_prompt
):
    """Those of the whole are marked here, so that they are recognised wherever they arrive."""

    def encode_sequence(self, window, start):
        return (self.encode(window).codes[start:] + 1) % self.num_codes

    monkeypatch.setattr(GenieEncoder, "encode_sequence", encode_sequence)
    words = ("imagine", f"run={run.path}", *FAST, f"start={start}")
    words += (f"num_prompt_frames={num_prompt}",)
    trained = open_run(str(run.path), device="cpu")
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    whole = trained.windows(Split.test).whole_episode(0)
    seen = slice(start, start + num_prompt + 4)
    window = replace(
        whole,
        video=whole.video[seen],
        robot_actions=whole.robot_actions[seen][:-1],
        is_pad=whole.is_pad[seen],
    )
    alone = encoder.encode(window).codes
    whole_rollout = np.where(np.arange(len(alone)) < num_prompt - 1, alone, (alone + 1) % 8)
    for actions, expected in (("inferred", whole_rollout), ("inferred_alone", alone)):
        forget_rollouts(run)
        assert run_cli(*words, f"actions={actions}").status == cli.OK
        assert read_npz(run, "episode_000")["latent_actions"].tolist() == expected.tolist()


@pytest.mark.slow
def test_action_map_is_fitted_once_and_again_when_it_is_out_of_date(run, run_cli):
    shutil.rmtree(run.action_map, ignore_errors=True)
    words = ("imagine", f"run={run.path}", *FAST, "actions=robot")
    assert run_cli(*words).status == cli.OK
    first = ActionMap.load(run.action_map)
    assert first.report.num_labels == 9  # one val episode of ten steps
    stamp = (run.action_map / "action_map.npz").stat().st_mtime_ns
    assert run_cli(*words).status == cli.OK
    assert (run.action_map / "action_map.npz").stat().st_mtime_ns == stamp

    assert run_cli(*words, "action_map.num_labels=5").status == cli.OK
    assert ActionMap.load(run.action_map).report.num_labels == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prompt=nothing.png",), "prompt=nothing.png is not there"),
        (("horizon=50",), "has 10 frames, but 51 are needed"),
        (
            (f"actions={[[0.5, *ACTION[1:]]] * 4}".replace(" ", ""),),
            "actions= number 0: action dx=0.5 is outside",
        ),
    ],
)
def test_what_cannot_be_imagined_is_refused_in_one_line(run, run_cli, photo, words, message):
    words = [word.replace("PHOTO", f"'{photo}'") for word in words]
    outcome = run_cli("imagine", f"run={run.path}", *FAST, *words)
    assert outcome.status == cli.FAILED
    assert message in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("actions=[0,1,8,1]",), "wants codes 0..7"),
        (("actions=[0,1]",), "has 2 actions, but horizon=4"),
        (("prompt=PHOTO", "actions=inferred"), "after an image there are none"),
        (("prompt=PHOTO", "actions=robot"), "after an image there are none"),
        (("prompt=PHOTO", "start=3"), "which cut episodes"),
        (("prompt=[]",), "prompt=[] names no image"),
    ],
)
def test_what_no_run_can_imagine_is_a_usage_error(run, run_cli, photo, words, message):
    words = [word.replace("PHOTO", f"'{photo}'") for word in words]
    outcome = run_cli("imagine", f"run={run.path}", *FAST, *words)
    assert outcome.status == cli.USAGE
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sampler.guidance=-1", "sampler.guidance=-1.0 at least 0"),
        ("action_map.num_labels=0", "action_map.num_labels=0 must be at least 1"),
    ],
)
def test_a_setting_out_of_range_is_a_usage_error(run_cli, word, message):
    outcome = run_cli("imagine", "run=unused", word)
    assert outcome.status == cli.USAGE
    assert message in outcome.err


@pytest.mark.slow
def test_a_run_whose_training_has_not_finished_is_refused(run, run_cli, tmp_path):
    shutil.copytree(run.path, tmp_path / "half")
    (tmp_path / "half" / "world_model" / "dynamics.safetensors").unlink()
    outcome = run_cli("imagine", f"run={tmp_path}/half", *FAST)
    assert outcome.status == cli.FAILED
    assert "has no trained dynamics" in outcome.err
    assert "stage=world_model" in outcome.err


@pytest.mark.parametrize("line", DOCUMENTED)
def test_every_command_line_of_the_page_composes(line):
    program, name, *overrides = shlex.split(line)
    assert (program, name) == ("genie-robo", "imagine")
    command = COMMANDS["imagine"]
    config = to_config(command, compose_config(command, overrides))
    assert check_steering(config, num_codes=8, action_dim=7) is None
