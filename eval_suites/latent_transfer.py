"""Does one latent action do the same thing in other episodes?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from eval_suites.base import EvalContext, Metric, SuiteResult, blindness, undefined
from eval_suites.clips import choose_test_clips
from eval_suites.matrices import heat_map
from eval_suites.metrics.jackknife import jackknife
from eval_suites.probes.code_meaning import (
    code_sums,
    eta_p_value,
    eta_squared,
    other_episode_errors,
    sign_agreement,
)
from eval_suites.probes.data import ProbeData, collect_both
from eval_suites.probes.demo_transfer import (
    CODE_PROTOCOL,
    code_agreement,
    motion_agreement,
    transfer,
)
from eval_suites.probes.rows import Columns, Found, error_and_deviation, squares, to_rows
from eval_suites.probes.scores import Motion, main_motion
from eval_suites.statistics import (
    Estimate,
    bootstrap,
    episode_mean,
    episode_sums,
    mean_r2,
    notes_on_units,
    to_metric,
)
from genie_robo.types import ACTION_NAMES

ETA_PROTOCOL = (
    "share of the variance of the motion (each dimension in units of its spread) that lies between "
    "latent actions, over all transitions of the test episodes; permuted_codes: the same with the "
    "codes of each episode rotated in time; interval by jackknife over "
    "test episodes"
)
OTHERS_PROTOCOL = (
    "the motion of each test transition predicted by the mean motion of its code in all other test "
    "episodes, R2 about the other episodes' mean; interval over test episodes"
)
SIGN_PROTOCOL = (
    "share of test episodes in which the mean motion of a code along an axis has the sign that it "
    "has in validation episodes; codes that mean less than {min_move} m along the axis are left "
    "out; 0.5 is chance; interval over test episodes"
)
DEMO = ("demo_transfer/code_agreement", "demo_transfer/motion_r2")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentTransfer:
    """Eta squared, sign consistency and demonstrations moved to other scenes."""

    name: ClassVar[str] = "latent_transfer"
    summary: ClassVar[str] = "whether a latent action does the same thing in other episodes"

    max_episodes: int = 200
    """Of validation and of test episodes."""
    num_permutations: int = 1000
    num_clips: int = 24
    """Demonstrations, from as many test episodes as possible."""
    horizon: int = 6
    batch_size: int = 16
    min_move: float = 1e-3
    """Distance (m) that counts as motion."""
    min_share: float = 0.1

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes, imagine demonstrations from other prompts."""
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        motion = main_motion(fit, min_move=self.min_move, min_share=self.min_share)
        if motion is None or test.num_episodes < 2:
            reason = (
                f"the robot never moves by more than {self.min_move} m in validation episodes"
                if motion is None
                else "there is only one test episode, so there is nothing to transfer to"
            )
            return _nothing(reason)
        k = context.encoder.num_codes
        sums = code_sums(
            test.codes,
            motion.of(test),
            test.episode,
            num_episodes=test.num_episodes,
            num_codes=k,
        )
        fit_sums = code_sums(
            fit.codes, motion.of(fit), fit.episode, num_episodes=1 + fit.episode[-1], num_codes=k
        ).sum(axis=0)
        meaning = fit_sums[:, :-2] / np.maximum(fit_sums[:, -1:], 1.0)
        agreement = sign_agreement(sums, meaning, min_move=self.min_move)
        eta = self._eta(test, motion, k, context.seed)
        others = other_episode_errors(sums, test.codes, motion.of(test), test.episode)
        metrics = eta.metrics
        metrics["other_episodes/r2"] = to_metric(
            bootstrap(others, mean_r2, seed=context.seed),
            n_units=test.num_episodes,
            unit="R2",
            protocol=OTHERS_PROTOCOL,
            reason="the motion is constant in the test episodes",
        )
        metrics |= self._signs(agreement, motion, context.seed)
        demos = self._demos(context, fit, test, motion)
        metrics |= demos.metrics
        names = [ACTION_NAMES[d] for d in motion.dimensions]
        columns: Columns = {
            "episode_id": test.episode_ids,
            "num_transitions": test.lengths,
            **_sign_columns(agreement, names),
            **eta.columns,
            **error_and_deviation("others_", others, names),
            **demos.columns,
        }
        return SuiteResult(
            metrics=metrics,
            headline=("eta_squared", "other_episodes/r2", "sign_consistency", *DEMO),
            per_episode=to_rows(columns),
            figures={"sign_consistency": _figure(agreement, motion)},
            notes=notes_on_units(test.num_episodes),
        )

    def _eta(self, test: ProbeData, motion: Motion, k: int, seed: int) -> Found:
        values = motion.of(test)
        spread = values.std(axis=0)
        scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        shape = {"num_episodes": test.num_episodes, "num_codes": k}

        def eta(codes: np.ndarray, columns: slice = slice(None)) -> Estimate:
            return jackknife(
                code_sums(codes, scaled[:, columns], test.episode, **shape), eta_squared
            )

        rng = np.random.default_rng(seed)
        turned = [
            np.roll(codes[:, 0], rng.integers(len(codes)))
            for codes in test.by_episode(test.codes[:, None].astype(float))
        ]
        shared = {"n_units": test.num_episodes, "protocol": ETA_PROTOCOL, "ceiling": 1.0}
        chance = eta(np.concatenate(turned).astype(int)).value
        found = {
            "eta_squared": to_metric(
                eta(test.codes), unit="share", baselines={"permuted_codes": chance}, **shared
            ),
            "eta_squared/p_value": to_metric(
                Estimate(
                    eta_p_value(
                        test.codes,
                        scaled,
                        test.episode,
                        num_codes=k,
                        seed=seed,
                        num_permutations=self.num_permutations,
                    )
                    if spread.any()
                    else None,
                    None,
                ),
                n_units=test.num_episodes,
                unit="p-value",
                protocol=f"share of {self.num_permutations:,} permutations with an eta squared at "
                "least as high; a permutation rotates the codes of each test episode in time",
                reason="the motion is constant in the test episodes",
            ),
        }
        for column, d in enumerate(motion.dimensions):
            only = eta(test.codes, slice(column, column + 1))
            found[f"eta_squared/{ACTION_NAMES[d]}"] = to_metric(only, unit="share", **shared)
        return Found(found, _eta_columns(test, motion, scaled, k))

    def _signs(
        self, agreement: Float[np.ndarray, "e k d"], motion: Motion, seed: int
    ) -> dict[str, Metric]:
        protocol = SIGN_PROTOCOL.format(min_move=self.min_move)

        def mean(values: np.ndarray, what: str) -> Metric:
            return to_metric(
                episode_mean(values, np.arange(len(values)), seed=seed),
                n_units=len(values),
                unit="share",
                protocol=protocol,
                baselines={"chance": 0.5},
                ceiling=1.0,
                reason=f"{what} means a motion of {self.min_move} m or is not in the test episodes",
            )

        found = {"sign_consistency": mean(agreement, "no code")}
        for code in range(agreement.shape[1]):
            for column, d in enumerate(motion.dimensions):
                name = f"sign_consistency/code{code}/{ACTION_NAMES[d]}"
                found[name] = mean(agreement[:, code, column, None], "the code hardly")
        return found

    def _demos(
        self, context: EvalContext, fit: ProbeData, test: ProbeData, motion: Motion
    ) -> Found:
        clips = choose_test_clips(
            context, num_clips=self.num_clips, horizon=self.horizon, name=self.name
        )
        clips = [clip for clip in clips if clip.window.episode_id in test.episode_ids]
        if len({clip.window.episode_id for clip in clips}) < 2 or len(clips[0].future) < 2:
            reason = (
                f"fewer than two test episodes are as long as a horizon of {self.horizon}, or the "
                "horizon is a single frame"
            )
            missing = undefined(reason, unit="share", protocol=OTHERS_PROTOCOL)
            return Found(dict.fromkeys(DEMO, missing), {})
        moved = transfer(
            context, clips, batch_size=self.batch_size, description=f"{self.name}: imagine"
        )
        if reason := blindness(context.encoder):
            codes = Found({DEMO[0]: undefined(reason, unit="share", protocol=CODE_PROTOCOL)}, {})
        else:
            codes = code_agreement(context, test, clips, moved, seed=context.seed)
        motions = motion_agreement(
            fit,
            test,
            motion,
            clips,
            moved,
            frame_stride=context.test.frame_stride,
            seed=context.seed,
        )
        return Found(codes.metrics | motions.metrics, codes.columns | motions.columns)


