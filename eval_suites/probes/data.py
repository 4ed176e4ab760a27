"""Probe data of one split: a row per transition, ordered by episode."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from genie_robo.data.actions import MaskedActions, achieved_motion
from genie_robo.eval_suites.base import EpisodeSet, EvalContext
from genie_robo.eval_suites.probes.dense_flow import dense_flow, has_dense_flow
from genie_robo.eval_suites.probes.pixel_features import block_flow, coarse_grey
from genie_robo.eval_suites.rollouts import episode_limit, read_episodes
from genie_robo.eval_suites.statistics import episode_sums
from genie_robo.types import JOINTS, Episode, Window

_log = logging.getLogger(__name__)

ACHIEVED, COMMANDED = "achieved", "commanded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeData:
    """Transitions of the episodes of one split, without padding, in the order of their ids."""

    episode_ids: tuple[str, ...]
    episode: Int[np.ndarray, " n"]
    """Which of `episode_ids` a transition belongs to."""
    codes: Int[np.ndarray, " n"]
    latents: Float[np.ndarray, "n e"]
    untrained_latents: Float[np.ndarray, "n u"] | None
    frames: Float[np.ndarray, "n f"]
    """Coarse grey image of the frame that a transition starts from, flattened."""
    differences: Float[np.ndarray, "n f"]
    """Change of that image up to the next frame."""
    flow: Float[np.ndarray, "n g"] | None
    """Optical flow of blocks from this frame to the next; None if not requested."""
    targets: Mapping[str, Float[np.ndarray, "n a"]]
    """`achieved` where the dataset has proprioception, `commanded` where it has commands."""
    masks: Mapping[str, Bool[np.ndarray, " a"]]
    """Which dimensions are recorded for a target."""
    other_untrained: tuple[Float[np.ndarray, "n u"], ...] = ()
    """Latents of more draws of untrained weights."""
    dense_flow: Float[np.ndarray, "n g"] | None = None
    """Dense optical flow; None if not requested, or without its library."""
    joint_names: tuple[str, ...] = ()
    """Of the joints in a target; empty where the dataset has none."""
    joint_units: tuple[str, ...] = ()
    """Of these joints, one for all or one each; empty where they are not known."""

    @property
    def untrained_draws(self) -> tuple[Float[np.ndarray, "n u"], ...]:
        """Latents of every draw of untrained weights."""
        first = () if self.untrained_latents is None else (self.untrained_latents,)
        return (*first, *self.other_untrained)

    @property
    def num_episodes(self) -> int:
        """Number of independent units."""
        return len(self.episode_ids)

    @property
    def lengths(self) -> Float[np.ndarray, " e"]:
        """Transitions of every episode."""
        return np.bincount(self.episode, minlength=self.num_episodes).astype(float)

    def sums(
        self, values: Shaped[np.ndarray, "m ..."], rows: np.ndarray | slice = slice(None)
    ) -> Float[np.ndarray, "e ..."]:
        """Sums over each episode of values of all transitions, or of those in `rows`."""
        return episode_sums(values, self.episode[rows], num_episodes=self.num_episodes)

    def by_episode(self, values: Shaped[np.ndarray, "n ..."]) -> list[Shaped[np.ndarray, "_ ..."]]:
        """Rows split by episode."""
        return np.split(values, np.flatnonzero(np.diff(self.episode)) + 1)

    def as_text(self, codes: Int[np.ndarray, " n"]) -> list[str]:
        """The codes of every episode, as in `3 0 0 7`."""
        return [" ".join(map(str, row)) for row in self.by_episode(codes)]

    def previous(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d+1"]:
        """Values of the previous transition, then 1; all zero at the start of an episode."""
        starts = np.diff(self.episode, prepend=-1) != 0
        shifted = np.concatenate([np.roll(values, 1, axis=0), np.ones((len(values), 1))], axis=1)
        return np.where(starts[:, None], 0.0, shifted)


def collect(
    context: EvalContext,
    episodes: EpisodeSet,
    *,
    max_episodes: int,
    description: str,
    with_flow: bool = False,
) -> ProbeData:
    """The transitions of a split, encoded once for all suites of a context.

    Duplicate episodes, which have equal ids, count once, and the order of episodes does not matter.
    Episodes with a non-finite action or pose are logged and left out.

    Raises:
        ValueError: No episode has two frames.
    """
    key = ("transitions", id(episodes), min(max_episodes, len(episodes.episodes)))
    # The cache keeps the episodes alive, because Python reuses the id of a freed object.
    _, known = context.cache.get(key, (episodes, None))
    if known is None or (with_flow and known.flow is None):
        known = _collect(
            context,
            episodes,
            max_episodes=max_episodes,
            description=description,
            with_flow=with_flow,
        )
        context.cache[key] = episodes, known
    return known


def _collect(
    context: EvalContext,
    episodes: EpisodeSet,
    *,
    max_episodes: int,
    description: str,
    with_flow: bool,
) -> ProbeData:
    """Encode the episodes of a split and align their transitions with the robot's actions."""
    rows: dict[str, Mapping[str, np.ndarray]] = {}
    seen: list[Episode] = []
    masks: dict[str, list[np.ndarray]] = {ACHIEVED: [], COMMANDED: []}
    for e, window in read_episodes(episodes, max_episodes=max_episodes, description=description):
        num_transitions = int((~window.is_pad[1:]).sum())
        if num_transitions and window.episode_id not in rows:
            episode = context.dataset[episodes.episodes[e]]
            values = _transitions(context, window)
            motions, recorded = _robot_motions(
                context, window, episode, stride=episodes.frame_stride
            )
            values |= motions
            if with_flow:
                values["flow"] = block_flow(window.video)
                if has_dense_flow():
                    values["dense_flow"] = dense_flow(window.video)
            valid = {n: value[:num_transitions] for n, value in values.items()}
            if not all(np.isfinite(valid[n]).all() for n in (ACHIEVED, COMMANDED) if n in valid):
                _log.warning("%s: episode %s has an action that is not finite", description, e)
                continue
            rows[window.episode_id] = valid
            seen[:] = [episode]
            for name, mask in recorded.items():
                masks[name].append(mask)
    if not rows:
        raise ValueError(
            f"none of the {len(episodes.episodes)} episodes of a held-out split has two frames and "
            "finite actions, so there is no transition to probe; check data.path and "
            "data.frame_stride"
        )
    ids = sorted(rows)
    shared_masks = {name: np.all(found, axis=0) for name, found in masks.items() if found}
    found = _stack(ids, [rows[name] for name in ids], shared_masks)
    return replace(found, joint_names=seen[0].joint_names, joint_units=seen[0].joint_units)


