"""Is the set of latent actions built like motions: do they invert, add up, and change anything?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from eval_suites import figures
from eval_suites.base import (
    EpisodeSet,
    EvalContext,
    Metric,
    SuiteResult,
    blindness,
    undefined,
)
from eval_suites.episodes import episode_limit
from eval_suites.matrices import heat_map
from eval_suites.metrics.information import entropy, joint_counts, mutual_information
from eval_suites.metrics.jackknife import jackknife
from eval_suites.probes.data import ProbeData, collect_both
from eval_suites.probes.latent_algebra import composition_metrics, copying_metrics, swap_metric
from eval_suites.probes.metrics import code_metrics
from eval_suites.probes.reversed_video import best_permutation, reversed_codes, swapped_codes
from eval_suites.probes.rows import Columns, Found, sequences, to_rows
from eval_suites.probes.scores import ProbeSettings, main_motion
from eval_suites.statistics import (
    bootstrap,
    episode_sums,
    notes_on_units,
    ratio_of_sums,
    to_metric,
)

FAST_PAIRS = 60
BACKWARD_PROTOCOL = (
    "test videos are encoded forwards and backwards; the permutation of codes that turns one into "
    "the other is chosen on validation episodes; interval over test episodes (of the information "
    "by jackknife)"
)
BACKWARD_COLUMNS = ("num_transitions", "backward_agreement", "backward_involution")
TRANSITION_PROTOCOL = (
    "mutual information of a code and the code before it in the same test episode, corrected for "
    "its bias; ceiling: entropy of the codes; interval by jackknife over test episodes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentStructure:
    """Use of codes, reversal, composition, and what codes add to copying the frame."""

    name: ClassVar[str] = "latent_structure"
    summary: ClassVar[str] = "whether latent actions are used, invert and add up as motions do"

    max_episodes: int = 200
    """Of validation and of test episodes."""
    max_pairs: int = 400
    """Transitions of test episodes whose two frames change places."""
    horizons: Sequence[int] = (2, 4, 8)
    """Transitions whose decoded motions are added up."""
    num_clips: int = 24
    """Prompts after which one frame is imagined."""
    batch_size: int = 16
    min_move: float = 1e-3
    min_share: float = 0.1

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes forwards and backwards."""
        limit = episode_limit(context, self.max_episodes)
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        num_codes = context.encoder.num_codes
        metrics = code_metrics(test, num_codes=num_codes)
        metrics["codes/dead"] = _dead(metrics["codes/used"], num_codes)
        metrics["transitions/information"] = _transition_metric(test, num_codes)
        fit_back = self._backward(context, context.fit, fit, limit)
        back = self._backward(context, context.test, test, limit)
        pairs = _pairs(test, back, num_codes)
        turned = backward_sums(_pairs(fit, fit_back, num_codes), pairs)
        metrics |= backward_metrics(turned, pairs, seed=context.seed)
        columns = _columns(test, back, num_codes)
        columns |= dict(zip(BACKWARD_COLUMNS, turned.T, strict=True))
        sizes = {"num_clips": self.num_clips, "batch_size": self.batch_size}
        for found in (
            *self._motions(context, fit, test, limit),
            copying_metrics(context, test, name=self.name, **sizes),
        ):
            metrics |= found.metrics
            columns |= found.columns
        drawn = {
            "transitions": _matrix(
                _successions(test, num_codes), ("latent action", "the next one")
            ),
            "forward_backward": _matrix(pairs, ("forwards", "the same transition backwards")),
            "code_usage": figures.usage(
                np.bincount(test.codes, minlength=num_codes),
                label="latent action",
                title="use of latent actions in test episodes",
            ),
        }
        if reason := blindness(context.encoder):
            metrics |= _not_seen(metrics, reason)
            columns = {name: values for name, values in columns.items() if "backward" not in name}
            del drawn["forward_backward"]
        headline = ("codes/perplexity", "codes/dead", "forward_backward/agreement")
        swap = ("endpoint_swap/r2", "composition/h2", "gain_over_copying/changed_psnr")
        return SuiteResult(
            metrics=metrics,
            headline=tuple(name for name in (*headline, *swap) if name in metrics),
            per_episode=to_rows(columns),
            figures=drawn,
            notes=notes_on_units(test.num_episodes),
        )

    def _backward(
        self, context: EvalContext, side: EpisodeSet, data: ProbeData, limit: int
    ) -> Int[np.ndarray, " n"]:
        """The code of every transition of a split in its video run backwards."""
        found = reversed_codes(
            context.encoder, side, max_episodes=limit, description=f"{self.name}: backwards"
        )
        return np.concatenate([found[name] for name in data.episode_ids])

    def _motions(
        self, context: EvalContext, fit: ProbeData, test: ProbeData, limit: int
    ) -> tuple[Found, ...]:
        """What needs the robot's motion: swapped frames and sums of motions."""
        motion = main_motion(fit, min_move=self.min_move, min_share=self.min_share)
        if motion is None:
            reason = f"the robot never moves by more than {self.min_move} m in validation episodes"
            names = ("endpoint_swap/r2", *(f"composition/h{h}" for h in self.horizons))
            missing = undefined(reason, unit="R2", protocol=BACKWARD_PROTOCOL)
            return (Found(dict.fromkeys(names, missing), {}),)
        swapped = swapped_codes(
            context.encoder,
            context.test,
            max_episodes=limit,
            max_pairs=FAST_PAIRS if context.fast else self.max_pairs,
            description=f"{self.name}: swapped frames",
        )
        settings = ProbeSettings(
            num_codes=context.encoder.num_codes,
            num_random_draws=1,
            num_components=1,
            seed=context.seed,
        )
        return (
            swap_metric(fit, test, motion, settings, swapped),
            composition_metrics(fit, test, motion, settings, tuple(self.horizons)),
        )


