"""The whole job at its smallest, and the commands that work on what it leaves."""

import json
import re
import shutil
import signal

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from genie_robo import Genie, cli
from genie_robo.checkpoint import load_genie, load_robot_genie
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.demo import demo_stages
from genie_robo.commands.table import load_command
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.pipeline import refuse_changed, stamps_of
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording import check_recording

pytestmark = pytest.mark.slow

SMALLER = (
    "experiment=smoke",
    "record.num_episodes=6",
    "record.num_steps=10",
    "record.num_workers=1",
    "engine=exact",
    "tokenizer.num_steps=3",
    "world_model.num_steps=3",
    "robot_control.num_steps=3",
    "sampler.num_steps=2",
    "suite=tokenizer",
    "imagine.horizon=5",
    "imagine.num_episodes=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A finished demo."""
    folder = tmp_path_factory.mktemp("runs") / "smallest"
    assert cli.main(["demo", *SMALLER, f"run={folder}"]) == cli.OK
    return RunFolder(folder)


def stages_of(run):
    command = load_command("demo")
    return demo_stages(to_config(command, compose_config(command, [*SMALLER, f"run={run.path}"])))


def test_demo_leaves_every_result(run):
    assert (run.dataset / "tabletop" / "1.0.0" / "features.json").exists()
    metrics = json.loads((run.suite("tokenizer") / "metrics.json").read_text())
    assert metrics["provenance"]["run"] == str(run.path)
    assert metrics["provenance"]["fast"] is True
    assert run.report.read_text().startswith("# smallest\n")
    provenance = json.loads(run.provenance.read_text())
    assert {side: len(ids) for side, ids in provenance["episodes"].items()} == {
        "train": 4,
        "val": 1,
        "test": 1,
    }
    assert provenance["seeds"] == {"train": 0}


def test_every_picture_of_the_report_is_there(run):
    links = re.findall(r"\]\(([^)]+)\)", run.report.read_text())
    assert any(link.startswith("rollouts/") for link in links)
    assert all((run.path / link).exists() for link in links)


def test_rollout_comes_as_recording_video_strip_and_tokens(run):
    check_recording(run.rollouts / "episode_000.rrd")
    check_recording(run.rollouts / "episode_000-actions_robot.rrd")
    with av.open(str(run.rollouts / "episode_000.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
    with Image.open(run.rollouts / "episode_000.png") as strip:
        assert strip.width > 3 * strip.height
    with np.load(run.rollouts / "episode_000.npz") as saved:
        assert saved["tokens"].shape == (6, 64)
        assert saved["latent_actions"].shape == (5,)
        assert saved["robot_actions"].shape == (5, 7)


def test_second_demo_does_nothing_and_says_where_to_look(run, run_cli):
    outcome = run_cli("demo", *SMALLER, f"run={run.path}")
    assert outcome.status == cli.OK
    lines = outcome.out.splitlines()
    assert [line.split()[1] for line in lines[:7]] == [
        "record",
        "tokenizer",
        "world_model",
        "robot_control",
        "eval.tokenizer",
        "imagine",
        "report",
    ]
    assert all(line.endswith("already there") for line in lines[:7])
    assert lines[-1] == f"look at it  genie-robo view run={run.path}"


def test_demo_with_other_settings_is_refused(run, run_cli):
    outcome = run_cli("demo", *SMALLER, f"run={run.path}", "world_model.num_steps=4")
    assert outcome.status == cli.FAILED
    assert "world_model.num_steps: 3 -> 4" in outcome.err
    assert "run=FOLDER" in outcome.err


def test_settings_that_shape_nothing_may_change(run, run_cli):
    changed = ("record.num_workers=2", "data.cache_mb=10", "engine.num_threads=2")
    outcome = run_cli("demo", *SMALLER, f"run={run.path}", *changed)
    assert outcome.status == cli.OK


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("stage", "model", "method"),
    [
        ("tokenizer", VideoTokenizer, "forward"),
        ("world_model", DynamicsModel, "features"),
        ("robot_control", DynamicsModel, "by_robot"),
        ("eval.tokenizer", VideoTokenizer, "paint"),
        ("imagine", DynamicsModel, "next_frame"),
    ],
)
def test_ctrl_c_in_a_stage_loses_nothing(run, run_cli, tmp_path, monkeypatch, stage, model, method):
    """The stage is made again from its beginning or its checkpoint, to the same bytes."""
    before = tmp_path / "before"
    shutil.copytree(run.path, before)
    words = ("demo", *SMALLER, f"run={run.path}")
    stages = stages_of(run)
    begun = [other.name for other in stages].index(stage)
    for undone in stages[begun:]:
        (stamps_of(run) / f"{undone.name}.json").unlink()
        shutil.rmtree(undone.folder)
    computed = getattr(model, method)

    def interrupted(*args, **settings):
        signal.raise_signal(signal.SIGINT)
        return computed(*args, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(model, method, interrupted)
        assert run_cli(*words).status == cli.INTERRUPTED
    assert json.loads((stamps_of(run) / f"{stage}.json").read_text())["finished"] is False

    assert run_cli(*words).status == cli.OK
    kept = [path for path in before.rglob("*") if path.suffix in (".safetensors", ".csv", ".npz")]
    assert len(kept) >= 5
    for path in kept:
        again = run.path / path.relative_to(before)
        if path.parent.name.startswith("step_"):  # its header comes in any order
            first, second = load_file(path), load_file(again)
            assert first.keys() == second.keys()
            assert all(torch.equal(first[name], second[name]) for name in first), path
        else:
            assert again.read_bytes() == path.read_bytes(), path.name


def test_another_suite_may_join_later(run):
    command = load_command("demo")
    words = [*SMALLER, f"run={run.path}", "suite=[tokenizer,latent_probe]"]
    stages = demo_stages(to_config(command, compose_config(command, words)))
    refuse_changed(stages, stamps_of(run))
    assert [stage.name for stage in stages][4:6] == ["eval.tokenizer", "eval.latent_probe"]


def test_tokens_are_stored_once(run, run_cli):
    assert run_cli("tokenize", f"run={run.path}").status == cli.OK
    tokens = np.load(run.tokens / "tokens.npy")
    assert tokens.shape == (12, 8, 64)  # four training episodes of ten steps, windows of eight
    before = (run.tokens / "tokens.npy").stat().st_mtime_ns
    said = run_cli("tokenize", f"run={run.path}").err
    assert "complete already" in " ".join(said.split())
    assert (run.tokens / "tokens.npy").stat().st_mtime_ns == before


def test_an_exported_run_is_the_run(run, run_cli, tmp_path):
    trained = load_genie(run)
    kinds = {"": load_robot_genie(run, trained), "robot_control=false": trained}
    for word, wanted in kinds.items():
        words = ("export", f"run={run.path}", f"output={tmp_path}/mine", *filter(None, [word]))
        assert run_cli(*words).status == cli.OK
        exported = Genie.from_pretrained(tmp_path / "mine")
        assert exported.num_frames == wanted.num_frames
        assert exported.takes_robot_actions == (word == "")
        for name, tensor in wanted.state_dict().items():
            assert torch.equal(exported.state_dict()[name], tensor), name


def test_robot_control_is_left_out_without_labels(tmp_path):
    for words, has_stage in (((), True), (("labels=0",), False), (("labels=9",), True)):
        command = load_command("demo")
        config = compose_config(command, [*SMALLER, f"run={tmp_path}", *words])
        names = [stage.name for stage in demo_stages(to_config(command, config))]
        assert ("robot_control" in names) == has_stage


def test_play_follows_keys_from_a_pipe(run, run_cli, monkeypatch, tmp_path):
    (tmp_path / "keys").write_text("01?u\n3q5\n")
    with (tmp_path / "keys").open() as keys:
        monkeypatch.setattr("sys.stdin", keys)
        outcome = run_cli("play", f"run={run.path}", "sampler.num_steps=1")
    taken = [line.split("|")[0].strip() for line in outcome.out.splitlines()]
    trusted = re.compile(r"  trust [01]\.\d\d")
    assert [bool(trusted.search(line)) for line in taken] == [False, *[True] * 5]
    direction = re.compile(r"(?<=\d) (still|open|close|[-+][-+a-z]+)(?=,|$)")
    assert any(map(direction.search, taken)), "codes have the names of the action map"
    assert [direction.sub("", trusted.sub("", line)) for line in taken] == [
        "frame 0  actions: none",
        "frame 1  actions: 0",
        "frame 2  actions: 0, 1",
        "frame 2  actions: 0, 1",
        "frame 1  actions: 0",
        "frame 2  actions: 0, 3",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["play", "episode=9"], "episode=9 is not a test episode: there are 1"),
        (["imagine", "horizon=50"], "has 10 frames, but 51 are needed"),
        (["imagine", "device=cuda"], "torch sees no CUDA device"),
    ],
)
def test_commands_refuse_what_the_run_does_not_have(run, run_cli, words, message):
    if "device=cuda" in words and _has_cuda():
        pytest.skip("this machine has CUDA")
    outcome = run_cli(words[0], f"run={run.path}", *words[1:])
    assert outcome.status == cli.FAILED
    assert message in outcome.err


def test_without_a_suite_nothing_is_evaluated(run, run_cli):
    outcome = run_cli("eval", f"run={run.path}", "suite=[]")
    assert (outcome.status, "eval needs a suite" in outcome.err) == (cli.USAGE, True)


def test_another_dataset_is_evaluated_beside_the_own(run, run_cli, tmp_path):
    shutil.copytree(run.dataset / "tabletop", tmp_path / "copied")
    words = (f"run={run.path}", "suite=tokenizer", "data=tabletop", f"data.path={tmp_path}")
    assert run_cli("eval", *words).status == cli.OK
    folder = run.suite("tokenizer@copied")
    assert json.loads((folder / "metrics.json").read_text())["suite"] == "tokenizer"
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["eval", "imagine", "play", "tokenize"])
def test_folder_that_is_no_run(tmp_path, run_cli, name):
    outcome = run_cli(name, f"run={tmp_path}")
    assert outcome.status == cli.FAILED
    assert "is not a run folder" in outcome.err


def test_inspect_says_what_the_recorded_dataset_is(run, run_cli, tmp_path):
    outcome = run_cli("inspect", f"path={run.dataset}", f"output={tmp_path / 'out'}")
    assert outcome.status == cli.OK
    facts = json.loads((tmp_path / "out" / "inspect.json").read_text())
    assert facts["name"] == "tabletop"
    assert facts["fits"][-1] == "tabletop"
    assert sum(split["num_episodes"] for split in facts["splits"]) == 6
    assert facts["columns"]["action"] == "float32[7]"
    assert [action["name"] for action in facts["actions"]][-1] == "gripper"
    assert facts["problems"] == []
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width > 8 * 96
    assert "data=tabletop" in outcome.out


def test_inspect_of_a_folder_without_a_dataset(run_cli, tmp_path):
    outcome = run_cli("inspect", f"path={tmp_path}")
    assert outcome.status == cli.FAILED
    assert "is not an RLDS dataset" in outcome.err


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
