"""Correlation and ranking errors of predicted against true values of policies, on plain arrays.

Source of MMRV: Li et al. 2024, Evaluating Real-World Robot Manipulation Policies in Simulation
(SIMPLER), section 4. It weighs violations by TRUE differences, so it is not symmetric.
"""

import numpy as np
from jaxtyping import Bool, Float

_TIE = 1e-9
"""Values closer than this are equal."""


def pearson(
    predicted: Float[np.ndarray, "... p"], true: Float[np.ndarray, "... p"]
) -> Float[np.ndarray, "..."]:
    """Linear correlation over policies; NaN where all are equal, up to rounding, or one is NaN."""
    first = predicted - predicted.mean(axis=-1, keepdims=True)
    second = true - true.mean(axis=-1, keepdims=True)
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    product = (first * second).sum(axis=-1)
    differ = _differ(predicted) & _differ(true)
    return np.divide(product, scale, out=np.full_like(product, np.nan), where=differ)


def spearman(
    predicted: Float[np.ndarray, "... p"], true: Float[np.ndarray, "... p"]
) -> Float[np.ndarray, "..."]:
    """Correlation of ranks, ties sharing their mean rank; NaN where all values are equal."""
    return pearson(_ranks(predicted), _ranks(true))


def mmrv(
    predicted: Float[np.ndarray, "... p"], true: Float[np.ndarray, "... p"]
) -> Float[np.ndarray, "..."]:
    """Mean over policies of the largest true difference that the prediction orders wrongly.

    MMRV = 1/N sum_i max_j |true_i - true_j| 1[(pred_i < pred_j) != (true_i < true_j)]

    as in the paper; its code has > for <, which differs only where predictions tie. NaN where a
    value is.
    """
    apart = np.abs(_differences(true))
    is_wrong = (_differences(predicted) < -_TIE) != (_differences(true) < -_TIE)
    worst = (apart * is_wrong).max(axis=-1)
    return np.where(np.isfinite(predicted), worst, np.nan).mean(axis=-1)


def mean_absolute_error(
    predicted: Float[np.ndarray, "... p"], true: Float[np.ndarray, "... p"]
) -> Float[np.ndarray, "..."]:
    """Mean over policies of |predicted - true|."""
    return np.abs(predicted - true).mean(axis=-1)


def _differ(values: Float[np.ndarray, "... p"]) -> Bool[np.ndarray, "..."]:
    """Whether values differ by more than the rounding of the largest."""
    size = np.maximum(np.abs(values).max(axis=-1), 1.0)
    return np.ptp(values, axis=-1) > _TIE * size


def _differences(values: Float[np.ndarray, "... p"]) -> Float[np.ndarray, "... p p"]:
    return values[..., :, None] - values[..., None, :]


def _ranks(values: Float[np.ndarray, "... p"]) -> Float[np.ndarray, "... p"]:
    """NaN where a value is."""
    apart = _differences(values)
    ranks = (apart > _TIE).sum(axis=-1) + 0.5 * (np.abs(apart) <= _TIE).sum(axis=-1)
    return np.where(np.isfinite(values), ranks, np.nan)
