"""Episodes split by hash and cut into fixed windows, of one dataset or several."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.data.actions import compose_actions
from genie_robo.data.cache import digest
from genie_robo.data.dataset import BadEpisodeError, EpisodeDataset
from genie_robo.data.loader import EpochOrder, MixedOrder
from genie_robo.data.settings import MAX_IMAGE_PIXELS, Resize
from genie_robo.data.transforms import decode_frames
from genie_robo.types import Split, StoredImage, Window

_MIN_EPISODES = 3
_CHANNELS = 3


def split_episodes(
    episode_ids: Sequence[str], *, val_fraction: float, test_fraction: float, fold: int = 0
) -> dict[Split, tuple[int, ...]]:
    """Split episodes by a hash of their ids: whole episodes, the same on every machine.

    Ordered by hash, the first `round(test_fraction * n)` are test, the next val, the rest train;
    val and test have at least one each. Fold k is rotated by k * num_test episodes, so the test
    sets of folds 0, 1, 2, ... are disjoint.

    Raises:
        ValueError: There are too few episodes, or the test set of the fold would wrap around to
            that of an earlier one.
    """
    num_episodes = len(episode_ids)
    num_test = max(1, round(test_fraction * num_episodes))
    num_val = max(1, round(val_fraction * num_episodes))
    if num_episodes < _MIN_EPISODES or num_test + num_val >= num_episodes:
        raise ValueError(
            f"{num_episodes} episodes cannot be split into train, val and test with "
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction}: "
            f"{num_val} val and {num_test} test episodes leave none to train on; at least "
            f"{_MIN_EPISODES} are needed"
        )
    num_folds = num_episodes // num_test
    if not 0 <= fold < num_folds:
        raise ValueError(
            f"data.fold={fold} would test episodes that an earlier fold tests: {num_episodes} "
            f"episodes, {num_test} of them for testing, have folds 0 to {num_folds - 1}; give one "
            "of these, or a smaller data.test_fraction"
        )
    order = sorted(range(num_episodes), key=lambda i: _hash(episode_ids[i]))
    begin = fold * num_test
    order = order[begin:] + order[:begin]
    return {
        Split.train: tuple(order[num_test + num_val :]),
        Split.val: tuple(order[num_test : num_test + num_val]),
        Split.test: tuple(order[:num_test]),
    }


class WindowDataset:
    """All windows of some episodes, decoded on demand.

    A window starts at any step s and has the frames s, s + stride, ... of one camera; an episode
    that is too short gives one window whose last frame repeats. No window has a gap inside, where
    the times of steps jump; an episode with gaps is as several. Whole decoded episodes are cached
    until `cache_mb` is full and never evicted: windows come in random order, so eviction would not
    raise the hit rate. Other episodes decode only the frames of the window.
    """

    def __init__(
        self,
        dataset: EpisodeDataset,
        episodes: Sequence[int],
        *,
        num_frames: int,
        image_size: tuple[int, int],
        resize: Resize = Resize.stretch,
        frame_stride: int = 1,
        cache_mb: int = 512,
        camera: str = "primary",
        max_image_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        """Plan the windows; nothing is read yet.

        Args:
            dataset: The dataset that holds the episodes.
            episodes: Their indices in the dataset.
            num_frames: Frames in a window.
            image_size: Height and width of a frame, in pixels.
            resize: How images become that size.
            frame_stride: Steps between two frames.
            cache_mb: Memory for decoded episodes.
            camera: `primary`, the name of another camera, or its key.
            max_image_pixels: An episode with a larger image is unreadable.

        Raises:
            ValueError: There are no episodes, or a number is below one.
            KeyError: There is no such camera.
        """
        if not episodes or num_frames < 1 or frame_stride < 1:
            raise ValueError(
                f"windows need episodes, and num_frames={num_frames} and data.frame_stride="
                f"{frame_stride} of at least 1; got {len(episodes)} episodes"
            )
        dataset.schema.require_camera(camera, dataset.source)
        self.dataset = dataset
        self.episodes = tuple(episodes)
        self.num_frames = num_frames
        self.image_size = image_size
        self.frame_stride = frame_stride
        keys = dataset.source.camera_keys
        self.camera = {key: name for name, key in keys.items()}.get(camera, camera)
        self.resize = resize
        self.max_image_pixels = max_image_pixels
        self._is_bgr = keys.get(self.camera, camera) in dataset.source.bgr
        reach = (num_frames - 1) * frame_stride
        counts = np.maximum(dataset.lengths[list(episodes)] - reach, 1)
        self._starts = {
            e: _starts_between(gaps, int(dataset.lengths[i]), reach=reach)
            for e, i in enumerate(episodes)
            if (gaps := dataset.gaps[i])
        }
        """By episode with gaps, where its windows start; those of the others start anywhere."""
        for e, starts in self._starts.items():
            counts[e] = len(starts)
        self._ends = np.cumsum(counts)
        self._cache = _EpisodeCache(cache_mb * 1_000_000)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, k: int) -> Window:
        """The k-th window. One in an unreadable episode is replaced by the next readable one.

        Raises:
            IndexError: There is no such window.
            ValueError: More episodes are unreadable than data.bad_episode_limit allows.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"window {k} of {len(self)}")
        first = int(np.searchsorted(self._ends, k, side="right"))
        place = k - (int(self._ends[first - 1]) if first else 0)
        for shift in range(len(self.episodes)):
            e = (first + shift) % len(self.episodes)
            number = place if shift == 0 else 0
            start = int(self._starts[e][number]) if e in self._starts else number
            try:
                return self._window(e, start, self.num_frames, stop=self._stop(e, start))
            except BadEpisodeError as error:
                self.dataset.skip(self.episodes[e], error.reason)
        raise ValueError(f"none of the {len(self.episodes)} episodes of this split can be read")

    @property
    def fingerprint(self) -> str:
        """Hash of the windows' content: equal only where every window has the same pixels."""
        settings = (
            self.dataset.fingerprint,
            self.episodes,
            self.num_frames,
            self.image_size,
            self.resize.value,
            self.frame_stride,
            self.camera,
        )
        gaps = {e: self.dataset.gaps[self.episodes[e]] for e in self._starts}
        return digest(repr((*settings, gaps) if gaps else settings).encode())

    def order(self, seed: int) -> EpochOrder:
        """The order in which to draw windows."""
        return EpochOrder(len(self), seed=seed)

    def whole_episode(self, e: int) -> Window:
        """All frames of the e-th of `episodes`, every `frame_stride` steps, as one window.

        Gaps are inside.

        Raises:
            BadEpisodeError: The episode cannot be read.
        """
        length = int(self.dataset.lengths[self.episodes[e]])
        return self._window(e, 0, (length - 1) // self.frame_stride + 1, stop=length)

    def _stop(self, e: int, start: int) -> int:
        """The step behind the part without a gap that a step is in."""
        i = self.episodes[e]
        ends = (gap + 1 for gap in self.dataset.gaps[i] if gap >= start)
        return next(ends, int(self.dataset.lengths[i]))

    def _window(self, e: int, start: int, num_frames: int, *, stop: int) -> Window:
        """Frames start, start + stride, ... of the e-th episode, padded to `num_frames`.

        The last real frame is before the step `stop`.
        """
        steps = start + self.frame_stride * np.arange(num_frames)
        is_pad = steps >= stop
        last = int(steps[~is_pad][-1])
        video, labels = self._read(e, np.where(is_pad, last, steps))
        composed = labels.composed(start, last, stride=self.frame_stride)
        actions = np.zeros((num_frames - 1, composed.shape[1]), np.float32)
        actions[: len(composed)] = composed
        return Window(
            episode_id=labels.episode_id,
            start=start,
            video=video,
            robot_actions=actions,
            action_mask=labels.action_mask,
            is_pad=is_pad,
        )

    def _read(
        self, e: int, steps: Int[np.ndarray, " t"]
    ) -> tuple[UInt8[np.ndarray, "t h w c"], "_Labels"]:
        """Frames at ascending steps: from the cache, else decoded and cached if there is room."""
        cached = self._cache.get(e)
        if cached:
            return cached.frames[steps], cached.labels
        episode = self.dataset[self.episodes[e]]
        labels = _Labels(
            episode.episode_id,
            episode.robot_actions,
            episode.action_mask,
            episode.joint_starts,
            episode.pose_starts,
        )
        if self.camera not in episode.images:
            name = self.dataset.name(self.episodes[e])
            raise BadEpisodeError(name, f"the images of {self.camera} are missing or damaged")
        encoded = episode.images[self.camera]
        num_bytes = len(encoded) * self.image_size[0] * self.image_size[1] * _CHANNELS
        if self._cache.has_room(num_bytes):
            frames = self._decode(e, encoded)
            self._cache.put(e, _Decoded(frames, labels))
            return frames[steps], labels
        wanted, position = np.unique(steps, return_inverse=True)
        return self._decode(e, [encoded[step] for step in wanted])[position], labels

    def _decode(self, e: int, encoded: Sequence[StoredImage]) -> UInt8[np.ndarray, "t h w c"]:
        try:
            return decode_frames(
                encoded,
                image_size=self.image_size,
                resize=self.resize,
                is_bgr=self._is_bgr,
                max_pixels=self.max_image_pixels,
            )
        except ValueError as error:
            name = self.dataset.name(self.episodes[e])
            raise BadEpisodeError(name, str(error)) from error


def _starts_between(gaps: Sequence[int], length: int, *, reach: int) -> Int[np.ndarray, " n"]:
    """Where windows of an episode with gaps start, such that none of its frames is behind one.

    The longest part gives one window whose last frame repeats, where all parts are too short.

    Args:
        gaps: Steps after which time is missing, ascending.
        length: Steps of the episode.
        reach: Steps from the first frame of a window to its last one.
    """
    edges = [0, *(gap + 1 for gap in gaps), length]
    parts = list(pairwise(edges))
    starts = [np.arange(start, stop - reach) for start, stop in parts]
    found = np.concatenate(starts)
    if len(found):
        return found
    longest = max(parts, key=lambda part: part[1] - part[0])
    return np.array([longest[0]])


def overlapping_chunks(
    video: UInt8[np.ndarray, "t h w c"], *, num_frames: int
) -> UInt8[np.ndarray, "b n h w c"]:
    """Consecutive chunks that share one frame, so that every transition is in exactly one.

    Chunk b holds frames b * (num_frames - 1) .. (b + 1) * (num_frames - 1). The last one repeats
    the last frame; flattened over chunks, transition i of the video is entry i. A causal encoder
    gives the real transitions the same codes with and without that padding.
    """
    step = num_frames - 1
    num_chunks = max(1, -(-(len(video) - 1) // step))
    frames = np.arange(num_chunks)[:, None] * step + np.arange(num_frames)
    return video[np.minimum(frames, len(video) - 1)]


class _Labels(NamedTuple):
    """The fields of an episode that its windows share, other than frames."""

    episode_id: str
    robot_actions: np.ndarray
    action_mask: np.ndarray
    joint_starts: np.ndarray | None
    pose_starts: np.ndarray | None

    def composed(self, start: int, stop: int, *, stride: int) -> Float[np.ndarray, "n a"]:
        """The actions of steps start .. stop - 1, one for every `stride` steps."""
        joints, poses = (
            None if starts is None else starts[start:stop]
            for starts in (self.joint_starts, self.pose_starts)
        )
        return compose_actions(self.robot_actions[start:stop], stride, joints, poses)


class _Decoded(NamedTuple):
    frames: np.ndarray
    labels: _Labels


class _EpisodeCache:
    """Decoded episodes up to a number of bytes, for several threads.

    A pickled one is empty: another process decodes what it needs.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = self._free = max_bytes
        self._episodes: dict[int, _Decoded] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["_EpisodeCache"], tuple[int]]:
        return _EpisodeCache, (self._max_bytes,)

    def get(self, e: int) -> _Decoded | None:
        return self._episodes.get(e)

    def has_room(self, num_bytes: int) -> bool:
        return num_bytes <= self._free

    def put(self, e: int, decoded: _Decoded) -> None:
        with self._lock:
            if e not in self._episodes and decoded.frames.nbytes <= self._free:
                self._episodes[e] = decoded
                self._free -= decoded.frames.nbytes


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class MixedWindows:
    """The windows of several sets, numbered consecutively.

    Action dimensions have names and a mask, and a batch is as wide as its widest window, so sets
    of different robots, rates and sizes can share a batch.
    """

    def __init__(self, parts: Sequence[WindowDataset], weights: Sequence[float]) -> None:
        """Combine sets of windows of one shape.

        Args:
            parts: The sets to draw from.
            weights: Share of each part relative to the others; all zero draws every window of
                every part once in an epoch.

        Raises:
            ValueError: Some weights are zero and others are not, or one is negative.
        """
        if any(weight < 0 for weight in weights) or (any(weights) and not all(weights)):
            raise ValueError(
                f"data.weight of the mixed datasets is {', '.join(map(str, weights))}: give every "
                "dataset a positive weight, or none of them one"
            )
        self.parts = tuple(parts)
        self.weights = tuple(weights)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, k: int) -> Window:
        """The k-th window.

        Raises:
            IndexError: There is no such window.
            ValueError: Too many episodes of its dataset are unreadable.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"window {k} of {len(self)}")
        part = int(np.searchsorted(self._ends, k, side="right"))
        return self.parts[part][k - (int(self._ends[part - 1]) if part else 0)]

    @property
    def fingerprint(self) -> str:
        """Hash of the windows of all parts."""
        return digest(*(part.fingerprint.encode() for part in self.parts))

    def order(self, seed: int) -> EpochOrder | MixedOrder:
        """The order in which to draw windows."""
        if not any(self.weights):
            return EpochOrder(len(self), seed=seed)
        return MixedOrder([len(part) for part in self.parts], self.weights, seed=seed)
