"""Every YAML file composes, and every command explains every one of its settings."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from genie_robo import config
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.help import list_choices
from genie_robo.commands.settings import describe_type, field_meanings, list_settings
from genie_robo.commands.table import command_names, load_command
from genie_robo.config_file import conf_dir, config_differences, plain
from genie_robo.config_tree import editable

COMMANDS = command_names()
REQUIRED = {
    "table": "trials.csv",
    "run": "runs/x",
    "path": "datasets/x",
    "data.path": "datasets/x",
    "output": "exported/x",
    "to": "lerobot",
    "shell": "bash",
}
GROUPS = sorted(path.relative_to(conf_dir()) for path in conf_dir().glob("*/*.yaml"))
USER_OF_GROUP = {
    "data": ("train", "data"),
    "model": ("train", "model"),
    "engine": ("train", "engine"),
    "optim": ("train", "optim@world_model.optim"),
    "suite": ("eval", "suite"),
    "experiment": ("demo", "experiment"),
    "variant": ("demo", "variant"),
}


def required(name: str) -> list[str]:
    settings = {setting.path for setting in list_settings(load_command(name).config)}
    return [f"{key}={value}" for key, value in REQUIRED.items() if key in settings]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_composes(name):
    command = load_command(name)
    wanted = [word for word in required(name) if not (name == "eval" and "data.path" in word)]
    built = to_config(command, compose_config(command, wanted))
    assert type(built) is command.config


# Files of conf/data differ in values only; tests/data/test_data_conf.py loads each of them.
@pytest.mark.parametrize(
    "path",
    [path for path in GROUPS if path.parent.name != "data" or path.stem in ("tabletop", "rlds")],
    ids=str,
)
def test_every_option_of_every_group_composes(path: Path):
    name, key = USER_OF_GROUP[path.parent.name]
    command = load_command(name)
    overrides = [f"{key}={path.stem}", *required(name)]
    if name == "eval":
        overrides.remove("data.path=datasets/x")
    if path == Path("data/rlds.yaml"):
        overrides.append("data.source.camera=observation/image")
    composed = compose_config(command, overrides)
    assert type(to_config(command, composed)) is command.config


def test_every_group_belongs_to_a_command():
    assert {path.parent.name for path in GROUPS} == set(USER_OF_GROUP)
    for group, (name, key) in USER_OF_GROUP.items():
        stems = sorted(path.stem for path in GROUPS if path.parent.name == group)
        assert list_choices(name, conf_dir())[key] == stems


EXAMPLES = [(name, line) for name in COMMANDS for line in load_command(name).examples]


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_examples_compose(name, line):
    """A sweep (-m) has lists of values, of which Hydra takes one at a time."""
    words = shlex.split(line.split("genie-robo ")[-1])
    overrides = [word for word in words if "=" in word]
    if "-m" in words:
        overrides = [word.split(",")[0] for word in overrides]
    command = load_command(name)
    assert OmegaConf.get_type(compose_config(command, overrides)) is editable(command.config)


def test_demo_names_nothing_twice():
    command = load_command("demo")
    built = to_config(command, compose_config(command, ["run=r", "seed=3", "engine=cpu"]))
    assert built.record.path == built.data.path == "r/dataset"
    assert built.imagine.run == "r"
    assert built.record.seed == built.imagine.seed == 3
    assert built.imagine.device == "cpu"
    assert built.imagine.sampler == built.sampler
    assert list(built.suite) == ["tokenizer", "latent_probe", "controllability", "sim_rollout"]


def test_default_demo_is_as_large_as_promised():
    command = load_command("demo")
    built = to_config(command, compose_config(command, []))
    assert built.record.num_episodes >= 240
    assert (built.record.num_steps, built.record.control_hz) == (40, 3.0)
    assert (built.record.image_size, built.data.image_height, built.data.image_width) == (64,) * 3


def test_composed_defaults_are_the_dataclass_defaults():
    """YAML holds differences only: a command without any takes the defaults of config/."""
    command = load_command("record")
    built = to_config(command, compose_config(command, ["path=x"]))
    assert built == config.RecordConfig(path="x")


def test_a_mixture_is_composed_from_the_same_files():
    command = load_command("train")
    words = [
        "run=r",
        "data=bridge_dataset",
        "data.path=a",
        "+data@data.mix.rt1=fractal20220817_data",
        "data.mix.rt1.path=b",
        "data.mix.rt1.weight=0.5",
        "data.mix.rt1.target_hz=3",
    ]
    data = to_config(command, compose_config(command, words)).data
    assert data.source.camera == "observation/image_0"
    assert data.mix["rt1"].source.action.translation == "action/world_vector"
    assert (data.mix["rt1"].path, data.mix["rt1"].weight, data.mix["rt1"].stride) == ("b", 0.5, 1)


def test_contradicting_settings_are_refused():
    with pytest.raises(ValueError, match=r"val_fraction=0\.7 and data\.test_fraction=0\.3"):
        replace(config.DataConfig(path="x"), val_fraction=0.7, test_fraction=0.3)
    with pytest.raises(ValueError, match="num_episodes=0 must be at least 1"):
        config.RecordConfig(path="x", num_episodes=0)


def test_yaml_of_a_group_explains_or_sets_something():
    for path in GROUPS:
        text = (conf_dir() / path).read_text()
        assert text.startswith("#") or yaml.safe_load(text)


def test_meanings_are_read_below_the_fields():
    meanings = field_meanings(config.Source)
    assert meanings["camera"] == "For example observation/image."
    assert "gripper" not in meanings


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (list[str], "list of str"),
        (dict[str, int], "mapping"),
        (int | None, "int|null"),
        (config.Precision, "auto|fp32|bf16"),
        (config.DataConfig | None, "DataConfig"),
    ],
)
def test_types_are_described_as_values_are_written(hint, text):
    assert describe_type(hint) == text


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("compare", "columns"),
        ("demo", "comparison.columns"),
        ("train", "data.source.cameras"),
    ],
)
def test_a_mapping_takes_keys_of_its_own(name, key):
    command = load_command(name)
    mapping = {"wrist view": "observation/wrist", "front": "observation/front"}
    words = ", ".join(f"{title}: {address}" for title, address in mapping.items())
    composed = compose_config(command, [f"{key}={{{words}}}"])
    assert dict(OmegaConf.select(composed, key)) == mapping


def test_settings_are_compared_as_json_gives_them_back():
    settings = {"gripper": config.Gripper.open_one, "sizes": (1, 2)}
    assert plain(settings) == {"gripper": "open_one", "sizes": [1, 2]}
    assert config_differences(
        {"gripper": "open_one"}, {"gripper": config.Gripper.closed_one, "new": 1}
    ) == [
        "gripper: open_one -> closed_one",
        "new: unset -> 1",
    ]
