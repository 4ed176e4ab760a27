"""Distances between the distributions of two sets of features."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

Distance = Callable[[Float[np.ndarray, "n f"], Float[np.ndarray, "m f"]], float]


def frechet_distance(first: Float[np.ndarray, "n f"], second: Float[np.ndarray, "m f"]) -> float:
    """Squared Fréchet distance of two Gaussians with the means and covariances of the samples.

    ||mu1 - mu2||^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), where the last trace is the nuclear norm
    ||X Y^T||_* / sqrt((n - 1)(m - 1)) of the centred samples: exact also where there are fewer
    samples than features, without the square root of a singular matrix.

    Biased: with few samples it is far above 0 between samples of one distribution. Compare it only
    at equal sample sizes, and with the distance between two sets of real samples.

    Raises:
        ValueError: Fewer than two samples, or another number of features.
    """
    _check(first, second)
    n, m = len(first), len(second)
    x, y = first - first.mean(axis=0), second - second.mean(axis=0)
    shift = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    spread = (x**2).sum() / (n - 1) + (y**2).sum() / (m - 1)
    # Singular values are invariant to rotations of the samples: X = Q R, so R replaces X.
    x, y = (np.asarray(np.linalg.qr(side, mode="r")) for side in (x, y))
    shared = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt((n - 1) * (m - 1))
    return float(shift + spread - 2 * shared)


def unbiased_mmd(first: Float[np.ndarray, "n f"], second: Float[np.ndarray, "m f"]) -> float:
    """Squared maximum mean discrepancy under the kernel (x . y / f + 1)^3, without bias.

    0 on average between samples of one distribution, so it can be negative.

    Source: Gretton et al. 2012, eq. 3; kernel of Binkowski et al. 2018.

    Raises:
        ValueError: Fewer than two samples, or another number of features.
    """
    _check(first, second)

    def kernel(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "m f"]) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1.0) ** 3

    def within(a: Float[np.ndarray, "n f"]) -> float:
        matrix = kernel(a, a)
        return (matrix.sum() - np.trace(matrix)) / (len(a) * (len(a) - 1))

    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


def left_out(
    distance: Distance,
    first: Float[np.ndarray, "n f"],
    second: Float[np.ndarray, "m f"],
    *,
    first_episode: Int[np.ndarray, " n"],
    second_episode: Int[np.ndarray, " m"],
) -> tuple[Float[np.ndarray, " e"], Float[np.ndarray, " g"]]:
    """The distance without each episode of the first set, and without each of the second.

    Ordered by episode number. For an interval by `normal_interval`: a bootstrap would repeat
    samples, which makes a distribution look narrower.
    """
    return (
        np.array([distance(first[first_episode != e], second) for e in np.unique(first_episode)]),
        np.array([distance(first, second[second_episode != e]) for e in np.unique(second_episode)]),
    )


def _check(first: np.ndarray, second: np.ndarray) -> None:
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            "two sets of at least 2 samples with equally many features are compared, got shapes "
            f"{first.shape} and {second.shape}"
        )
