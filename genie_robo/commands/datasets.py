"""`genie-robo datasets`: the datasets that can be named as data=NAME, and a search in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from genie_robo.command_line import printable
from genie_robo.commands.console import open_console, print_rows, print_text
from genie_robo.commands.own_entries import stored_names
from genie_robo.config import DatasetConfig, DatasetsConfig
from genie_robo.config_file import conf_dir, from_plain, known_datasets, read_dataset_config
from genie_robo.data.settings import JointsMotion, Motion, Source
from genie_robo.stored_files import read_yaml_text

_MOTIONS = {
    Motion.delta: "end-effector changes",
    Motion.velocity: "end-effector velocities",
    Motion.target: "end-effector poses",
    Motion.achieved: "end-effector changes, as measured",
    Motion.pose_change: "no end-effector action, changes of the measured pose",
}
_JOINTS = {
    JointsMotion.target: "joint positions",
    JointsMotion.delta: "joint changes",
    JointsMotion.velocity: "joint velocities",
    JointsMotion.position: "joint positions",
}
_RATE = re.compile(r"[\d.]+ Hz")
_EPISODES = re.compile(r"[\d,]+ episodes")
_BYTES = re.compile(r"[\d.]+ [GMT]iB")
_HEAD = re.compile(r"(?P<title>[^(.]+?) \((?P<facts>[^)]*)\)")
"""`TITLE (FACT, FACT)`, which a file in conf/data/ begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDataset:
    """A dataset that can be named, in words."""

    name: str
    about: str
    """Its title and robot."""
    source: Source
    size: str = ""
    """Episodes and bytes, where they are known."""

    def __str__(self) -> str:
        """One line: what it is, rate, size, kind of action, further cameras."""
        source = self.source
        rate = f"{source.control_hz:g} Hz" if source.control_hz else ""
        cameras = f"cameras main, {', '.join(source.cameras)}" if source.cameras else ""
        facts = [rate, self.size, describe_actions(source), cameras]
        if source.unmapped:
            facts[2:] = [f"refused, as {source.unmapped}"]
        return printable(f"{self.about}: {', '.join(filter(None, facts))}")


def run(config: DatasetsConfig) -> None:
    """Print the datasets whose lines have all the words.

    Raises:
        ValueError: None has.
    """
    lines = {dataset.name: str(dataset) for dataset in list_datasets()}
    words = [word.lower() for word in config.words]
    found = {
        name: line
        for name, line in lines.items()
        if all(word in f"{name} {line}".lower() for word in words)
    }
    if not found:
        raise ValueError(
            f"none of {len(lines)} datasets has {' and '.join(config.words)} in its name or line. "
            "For any other folder, `genie-robo inspect path=FOLDER` proposes the settings"
        )
    console = open_console()
    print_rows(console, found)
    console.print()
    print_text(
        console,
        f"{len(found)} of {len(lines)} datasets. Train on one: genie-robo train run=runs/NAME "
        "data=NAME data.path=FOLDER",
    )


def list_datasets() -> Iterator[KnownDataset]:
    """Those of --config-dir, then those of conf/data."""
    for name in stored_names("data"):
        yield KnownDataset(name=name, about="your own", source=_own_source(name))
    for name in known_datasets():
        about, size = _read_comment(conf_dir() / "data" / f"{name}.yaml")
        source = read_dataset_config(name, path="").source
        yield KnownDataset(name=name, about=about, size=size, source=source)


def describe_actions(source: Source) -> str:
    """What the numbers of its actions are."""
    kinds = [_MOTIONS[source.action.motion]] if source.has_end_effector else []
    if source.action.joints:
        kinds.append(_JOINTS[source.action.joints_motion])
    unit = "" if source.action.in_metres or not source.has_end_effector else ", not in metres"
    return (" and ".join(kinds) or "no action") + unit


def _own_source(name: str) -> Source:
    """The source of a file of --config-dir, with what its defaults list takes from others."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = OmegaConf.to_container(compose(overrides=[f"+data={name}"]).data)
    assert isinstance(composed, dict)
    source = {"camera": "", **composed.get("source", {})}
    return from_plain(DatasetConfig, {"path": "", "source": source}).source


def _read_comment(file: Path) -> tuple[str, str]:
    """Title with robot, and size, from the comment that a file begins with."""
    lines = [line for line in read_yaml_text(file).splitlines() if line.startswith("#")]
    text = " ".join(line[1:].strip() for line in lines)
    head = _HEAD.match(text)
    facts = re.split(r"[,;] ", head["facts"]) if head else []
    measures = (_RATE, _EPISODES, _BYTES)
    robot = ", ".join(fact for fact in facts if not any(each.match(fact) for each in measures))
    title = head["title"] if head else text.partition(". ")[0].rstrip(".")
    found = (_EPISODES.search(text), _BYTES.search(text))
    return f"{title} ({robot})" if robot else title, ", ".join(each[0] for each in found if each)
