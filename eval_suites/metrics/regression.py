"""Regression of actions on codes or features, fitted on one split and applied to another."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans

ALPHAS = np.logspace(-3, 5, 17)
"""Candidate ridge penalties, for standardised features."""

FEATURE_REACH = 5.0
"""Standardised features of the other split may be clipped to this, so that a dimension that hardly
varied in the fit split cannot dominate a prediction."""

REACHES = (FEATURE_REACH, np.inf)
"""Candidate reaches: clipping helps some features and costs others."""

ROUNDING = 1e-9
"""A feature that varies by less, relative to its mean or to 1, is constant."""

KMEANS_RESTARTS = 10


class Standardiser(NamedTuple):
    """Mean and standard deviation of the fit split."""

    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]

    def __call__(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Standardised values."""
        return (values - self.mean) / self.scale


def fit_standardiser(values: Float[np.ndarray, "n d"]) -> Standardiser:
    """Mean and spread of the rows."""
    mean, spread = values.mean(axis=0), values.std(axis=0)
    varies = spread > ROUNDING * np.maximum(np.abs(mean), 1.0)
    return Standardiser(mean, np.where(varies, spread, 1.0))


def predict_from_codes(
    fit_codes: Int[np.ndarray, " n"],
    fit_targets: Float[np.ndarray, "n d"],
    codes: Int[np.ndarray, " m"],
    *,
    num_codes: int,
) -> Float[np.ndarray, "m d"]:
    """Least squares on one-hot codes: each code predicts its mean, unseen ones the overall mean."""
    counts = np.bincount(fit_codes, minlength=num_codes)[:, None]
    totals = np.zeros((num_codes, fit_targets.shape[1]))
    np.add.at(totals, fit_codes, fit_targets)
    table = np.where(counts > 0, totals / np.maximum(counts, 1), fit_targets.mean(axis=0))
    return table[codes]


def predict_by_ridge(
    fit_features: Float[np.ndarray, "n f"],
    fit_targets: Float[np.ndarray, "n d"],
    features: Float[np.ndarray, "m f"],
    *,
    groups: Int[np.ndarray, " n"],
    num_folds: int = 5,
) -> Float[np.ndarray, "m d"]:
    """Linear regression with penalty and clipping per target, chosen by cross-validation.

    Both are chosen inside the fit split, see `ALPHAS` and `REACHES`.
    `groups` are episodes, which folds never divide; a single episode is divided in time.
    """
    return ridge_of_both(fit_features, fit_targets, features, groups=groups, num_folds=num_folds)[1]