def _sign_columns(agreement: Float[np.ndarray, "e k d"], names: Sequence[str]) -> Columns:
    return {
        f"sign_code{code}_{name}": agreement[:, code, column]
        for code in range(agreement.shape[1])
        for column, name in enumerate(names)
    }


def _eta_columns(
    test: ProbeData, motion: Motion, scaled: Float[np.ndarray, "n d"], num_codes: int
) -> Columns:
    """How often each code is there, its total motion, and the squared motion of all of them."""
    shape = {"num_episodes": test.num_episodes, "num_codes": num_codes}
    sums = code_sums(test.codes, scaled, test.episode, **shape)
    squared = episode_sums(scaled**2, test.episode, num_episodes=test.num_episodes)
    names = [ACTION_NAMES[d] for d in motion.dimensions]
    return {
        **{f"code_{k}": sums[:, k, -1] for k in range(num_codes)},
        **{
            f"code_{k}_motion_{name}": sums[:, k, column]
            for k in range(num_codes)
            for column, name in enumerate(names)
        },
        **squares("motion_", squared, names),
    }


def _figure(agreement: Float[np.ndarray, "e k d"], motion: Motion) -> Figure:
    known = np.isfinite(agreement).sum(axis=0)
    total = np.nansum(agreement, axis=0)
    share = np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)
    return heat_map(
        share,
        rows=[str(code) for code in range(len(share))],
        columns=[ACTION_NAMES[d] for d in motion.dimensions],
        labels=("latent action", "axis"),
        title="episodes that agree on the sign of the motion",
    )


def _nothing(reason: str) -> SuiteResult:
    names = ("eta_squared", "other_episodes/r2", "sign_consistency", *DEMO)
    metric = undefined(reason, unit="share", protocol=ETA_PROTOCOL)
    return SuiteResult(
        metrics=dict.fromkeys(names, metric),
        headline=names,
        per_episode=[],
        figures={},
        notes=(reason,),
    )
