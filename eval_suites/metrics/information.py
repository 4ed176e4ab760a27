"""Entropy and mutual information of label sequences in bits, from counts."""

import numpy as np
from jaxtyping import Float, Int


def joint_counts(
    first: Int[np.ndarray, " n"],
    second: Int[np.ndarray, " n"],
    episode: Int[np.ndarray, " n"],
    *,
    shape: tuple[int, int, int],
) -> Float[np.ndarray, "e k j"]:
    """How often each pair of labels occurs in each episode; `shape` is episodes, labels, labels."""
    counts = np.zeros(shape)
    np.add.at(counts, (episode, first, second), 1.0)
    return counts


def mutual_information(counts: Float[np.ndarray, "... k j"]) -> Float[np.ndarray, "..."]:
    """I(K; J) = H(K) + H(J) - H(K, J) in bits, with the bias correction of Miller (1955).

    The plug-in estimate from n samples is too high by about (cells - rows - columns + 1) / 2n nats,
    with the cells, rows and columns that occur. For independent labels the corrected value is 0 on
    average and can be negative.
    """
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    cells = counts.reshape(*counts.shape[:-2], -1)
    spurious = (cells > 0).sum(-1) - (rows > 0).sum(-1) - (columns > 0).sum(-1) + 1
    bias = spurious / (2 * cells.sum(axis=-1) * np.log(2))
    return entropy(rows) + entropy(columns) - entropy(cells) - bias


def entropy(counts: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "..."]:
    """Entropy in bits of labels with these counts."""
    chances = counts / counts.sum(axis=-1, keepdims=True)
    logs = np.log2(np.where(chances > 0, chances, 1.0))
    return -(chances * logs).sum(axis=-1)
