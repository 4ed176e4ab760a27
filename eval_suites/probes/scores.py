"""How well codes predict a robot motion, beside everything they must beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eval_suites.metrics.regression import (
    cluster,
    fit_standardiser,
    predict_by_ridge,
    predict_from_codes,
    principal_components,
    ridge_of_both,
)
from eval_suites.probes.data import COMMANDED, ProbeData
from eval_suites.statistics import (
    circular_shift_p_value,
    reassignment_p_value,
)
from genie_robo.types import ACTION_NAMES, GRIPPER

BASELINES = (
    "mean",
    "random_codes",
    "permuted_codes",
    "untrained_encoder",
    "frame_difference_clusters",
    "optical_flow_clusters",
    "previous_action",
    "current_frame",
)
"""What latent actions must beat to be worth anything."""

SUPERVISED = "inverse_dynamics"
"""What all the action labels would give, shown beside the baselines."""

TRANSLATION = (0, 1, 2)
"""Dimensions of the action that are metres."""


class Motion(NamedTuple):
    """Some dimensions of one kind of robot motion, probed together."""

    target: str
    dimensions: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """What the dimensions are called."""
        return [ACTION_NAMES[d] for d in self.dimensions]

    def of(self, data: ProbeData) -> Float[np.ndarray, "n d"]:
        """These dimensions of every transition of a split."""
        return data.targets[self.target][:, list(self.dimensions)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """What the comparisons are made with."""

    num_codes: int
    num_random_draws: int
    num_components: int
    seed: int


CodePair = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]
"""Codes of the validation and of the test transitions."""


class Scores(NamedTuple):
    """Squared errors of every predictor on the test split, and the codes of the oracle."""

    errors: Mapping[str, Float[np.ndarray, "e d"]]
    """Sums per episode; those of `mean`, the mean of the fit split, are the deviation."""
    oracle: CodePair


def moving_dimensions(
    data: ProbeData, target: str, *, min_move: float, min_share: float
) -> tuple[int, ...]:
    """Translation and rotation dimensions in which the robot really moves.

    A dimension moves when it is more than `min_move` (m or rad) away from its median in at least
    `min_share` of the transitions, and where there are commands is also commanded to. Of rarer
    motion R2 would be ruled by a handful of transitions. The gripper is scored as events instead.
    """
    moves = data.masks[target].copy()
    for name in {target, COMMANDED} & set(data.targets):
        moves &= data.masks[name]
        motion = data.targets[name]
        moves &= (np.abs(motion - np.median(motion, axis=0)) > min_move).mean(axis=0) >= min_share
    return tuple(int(d) for d in np.flatnonzero(moves[:GRIPPER]))


def main_motion(fit: ProbeData, *, min_move: float, min_share: float) -> Motion | None:
    """The translation of the first target, achieved before commanded; None if nothing moves."""
    for target in fit.targets:
        moving = moving_dimensions(fit, target, min_move=min_move, min_share=min_share)
        translation = tuple(d for d in moving if d in TRANSLATION)
        if translation:
            return Motion(target, translation)
    return None


def score(fit: ProbeData, test: ProbeData, motion: Motion, settings: ProbeSettings) -> Scores:
    """Fit every predictor of a motion on one split, score it on the other."""
    shared = {"num_codes": settings.num_codes, "seed": settings.seed}
    targets, oracle = motion.of(test), oracle_codes(fit, test, motion, **shared)
    predictions = _code_predictions(fit, test, motion, settings)
    predictions |= _action_predictions(fit, test, motion, oracle, num_codes=settings.num_codes)
    errors = {name: _errors(guesses, targets, test) for name, guesses in predictions.items()}
    return Scores(errors, oracle)


def oracle_codes(
    fit: ProbeData, test: ProbeData, motion: Motion, *, num_codes: int, seed: int
) -> CodePair:
    """The best codes there could be: clusters of the true motions, for both splits."""
    standardise = fit_standardiser(motion.of(fit))
    points = standardise(motion.of(fit)), standardise(motion.of(test))
    return cluster(*points, num_codes=num_codes, seed=seed)


def p_values(
    fit: ProbeData, test: ProbeData, motion: Motion, settings: ProbeSettings
) -> dict[str, float | None]:
    """Permutation p-values of the codes: of when in the episode, and of which episode.

    None where R2 is undefined, or where there is nothing to exchange.
    """
    fit_targets, targets = motion.of(fit), motion.of(test)
    mean = fit_targets.mean(axis=0)
    is_defined = (targets != mean).any(axis=0).all()
    guesses = predict_from_codes(fit.codes, fit_targets, test.codes, num_codes=settings.num_codes)
    cut = test.by_episode(targets), test.by_episode(guesses)
    tests = {
        "circular_shift": (circular_shift_p_value, test.lengths.max() > 1),
        "reassignment": (reassignment_p_value, test.num_episodes > 1),
    }
    return {
        name: of(*cut, mean, seed=settings.seed) if is_defined and has_others else None
        for name, (of, has_others) in tests.items()
    }


def lag_errors(
    fit: ProbeData, test: ProbeData, motion: Motion, *, num_codes: int, max_lag: int
) -> Float[np.ndarray, "e l d"]:
    """Squared errors per episode of codes at lags -max_lag .. max_lag, then the deviation.

    At lag L the code of transition i predicts the motion of transition i + L. All lags are
    scored on the same transitions: those at least max_lag away from the ends of the episode.
    """
    fit_inner, inner = _inner(fit, max_lag), _inner(test, max_lag)
    fit_targets, targets = motion.of(fit)[fit_inner], motion.of(test)[inner]
    if not len(fit_inner):
        return np.zeros((test.num_episodes, 2 * max_lag + 2, len(motion.dimensions)))
    guesses = [
        predict_from_codes(
            fit.codes[fit_inner - lag], fit_targets, test.codes[inner - lag], num_codes=num_codes
        )
        for lag in range(-max_lag, max_lag + 1)
    ]
    guesses.append(np.broadcast_to(fit_targets.mean(axis=0), targets.shape))
    errors = [(guess - targets) ** 2 for guess in guesses]
    return test.sums(np.stack(errors, axis=1), inner)


def _code_predictions(
    fit: ProbeData, test: ProbeData, motion: Motion, settings: ProbeSettings
) -> dict[str, Float[np.ndarray, "r m d"]]:
    """Predictions of a linear probe on each kind of codes; chance is averaged over draws."""
    k, fit_targets = settings.num_codes, motion.of(fit)

    def probe(
        fit_codes: Int[np.ndarray, " n"], codes: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m d"]:
        return predict_from_codes(fit_codes, fit_targets, codes, num_codes=k)

    rng = np.random.default_rng(settings.seed)
    draws, sizes = range(settings.num_random_draws), (len(fit.codes), len(test.codes))
    random = [probe(*(rng.integers(k, size=size) for size in sizes)) for _ in draws]
    permuted = [probe(rng.permutation(fit.codes), rng.permutation(test.codes)) for _ in draws]
    assert fit.flow is not None  # the latent probe asks for it
    assert test.flow is not None
    seen = {
        "frame_difference_clusters": (fit.differences, test.differences),
        "optical_flow_clusters": (fit.flow, test.flow),
    }
    predictions = {
        "codes": probe(fit.codes, test.codes)[None],
        "random_codes": np.stack(random),
        "permuted_codes": np.stack(permuted),
    }
    for name, features in seen.items():
        components = principal_components(*features, num_components=settings.num_components)
        predictions[name] = probe(*cluster(*components, num_codes=k, seed=settings.seed))[None]
    if fit.untrained_latents is not None and test.untrained_latents is not None:
        # Its own codebook would be used by accident: cluster what it sees instead.
        untrained = cluster(
            fit.untrained_latents, test.untrained_latents, num_codes=k, seed=settings.seed
        )
        predictions["untrained_encoder"] = probe(*untrained)[None]
    return predictions


def _action_predictions(
    fit: ProbeData, test: ProbeData, motion: Motion, oracle: CodePair, *, num_codes: int
) -> dict[str, Float[np.ndarray, "1 m d"]]:
    """Predictions of what is not a code of an image: past, present, the oracle, the latent."""
    k, fit_targets, targets = num_codes, motion.of(fit), motion.of(test)
    guesses = {
        "mean": np.broadcast_to(fit_targets.mean(axis=0), targets.shape),
        "oracle": predict_from_codes(oracle[0], fit_targets, oracle[1], num_codes=k),
    }

    def ridge(name: str, known: np.ndarray, test_known: np.ndarray, *, partial: bool) -> None:
        inside, outside = ridge_of_both(known, fit_targets, test_known, groups=fit.episode)
        guesses[name] = outside
        if partial:
            # On top of what is already predicted, so that many features cannot outweigh few codes.
            more = np.concatenate([inside, np.eye(k)[fit.codes]], axis=1)
            test_more = np.concatenate([outside, np.eye(k)[test.codes]], axis=1)
            guesses[f"{name}_and_codes"] = predict_by_ridge(
                more, fit_targets, test_more, groups=fit.episode
            )

    past = (data.previous(data.targets[motion.target]) for data in (fit, test))
    ridge("latent", fit.latents, test.latents, partial=False)
    ridge(SUPERVISED, fit.differences, test.differences, partial=False)
    ridge("previous_action", *past, partial=True)
    ridge("current_frame", fit.frames, test.frames, partial=True)
    return {name: guess[None] for name, guess in guesses.items()}


def _errors(
    guesses: Float[np.ndarray, "r m d"], targets: Float[np.ndarray, "m d"], test: ProbeData
) -> Float[np.ndarray, "e d"]:
    """Squared errors of every test episode, mean over draws."""
    squared = ((guesses - targets) ** 2).mean(axis=0)
    return test.sums(squared)


def _inner(data: ProbeData, margin: int) -> Int[np.ndarray, " n"]:
    """Transitions at least `margin` away from both ends of their episode."""
    index = np.arange(len(data.episode))
    padded = np.pad(data.episode, margin, constant_values=-1)
    same = (padded[index] == data.episode) & (padded[index + 2 * margin] == data.episode)
    return np.flatnonzero(same)
