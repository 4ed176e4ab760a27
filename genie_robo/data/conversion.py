"""An RLDS or LeRobot folder, written again in either format and compared with the original.

What is kept is decided in `conversion_plan`. Memory is bounded by one episode.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from genie_robo.atomic import replacing
from genie_robo.data.conversion_plan import (
    INSTRUCTION,
    ConversionPlan,
    check_output,
    choose_storage,
    plan_conversion,
)
from genie_robo.data.dataset import EpisodeDataset, step_instructions
from genie_robo.data.features import Feature
from genie_robo.data.formats import index_folder
from genie_robo.data.images import JPEG_START, png_bytes
from genie_robo.data.lerobot_writer import LeRobotEpisode, LeRobotWriter
from genie_robo.data.metadata import open_folder
from genie_robo.data.rlds_writer import RldsColumnsWriter
from genie_robo.data.settings import DatasetFolder, DatasetFormat, ImageStorage, Source
from genie_robo.data.transforms import decode_frames, stored_size
from genie_robo.progress import progress_bar
from genie_robo.types import Episode, StoredImage, VideoFrame
from genie_robo.video_files import spread

_JPEG_QUALITY = 95
_AT_ONCE = 16
"""Frames that are decoded at once."""
_SEEN = 4
"""Frames of an episode that the statistics of pixels are made of."""
_COMPARED, _COMPARED_FRAMES = 5, 3
"""Episodes, and frames of each camera in them, that are compared after writing."""
_MOST_LOSS = 32.0
"""Levels of 255, on average over a frame, from which on it is another picture."""
_ACCURACY = 1e-6
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_NO_NAME = re.compile(r"\W+", re.ASCII)
_TEXT = Feature(kind="text", dtype="string", shape=())

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was written, and how it compares."""

    folder: Path
    source: Source
    """How it is read."""
    num_episodes: int
    num_steps: int
    num_compared: int
    """Episodes that were read back and compared with the original."""
    loss: float
    """Mean distance of compared frames from the original, in levels of 255; 0 where all are equal.
    """


def convert_dataset(
    data: DatasetFolder,
    output: Path,
    *,
    to: DatasetFormat,
    images: ImageStorage = ImageStorage.auto,
    columns: Sequence[str] = (),
) -> Conversion:
    """Write a dataset in another format; the folder appears once it is complete and checked.

    Args:
        data: The dataset, and how it is read.
        output: The folder to write. It must not exist.
        to: Its format.
        images: How images are stored.
        columns: Keys of further columns to keep, besides those that the source names.

    Raises:
        FileExistsError: There is something at the output's place.
        FileNotFoundError: There is no dataset.
        KeyError: A key is not there.
        RuntimeError: What was written does not read like the original.
        ValueError: The dataset or a setting does not fit, or too many episodes are unreadable.
    """
    storage = choose_storage(images, to)
    schema = open_folder(data.path, data.rlds_splits, data.shards)
    check_output(output, schema.folder)
    plan = plan_conversion(schema, data.source, to=to, columns=columns)
    dataset = EpisodeDataset(
        index_folder(schema, plan.keys), plan.source, bad_episode_limit=data.bad_episode_limit
    )
    original = _Original(dataset, plan, data.max_image_pixels)
    _log.info("left out: %s", ", ".join(plan.left_out) or "nothing")
    with replacing(output) as temporary:
        temporary.mkdir()
        with closing(_open_writer(temporary, output, original, to, storage)) as writer:
            written = _write_all(original, writer)
            writer.finish()
        found = _compare(original, written, temporary, is_exact=storage.is_exact)
    return replace(found, folder=output)


