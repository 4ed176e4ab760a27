"""How well latent actions decode to robot actions with few action labels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from genie_robo.eval_suites.metrics.regression import predict_by_ridge, predict_from_codes
from genie_robo.eval_suites.probes.scores import Probe
from genie_robo.eval_suites.statistics import mean_r2
from genie_robo.eval_suites.table import Measurement, Sums, Table, undefined

CODES, ORACLE, SUPERVISED = "codes", "oracle_codes", "inverse_dynamics"
PROTOCOL = (
    "R2 on test episodes when only n transitions of the validation episodes, drawn at random, have "
    "their action: each code decodes to its mean labelled action; inverse_dynamics is a ridge on "
    "grey frame differences from the same n labels; ceiling: oracle codes with the same n labels; "
    "errors averaged over {draws} draws of labels"
)


def draw_labels(num_transitions: int, num_labels: int, *, draw: int, seed: int) -> np.ndarray:
    """Which transitions are labelled; in one draw, larger sets contain the smaller ones."""
    return np.random.default_rng([seed, draw]).permutation(num_transitions)[:num_labels]


def decode(
    probe: Probe, fit_targets: Float[np.ndarray, "n d"], labelled: Int[np.ndarray, " l"]
) -> dict[str, Float[np.ndarray, "m d"]]:
    """Targets of the test transitions, decoded by three methods from the labelled transitions."""
    fit, known = probe.fit, fit_targets[labelled]

    def dictionary(fit_codes: np.ndarray, codes: np.ndarray) -> Float[np.ndarray, "m d"]:
        return predict_from_codes(fit_codes[labelled], known, codes, num_codes=probe.num_codes)

    return {
        CODES: dictionary(fit.codes, probe.test.codes),
        ORACLE: dictionary(*probe.oracle),
        SUPERVISED: predict_by_ridge(
            fit.differences[labelled],
            known,
            probe.test.differences,
            groups=fit.episode[labelled],
        ),
    }


def label_errors(probe: Probe, num_labels: int) -> dict[str, Float[np.ndarray, "e 2 d"]]:
    """Squared error and squared deviation of every test episode, by decoding method."""
    deviation = (probe.targets - probe.mean) ** 2
    errors: dict[str, np.ndarray] = {}
    for draw in range(probe.num_random_draws):
        labelled = draw_labels(len(probe.fit.codes), num_labels, draw=draw, seed=probe.seed)
        for name, guess in decode(probe, probe.fit_targets, labelled).items():
            squared = (guess - probe.targets) ** 2 / probe.num_random_draws
            errors[name] = errors.get(name, 0.0) + squared
    return {n: probe.test.sums(np.stack([error, deviation], axis=1)) for n, error in errors.items()}


def label_measurements(
    probe: Probe, table: Table, num_labels: Sequence[int]
) -> dict[str, Measurement]:
    """R2 by number of labels; adds the squared errors of the codes to the table."""
    shared = {"unit": "R2", "protocol": PROTOCOL.format(draws=probe.num_random_draws)}
    names, num_transitions = probe.motion.names, len(probe.fit.codes)
    found = {}
    for n in num_labels:
        if n > num_transitions:
            reason = f"the validation episodes have only {num_transitions} transitions"
            found[f"labels/n{n}"] = undefined(reason, **shared)
            continue
        errors = label_errors(probe, n)
        sums = {way: Sums(table, values, mean_r2) for way, values in errors.items()}
        table.add_squares("deviation", errors[CODES][:, 1], names, given=True)
        table.add_squares(f"error_labels_n{n}", errors[CODES][:, 0], names)
        found[f"labels/n{n}"] = Measurement(
            of=sums[CODES],
            baselines={SUPERVISED: sums[SUPERVISED]},
            ceiling=sums[ORACLE],
            reason="the motion is constant in the test episodes",
            **shared,
        )
    return found
