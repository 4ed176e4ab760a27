"""Errors of predicting a robot motion from codes and from baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from genie_robo.data.joint_names import joint_groups
from genie_robo.eval_suites.metrics.regression import (
    choose_components,
    cluster,
    fit_standardiser,
    predict_by_ridge,
    predict_from_codes,
    principal_components,
    ridge_of_both,
)
from genie_robo.eval_suites.probes.data import COMMANDED, ProbeData
from genie_robo.eval_suites.statistics import (
    circular_shift_p_value,
    reassignment_p_value,
)
from genie_robo.types import END_EFFECTOR, GRIPPER, JOINTS, action_names

BASELINES = (
    "mean",
    "random_codes",
    "permuted_codes",
    "untrained_encoder",
    "frame_difference_clusters",
    "optical_flow_clusters",
    "dense_flow_clusters",
    "previous_action",
    "current_frame",
)
"""Predictors that latent actions must beat."""

SUPERVISED, DENSE_FLOW = "inverse_dynamics", "dense_flow_ridge"
"""Regressions on frame differences and on dense flow, with the action labels of all validation
transitions; shown with the baselines."""

ROUNDING = 1e-9
"""Relative differences below this are rounding."""

TRANSLATION = (0, 1, 2)
"""Action dimensions in metres."""


class Motion(NamedTuple):
    """Some dimensions of one kind of robot motion, probed together."""

    target: str
    dimensions: tuple[int, ...]
    joint_names: tuple[str, ...] = ()
    """Of all joints of the dataset; empty where they have none."""

    @property
    def names(self) -> list[str]:
        """Names of the dimensions."""
        known = action_names(max(self.dimensions) + 1, self.joint_names)
        return [known[d] for d in self.dimensions]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of its joints by the group that they belong to; empty where there is one."""
        probed = set(self.names)
        groups = joint_groups(self.joint_names)
        found = {group: [n for n in names if n in probed] for group, names in groups.items()}
        return {group: names for group, names in found.items() if names and group not in probed}

    def of(self, data: ProbeData) -> Float[np.ndarray, "n d"]:
        """These dimensions of every transition of a split."""
        return data.targets[self.target][:, list(self.dimensions)]


