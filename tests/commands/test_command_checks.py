"""Commands that fail: at once, without the packages that do the work, and leaving no claim."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lerobot_files import make_demo, write_v3

from genie_robo import cli
from genie_robo.commands.table import COMMANDS
from genie_robo.config import DataConfig, Source, TrainConfig
from genie_robo.config_file import write_config
from genie_robo.run_folder import RunFolder

HEAVY = {
    *("torch", "tensorflow_datasets", "scipy", "sklearn", "matplotlib", "pandas", "cv2", "rerun"),
    *("mujoco", "lightning_fabric", "nicegui", "gymnasium"),
}

AT_ONCE = {
    "train": [
        ("run=new data.path=gone", "data.path=gone does not exist"),
        ("run=new data.path=empty", "data.path=empty is not an RLDS dataset"),
        ("run=new data.path=rlds stage=world_model", "new has no trained tokenizer"),
        ("run=file data.path=rlds", "run=file is a file; name a folder"),
    ],
    "demo": [
        ("run=new data=bridge_dataset data.path=gone", "data.path=gone does not exist"),
        ("run=file", "run=file is a file"),
        ("run=new imagine.prompt=gone.png", "prompt=gone.png is not there"),
    ],
    "tokenize": [
        ("run=new", "new is not a run folder"),
        ("run=untrained", "untrained has no trained tokenizer"),
    ],
    "eval": [
        ("run=new", "new is not a run folder"),
        ("run=untrained", "untrained has no trained tokenizer"),
        ("run=[trained,new] output=new2", "new is not a run folder"),
        ("run=trained", "the dataset of trained is not at"),
        ("run=trained data.path=empty", "data.path=empty is not an RLDS dataset"),
        ("run=ready suite=video suite.video.i3d_path=gone", "no weights for FVD at gone"),
        (
            "run=ready suite=policy_evaluation suite.policy_evaluation.policy=lerobot:gone",
            "gone holds no LeRobot policy",
        ),
    ],
    "imagine": [
        ("run=new", "new is not a run folder"),
        ("run=untrained", "untrained has no trained tokenizer"),
        ("run=trained", "the dataset of trained is not at"),
        ("run=trained prompt=gone.png", "prompt=gone.png is not there"),
    ],
    "play": [
        ("run=new", "new is not a run folder"),
        ("run=untrained", "untrained has no trained tokenizer"),
        ("run=trained", "the dataset of trained is not at"),
        ("run=ready ui=page host=203.0.113.1", "cannot listen on port 8090 of 203.0.113.1"),
    ],
    "export": [
        ("run=new output=new2", "new is not a run folder"),
        ("run=untrained output=new2", "untrained has no trained tokenizer"),
        ("run=trained output=new2 robot_control=true", "trained has no trained robot_dynamics"),
        ("run=trained output=file", "output=file is a file"),
    ],
    "convert": [
        (
            "data=bridge_dataset data.path=gone to=lerobot output=new",
            "data.path=gone does not exist",
        ),
        (
            "data=bridge_dataset data.path=rlds to=lerobot output=file",
            "file exists: give another output",
        ),
    ],
    "inspect": [
        ("path=gone write=new/data/mine.yaml output=new2", "data.path=gone does not exist"),
        ("path=rlds output=file", "output=file is a file"),
    ],
    "compare": [
        ("runs=[new] folder=new2", "new is no run folder"),
        ("runs=[trained] folder=file", "folder=file is a file"),
    ],
    "audit": [("gone.csv output=new", "table=gone.csv is no file")],
    "report": [
        ("run=new", "new is not a run folder"),
        ("run=trained", "run trained was not evaluated"),
        ("run=trained", "Measure it with: genie-robo eval run=trained"),
    ],
    "view": [
        ("run=new", "there is no run folder new"),
        ("path=new", "there is no recording or folder new"),
        ("run=trained", "run trained has no recordings"),
        ("run=new trial=expert/pick/one", "there is no run folder new"),
        ("run=trained trial=expert/pick/one", "run trained has no trials"),
        (
            "run=trained trial=expert/pick/one results=policy_evaluation+mujoco",
            "run trained has no trials in trained/eval/policy_evaluation+mujoco; make them with",
        ),
        ("path=file", "file is not a Rerun recording"),
        ("path=rlds", "rlds holds a dataset and no recordings"),
        ("path=empty", "no recordings (*.rrd) in empty"),
        *([("path=seen.rrd", "no display to open a window on")] * (sys.platform == "linux")),
    ],
    "record": [("path=file", "path=file is a file")],
}
"""The words of a command line that must fail with status 1, and what it says."""

RLDS = "data=rlds data.path=rlds data.source.camera=observation/image"
LATE = (
    ("imagine.actions=gone", "actions=gone is not inferred"),
    ("imagine.actions=[8]", "actions= has 1 actions, but horizon="),
    ("imagine.horizon=1 imagine.actions=[8]", "actions= wants codes 0..7"),
    ("imagine.world_model=gone", "world_model=gone is not known"),
    ("imagine.world_model=gone:Mine", "world_model=gone:Mine cannot be imported"),
    ("imagine.horizon=0", "horizon=0 and num_prompt_frames=1 must be at least 1"),
    ("imagine.num_episodes=-1", "imagine.num_episodes=-1 must be at least 0"),
    ("imagine.action_map.num_labels=0", "imagine.action_map.num_labels=0 must be at least 1"),
    ("imagine.device=gone", "imagine.device=gone is no device"),
    ("suite.tokenizer.max_episodes=0", "suite.tokenizer.max_episodes=0 must be at least 1"),
    ("suite.tokenizer.max_episodes=many", "max_episodes=many must be a whole number"),
    ("suite.tokenizer.gone=1", "suite.tokenizer has no setting 'gone'"),
    ("suite=few_label suite.few_label.labels=[0]", "suite.few_label.labels=[0] must be 2 or"),
    ("suite=few_label suite.few_label.labels=2", "suite.few_label cannot be built"),
    ("suite=video suite.video.num_prompt_frames=8", "the model sees 8 frames at once"),
    ("suite.sim_rollout.renderer=gone", "suite.sim_rollout.renderer=gone is unknown"),
    (
        "suite=policy_evaluation suite.policy_evaluation.policy=gone:Mine",
        "policy=gone:Mine cannot be imported",
    ),
    ("comparison.folder=new2 comparison.columns={a:b}", "'b' is not the address of a number"),
    ("engine.device=gone", "engine.device=gone is no device"),
)
"""Settings of the last stages of a demo."""
WRONG_WORDS = {
    "train": [
        ("data.path=rlds", "train needs a value for run"),
        ("run=new data.path=rlds data.hight=3", "train has no setting 'data.hight'"),
        ("run=new data.path=rlds data.image_height=0", "data.image_height=0 must be from 1"),
        ("run=new data.path=rlds model.tokenizer.patch_size=7", "patch_size=7 does not divide"),
        (
            "run=new data.path=rlds model.tokenizer.patch_size=1",
            "model.tokenizer.patch_size=1 must be 2, 4, 8 or another power of two",
        ),
        (
            "run=new data.path=rlds model.latent_action.downscale=3",
            "model.latent_action.downscale * patch_size=12 does not divide the image of 64x64",
        ),
        (
            "run=new data.path=rlds model.dynamics.transformer.head_dim=7",
            "head_dim=7 does not fit the rotary positions of time",
        ),
        (
            "run=new data.path=rlds model.attention=xformers model.tokenizer.encoder.head_dim=12",
            "head_dim=12 does not fit the bf16 kernels of model.attention=xformers",
        ),
        (
            "run=new data.path=rlds engine.accumulate=3",
            "a batch of 8 windows cannot be divided among 1 processes x engine.accumulate=3",
        ),
        (
            "run=trained data.path=rlds stage=robot_control robot_control.batch_size=3 "
            "engine.accumulate=2",
            "a batch of 3 windows cannot be divided",
        ),
        (f"run=new {RLDS} tokenizer.optim.ema_decay=2", "tokenizer.optim.ema_decay=2.0 must be"),
        (
            f"run=new {RLDS} tokenizer.optim.learning_rate=-1",
            "learning_rate=-1.0 must be at least 0",
        ),
        (f"run=new {RLDS} robot_control.validate_every=0", "validate_every=0 must be at least 1"),
        ("run= data.path=rlds", "run= is empty: name a folder"),
        *[
            (f"run=new {RLDS} {words}", message)
            for words, message in (
                ("seed=-1", "seed=-1 must be at least 0"),
                ("seed=99999999999999999999", "seed=99999999999999999999 must be at most 9.2"),
                ("data.cache_mb=-1", "data.cache_mb=-1 must be at least 0"),
                (
                    "data.source.control_hz=5 data.target_hz=-1",
                    "data.target_hz=-1.0 must be at least 0",
                ),
                ("data.frame_stride=0", "data.frame_stride=0 must be at least 1"),
                ("data.weight=-1", "data.weight=-1.0 must be at least 0"),
                ("data.bad_episode_limit=2", "data.bad_episode_limit=2.0 must be from 0 to 1"),
                ("data.source.control_hz=-3", "data.source.control_hz=-3.0 must be at least 0"),
                ("world_model.num_frames=1", "world_model.num_frames=1 must be at least 2"),
                ("viz=live viewer=gone", "viewer=gone must be HOST:PORT"),
                ("viewer=127.0.0.1:99999", "viewer=127.0.0.1:99999 must be HOST:PORT"),
            )
        ],
        ("run=new data.path=https://", "data.path=https:// names no server"),
        (f"run=new {RLDS} num_checkpoints=0", "num_checkpoints=0 must be at least 1"),
        (f"run=new {RLDS} engine.device=gpu", "engine.device=gpu is no device"),
        (f"run=new {RLDS} stage=robot_control labels=0", "labels=0: stage=robot_control needs"),
        (f"run=new {RLDS} labels=-1", "labels=-1: stage=robot_control needs labelled transitions"),
        (
            f"run=new {RLDS} +data@data.mix.b=rlds data.mix.b.path=rlds "
            "data.mix.b.source.camera=observation/image latent_action_labels.num_transitions=9",
            "latent_action_labels.num_transitions need the scale of one dataset's actions",
        ),
        (f"run=new {RLDS} data.source.camera=gone", "data.source.camera wants gone"),
        (f"run=new {RLDS} data.source.pose.position=gone[0:3]", "pose.position wants gone"),
        (
            f"run=new {RLDS} data.source.action.gripper=action[0:2]",
            "data.source.action.gripper=action[0:2] must be 1 numbers",
        ),
        (
            f"run=new {RLDS} data.views=[primary,gone]",
            "there is no camera gone in rlds; data.views takes primary, observation/image",
        ),
        (
            f"run=new {RLDS} +data@data.mix.b=rlds data.mix.b.path=rlds data.mix.b.source.camera=b",
            "data.source.camera wants b",
        ),
        (
            "run=new data=lerobot data.path=lerobot data.source.camera=gone",
            "data.source.camera wants gone",
        ),
    ],
    "demo": [
        ("run=new data.image_height=0", "data.image_height=0 must be from 1"),
        ("run=new model.tokenizer.patch_size=7", "patch_size=7 does not divide"),
        ("run=new world_model.batch_size=3 engine.accumulate=2", "a batch of 3 windows cannot be"),
        ("run=new record.robot=gone", "robot=gone is not known"),
        ("run=new record.image_size=0", "record.image_size=0 must be from 8"),
        ("run=new seed=-1", "seed=-1 must be at least 0"),
        ("run=new labels=foo", "labels=foo: stage=robot_control needs labelled transitions"),
        ("run=new labels=-1", "labels=-1: stage=robot_control needs labelled transitions"),
        ("run=new world_model.validate_every=0", "world_model.validate_every=0 must be at least 1"),
        ("run=new tokenizer.optim.ema_decay=2", "tokenizer.optim.ema_decay=2.0 must be from 0"),
        (f"run=new {RLDS} data.views=[gone]", "there is no camera gone in rlds"),
        *[(f"experiment=smoke run=new {words}", message) for words, message in LATE],
    ],
    "tokenize": [(f"run=trained {RLDS} data.source.camera=gone", "data.source.camera wants gone")],
    "eval": [
        ("suite=tokenizer", "eval needs a value for run"),
        ("run=trained suite=gone", "there is no suite 'gone'"),
        ("run=trained suite=[]", "eval needs a suite"),
        ("run=trained action_map.num_labels=0", "action_map.num_labels=0 must be at least 1"),
        ("run=trained device=gpu", "device=gpu is no device"),
        ("run=trained world_model=gone", "world_model=gone is not known; choose one of genie"),
        ("run=trained encoder=gone", "encoder=gone is not known; choose one of genie, oracle"),
        ("run=trained suite=speed suite.speed.parts=[a]", "suite.speed.parts must name some of"),
        ("run=trained suite=trust suite.trust.cases=[a]", "suite.trust.cases=['a'] are not known"),
        ("run=trained suite=trust suite.trust.horizon=2.5", "horizon=2.5 must be a whole number"),
        (
            "run=trained suite=behaviour_cloning suite.behaviour_cloning.task=dance",
            "suite.behaviour_cloning.task=['dance'] are not known",
        ),
        (
            "run=trained suite=counterfactual suite.counterfactual.severities=[1]",
            "must begin with 0",
        ),
        ("run=trained suite=video suite.video.lpips_path=file", "needs suite.video.lpips_sha256"),
        (
            "run=trained suite=video suite.video.num_prompt_frames=16",
            "the model sees 16 frames at once",
        ),
        (f"run=trained {RLDS} data.views=[gone]", "there is no camera gone in rlds"),
    ],
    "imagine": [
        ("run=[trained,trained]", "names a run twice"),
        ("run=trained num_episodes=-1", "num_episodes=-1 must be at least 0"),
        ("run=trained start=-1", "start=-1 must be at least 0"),
        ("run=trained horizon=0", "horizon=0 and num_prompt_frames=1 must be at least 1"),
        ("run=trained actions=gone", "actions=gone is not inferred"),
        ("run=trained horizon=2 actions=[0,8]", "actions= wants codes 0..7"),
        ("run=trained horizon=1 actions=[[0,0]]", "actions= wants 7 finite numbers each"),
        ("run=[trained,untrained] actions=random", "actions=random steers by codes"),
        ("run=trained prompt=[]", "prompt=[] names no image"),
        ("run=trained prompt=file actions=robot", "after an image there are none"),
        ("run=trained world_model=gone", "world_model=gone is not known"),
        ("run=trained device=gone", "device=gone is no device"),
    ],
    "play": [
        ("run=trained port=65536", "port=65536 must be from 0 to 65535"),
        ("run=trained episode=-1", "episode=-1 must be at least 0"),
        ("run=trained allowed_hosts=[http://a]", "allowed_hosts: 'http://a' is no host name"),
        ("run=trained world_model=gone", "world_model=gone is not known"),
        ("run=trained device=cuda:x", "device=cuda:x is no device"),
    ],
    "convert": [
        (f"{RLDS} to=lerobot output=new data.source.camera=gone", "data.source.camera wants gone"),
        (f"{RLDS} to=rlds output=new images=video", "images=video is not possible in RLDS"),
        (f"{RLDS} to=rlds output=new columns=[gone]", "columns names gone"),
        (f"{RLDS} to=rlds output=rlds/new", "output=rlds/new is inside the dataset"),
    ],
    "inspect": [
        ("output=new", "inspect needs a dataset"),
        ("path=rlds write=mine.yaml", "write=mine.yaml could not be chosen by name"),
        ("path=rlds num_episodes=-1", "num_episodes=-1 must be 0 or more"),
        (f"{RLDS} data.source.camera=gone", "data.source.camera wants gone"),
    ],
    "compare": [
        ("folder=new", "there is nothing to compare"),
        ("runs=[trained] columns={a:b}", "'b' is not the address of a number"),
        ("runs=[trained] horizontal=a", "comparison.horizontal='a' must be the title of one"),
        ("runs=[trained] curve=eval/a/b", "comparison.curve='eval/a/b' must be logged"),
    ],
    "report": [("", "report needs a value for run")],
    "view": [
        ("", "view needs one of run=FOLDER"),
        ("run=a path=b", "view needs one of run=FOLDER"),
        ("path=seen.rrd serve=true port=0", "port=0 must be between 1 and 65534"),
        ("path=seen.rrd serve=true port=65535", "port=65535 must be between 1 and 65534"),
        ("path=a trial=b", "trial=POLICY/TASK/EPISODE is one of a run"),
        ("run=a results=b", "results=b holds trials: give trial=POLICY/TASK/EPISODE too"),
    ],
    "record": [
        ("path=new control_hz=0", "control_hz=0.0 must be from 0.1 to 1000"),
        ("path=new image_size=0", "image_size=0 must be from 8 to 4096"),
        ("path=new seed=-1", "seed=-1 must be at least 0"),
        ("path=new num_workers=-2", "num_workers=-2 must be from 0 to 1024"),
        ("path=new robot=gone", "robot=gone is not known"),
    ],
}
"""The same of wrong settings, which have status 2."""
LINES = [
    (name, *case, status)
    for status, lines in ((cli.FAILED, AT_ONCE), (cli.USAGE, WRONG_WORDS))
    for name, cases in lines.items()
    for case in cases
]

ONE_EACH = {name: (words, status) for name, words, _, status in LINES}
"""The last line of every command."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_rlds: Any) -> Path:
    """A working directory with runs, datasets, an empty folder and a file."""
    monkeypatch.chdir(tmp_path)
    for name in ("trained", "untrained", "ready"):
        run = RunFolder.at(name)
        run.path.mkdir()
        path = "rlds" if name == "ready" else f"{name}/dataset"
        data = DataConfig(path=path, source=Source(camera="observation/image"))
        write_config(run, TrainConfig(run=name, data=data))
    for part in ("tokenizer", "latent_action", "dynamics"):
        for name in ("trained", "ready"):
            weights = RunFolder.at(name).part(part)
            weights.parent.mkdir(exist_ok=True)
            weights.touch()
    Path("empty").mkdir()
    shutil.copytree(toy_rlds.folder, "rlds")
    write_v3(Path("lerobot"), [make_demo(4)])
    Path("file").touch()
    Path("seen.rrd").write_bytes(b"RRF2\x00\x01\x00\x00")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def content(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_they_import_nothing_slow_and_write_nothing(place):
    program = (
        "import json, sys\n"
        "from genie_robo.cli import main\n"
        "from genie_robo.commands.command import Command\n"
        "Command.load_run = lambda command: sys.exit(f'{command.name} has started')\n"
        f"for name, words, *_ in {LINES!r}:\n"
        "    line = [name, *words.split()]\n"
        "    print('@', *line, file=sys.stderr)\n"
        "    status = main(line)\n"
        f"    slow = sorted({HEAVY} & set(sys.modules))\n"
        "    print(json.dumps([line, status, slow]))\n"
    )
    before = content(place)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert content(place) == before
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(LINES)
    for (line, status, slow), (*_, wanted) in zip(results, LINES, strict=True):
        assert (status, slow) == (wanted, []), line
    said = done.stderr.split("@ ")[1:]
    for (name, words, message, _), text in zip(LINES, said, strict=True):
        assert message in text, (name, words, text)
        assert len(text.strip().splitlines()) == 2, text  # the line, and one paragraph


def cpu_seconds(line: list[str], status: int) -> float:
    """Of a command line in a process of its own; it must end with this status."""
    # The modules that the first of several processes compiles are there for the others.
    env = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONDONTWRITEBYTECODE"}}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "genie_robo", *line], capture_output=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, done.stderr.decode()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), ONE_EACH.items())
def test_a_refusal_takes_less_than_a_second_and_a_half(place, name, case):
    words, status = case
    seconds = [cpu_seconds([name, *words.split()], status) for _ in range(2)]
    assert min(seconds) < 1.5


def test_every_command_that_reads_or_writes_is_tried():
    assert AT_ONCE.keys() == COMMANDS.keys() - {"doctor", "datasets", "completion"}


@pytest.fixture
def locked(runs, tmp_path):
    """A run and an empty folder that another process writes into."""
    script = (
        "import sys; from genie_robo.run_folder import RunFolder\n"
        "from genie_robo.run_lock import only_writer\n"
        "with only_writer(*map(RunFolder.at, sys.argv[1:])):\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    folders = [str(runs[0]), str(tmp_path / "begun")]
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script, *folders]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        yield folders
        writer.communicate()


def test_a_second_writer_is_refused_in_one_paragraph(locked, run_cli, tmp_path):
    run, begun = locked
    dataset = RunFolder.at(run).path.parent / "dataset"
    lines = [
        f"eval run={run} suite=tokenizer fast=true",
        f"imagine run={run} num_episodes=1 horizon=1",
        f"tokenize run={run}",
        f"train run={begun} data.path={dataset} engine=exact",
        f"demo run={begun} experiment=smoke",
    ]
    before = content(Path(run).parent), content(Path(begun))
    for line in lines:
        outcome = run_cli(*line.split())
        assert outcome.status == cli.FAILED, line
        (error,) = [text for text in outcome.err.splitlines() if not text.startswith("INFO ")]
        assert error.startswith("error: another process of genie-robo is writing into "), line
    assert (content(Path(run).parent), content(Path(begun))) == before


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("imagine -m run=trained num_episodes=-1,-2", cli.USAGE),
        ("imagine -m run=trained,new num_episodes=-1", cli.USAGE),
        ("imagine -m run=trained,new num_episodes=0", cli.FAILED),
        (
            "demo -m experiment=[scaling_batch,smoke] world_model.batch_size=1,3 "
            "engine.accumulate=2 comparison.folder=new",
            cli.USAGE,
        ),
    ],
)
def test_a_sweep_of_usage_errors_alone_is_one(place, run_cli, line, status):
    before = content(place)
    outcome = run_cli(*line.split())
    assert outcome.status == status
    assert outcome.err.count("error: ") == 2
    assert content(place) == before
