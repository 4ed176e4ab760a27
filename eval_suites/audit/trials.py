"""Trials of policies, and their mean success over resampled starts.

The unit is the start: all trials that begin with one frame are drawn together, whatever their
policy and task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

RESAMPLES = 2_000
AT_ONCE = 4_000_000
"""Numbers that are held at once, to bound memory."""
MOST_BLOCKS = 200
"""More starts than this are left out several at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Predicted and true success of trials, a row for each."""

    policy: Sequence[str]
    trial: Sequence[str]
    predicted: Float[np.ndarray, " n"]
    true: Float[np.ndarray, " n"]
    blind: Mapping[str, Float[np.ndarray, " n"]] = field(default_factory=dict)
    """Predictions of judges that see no pixels, by name: a floor."""
    start: Sequence[str] = ()
    """Where each trial begins: the unit that is resampled. Empty: trials of one name share it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be audited.

        Raises:
            ValueError: There are fewer than three policies, or a trial of a policy is there twice.
        """
        if len(set(self.policy)) < 3:
            raise ValueError(
                f"{len(set(self.policy))} policies are in the table, and a ranking needs three"
            )
        seen: set[tuple[str, str]] = set()
        for pair in zip(self.policy, self.trial, strict=True):
            if pair in seen:
                raise ValueError(
                    f"trial {pair[1]!r} of policy {pair[0]!r} is in the table twice; name repeated "
                    "trials differently"
                )
            seen.add(pair)

    @property
    def starts(self) -> Sequence[str]:
        """The start of each trial."""
        return self.start or self.trial

    def where(self, chosen: Sequence[bool]) -> "Outcomes":
        """Some of the rows."""
        rows = [row for row, is_chosen in enumerate(chosen) if is_chosen]
        return Outcomes(
            policy=[self.policy[row] for row in rows],
            trial=[self.trial[row] for row in rows],
            predicted=self.predicted[rows],
            true=self.true[rows],
            blind={name: values[rows] for name, values in self.blind.items()},
            start=[self.start[row] for row in rows] if self.start else (),
        )


class Means(NamedTuple):
    """Mean of each policy in each resample; NaN where none of its trials was drawn."""

    predicted: Float[np.ndarray, "r p"]
    true: Float[np.ndarray, "r p"]
    blind: Mapping[str, Float[np.ndarray, "r p"]]

    def of_policies(self, chosen: Int[np.ndarray, "q n"]) -> "Means":
        """The means of these policies in each resample, or in the only one."""

        def take(means: Float[np.ndarray, "r p"]) -> Float[np.ndarray, "q n"]:
            rows = np.broadcast_to(means, (len(chosen), means.shape[1]))
            return np.take_along_axis(rows, chosen, axis=1)

        blind = {name: take(means) for name, means in self.blind.items()}
        return Means(take(self.predicted), take(self.true), blind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Sums over the trials of each start (rows) and policy (columns)."""

    policies: tuple[str, ...]
    counts: csr_array
    predicted: csr_array
    true: csr_array
    blind: Mapping[str, csr_array]
    groups: Sequence[Int[np.ndarray, " _"]]
    """Starts that are drawn together: those of policies that share starts, directly or through
    others."""

    @classmethod
    def of(cls, outcomes: Outcomes) -> "Trials":
        """Sum the trials of a table."""
        policies = tuple(dict.fromkeys(outcomes.policy))
        policy = _numbers(outcomes.policy, policies)
        start = _numbers(outcomes.starts, sorted(set(outcomes.starts)))
        shape = (int(start.max()) + 1, len(policies))

        def summed(values: Float[np.ndarray, " n"]) -> csr_array:
            return csr_array(coo_array((values, (start, policy)), shape=shape))

        return cls(
            policies=policies,
            counts=summed(np.ones(len(policy))),
            predicted=summed(outcomes.predicted),
            true=summed(outcomes.true),
            blind={name: summed(values) for name, values in outcomes.blind.items()},
            groups=_groups(start, policy, shape),
        )

    @property
    def num_trials(self) -> Float[np.ndarray, " p"]:
        """Trials of each policy."""
        return self.counts.sum(axis=0)

    @property
    def num_starts(self) -> Int[np.ndarray, " p"]:
        """Different starts of each policy."""
        return np.diff(self.counts.tocsc().indptr)

    @property
    def is_paired(self) -> bool:
        """Whether all policies have as many trials from each start."""
        num_starts, num_policies = self.counts.shape
        if self.counts.nnz < num_starts * num_policies:
            return False
        table = self.counts.toarray()
        return bool((table == table[:, :1]).all())

    def means(self) -> Means:
        """Over all trials, as one resample."""
        return self._weighted(np.ones((1, self.counts.shape[0])))

    def resample(self, rng: np.random.Generator) -> Means:
        """Over starts drawn with replacement, some resamples at a time to bound memory."""
        at_once = max(1, AT_ONCE // self.counts.shape[0])
        sizes = [min(at_once, RESAMPLES - first) for first in range(0, RESAMPLES, at_once)]
        return self._joined([self._weighted(self._draw(rng, size)) for size in sizes])

    def without_each(self) -> tuple[Means, Int[np.ndarray, " r"]]:
        """Over all starts but one, or but a block of many, and the group of what is left out."""
        left_out = [
            (number, block)
            for number, group in enumerate(self.groups)
            for block in np.array_split(group, min(len(group), MOST_BLOCKS))
        ]
        at_once = max(1, AT_ONCE // self.counts.shape[0])
        parts = []
        for first in range(0, len(left_out), at_once):
            some = left_out[first : first + at_once]
            weights = np.ones((len(some), self.counts.shape[0]))
            for row, (_, block) in zip(weights, some, strict=True):
                row[block] = 0.0
            parts.append(self._weighted(weights))
        return self._joined(parts), np.array([number for number, _ in left_out])

    def halves(self, rng: np.random.Generator) -> Float[np.ndarray, "2 p"]:
        """Mean true success of each policy on two random halves of the starts."""
        first = np.zeros(self.counts.shape[0])
        for group in self.groups:
            first[rng.permutation(group)[: -(-len(group) // 2)]] = 1.0
        return self._weighted(np.stack([first, 1 - first])).true

    def _joined(self, parts: Sequence[Means]) -> Means:
        return Means(
            np.concatenate([part.predicted for part in parts]),
            np.concatenate([part.true for part in parts]),
            {name: np.concatenate([part.blind[name] for part in parts]) for name in self.blind},
        )

    def _draw(self, rng: np.random.Generator, size: int) -> Float[np.ndarray, "r s"]:
        """How often each start is drawn: each group as many times as it has starts."""
        weights = np.empty((size, self.counts.shape[0]))
        for group in self.groups:
            chances = np.full(len(group), 1 / len(group))
            weights[:, group] = rng.multinomial(len(group), chances, size=size)
        return weights

    def _weighted(self, weights: Float[np.ndarray, "r s"]) -> Means:
        count = weights @ self.counts

        def mean(sums: csr_array) -> Float[np.ndarray, "r p"]:
            return np.divide(
                weights @ sums, count, out=np.full_like(count, np.nan), where=count > 0
            )

        blind = {name: mean(sums) for name, sums in self.blind.items()}
        return Means(mean(self.predicted), mean(self.true), blind)


def _numbers(names: Sequence[str], order: Sequence[str]) -> Int[np.ndarray, " n"]:
    number = {name: i for i, name in enumerate(order)}
    return np.array([number[name] for name in names])


def _groups(
    start: Int[np.ndarray, " n"], policy: Int[np.ndarray, " n"], shape: tuple[int, int]
) -> list[Int[np.ndarray, " _"]]:
    """Starts by connected part of the graph that joins each policy with its starts."""
    size = sum(shape)
    edges = coo_array((np.ones(len(start)), (start, policy + shape[0])), shape=(size, size))
    count, label = connected_components(edges, directed=False)
    order = label[: shape[0]].argsort(kind="stable")
    ends = np.bincount(label[: shape[0]], minlength=count).cumsum()[:-1]
    return np.split(order, ends)