class _Camera(NamedTuple):
    """The images of a camera in one episode."""

    stored: Sequence[StoredImage]
    size: tuple[int, int]
    """Height and width."""
    is_bgr: bool
    max_pixels: int

    def frames(self, steps: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """RGB frames, decoded a few at a time."""
        for start in range(0, len(steps), _AT_ONCE):
            yield from decode_frames(
                [self.stored[step] for step in steps[start : start + _AT_ONCE]],
                image_size=self.size,
                is_bgr=self.is_bgr,
                max_pixels=self.max_pixels,
            )

    def encoded(self, step: int, storage: ImageStorage) -> bytes:
        """JPEG or PNG: as it is stored where that is what is wanted, else encoded anew."""
        image, is_lossless = self.stored[step], storage is ImageStorage.lossless
        if isinstance(image, bytes) and not self.is_bgr:  # noqa: SIM102 (types are found out so)
            if is_lossless or image.startswith(JPEG_START):
                return image
        (frame,) = self.frames([step])
        return png_bytes(frame) if is_lossless else _jpeg_bytes(frame)

    @property
    def steps(self) -> range:
        """All of them."""
        return range(len(self.stored))


class _Stored(NamedTuple):
    """One episode of the original, by the names of what is written."""

    columns: dict[str, Any]
    """Numbers and texts of every step."""
    cameras: Mapping[str, _Camera]
    tasks: list[str]
    """Of every step; none where the dataset has no instructions."""
    num_steps: int
    source_id: str


class _Original:
    """The dataset that is converted."""

    def __init__(self, dataset: EpisodeDataset, plan: ConversionPlan, max_pixels: int) -> None:
        self.dataset, self.plan, self._max_pixels = dataset, plan, max_pixels

    def read(self, i: int) -> _Stored:
        """One episode, images still encoded.

        Raises:
            ValueError: It is damaged, or an image has another size than the first one.
        """
        steps = self.dataset.columns(i).steps
        columns: dict[str, Any] = {kept.name: steps[kept.key] for kept in self.plan.numbers}
        for kept in self.plan.texts:
            columns[kept.name] = [_to_text(text) for text in steps[kept.key]]
        return _Stored(
            columns=columns,
            cameras={kept.name: self._camera(steps, kept.key) for kept in self.plan.cameras},
            tasks=step_instructions(steps, self.plan.source),
            num_steps=steps.num_steps,
            source_id=self.dataset.episode_ids[i],
        )

    def first(self) -> _Stored:
        """The first episode that can be read, which says how large images are.

        Raises:
            ValueError: There is none.
        """
        reason = "there is none"
        for i in range(len(self.dataset)):
            try:
                found = self.read(i)
                for camera in found.cameras.values():
                    next(camera.frames([0]))
                return found
            except ValueError as error:
                reason = str(error)
        raise ValueError(f"no episode of {self.dataset.folder} can be read: {reason}")

    def camera(self, episode: Episode, name: str) -> _Camera:
        """A camera of an opened episode."""
        return self._check(episode.images[name], is_bgr=name in episode.bgr_cameras)

    def _camera(self, steps: Mapping[str, Any], key: str) -> _Camera:
        return self._check(tuple(steps[key]), is_bgr=key in self.plan.source.bgr)

    def _check(self, stored: Sequence[StoredImage], *, is_bgr: bool) -> _Camera:
        size = stored_size(stored[0], max_pixels=self._max_pixels)
        for step, image in enumerate(stored):
            if isinstance(image, VideoFrame):
                break
            found = stored_size(image, max_pixels=self._max_pixels)
            if found != size:
                raise ValueError(f"the image of step {step} has {found} pixels, the first {size}")
        return _Camera(stored, size, is_bgr, self._max_pixels)


class _LeRobot:
    """Episodes to a LeRobot folder."""

    def __init__(self, folder: Path, original: _Original, storage: ImageStorage) -> None:
        plan, first = original.plan, original.first()
        self._storage = storage
        encoding = "video" if storage.is_video else ""
        self._writer = LeRobotWriter(
            folder,
            fps=plan.written.control_hz,
            features=_features(plan)
            | {name: _image(camera, encoding) for name, camera in first.cameras.items()},
            is_lossless=storage.is_exact,
        )

    def write(self, episode: _Stored) -> None:
        """Append one episode."""
        cameras = episode.cameras.items()
        is_video = self._storage.is_video
        seen = {name: spread(episode.num_steps, most=_SEEN) for name in episode.cameras}
        self._writer.write(
            LeRobotEpisode(
                columns=episode.columns | ({} if is_video else _encode(episode, self._storage)),
                videos={name: camera.frames(camera.steps) for name, camera in cameras}
                if is_video
                else {},
                seen={name: np.stack([*camera.frames(seen[name])]) for name, camera in cameras},
                tasks=episode.tasks or [""] * episode.num_steps,
                source_id=episode.source_id,
            )
        )

    def finish(self) -> None:
        self._writer.finish()

    def close(self) -> None:
        self._writer.close()


class _Rlds:
    """Episodes to an RLDS folder."""

    def __init__(
        self, folder: Path, output: Path, original: _Original, storage: ImageStorage
    ) -> None:
        plan, first = original.plan, original.first()
        self._storage = storage
        is_version = _VERSION.fullmatch(output.name)
        name = output.resolve().parent.name if is_version else output.name
        images = {name: camera.encoded(0, storage) for name, camera in first.cameras.items()}
        encodings = {
            name: "jpeg" if image.startswith(JPEG_START) else "png"
            for name, image in images.items()
        }
        instruction = {INSTRUCTION[DatasetFormat.rlds]: _TEXT} if plan.source.instruction else {}
        self._writer = RldsColumnsWriter(
            folder,
            name=_NO_NAME.sub("_", name).lower() or "converted",
            version=output.name if is_version else "1.0.0",
            description=f"Converted from {original.dataset.folder.name}.",
            columns=_features(plan)
            | {name: _image(c, encodings[name]) for name, c in first.cameras.items()}
            | instruction,
        )
        self._has_instruction = bool(instruction)

    def write(self, episode: _Stored) -> None:
        """Append one episode."""
        columns = episode.columns | _encode(episode, self._storage)
        if self._has_instruction:
            tasks = episode.tasks or [""] * episode.num_steps
            columns[INSTRUCTION[DatasetFormat.rlds]] = tasks
        self._writer.write(columns, source_id=episode.source_id)

    def finish(self) -> None:
        self._writer.finish()

    def close(self) -> None:
        self._writer.close()


def _open_writer(
    folder: Path, output: Path, original: _Original, to: DatasetFormat, storage: ImageStorage
) -> _LeRobot | _Rlds:
    if to is DatasetFormat.lerobot:
        return _LeRobot(folder, original, storage)
    return _Rlds(folder, output, original, storage)


def _write_all(original: _Original, writer: _LeRobot | _Rlds) -> list[int]:
    """Write every readable episode, and return their numbers.

    Raises:
        ValueError: Too many are unreadable.
    """
    dataset, written = original.dataset, []
    sizes = {name: camera.size for name, camera in original.first().cameras.items()}
    total = int(dataset.lengths.sum())
    with progress_bar("convert", total=total, unit="steps") as advance:
        for i in range(len(dataset)):
            try:
                episode = original.read(i)
                _check_sizes(episode, sizes)
                writer.write(episode)
                written.append(i)
            except ValueError as error:
                dataset.skip(i, str(error))
            advance(int(dataset.lengths[i]))
    return written


def _check_sizes(episode: _Stored, sizes: Mapping[str, tuple[int, int]]) -> None:
    for name, camera in episode.cameras.items():
        if camera.size != sizes[name]:
            (height, width), (first_height, first_width) = camera.size, sizes[name]
            raise ValueError(
                f"its images {name} have {width} x {height} pixels, but those of the first episode "
                f"{first_width} x {first_height}; all episodes of a dataset have the same sizes"
            )


def _compare(
    original: _Original, written: Sequence[int], folder: Path, *, is_exact: bool
) -> Conversion:
    """Open what was written, and compare a sample of it with the original.

    Raises:
        RuntimeError: Numbers of episodes or steps, actions, poses, instructions or frames differ.
    """
    dataset, plan = original.dataset, original.plan
    schema = open_folder(folder)
    keys = [kept.name for kept in (*plan.numbers, *plan.texts, *plan.cameras)]
    index = index_folder(schema, [*keys, *plan.written.instruction])
    lengths = [entry.num_steps for entry in index.entries]
    if lengths != [int(dataset.lengths[i]) for i in written]:
        raise _differs(f"has {len(lengths)} episodes of {sum(lengths)} steps")
    copy = EpisodeDataset(index, plan.written, bad_episode_limit=0.0)
    place = {entry.episode_id: n for n, entry in reversed([*enumerate(index.entries)])}
    losses = []
    compared = spread(len(copy), most=_COMPARED)
    for k in compared:
        ours, theirs = copy[k], dataset[written[place[copy.episode_ids[k]]]]
        _check_numbers(ours, theirs)
        losses += _losses(original, ours, theirs)
    if max(losses) > (0.0 if is_exact else _MOST_LOSS):
        raise _differs(f"has frames that are {max(losses):.1f} of 255 levels away")
    return Conversion(
        folder=folder,
        source=plan.written,
        num_episodes=len(lengths),
        num_steps=sum(lengths),
        num_compared=len(compared),
        loss=float(np.mean(losses)),
    )


def _check_numbers(ours: Episode, theirs: Episode) -> None:
    """Compare what two episodes hold besides frames."""
    if (ours.instruction, ours.control_hz) != (theirs.instruction, theirs.control_hz):
        raise _differs(f"has the instruction {ours.instruction!r} at {ours.control_hz} Hz")
    for name in ("robot_actions", "end_effector_pose", "joints", "joint_starts"):
        one, other = getattr(ours, name), getattr(theirs, name)
        if (one is None) != (other is None):
            raise _differs(f"lacks or adds {name}")
        is_equal = one is None or np.allclose(one[:-1], other[:-1], rtol=_ACCURACY, atol=_ACCURACY)
        if not is_equal:
            raise _differs(f"has other {name} in the episode {theirs.episode_id}")


def _losses(original: _Original, ours: Episode, theirs: Episode) -> Iterator[float]:
    """Mean distances of some frames of every camera, in levels."""
    for name in original.plan.source.camera_keys:
        one, other = original.camera(ours, name), original.camera(theirs, name)
        steps = spread(theirs.num_steps, most=_COMPARED_FRAMES)
        for mine, wanted in zip(one.frames(steps), other.frames(steps), strict=True):
            yield float(np.abs(mine.astype(np.int16) - wanted).mean())


def _differs(how: str) -> RuntimeError:
    return RuntimeError(f"what was written {how}, unlike the original; nothing is kept of it")


def _features(plan: ConversionPlan) -> dict[str, Feature]:
    return {kept.name: kept.feature for kept in (*plan.numbers, *plan.texts)}


def _image(camera: _Camera, encoding: str) -> Feature:
    return Feature(kind="image", dtype="uint8", shape=(*camera.size, 3), encoding=encoding)


def _encode(episode: _Stored, storage: ImageStorage) -> dict[str, list[bytes]]:
    return {
        name: [camera.encoded(step, storage) for step in camera.steps]
        for name, camera in episode.cameras.items()
    }


def _jpeg_bytes(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=_JPEG_QUALITY)


def _to_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
