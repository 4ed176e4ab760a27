"""Reference encoders with known properties, in place of the run's own: `encoder=NAME`.

Each has as many codes as the model that it replaces. The latent action of a transition is the same
in every window that contains it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans

from genie_robo.data.actions import MaskedActions, achieved_motion, episode_actions
from genie_robo.data.dataset import BadEpisodeError
from genie_robo.eval_suites.base import EpisodeSet, EvalContext, LatentActionEncoder, Transitions
from genie_robo.eval_suites.rollouts import stable_seed
from genie_robo.types import ACTION_NAMES, JOINTS, XYZ, Episode, Window


class OracleEncoder:
    """The true motion, looked up and quantised by k-means with as many clusters as codes.

    The motion is dx dy dz, or the joints where the end effector has no translation: achieved where
    the dataset has proprioception or stores achieved motion as action, otherwise commanded.
    Clusters are fitted on the validation episodes. The latent before quantisation is the motion.

    Raises:
        ValueError: Fewer transitions to fit on than codes.
    """

    sees_frames: ClassVar[bool] = False

    def __init__(self, context: EvalContext) -> None:
        self.num_codes = context.encoder.num_codes
        self._motions, seen = {}, []
        for side in (context.fit, context.test):
            for _, episode in _readable(context, side):
                moved = _motion(context, episode, stride=side.frame_stride)
                self._motions[episode.episode_id] = (moved, side.frame_stride)
                if side is context.fit:
                    seen.append(moved)
        motions = np.concatenate(seen) if seen else np.zeros((0, len(ACTION_NAMES)))
        if len(motions) < self.num_codes:
            raise ValueError(
                f"encoder=oracle clusters the transitions of the episodes to fit on into "
                f"{self.num_codes} codes, but there are {len(motions)} in {len(seen)} episodes"
            )
        self._spread = np.where(motions.std(axis=0) > 0, motions.std(axis=0), 1.0)
        self._clusters = KMeans(self.num_codes, random_state=context.seed).set_params(n_init=4)
        self._clusters.fit(motions / self._spread)

    def encode(self, window: Window) -> Transitions:
        """The cluster of every true motion; motions after the end of the episode are zero."""
        moved, stride = self._motions[window.episode_id]
        motions = np.zeros((len(window.video) - 1, moved.shape[1]))
        known = moved[window.start // stride :][: len(motions)]
        motions[: len(known)] = known
        codes = np.asarray(self._clusters.predict(motions / self._spread))
        return Transitions(codes.astype(np.int64), motions)


class RandomEncoder:
    """Every code equally likely, independent of the frames."""

    sees_frames: ClassVar[bool] = False

    def __init__(self, context: EvalContext) -> None:
        self.num_codes = context.encoder.num_codes
        self._seed, self._stride = context.seed, context.test.frame_stride

    def encode(self, window: Window) -> Transitions:
        """Codes that depend on the seed, the episode and the step only."""
        first = window.start // self._stride
        rng = np.random.default_rng(stable_seed("random codes", self._seed, window.episode_id))
        codes = rng.integers(self.num_codes, size=first + len(window.video) - 1)[first:]
        return Transitions(codes, np.eye(self.num_codes)[codes])


class ShuffledEncoder:
    """The model's latent actions of another episode on the same side of the split.

    Each episode gets those of the next one, repeated or cut to its length: realistic sequences that
    are unrelated to the frames.

    Raises:
        ValueError: A side has fewer than two episodes that can be read.
    """

    sees_frames: ClassVar[bool] = False

    def __init__(self, context: EvalContext) -> None:
        self.num_codes = context.encoder.num_codes
        self._encoder, self._stride = context.encoder, context.test.frame_stride
        self._others = {}
        self._encoded: dict[str, Transitions] = {}
        for side in (context.fit, context.test):
            readable = [(e, episode.episode_id) for e, episode in _readable(context, side)]
            if len(readable) < 2:
                raise ValueError(
                    f"encoder=shuffled takes latent actions from another episode, but a side of "
                    f"the split has {len(readable)} that can be read"
                )
            for place, (_, name) in enumerate(readable):
                after = readable[place + 1 :] + readable[:place]
                self._others[name] = (side, [e for e, _ in after])

    def encode(self, window: Window) -> Transitions:
        """The other episode's latent actions at these steps."""
        if window.episode_id not in self._encoded:
            other = _first_whole(*self._others[window.episode_id])
            self._encoded[window.episode_id] = _real(self._encoder, other)
        encoded = self._encoded[window.episode_id]
        first = window.start // self._stride
        steps = np.arange(first, first + len(window.video) - 1) % len(encoded.codes)
        return Transitions(encoded.codes[steps], encoded.latents[steps])


ENCODERS: Mapping[str, Callable[[EvalContext], LatentActionEncoder]] = {
    "oracle": OracleEncoder,
    "random": RandomEncoder,
    "shuffled": ShuffledEncoder,
}
"""Latent action models that need no training, by name."""


def _readable(context: EvalContext, side: EpisodeSet) -> Iterator[tuple[int, Episode]]:
    """Readable episodes of a side with at least one transition, with their numbers."""
    for e, number in enumerate(side.episodes):
        try:
            episode = context.dataset[number]
        except BadEpisodeError:  # read_episodes logs it
            continue
        if episode.num_steps > side.frame_stride:
            yield e, episode


def _first_whole(side: EpisodeSet, numbers: Sequence[int]) -> Window:
    """The first of these episodes whose frames can be decoded.

    Raises:
        BadEpisodeError: No episode can be decoded.
    """
    *before, last = numbers
    for number in before:
        with suppress(BadEpisodeError):
            return side.whole_episode(number)
    return side.whole_episode(last)


def _motion(context: EvalContext, episode: Episode, *, stride: int) -> Float[np.ndarray, "n d"]:
    """The motion from each frame to the next: dx dy dz (m), or the joints."""
    measured = None if context.action_is_achieved else achieved_motion(episode, stride=stride)
    shown = XYZ if _has_translation(episode, measured) else JOINTS
    if measured is not None and measured[1][shown].any():
        return measured[0][:, shown].astype(np.float64)
    return episode_actions(episode, stride=stride)[:, shown].astype(np.float64)


def _has_translation(episode: Episode, measured: MaskedActions | None) -> bool:
    is_measured = measured is not None and measured[1][XYZ].any()
    has_joints = len(episode.action_mask) > len(ACTION_NAMES)
    return bool(is_measured or episode.action_mask[XYZ].any() or not has_joints)


def _real(encoder: LatentActionEncoder, window: Window) -> Transitions:
    """Latent actions of an episode without its padding."""
    count: Int[np.ndarray, ""] = (~window.is_pad[1:]).sum()
    encoded = encoder.encode(window)
    return Transitions(encoded.codes[:count], encoded.latents[:count])