def collect_both(
    context: EvalContext, *, max_episodes: int, name: str, with_flow: bool = False
) -> tuple[ProbeData, ProbeData]:
    """Validation and test transitions for the suite `name`, of at most max_episodes each.

    Raises:
        ValueError: No episode of a side has two frames.
    """
    sides = ((context.fit, "validation"), (context.test, "test"))
    fit, test = (
        collect(
            context,
            side,
            max_episodes=episode_limit(context, max_episodes),
            description=f"{name}: {which}",
            with_flow=with_flow,
        )
        for side, which in sides
    )
    return fit, test


def _transitions(context: EvalContext, window: Window) -> dict[str, np.ndarray]:
    encoded = context.encoder.encode(window)
    grey = coarse_grey(window.video)
    values = {
        "codes": encoded.codes,
        "latents": encoded.latents,
        "frames": grey[:-1],
        "differences": np.diff(grey, axis=0),
    }
    if context.untrained_encoder is not None:
        values["untrained_latents"] = context.untrained_encoder.encode(window).latents
    for draw, untrained in enumerate(context.other_untrained):
        values[f"other_untrained_{draw}"] = untrained.encode(window).latents
    return values


def _robot_motions(
    context: EvalContext, window: Window, episode: Episode, *, stride: int
) -> tuple[dict[str, np.ndarray], dict[str, Bool[np.ndarray, " a"]]]:
    """The achieved and the commanded motion of every transition, and their masks.

    Where stored actions of the end effector are achieved motion, only the joints are commanded.
    """
    actions, mask = window.robot_actions.astype(np.float64), window.action_mask
    found = {COMMANDED: (actions, mask)}
    if measured := achieved_motion(episode, stride=stride):
        found[ACHIEVED] = measured[0][: len(actions)].astype(np.float64), measured[1]
    if context.action_is_achieved:
        found = _achieved_tool(*found[COMMANDED], found.get(ACHIEVED))
    return (
        {name: motion for name, (motion, _) in found.items()},
        {name: recorded for name, (_, recorded) in found.items()},
    )


def _achieved_tool(
    actions: Float[np.ndarray, "n a"],
    mask: Bool[np.ndarray, " a"],
    measured: MaskedActions | None,
) -> dict[str, MaskedActions]:
    """Actions whose end effector is achieved motion and whose joints, if any, are commands."""
    if not mask[JOINTS].any():
        return {ACHIEVED: (actions, mask)}
    is_joint = np.arange(len(mask)) >= JOINTS.start
    moved, is_measured = measured or (np.zeros_like(actions), np.zeros_like(mask))
    return {
        ACHIEVED: (
            np.where(is_joint, moved, actions[: len(moved)]),
            np.where(is_joint, is_measured, mask),
        ),
        COMMANDED: (actions * is_joint, mask & is_joint),
    }


def _stack(
    ids: Sequence[str],
    rows: Sequence[Mapping[str, np.ndarray]],
    masks: Mapping[str, Bool[np.ndarray, " a"]],
) -> ProbeData:
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in shared}
    return ProbeData(
        episode_ids=tuple(ids),
        episode=np.repeat(np.arange(len(rows)), [len(row["codes"]) for row in rows]),
        codes=joined["codes"],
        latents=joined["latents"],
        untrained_latents=joined.get("untrained_latents"),
        frames=joined["frames"],
        differences=joined["differences"],
        flow=joined.get("flow"),
        other_untrained=tuple(v for k, v in joined.items() if k.startswith("other_untrained")),
        dense_flow=joined.get("dense_flow"),
        targets={name: joined[name] for name in (ACHIEVED, COMMANDED) if name in joined},
        masks=masks,
    )
