"""What a conversion keeps of a dataset, its names in the other format, and the settings to read it.

RLDS separates names with slashes, LeRobot with dots, and LeRobot puts cameras below
observation.images: observation/image is observation.images.image, action/world_vector is
action.world_vector.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genie_robo.data.features import Feature
from genie_robo.data.lerobot_layout import BOOKKEEPING, TASK, TIMESTAMP, LeRobotSchema
from genie_robo.data.schema import Schema
from genie_robo.data.settings import DatasetFormat, ImageStorage, Source
from genie_robo.data.sources import Part, check_source, source_keys

INSTRUCTION = {DatasetFormat.rlds: "language_instruction", DatasetFormat.lerobot: TASK}
"""The column of the instruction, one text for every step."""
_CAMERA = "observation.images."
_STEP_FLAGS = ("is_first", "is_last")
"""Columns of RLDS that follow from the length of an episode, and are written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptColumn:
    """A column that is kept."""

    key: str
    """Its name in the source."""
    name: str
    """Its name in what is written."""
    feature: Feature


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """What is kept, and how it is read afterwards."""

    numbers: tuple[KeptColumn, ...]
    texts: tuple[KeptColumn, ...]
    """Other texts than the instruction."""
    cameras: tuple[KeptColumn, ...]
    source: Source
    """How the dataset is read, without the state of a simulator, whose scene is not kept."""
    written: Source
    """How what is written is read: the same episodes under other names."""
    left_out: tuple[str, ...]
    """Readable columns that are not kept."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        extra = (column.key for column in (*self.numbers, *self.texts, *self.cameras))
        return tuple(dict.fromkeys([*source_keys(self.source), *extra]))


def plan_conversion(
    schema: Schema, source: Source, *, to: DatasetFormat, columns: Sequence[str] = ()
) -> ConversionPlan:
    """Decide what is kept: what the source names, and further columns.

    Args:
        schema: The dataset to convert.
        source: Its camera, action, pose and so on. A rate of 0 becomes the folder's own.
        to: The format to write.
        columns: Keys of further columns of numbers or text.

    Raises:
        KeyError: A key is not there.
        ValueError: The source does not fit, a column cannot be kept, two would have one name, or
            the steps per second are unknown, which LeRobot needs.
    """
    source = replace(schema.complete(source), sim_state="")
    check_source(source, schema.features)
    _check_rate(source, to)
    further = [key for key in columns if key not in _written_anew(to)]
    if to is DatasetFormat.rlds and isinstance(schema, LeRobotSchema):
        further += [TIMESTAMP] if TIMESTAMP in schema.features else []
    kept = {key: schema.features[key] for key in _kept_keys(schema, source, further)}
    for key, feature in kept.items():
        _check_kept(key, feature)
    names = _names(kept, schema, to)
    found = [KeptColumn(key=key, name=names[key], feature=kept[key]) for key in kept]
    is_read = {*kept, *source.instruction, *_written_anew(to)}
    return ConversionPlan(
        numbers=tuple(column for column in found if column.feature.holds_numbers),
        texts=tuple(column for column in found if column.feature.kind == "text"),
        cameras=tuple(column for column in found if column.feature.kind == "image"),
        source=source,
        written=_written_source(source, names, to),
        left_out=tuple(key for key in schema.features if key not in is_read),
    )


def choose_storage(images: ImageStorage, to: DatasetFormat) -> ImageStorage:
    """How images are written; `auto` is what is usual in the format.

    Raises:
        ValueError: The format cannot hold such images.
    """
    if images is ImageStorage.auto:
        return ImageStorage.video if to is DatasetFormat.lerobot else ImageStorage.jpeg
    if images.is_video and to is DatasetFormat.rlds:
        raise ValueError(
            f"images={images} is not possible in RLDS, which stores every image by itself; use "
            f"images={ImageStorage.jpeg} or images={ImageStorage.lossless}"
        )
    return images


def check_output(output: Path, folder: Path) -> None:
    """Refuse a place for the copy of the dataset in `folder` that is taken, or inside it.

    Raises:
        FileExistsError: There is something.
        ValueError: It is inside the dataset.
    """
    if output.exists():
        raise FileExistsError(f"{output} exists: give another output, or delete it")
    if folder.resolve() in output.resolve().parents:
        raise ValueError(f"output={output} is inside the dataset {folder}; give another folder")


def _check_rate(source: Source, to: DatasetFormat) -> None:
    if to is DatasetFormat.lerobot and source.control_hz <= 0:
        raise ValueError(
            "a LeRobot folder says how many steps there are in a second, which this dataset does "
            "not: give data.source.control_hz=HZ"
        )


def _written_anew(to: DatasetFormat) -> tuple[str, ...]:
    """Columns that follow from the order of episodes and steps in the new folder."""
    if to is DatasetFormat.lerobot:
        return (*_STEP_FLAGS, *BOOKKEEPING, TASK)
    return (*_STEP_FLAGS, *(name for name in BOOKKEEPING if name != TIMESTAMP), TASK)


def _kept_keys(schema: Schema, source: Source, further: Sequence[str]) -> list[str]:
    """Keys that the source names, without the instruction, and the further ones."""
    named = [key for key in source_keys(source) if key not in source.instruction]
    for key in further:
        if key not in schema.features:
            raise KeyError(
                f"columns names {key}, which this dataset does not have. It has: "
                f"{', '.join(sorted(schema.features))}"
            )
    return [*dict.fromkeys([*named, *further])]


def _check_kept(key: str, feature: Feature) -> None:
    if feature.why_unreadable:
        raise ValueError(f"columns names {key}, which cannot be read: {feature.why_unreadable}")
    if not (feature.is_camera or feature.holds_numbers or feature.kind == "text"):
        raise ValueError(f"{key} is {feature}; only numbers, text and colour images are converted")


def _names(kept: Mapping[str, Feature], schema: Schema, to: DatasetFormat) -> dict[str, str]:
    """Names in the new format by key."""
    is_lerobot = isinstance(schema, LeRobotSchema)
    if is_lerobot == (to is DatasetFormat.lerobot):
        names = {key: key for key in kept}
    elif is_lerobot:
        names = _rlds_names(kept)
    else:
        names = {key: _lerobot_name(key, feature) for key, feature in kept.items()}
    taken = Counter([*names.values(), *_written_anew(to), INSTRUCTION[to]])
    if shared := [f"{key} as {name}" for key, name in names.items() if taken[name] > 1]:
        raise ValueError(
            f"names are used twice or belong to {to}: {', '.join(shared)}; leave one of them out"
        )
    return names


def _lerobot_name(key: str, feature: Feature) -> str:
    if feature.kind == "image":
        return _CAMERA + key.removeprefix("observation/").replace("/", ".")
    return key.replace("/", ".")


def _rlds_names(keys: Iterable[str]) -> dict[str, str]:
    names = {key: key.replace(_CAMERA, "observation.").replace(".", "/") for key in keys}
    # RLDS has no column and group of one name, such as action and action/joints.
    return {
        key: name.replace("/", "_") if _is_inside(name, names.values()) else name
        for key, name in names.items()
    }


def _is_inside(name: str, others: Iterable[str]) -> bool:
    return any(name.startswith(f"{other}/") for other in others)


def _written_source(source: Source, names: Mapping[str, str], to: DatasetFormat) -> Source:
    """The source with the new names; images are RGB."""

    def renamed(section: Any, prefix: str, parts: Iterable[str]) -> Any:
        texts = {part: getattr(section, part) for part in parts}
        keys = {
            part: Part.parse(text, setting=f"{prefix}.{part}").key
            for part, text in texts.items()
            if text
        }
        # What is not read, such as the action of motion=pose_change, is not there any more.
        found = {
            part: names[key] + texts[part].removeprefix(key) if key in names else ""
            for part, key in keys.items()
        }
        return replace(section, **found)

    return replace(
        source,
        camera=names[source.camera],
        cameras={name: names[key] for name, key in source.cameras.items()},
        bgr=(),
        action=renamed(source.action, "action", ("translation", "rotation", "gripper", "joints")),
        pose=renamed(source.pose, "pose", ("position", "rotation", "gripper", "joints")),
        instruction=(INSTRUCTION[to],) if source.instruction else (),
    )
