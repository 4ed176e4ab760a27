"""Configuration as YAML files: those that come with the package, and the one of a run."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genie_robo.command_line import without_secrets
from genie_robo.config_tree import from_tree, to_tree
from genie_robo.data.settings import DataConfig, DatasetConfig
from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.run_paths import from_stored, to_stored
from genie_robo.stored_files import read_yaml_text
from genie_robo.train.settings import TrainConfig

ConfigT = TypeVar("ConfigT")
_ANY_DATASET = {"rlds", "lerobot"}
"""data=rlds names no columns."""


def conf_dir() -> Path:
    """The YAML files: inside the installed package, or at the top of the repository.

    Raises:
        FileNotFoundError: Neither is there, so the installation is broken.
    """
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "demo.yaml").exists():
            return folder
    raise FileNotFoundError(
        f"the configuration files of genie_robo are missing: neither {package / 'conf'} nor "
        f"{package.parent / 'conf'} holds demo.yaml; install the package again"
    )


def known_datasets() -> list[str]:
    """Names of the datasets whose columns are known: those of conf/data, without the open ones."""
    names = {path.stem for path in (conf_dir() / "data").glob("*.yaml")}
    return sorted(names - _ANY_DATASET)


def read_dataset_config(name: str, *, path: str) -> DatasetConfig:
    """How a dataset of conf/data is read, at a path.

    Raises:
        ValueError: There is none of this name.
    """
    known = known_datasets()
    if name not in known:
        close = get_close_matches(name, known, n=3) or known
        raise ValueError(f"data={name} is no dataset of conf/data; choose {', '.join(close)}")
    settings = yaml.safe_load(read_yaml_text(conf_dir() / "data" / f"{name}.yaml"))
    return from_plain(DatasetConfig, {**settings, "path": path})


def read_dataset_file(file: Path) -> DataConfig:
    """How a dataset is read, from a file of one's own, as `genie-robo inspect write=` writes it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file does not fit, or takes settings from others.
    """
    try:
        settings = yaml.safe_load(read_yaml_text(file))
        if isinstance(settings, dict) and "defaults" in settings:
            raise ValueError("it takes settings from other files; write all of them into it")
        return from_plain(DataConfig, settings)
    except (YAMLError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{file} does not say how a dataset is read: {reason}") from error


def write_config(run: RunFolder, config: TrainConfig) -> None:
    """Write the configuration of a run, atomically, with paths that stay right when it is moved."""
    tree = OmegaConf.merge(to_tree(TrainConfig), as_text(plain(to_stored(config, run))))
    write_atomic(run.config, OmegaConf.to_yaml(tree, resolve=True))


def read_config(run: RunFolder, schema: type[TrainConfig]) -> TrainConfig:
    """The configuration that a run was made with, checked against its dataclass.

    Its paths can be opened from this working directory. Text is taken as it is: `${...}` neither
    reads the environment nor refers to another setting.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: The file does not fit the dataclass.
    """
    if not run.config.exists():
        raise FileNotFoundError(
            f"{run.path} is not a run folder: {run.config} is missing. Name a folder that "
            "`genie-robo train` or `genie-robo demo` has made, as run=FOLDER"
        )
    try:
        return from_stored(
            from_plain(schema, OmegaConf.load(StringIO(read_yaml_text(run.config)))), run
        )
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{run.config} does not describe a {schema.__name__}: {reason}. It was edited or "
            "written by another version of genie_robo"
        ) from error


def from_plain(schema: type[ConfigT], stored: Any) -> ConfigT:
    """A configuration from nested dictionaries or a tree, checked against its dataclass.

    Text is taken as it is: interpolations and resolvers are off.

    Raises:
        ValueError: Something does not fit.
    """
    try:
        container = OmegaConf.to_container(stored) if OmegaConf.is_config(stored) else stored
        if not isinstance(container, dict):
            raise ValueError("it is no mapping of settings")
        return from_tree(OmegaConf.merge(to_tree(schema), as_text(_upgrade(container))))
    except (OmegaConfBaseException, OverflowError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error


def as_text(value: Any) -> Any:
    """Nested values in which OmegaConf reads `${` as two characters."""
    match value:
        case dict():
            return {as_text(key): as_text(inner) for key, inner in value.items()}
        case list():
            return [as_text(inner) for inner in value]
        case str():
            return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
        case _:
            return value


_EARLIER = {"tokenizer": {"skips": False, "colour_weight": 0.0}, "dynamics": {"copies": False}}
"""Settings that are newer than some stored configurations, with what they were before."""


def _upgrade(plain: dict[Any, Any]) -> dict[Any, Any]:
    """Convert settings of earlier versions to those of this one.

    `latent_action` had a switch `jacobian`, and null for settings implied by target and flow.
    Today's `latent_action_labels` were `labels`. The tokenizer skipped nothing and weighed all
    colours alike, and the dynamics did not copy.
    """
    if isinstance(plain.get("labels"), dict):
        others = {name: value for name, value in plain.items() if name != "labels"}
        plain = others | {"latent_action_labels": plain["labels"]}
    model = plain.get("model", plain)
    latent_action = model.get("latent_action") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(latent_action, dict):
        return plain
    latent_action = dict(latent_action)
    if latent_action.pop("jacobian", False):
        raise ValueError("model.latent_action.jacobian=true is not supported any more")
    is_tokens = latent_action.get("input") == "tokens"
    target = latent_action.get("target") or ("frame" if is_tokens else "change")
    flow = latent_action.get("flow")
    flow = target == "change" if flow is None else flow
    implied = {
        "target": target,
        "flow": flow,
        "sees_flow": target == "change",
        "decoder_sees_code": not flow,
    }
    given = {name: value for name, value in latent_action.items() if value is not None}
    upgraded = model | {"latent_action": implied | given}
    for part, defaults in _EARLIER.items():
        if isinstance(settings := model.get(part), dict):
            upgraded[part] = defaults | settings
    return plain | {"model": upgraded} if "model" in plain else upgraded


def config_differences(old: Any, new: Any) -> list[str]:
    """`key: old -> new` for every setting in which two configurations or mappings differ."""
    before, after = _flatten(plain(old)), _flatten(plain(new))
    return [
        without_secrets(f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}")
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def plain(settings: Any) -> Any:
    """Settings as read back from JSON: dataclasses as objects, enums by name, tuples as lists."""
    return json.loads(json.dumps(settings, default=_to_json, sort_keys=True))


def _to_json(item: Any) -> Any:
    return item.name if isinstance(item, Enum) else asdict(item)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
