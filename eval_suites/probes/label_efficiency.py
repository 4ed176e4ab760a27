"""How well a few action labels decode latent actions, with baselines."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from eval_suites.metrics.regression import predict_by_ridge, predict_from_codes
from eval_suites.probes.data import ProbeData
from eval_suites.probes.scores import CodePair, Motion, ProbeSettings
from eval_suites.statistics import mean_r2
from eval_suites.table import Measurement, Sums, Table, undefined

CODES, ORACLE, SUPERVISED = "codes", "oracle_codes", "inverse_dynamics"
PROTOCOL = (
    "R2 on test episodes when only n transitions of the validation episodes, drawn at random, have "
    "their action: each code decodes to its mean labelled action; inverse_dynamics is a ridge on "
    "grey frame differences from the same n labels; ceiling: oracle codes with the same n labels; "
    "errors averaged over {draws} draws of labels"
)

Curve = Mapping[int, Mapping[str, Float[np.ndarray, "e 2 d"]]]
"""Squared error and squared deviation of every test episode, by number of labels and by way of
decoding."""


def check_labels(labels: Sequence[int], suite: str) -> None:
    """Refuse numbers of labels that nothing can be fitted to.

    Raises:
        ValueError: One is below 2.
    """
    if any(n < 2 for n in labels):
        raise ValueError(
            f"suite.{suite}.labels={list(labels)} must be 2 or more each: a ridge is fitted to them"
        )


def draw_labels(num_transitions: int, num_labels: int, *, draw: int, seed: int) -> np.ndarray:
    """Which transitions are labelled; more labels of the same draw contain the fewer ones."""
    return np.random.default_rng([seed, draw]).permutation(num_transitions)[:num_labels]


def decode(
    fit: ProbeData,
    test: ProbeData,
    fit_targets: Float[np.ndarray, "n d"],
    labelled: Int[np.ndarray, " l"],
    *,
    oracle: CodePair,
    num_codes: int,
) -> dict[str, Float[np.ndarray, "m d"]]:
    """The action of every test transition, decoded from these labels in each of three ways."""

    def dictionary(fit_codes: np.ndarray, codes: np.ndarray) -> Float[np.ndarray, "m d"]:
        known = fit_codes[labelled], fit_targets[labelled]
        return predict_from_codes(*known, codes, num_codes=num_codes)

    return {
        CODES: dictionary(fit.codes, test.codes),
        ORACLE: dictionary(*oracle),
        SUPERVISED: predict_by_ridge(
            fit.differences[labelled],
            fit_targets[labelled],
            test.differences,
            groups=fit.episode[labelled],
        ),
    }


def label_curve(
    fit: ProbeData,
    test: ProbeData,
    motion: Motion,
    settings: ProbeSettings,
    num_labels: Sequence[int],
    *,
    oracle: CodePair,
) -> Curve:
    """Errors with as many labels as are asked for, where there are so many transitions."""
    possible = [n for n in num_labels if n <= len(fit.codes)]
    return {n: _sums(fit, test, motion, settings, n, oracle) for n in possible}


def label_measurements(
    table: Table,
    curve: Curve,
    num_labels: Sequence[int],
    settings: ProbeSettings,
    *,
    num_transitions: int,
    names: Sequence[str],
) -> dict[str, Measurement]:
    """R2 against number of labels of `num_transitions` in the validation split.

    Adds the squared errors of the codes to the table; `names` are the dimensions.
    """
    shared = {"unit": "R2", "protocol": PROTOCOL.format(draws=settings.num_random_draws)}
    found = {}
    for n in num_labels:
        if n not in curve:
            reason = f"the validation episodes have only {num_transitions} transitions"
            found[f"labels/n{n}"] = undefined(reason, **shared)
            continue
        sums = {way: Sums(table, errors, mean_r2) for way, errors in curve[n].items()}
        error, deviation = curve[n][CODES].swapaxes(0, 1)
        table.add_squares("deviation", deviation, names, given=True)
        table.add_squares(f"error_labels_n{n}", error, names)
        found[f"labels/n{n}"] = Measurement(
            of=sums[CODES],
            baselines={SUPERVISED: sums[SUPERVISED]},
            ceiling=sums[ORACLE],
            reason="the motion is constant in the test episodes",
            **shared,
        )
    return found


def _sums(
    fit: ProbeData,
    test: ProbeData,
    motion: Motion,
    settings: ProbeSettings,
    num_labels: int,
    oracle: CodePair,
) -> dict[str, Float[np.ndarray, "e 2 d"]]:
    """Squared error and squared deviation of every test episode, by way of decoding."""
    fit_targets, targets = motion.of(fit), motion.of(test)
    deviation = (targets - fit_targets.mean(axis=0)) ** 2
    errors: dict[str, np.ndarray] = {}
    for draw in range(settings.num_random_draws):
        labelled = draw_labels(len(fit.codes), num_labels, draw=draw, seed=settings.seed)
        decoded = decode(
            fit, test, fit_targets, labelled, oracle=oracle, num_codes=settings.num_codes
        )
        for name, guess in decoded.items():
            squared = (guess - targets) ** 2 / settings.num_random_draws
            errors[name] = errors.get(name, 0.0) + squared
    return {name: test.sums(np.stack([error, deviation], axis=1)) for name, error in errors.items()}