def _not_seen(metrics: Mapping[str, Metric], reason: str) -> dict[str, Metric]:
    """What is left of metrics of reversed video when nothing looks at it."""
    return {
        name: undefined(reason, unit=metric.unit, protocol=metric.protocol)
        for name, metric in metrics.items()
        if name.startswith(("forward_backward/", "endpoint_swap/"))
    }


def backward_sums(
    fit_counts: Float[np.ndarray, "v k k"], counts: Float[np.ndarray, "e k k"]
) -> Float[np.ndarray, "e 3"]:
    """Transitions of every test episode, those that agree, those whose code comes back.

    Counts are of pairs (forward code, backward code) in each validation and each test episode. A
    transition agrees when its backward code is the permutation of its forward code that is best
    in the validation episodes; its code comes back when that permutation, used twice, keeps it.
    """
    turned = best_permutation(fit_counts.sum(axis=0))
    codes = np.arange(counts.shape[-1])
    returns = counts[:, turned[turned] == codes].sum(axis=(1, 2))
    return np.stack(
        [counts.sum(axis=(1, 2)), counts[:, codes, turned].sum(axis=-1), returns], axis=1
    )


def backward_metrics(
    sums: Float[np.ndarray, "e 3"], counts: Float[np.ndarray, "e k k"], *, seed: int = 0
) -> dict[str, Metric]:
    """Is the code of a transition run backwards a permutation of its code run forwards?

    Args:
        sums: As `backward_sums` gives them.
        counts: Pairs (forward code, backward code) in each test episode.
        seed: Of the resamples.
    """
    shared = {"n_units": len(counts), "protocol": BACKWARD_PROTOCOL}
    names = ("agreement", "information", "involution")
    use = counts.sum(axis=(0, 2))
    if (use > 0).sum() < 2:
        reason = "only one code is in use, which agrees with itself whatever happens"
        return {f"forward_backward/{n}": undefined(reason, unit="share", **shared) for n in names}
    backward = counts.sum(axis=(0, 1))
    return {
        "forward_backward/agreement": to_metric(
            bootstrap(sums[:, [1, 0]], ratio_of_sums, seed=seed),
            unit="share",
            baselines={"most_frequent_code": float(backward.max() / backward.sum())},
            ceiling=1.0,
            **shared,
        ),
        "forward_backward/information": to_metric(
            jackknife(counts, mutual_information),
            unit="bits",
            ceiling=float(entropy(use)),
            **shared,
        ),
        "forward_backward/involution": to_metric(
            bootstrap(sums[:, [2, 0]], ratio_of_sums, seed=seed),
            unit="share",
            baselines={"random_permutation": 2 / counts.shape[-1]},
            ceiling=1.0,
            n_units=len(counts),
            protocol=f"share of use of codes that come back when turned twice; {BACKWARD_PROTOCOL}",
        ),
    }


def _pairs(
    data: ProbeData, back: Int[np.ndarray, " n"], num_codes: int
) -> Float[np.ndarray, "e k k"]:
    shape = (data.num_episodes, num_codes, num_codes)
    return joint_counts(data.codes, back, data.episode, shape=shape)


def _successions(data: ProbeData, num_codes: int) -> Float[np.ndarray, "e k k"]:
    same = np.diff(data.episode) == 0
    return joint_counts(
        data.codes[:-1][same],
        data.codes[1:][same],
        data.episode[1:][same],
        shape=(data.num_episodes, num_codes, num_codes),
    )


def _transition_metric(test: ProbeData, num_codes: int) -> Metric:
    counts = _successions(test, num_codes)
    return to_metric(
        jackknife(counts, mutual_information),
        n_units=test.num_episodes,
        unit="bits",
        protocol=TRANSITION_PROTOCOL,
        ceiling=float(entropy(counts.sum(axis=(0, 1)))) if counts.any() else None,
        reason="no test episode has two transitions",
    )


def _dead(used: Metric, num_codes: int) -> Metric:
    assert used.value is not None
    return Metric(
        value=num_codes - used.value,
        n_units=used.n_units,
        unit="codes",
        protocol=f"codes of {num_codes} that never occur in the test episodes",
    )


def _matrix(counts: Float[np.ndarray, "e k k"], labels: tuple[str, str]) -> figures.Figure:
    total = counts.sum(axis=0)
    each = total.sum(axis=1, keepdims=True)
    share = np.divide(total, each, out=np.full(total.shape, np.nan), where=each > 0)
    names = [str(code) for code in range(len(share))]
    return heat_map(
        share, rows=names, columns=names, labels=labels, title="share of each row, test episodes"
    )


def _columns(test: ProbeData, back: Int[np.ndarray, " n"], num_codes: int) -> Columns:
    used = episode_sums(np.eye(num_codes)[test.codes], test.episode, num_episodes=test.num_episodes)
    return {
        "episode_id": test.episode_ids,
        "codes": sequences(test.codes, test),
        "codes_backward": sequences(back, test),
        **{f"code_{k}": used[:, k] for k in range(num_codes)},
    }
