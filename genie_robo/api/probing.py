"""How well anybody's latent actions predict robot actions, on episodes that nothing was fitted to.

The probe, its baselines, its ceiling and its intervals are those of `suite=latent_probe`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from genie_robo.api.arrays import Array, to_numpy
from genie_robo.eval_suites.probes.data import COMMANDED, ProbeData
from genie_robo.eval_suites.probes.scores import (
    Motion,
    Probe,
    action_predictions,
    errors_by_episode,
)
from genie_robo.eval_suites.statistics import Estimate, Statistic, bootstrap, mean_r2, r2_fraction
from genie_robo.types import action_names

MOST_REPEATED = 0.1
"""Share of steps that may have an identical twin in another episode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """R2 on held-out episodes: 1 is perfect, 0 is as good as the mean of the fitted episodes.

    Latents that say nothing score slightly below 0, and their interval may end below 0: a fit to
    noise costs something on other episodes. Read an R2 as information only above 0.

    Every number is an `Estimate`: `value`, and `ci95`, the 95 % interval by bootstrap over
    episodes, None with fewer than five. `value` is None where it is undefined.
    """

    r2: Estimate
    """Of the latents by ridge regression: mean over the dimensions that vary."""
    r2_by_dimension: Mapping[str, Estimate]
    """None for a dimension that is constant."""
    codes_r2: Estimate | None
    """Of the codes, each of which predicts its mean action; None without codes."""
    codes_ceiling: Estimate | None
    """R2 of k-means clusters of the true actions, as many as there are codes."""
    codes_share: Estimate | None
    """Share of this ceiling that the codes reach."""
    baselines: Mapping[str, Estimate]
    """`previous_action`: ridge regression on the action before; `mean`: 0 by definition."""
    num_episodes: int
    """Test episodes: all of them, once each, where there are folds."""
    num_steps: int
    protocol: str
    """How it was measured, in one sentence."""


def probe(
    latents: Array,
    actions: Array,
    episodes: Sequence[Any] | Array,
    *,
    codes: Array | None = None,
    num_codes: int | None = None,
    names: Sequence[str] | None = None,
    num_folds: int = 5,
    test_episodes: Collection[Any] | None = None,
    allow_repeats: bool = False,
    seed: int = 0,
) -> ProbeResult:
    """Predict actions from latent actions, fitted on some episodes and tested on others.

    Args:
        latents: (n e) numbers of n steps, in order of time inside each episode.
        actions: (n a) robot actions of the same steps.
        episodes: (n) the episode of each step, by number or name.
        codes: (n) discrete latent actions of the same steps, from 0 on.
        num_codes: Size of their codebook; by default the largest code plus 1.
        names: Of the a dimensions; by default those of robot actions.
        num_folds: Each episode is tested once, by a probe that is fitted on the other folds.
        test_episodes: Test on these, fit on all others; there are no folds then.
        allow_repeats: Accept steps that are identical in several episodes, as discrete latents of
            discrete actions are.
        seed: Of the folds and of the clusters.

    Raises:
        TypeError: Something holds no numbers.
        ValueError: Lengths differ, a number is not finite, there are too few episodes, an unknown
            test episode, a code out of range, or episodes that repeat each other.
    """
    known = _read(latents, actions, episodes, codes, num_codes, names)
    if not allow_repeats:
        _check_repeats(known)
    split = None if test_episodes is None else _given_split(known, test_episodes)
    sides = _folds(known, num_folds, seed) if split is None else [split]
    errors = _errors(known, sides, seed)
    how = f"{num_folds} folds of whole episodes" if split is None else "given test episodes"
    num_tested = sum(int(side[known.episode].sum()) for side in sides)
    return _result(known, errors, num_tested, f"{_PROTOCOL}; {how}")