def ridge_of_both(
    fit_features: Float[np.ndarray, "n f"],
    fit_targets: Float[np.ndarray, "n d"],
    features: Float[np.ndarray, "m f"],
    *,
    groups: Int[np.ndarray, " n"],
    num_folds: int = 5,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """As `predict_by_ridge`, and first the cross-validated predictions of the fit split.

    Both predictions have out-of-sample errors, so that another model can be fitted on top of them.
    """
    folds = _folds(groups, num_folds)
    held_path = np.zeros((len(REACHES) * len(ALPHAS), *fit_targets.shape))
    for fold in range(folds.max() + 1):
        held = folds == fold
        held_path[:, held] = _ridge_path(
            fit_features[~held], fit_targets[~held], fit_features[held]
        )
    best = ((held_path - fit_targets) ** 2).sum(axis=1).argmin(axis=0)[None, None, :]
    path = _ridge_path(fit_features, fit_targets, features)
    return np.take_along_axis(held_path, best, axis=0)[0], np.take_along_axis(path, best, axis=0)[0]


def cluster(
    fit_points: Float[np.ndarray, "n d"],
    points: Float[np.ndarray, "m d"],
    *,
    num_codes: int,
    seed: int = 0,
    num_restarts: int = KMEANS_RESTARTS,
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """k-means codes of both sets of points; fewer codes when there are fewer distinct points."""
    kmeans = fit_clusters(fit_points, num_codes=num_codes, seed=seed, num_restarts=num_restarts)
    return np.asarray(kmeans.predict(fit_points)), np.asarray(kmeans.predict(points))


def fit_clusters(
    points: Float[np.ndarray, "n d"],
    *,
    num_codes: int,
    seed: int = 0,
    num_restarts: int = KMEANS_RESTARTS,
) -> KMeans:
    """k-means; fewer clusters when there are fewer distinct points."""
    num_clusters = min(num_codes, len(np.unique(points, axis=0)))
    return KMeans(num_clusters, random_state=seed).set_params(n_init=num_restarts).fit(points)


def choose_components(
    features: Float[np.ndarray, "n f"],
    targets: Float[np.ndarray, "n d"],
    *,
    num_codes: int,
    most: int,
    groups: Int[np.ndarray, " n"],
    seed: int = 0,
    num_folds: int = 2,
) -> int:
    """How many principal components, 1, 2, 4, .. `most`, to cluster so that codes predict best.

    Chosen by cross-validation inside the fit split, as the penalty of a ridge is.
    """
    folds = _folds(groups, num_folds)
    candidates = sorted({2**k for k in range(most.bit_length()) if 2**k <= most} | {most})
    spread = np.maximum(targets.var(axis=0), np.finfo(float).tiny)
    errors = np.zeros(len(candidates))
    for fold in range(folds.max() + 1):
        held = folds == fold
        if held.all():
            continue
        seen = principal_components(features[~held], features[held], num_components=most)
        for number, count in enumerate(candidates):
            points = (side[:, :count] for side in seen)
            codes, held_codes = cluster(*points, num_codes=num_codes, seed=seed, num_restarts=1)
            guess = predict_from_codes(codes, targets[~held], held_codes, num_codes=num_codes)
            errors[number] += (((guess - targets[held]) ** 2) / spread).sum()
    return candidates[int(errors.argmin())]


def principal_components(
    fit_features: Float[np.ndarray, "n f"],
    features: Float[np.ndarray, "m f"],
    *,
    num_components: int,
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "m p"]]:
    """Both sets of features, projected on the principal components of the first."""
    mean = fit_features.mean(axis=0)
    axes = np.linalg.svd(fit_features - mean, full_matrices=False)[2][:num_components]
    return (fit_features - mean) @ axes.T, (features - mean) @ axes.T


def _folds(groups: Int[np.ndarray, " n"], num_folds: int) -> Int[np.ndarray, " n"]:
    names, group = np.unique(groups, return_inverse=True)
    if len(names) > 1:
        return group % min(num_folds, len(names))
    return np.arange(len(groups)) * min(num_folds, len(groups)) // len(groups)


def _ridge_path(
    features: Float[np.ndarray, "n f"],
    targets: Float[np.ndarray, "n d"],
    new_features: Float[np.ndarray, "m f"],
) -> Float[np.ndarray, "p m d"]:
    """Predictions for every reach and penalty, from one eigendecomposition."""
    standardise = fit_standardiser(features)
    mean = targets.mean(axis=0)
    inputs, centred = standardise(features), targets - mean
    if len(inputs) < inputs.shape[1]:
        # As many equations as rows: w = X' (X X' + alpha)^-1 y.
        weights = inputs.T @ _penalised_solutions(inputs @ inputs.T, centred)
    else:
        weights = _penalised_solutions(inputs.T @ inputs, inputs.T @ centred)
    inputs = standardise(new_features)
    return np.concatenate([np.clip(inputs, -reach, reach) @ weights for reach in REACHES]) + mean


def _penalised_solutions(
    gram: Float[np.ndarray, "g g"], right: Float[np.ndarray, "g d"]
) -> Float[np.ndarray, "p g d"]:
    """(gram + alpha)^-1 right for every alpha of ALPHAS."""
    power, axes = np.linalg.eigh(gram)
    shrunk = (axes.T @ right) / (np.maximum(power, 0.0) + ALPHAS[:, None])[:, :, None]
    return axes @ shrunk