CodePair = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]
"""Codes of the validation and of the test transitions."""
Errors = Mapping[str, Float[np.ndarray, "e d"]]
"""Squared errors of every predictor, summed over each test episode. Those of `mean` are the
deviation from the mean of the validation split."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One motion, with the transitions to fit on (validation) and to score on (test)."""

    fit: ProbeData
    test: ProbeData
    motion: Motion
    num_codes: int
    seed: int = 0
    num_random_draws: int = 1
    num_components: int = 1
    """Most principal components of a clustering baseline; how many is cross-validated."""

    @cached_property
    def fit_targets(self) -> Float[np.ndarray, "n d"]:
        """The motion of every validation transition."""
        return self.motion.of(self.fit)

    @cached_property
    def targets(self) -> Float[np.ndarray, "m d"]:
        """The motion of every test transition."""
        return self.motion.of(self.test)

    @cached_property
    def mean(self) -> Float[np.ndarray, " d"]:
        """The mean motion of the validation split, which R2 is taken about."""
        return self.fit_targets.mean(axis=0)

    @cached_property
    def varies(self) -> Bool[np.ndarray, " d"]:
        """Dimensions in which a test motion differs from the mean by more than rounding."""
        apart = np.abs(self.targets - self.mean).max(axis=0)
        return apart > ROUNDING * np.abs(self.targets).max(axis=0)

    @cached_property
    def oracle(self) -> CodePair:
        """Codes of both splits that know the motion: k-means clusters of the true motions."""
        standardise = fit_standardiser(self.fit_targets)
        points = standardise(self.fit_targets), standardise(self.targets)
        return cluster(*points, num_codes=self.num_codes, seed=self.seed)

    def predict(
        self, fit_codes: Int[np.ndarray, " n"], codes: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m d"]:
        """The mean motion in the validation split of each code."""
        return predict_from_codes(fit_codes, self.fit_targets, codes, num_codes=self.num_codes)


def moving_dimensions(
    data: ProbeData, target: str, *, min_move: float, min_share: float
) -> tuple[int, ...]:
    """Translation and rotation dimensions in which the robot moves often enough to be probed.

    A dimension moves when it is more than `min_move` (m or rad) from its median in at least
    `min_share` of the transitions; commands, where recorded, must move as well. For rarer motion, a
    few transitions would determine R2. The gripper is scored as events instead.
    """
    moves = _moves(data, target, min_move=min_move, min_share=min_share)
    return tuple(int(d) for d in np.flatnonzero(moves[:GRIPPER]))


def moving_joints(
    data: ProbeData, target: str, *, min_move: float, min_share: float
) -> tuple[int, ...]:
    """The same of the joints, in the unit in which they are stored."""
    moves = _moves(data, target, min_move=min_move, min_share=min_share)
    return tuple(int(d) for d in np.flatnonzero(moves) if d >= JOINTS.start)


def _moves(
    data: ProbeData, target: str, *, min_move: float, min_share: float
) -> Bool[np.ndarray, " a"]:
    """Whether each dimension moves; its commands too, unless none of its kind is recorded."""
    moves = data.masks[target].copy()
    for name in {target, COMMANDED} & set(data.targets):
        motion, mask = data.targets[name], data.masks[name]
        far = (np.abs(motion - np.median(motion, axis=0)) > min_move).mean(axis=0) >= min_share
        for kind in (END_EFFECTOR, JOINTS):
            if name == target or mask[kind].any():
                moves[kind] &= mask[kind] & far[kind]
    return moves


def main_motion(fit: ProbeData, *, min_move: float, min_share: float) -> Motion | None:
    """The translation of the first target, achieved before commanded, else its joints.

    None if nothing moves.
    """
    limits = {"min_move": min_move, "min_share": min_share}
    translation = {
        target: tuple(d for d in moving_dimensions(fit, target, **limits) if d in TRANSLATION)
        for target in fit.targets
    }
    joints = {target: moving_joints(fit, target, **limits) for target in fit.targets}
    found = [*translation.items(), *joints.items()]
    chosen = (Motion(target, moving, fit.joint_names) for target, moving in found if moving)
    return next(chosen, None)


def score(probe: Probe) -> Errors:
    """Squared errors on the test split of all predictors, fitted on the validation split."""
    alone = action_predictions(probe) | _frame_predictions(probe)
    predictions = _code_predictions(probe) | {name: guess[None] for name, guess in alone.items()}
    return errors_by_episode(probe, predictions)


def errors_by_episode(
    probe: Probe, predictions: Mapping[str, Float[np.ndarray, "_ m d"]]
) -> Errors:
    """Squared errors of predictions of the test motion, the mean over their draws."""
    errors = {
        name: probe.test.sums(((guesses - probe.targets) ** 2).mean(axis=0))
        for name, guesses in predictions.items()
    }
    # A motion that is constant up to rounding has no R2: its deviation is 0, not 1e-32.
    return errors | {"mean": np.where(probe.varies, errors["mean"], 0.0)}


def p_values(probe: Probe) -> dict[str, float | None]:
    """Permutation p-values of the codes, over time in the episode and over episodes.

    None where R2 is undefined, or where there is nothing to exchange.
    """
    test = probe.test
    is_defined = probe.varies.all()
    guesses = probe.predict(probe.fit.codes, test.codes)
    cut = test.by_episode(probe.targets), test.by_episode(guesses)
    tests = {
        "circular_shift": (circular_shift_p_value, test.lengths.max() > 1),
        "reassignment": (reassignment_p_value, test.num_episodes > 1),
    }
    return {
        name: of(*cut, probe.mean, seed=probe.seed) if is_defined and has_others else None
        for name, (of, has_others) in tests.items()
    }


def lag_errors(probe: Probe, *, max_lag: int) -> Float[np.ndarray, "e l d"]:
    """Squared errors per episode of codes at lags -max_lag .. max_lag, then the deviation.

    At lag L the code of transition i predicts the motion of transition i + L. All lags are
    scored on the same transitions: those at least max_lag away from the ends of the episode.
    """
    fit, test = probe.fit, probe.test
    fit_inner, inner = _inner(fit, max_lag), _inner(test, max_lag)
    fit_targets, targets = probe.fit_targets[fit_inner], probe.targets[inner]
    if not len(fit_inner):
        return np.zeros((test.num_episodes, 2 * max_lag + 2, targets.shape[1]))
    guesses = [
        predict_from_codes(
            fit.codes[fit_inner - lag],
            fit_targets,
            test.codes[inner - lag],
            num_codes=probe.num_codes,
        )
        for lag in range(-max_lag, max_lag + 1)
    ]
    guesses.append(np.broadcast_to(fit_targets.mean(axis=0), targets.shape))
    errors = [(guess - targets) ** 2 for guess in guesses]
    return test.sums(np.stack(errors, axis=1), inner)


def _code_predictions(probe: Probe) -> dict[str, Float[np.ndarray, "r m d"]]:
    """Predictions from each kind of codes, for several draws of random codes."""
    fit, test, k, seed = probe.fit, probe.test, probe.num_codes, probe.seed
    rng = np.random.default_rng(seed)
    draws, sizes = range(probe.num_random_draws), (len(fit.codes), len(test.codes))
    random = [probe.predict(*(rng.integers(k, size=size) for size in sizes)) for _ in draws]
    permuted = [
        probe.predict(rng.permutation(fit.codes), rng.permutation(test.codes)) for _ in draws
    ]
    found = {
        "codes": probe.predict(fit.codes, test.codes)[None],
        "random_codes": np.stack(random),
        "permuted_codes": np.stack(permuted),
    }
    for name, features in _seen(probe).items():
        points = principal_components(*features, num_components=_num_components(probe, features[0]))
        found[name] = probe.predict(*cluster(*points, num_codes=k, seed=seed))[None]
    draws_of_both = zip(fit.untrained_draws, test.untrained_draws, strict=True)
    # An untrained codebook is arbitrary: cluster the encodings instead.
    untrained = [probe.predict(*cluster(*d, num_codes=k, seed=seed)) for d in draws_of_both]
    return found | ({"untrained_encoder": np.stack(untrained)} if untrained else {})


def _seen(probe: Probe) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features of both splits that clustering baselines see, by the baseline's name."""
    fit, test = probe.fit, probe.test
    assert fit.flow is not None  # the latent probe asks for it
    assert test.flow is not None
    seen = {
        "frame_difference_clusters": (fit.differences, test.differences),
        "optical_flow_clusters": (fit.flow, test.flow),
    }
    if fit.dense_flow is not None and test.dense_flow is not None:
        seen["dense_flow_clusters"] = fit.dense_flow, test.dense_flow
    return seen


def _num_components(probe: Probe, features: Float[np.ndarray, "n f"]) -> int:
    return choose_components(
        features,
        probe.fit_targets,
        num_codes=probe.num_codes,
        most=min(probe.num_components, features.shape[1]),
        groups=probe.fit.episode,
        seed=probe.seed,
    )


def action_predictions(probe: Probe) -> dict[str, Float[np.ndarray, "m d"]]:
    """Predictions that need no frame: the mean, the oracle, the latent, the previous action."""
    fit, test = probe.fit, probe.test
    past = (data.previous(data.targets[probe.motion.target]) for data in (fit, test))
    return {
        "mean": np.broadcast_to(probe.mean, probe.targets.shape),
        "oracle": probe.predict(*probe.oracle),
        "latent": _ridge(probe, fit.latents, test.latents)[1],
        **_with_codes(probe, "previous_action", *past),
    }


def _frame_predictions(probe: Probe) -> dict[str, Float[np.ndarray, "m d"]]:
    """Predictions from the frame, from frame differences and from dense flow."""
    fit, test = probe.fit, probe.test
    guesses = {SUPERVISED: _ridge(probe, fit.differences, test.differences)[1]}
    if fit.dense_flow is not None and test.dense_flow is not None:
        guesses[DENSE_FLOW] = _ridge(probe, fit.dense_flow, test.dense_flow)[1]
    return guesses | _with_codes(probe, "current_frame", fit.frames, test.frames)


def _ridge(
    probe: Probe, known: Float[np.ndarray, "n f"], test_known: Float[np.ndarray, "m f"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    return ridge_of_both(known, probe.fit_targets, test_known, groups=probe.fit.episode)


def _with_codes(
    probe: Probe, name: str, known: Float[np.ndarray, "n f"], test_known: Float[np.ndarray, "m f"]
) -> dict[str, Float[np.ndarray, "m d"]]:
    """Predictions from features alone, and from these predictions and the codes.

    The second is on top of the first, so that many features cannot outweigh few codes.
    """
    one_hot = np.eye(probe.num_codes)
    inside, outside = _ridge(probe, known, test_known)
    both = predict_by_ridge(
        np.concatenate([inside, one_hot[probe.fit.codes]], axis=1),
        probe.fit_targets,
        np.concatenate([outside, one_hot[probe.test.codes]], axis=1),
        groups=probe.fit.episode,
    )
    return {name: outside, f"{name}_and_codes": both}


def _inner(data: ProbeData, margin: int) -> Int[np.ndarray, " n"]:
    """Transitions at least `margin` away from both ends of their episode."""
    index = np.arange(len(data.episode))
    padded = np.pad(data.episode, margin, constant_values=-1)
    same = (padded[index] == data.episode) & (padded[index + 2 * margin] == data.episode)
    return np.flatnonzero(same)
