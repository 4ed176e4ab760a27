"""Where each colour lies in an image: the features that positions are read from."""

import numpy as np
from jaxtyping import Float, Int, UInt8
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

U, V = 1, 2
"""Moments: mean column and row of a colour's pixels."""
BLOB = slice(0, 5)
"""Moments: root mass, mean and spread."""
_LEVELS = 32
_PENALTIES = np.logspace(-2, 4, 7)
_PRIOR_MASS = 3.0
"""Pixels added to every colour at the centre of the image, which damps small counts."""


def coarse(frames: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, "t p"]:
    """RGB values as one number below _LEVELS cubed."""
    levels = (frames // (256 // _LEVELS)).astype(np.int64).reshape(len(frames), -1, 3)
    return levels @ np.array([_LEVELS**2, _LEVELS, 1])


def all_colors() -> Float[np.ndarray, "levels 3"]:
    """The centre of each coarse RGB value, in [0, 1]."""
    axes = np.meshgrid(*[(np.arange(_LEVELS) + 0.5) / _LEVELS] * 3, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 3)


def color_moments(
    frames: UInt8[np.ndarray, "t h w c"], color_of: Int[np.ndarray, " levels"], num_colors: int
) -> Float[np.ndarray, "t o 9"]:
    """Root mass, mean, spread, and soft maximum and minimum position of every colour.

    Positions are -1 to 1 from left to right and from top to bottom. `color_of` is the colour of
    each coarse RGB value, below `num_colors`.
    """
    height, width = frames.shape[1:3]
    v, u = (axis.ravel() for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    columns = (u, v, u * u, v * v, np.exp(4 * u), np.exp(4 * v), np.exp(-4 * u), np.exp(-4 * v))
    rows = []
    for values in color_of[coarse(frames)]:
        mass = np.bincount(values, minlength=num_colors)
        sums = [np.bincount(values, weights=w, minlength=num_colors) for w in columns]
        means = [total / (mass + _PRIOR_MASS) for total in sums[:4]]
        spread = [np.sqrt(np.maximum(means[k + 2] - means[k] ** 2, 0)) for k in range(2)]
        edges = [np.log1p(total) for total in sums[4:]]
        rows.append(np.stack([np.sqrt(mass), *means[:2], *spread, *edges], axis=1))
    return np.stack(rows)


def regression() -> Pipeline:
    """Ridge regression on standardised features."""
    return make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))


def squares(moments: Float[np.ndarray, "n 9"]) -> Float[np.ndarray, "n 54"]:
    """The moments and their products: perspective is not linear."""
    first, second = np.triu_indices(moments.shape[1])
    return np.concatenate([moments, moments[:, first] * moments[:, second]], axis=1)