_PROTOCOL = (
    "ridge regression, penalty chosen by cross-validation inside the fitted episodes; R2 on other "
    "episodes, about the mean of the fitted ones; 95 % interval by bootstrap over test episodes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Checked arrays, rows in the order of episodes."""

    latents: Float[np.ndarray, "n e"]
    actions: Float[np.ndarray, "n a"]
    codes: Int[np.ndarray, " n"]
    num_codes: int | None
    """None where there are no codes."""
    episode: Int[np.ndarray, " n"]
    ids: tuple[str, ...]
    names: tuple[str, ...]

    def side(self, chosen: Bool[np.ndarray, " e"]) -> ProbeData:
        """The steps of some episodes."""
        rows = chosen[self.episode]
        number = np.cumsum(chosen) - 1
        none = np.zeros((int(rows.sum()), 0))
        return ProbeData(
            episode_ids=tuple(name for name, is_in in zip(self.ids, chosen, strict=True) if is_in),
            episode=number[self.episode[rows]],
            codes=self.codes[rows],
            latents=self.latents[rows],
            untrained_latents=None,
            frames=none,
            differences=none,
            flow=None,
            targets={COMMANDED: self.actions[rows]},
            masks={COMMANDED: np.ones(len(self.names), bool)},
        )


def _read(
    latents: Array,
    actions: Array,
    episodes: Sequence[Any] | Array,
    codes: Array | None,
    num_codes: int | None,
    names: Sequence[str] | None,
) -> _Known:
    given = {"latents": _numbers(latents, "latents"), "actions": _numbers(actions, "actions")}
    num_steps, width = given["actions"].shape
    ids, episode = np.unique(to_numpy(episodes, "episodes"), return_inverse=True)
    steps = {name: len(values) for name, values in given.items()} | {"episodes": episode.size}
    if codes is not None:
        given["codes"], num_codes = _codes(codes, num_codes)
        steps["codes"] = len(given["codes"])
    elif num_codes is not None:
        raise ValueError(f"num_codes={num_codes} is the size of a codebook; give codes= too")
    if len(set(steps.values())) > 1 or episode.ndim != 1 or num_steps == 0:
        found = ", ".join(f"{name} {count}" for name, count in steps.items())
        raise ValueError(f"all arrays have one row for each step, but there are {found}")
    names = tuple(names or action_names(width)[:width])
    if len(names) != width:
        raise ValueError(f"actions have {width} dimensions, but there are {len(names)} names")
    order = np.argsort(episode, kind="stable")
    return _Known(
        latents=given["latents"][order],
        actions=given["actions"][order],
        codes=given.get("codes", np.zeros(num_steps, np.int64))[order],
        num_codes=num_codes,
        episode=episode[order],
        ids=tuple(map(str, ids)),
        names=names,
    )


def _numbers(values: Array, what: str) -> Float[np.ndarray, "n d"]:
    found = to_numpy(values, what)
    if found.dtype.kind not in "fiu":
        raise TypeError(f"{what} are numbers, but these are {found.dtype}")
    if found.ndim != 2 or found.shape[1] == 0:
        raise ValueError(f"{what} have the shape (n d), a row for each step; got {found.shape}")
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise ValueError(f"{what} must be finite, but row {bad[0]} is {found[bad[0]].tolist()}")
    return found.astype(np.float64)


def _codes(codes: Array, num_codes: int | None) -> tuple[Int[np.ndarray, " n"], int]:
    found = to_numpy(codes, "codes")
    if found.dtype.kind not in "iu":
        raise TypeError(f"codes are integers, but these are {found.dtype}")
    if found.ndim != 1 or found.size == 0:
        raise ValueError(f"codes have the shape (n), one for each step; got {found.shape}")
    num_codes = int(found.max()) + 1 if num_codes is None else num_codes
    if found.min() < 0 or found.max() >= num_codes:
        raise ValueError(
            f"codes are 0 to {num_codes - 1}, but these are {found.min()} to {found.max()}"
        )
    return found.astype(np.int64), num_codes


def _check_repeats(known: _Known) -> None:
    """Refuse episodes that share steps: what is tested would have been fitted."""
    rows = np.ascontiguousarray(np.concatenate([known.latents, known.actions], axis=1))
    _, kind = np.unique(rows, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([kind.ravel(), known.episode], axis=1), axis=0)
    num_episodes_of = np.bincount(pairs[:, 0])
    repeated = num_episodes_of[kind.ravel()] > 1
    if repeated.mean() <= MOST_REPEATED:
        return
    twin = kind.ravel()[repeated.argmax()]
    where = [known.ids[e] for e in pairs[pairs[:, 0] == twin, 1][:2]]
    raise ValueError(
        f"{repeated.mean():.0%} of the steps have the same latent and action in another episode, "
        f"for example in episodes {' and '.join(where)}: a test on them would have been fitted to. "
        "Give every copy and every overlapping window of a recording the same episode, or "
        "allow_repeats=True where latents and actions are discrete"
    )


def _folds(known: _Known, num_folds: int, seed: int) -> list[Bool[np.ndarray, " e"]]:
    """Test episodes of each fold."""
    num_episodes = len(known.ids)
    if num_folds < 2 or num_episodes < num_folds:
        raise ValueError(
            f"{num_episodes} episodes are too few for num_folds={num_folds}: a fold tests on whole "
            "episodes and fits on others. Give num_folds from 2 to the number of episodes, and "
            "check that `episodes` names the recording of each step"
        )
    fold = np.random.default_rng(seed).permutation(num_episodes) % num_folds
    return [fold == number for number in range(num_folds)]


def _given_split(known: _Known, test_episodes: Collection[Any]) -> Bool[np.ndarray, " e"]:
    wanted = {str(name) for name in test_episodes}
    chosen = np.array([name in wanted for name in known.ids])
    unknown = wanted - set(known.ids)
    if unknown or not chosen.any() or chosen.all():
        reason = f"there is no episode {min(unknown)}" if unknown else "one side is empty"
        raise ValueError(
            f"test_episodes names {len(wanted)} of {len(known.ids)} episodes, but {reason}; name "
            "some of them, and leave others to fit on"
        )
    return chosen


def _errors(
    known: _Known, sides: Sequence[Bool[np.ndarray, " e"]], seed: int
) -> dict[str, Float[np.ndarray, "tested a"]]:
    """Squared errors of every predictor in every test episode."""
    found: dict[str, list[np.ndarray]] = {}
    for each in _probes(known, sides, seed):
        guesses = action_predictions(each)
        guesses["codes"] = each.predict(each.fit.codes, each.test.codes)
        errors = errors_by_episode(each, {name: guess[None] for name, guess in guesses.items()})
        for name, values in errors.items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def _probes(known: _Known, sides: Sequence[Bool[np.ndarray, " e"]], seed: int) -> Iterator[Probe]:
    motion = Motion(COMMANDED, tuple(range(len(known.names))))
    for is_test in sides:
        yield Probe(
            fit=known.side(~is_test),
            test=known.side(is_test),
            motion=motion,
            num_codes=known.num_codes or 1,
            seed=seed,
        )


def _result(
    known: _Known,
    errors: Mapping[str, Float[np.ndarray, "tested a"]],
    num_steps: int,
    protocol: str,
) -> ProbeResult:
    varying = np.flatnonzero(errors["mean"].sum(axis=0) > 0)

    def estimate(
        *predictors: str, of: Sequence[int] | np.ndarray = varying, statistic: Statistic = mean_r2
    ) -> Estimate:
        if len(of) == 0:
            return Estimate(None, None)
        rows = [errors[name][:, of] for name in (*predictors, "mean")]
        return bootstrap(np.stack(rows, axis=1), statistic)

    has_codes, ceiling = known.num_codes is not None, estimate("oracle")
    share = Estimate(None, None)
    if ceiling.value is not None and ceiling.value > 0:
        share = estimate("codes", "oracle", statistic=r2_fraction)
    return ProbeResult(
        r2=estimate("latent"),
        r2_by_dimension={n: estimate("latent", of=[d]) for d, n in enumerate(known.names)},
        codes_r2=estimate("codes") if has_codes else None,
        codes_ceiling=ceiling if has_codes else None,
        codes_share=share if has_codes else None,
        baselines={name: estimate(name) for name in ("previous_action", "mean")},
        num_episodes=len(errors["mean"]),
        num_steps=num_steps,
        protocol=protocol,
    )
