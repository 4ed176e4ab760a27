"""Does a latent action mean the same motion in other episodes?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.figures import heat_map
from genie_robo.eval_suites.metrics.regression import fit_standardiser
from genie_robo.eval_suites.probes.code_meaning import (
    code_sums,
    eta_p_value,
    eta_squared,
    other_episode_errors,
    sign_agreement,
)
from genie_robo.eval_suites.probes.data import collect_both
from genie_robo.eval_suites.probes.figures import name_codes
from genie_robo.eval_suites.probes.imagined import (
    CODE_PROTOCOL,
    MOTION_PROTOCOL,
    code_agreement,
    imagine_demonstrations,
    motion_agreement,
    probed_clips,
)
from genie_robo.eval_suites.probes.scores import Probe, main_motion
from genie_robo.eval_suites.settings import LatentTransferSettings
from genie_robo.eval_suites.statistics import mean_r2, notes_on_units
from genie_robo.eval_suites.table import (
    OTHER_CODES,
    Fixed,
    Interval,
    Measurement,
    Metric,
    Sums,
    Table,
    UnavailableError,
    undefined,
)

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
CONSTANT = "the motion is constant in the test episodes"
CODE_AGREEMENT, MOTION_R2 = "demo_transfer/code_agreement", "demo_transfer/motion_r2"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentTransfer(LatentTransferSettings):
    """Eta squared, sign consistency and transfer of demonstrations to other episodes."""

    summary: ClassVar[str] = "whether a latent action means the same motion in other episodes"
    headline: ClassVar[Mapping[str, str]] = {
        "eta_squared": "share",
        "other_episodes/r2": "R2",
        "sign_consistency": "share",
        CODE_AGREEMENT: "share",
        MOTION_R2: "R2",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes, imagine demonstrations from other prompts."""
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        motion = main_motion(fit, min_move=self.min_move, min_share=self.min_share)
        if motion is None:
            raise UnavailableError(
                f"the robot never moves by more than {self.min_move} m in validation episodes"
            )
        if test.num_episodes < 2:
            raise UnavailableError(
                "there is only one test episode, so there is nothing to transfer to"
            )
        num_codes = context.encoder.num_codes
        probe = Probe(fit=fit, test=test, motion=motion, num_codes=num_codes, seed=context.seed)
        table = Table(test.episode_ids)
        table.add("num_transitions", test.lengths, given=True)
        found = self._eta(probe, table) | self._elsewhere(probe, table)
        found |= self._demos(context, probe, table)
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=notes_on_units(test.num_episodes),
        )
        drawn = {
            "sign_consistency": _figure(result.metrics, name_codes(context, fit), motion.names)
        }
        return replace(result, figures=drawn)

    def _eta(self, probe: Probe, table: Table) -> dict[str, Measurement]:
        """Share of the variance of the motion that lies between codes."""
        test, names, num_codes = probe.test, probe.motion.names, probe.num_codes
        scaled = fit_standardiser(probe.targets)(probe.targets)

        def eta(codes: Int[np.ndarray, " n"], dimensions: slice = slice(None)) -> Sums:
            shape = {"num_episodes": len(table), "num_codes": num_codes}
            sums = code_sums(codes, scaled[:, dimensions], test.episode, **shape)
            return Sums(table, sums, eta_squared, Interval.jackknife, OTHER_CODES)

        rng = np.random.default_rng(probe.seed)
        turned = [np.roll(codes, rng.integers(len(codes))) for codes in test.by_episode(test.codes)]
        shared = {"unit": "share", "protocol": ETA_PROTOCOL, "ceiling": 1.0}
        p_value = eta_p_value(
            test.codes,
            scaled,
            test.episode,
            num_codes=num_codes,
            seed=probe.seed,
            num_permutations=self.num_permutations,
        )
        main = eta(test.codes)
        found = {
            "eta_squared": Measurement(
                of=main, baselines={"permuted_codes": eta(np.concatenate(turned))}, **shared
            ),
            "eta_squared/p_value": Measurement(
                of=Fixed(table, p_value if scaled.any() else None),
                unit="p-value",
                protocol=f"share of {self.num_permutations:,} permutations with an eta squared at "
                "least as high; a permutation rotates the codes of each test episode in time",
                reason=CONSTANT,
            ),
        }
        for column, name in enumerate(names):
            only = eta(test.codes, slice(column, column + 1))
            found[f"eta_squared/{name}"] = Measurement(of=only, **shared)
        for code in range(num_codes):
            table.add(f"code_{code}", main.values[:, code, -1])
            for column, name in enumerate(names):
                table.add(f"code_{code}_motion_{name}", main.values[:, code, column])
        table.add_squares("motion", test.sums(scaled**2), names, given=True)
        return found

    def _elsewhere(self, probe: Probe, table: Table) -> dict[str, Measurement]:
        """Agreement of each code's mean motion, and of its sign, with other episodes."""
        test, names = probe.test, probe.motion.names
        sums, fit_sums = (
            code_sums(
                data.codes,
                motions,
                data.episode,
                num_episodes=data.num_episodes,
                num_codes=probe.num_codes,
            )
            for data, motions in ((test, probe.targets), (probe.fit, probe.fit_targets))
        )
        others = other_episode_errors(sums, test.codes, probe.targets, test.episode)
        r2 = Measurement(
            of=table.total(table.add_errors("others", others, names), mean_r2),
            unit="R2",
            protocol=OTHERS_PROTOCOL,
            reason=CONSTANT,
        )
        meant = fit_sums.sum(axis=0)
        meaning = meant[:, :-2] / np.maximum(meant[:, -1:], 1.0)
        agreement = sign_agreement(sums, meaning, min_move=self.min_move)
        return {"other_episodes/r2": r2} | self._signs(table, agreement, names)

    def _signs(
        self, table: Table, agreement: Float[np.ndarray, "e k d"], names: Sequence[str]
    ) -> dict[str, Measurement]:
        """Whether each code moves along each axis as in the validation episodes."""
        shared = {
            "unit": "share",
            "protocol": SIGN_PROTOCOL.format(min_move=self.min_move),
            "baselines": {"chance": 0.5},
            "ceiling": 1.0,
        }
        reason = f"means a motion of {self.min_move} m or is not in the test episodes"
        columns = {
            f"sign_consistency/code{code}/{name}": table.add(
                f"sign_code{code}_{name}", agreement[:, code, column]
            )
            for code in range(agreement.shape[1])
            for column, name in enumerate(names)
        }
        found = {
            "sign_consistency": Measurement(
                of=table.mean([*columns.values()]), reason=f"no code {reason}", **shared
            )
        }
        for name, column in columns.items():
            of = replace(
                table.mean([column]), not_paired="code 3 of one run is not code 3 of the other"
            )
            found[name] = Measurement(of=of, reason=f"the code hardly {reason}", **shared)
        return found

    def _demos(self, context: EvalContext, probe: Probe, table: Table) -> dict[str, Measurement]:
        """Demonstrations imagined from the prompts of other episodes."""
        clips = probed_clips(
            context, probe.test, num_clips=self.num_clips, horizon=self.horizon, name=self.name
        )
        if len({clip.window.episode_id for clip in clips}) < 2 or len(clips[0].future) < 2:
            reason = (
                f"fewer than two test episodes are as long as a horizon of {self.horizon}, or the "
                "horizon is a single frame"
            )
            return {
                CODE_AGREEMENT: undefined(reason, unit="share", protocol=CODE_PROTOCOL),
                MOTION_R2: undefined(reason, unit="R2", protocol=MOTION_PROTOCOL),
            }
        demos = imagine_demonstrations(context, clips, batch_size=self.batch_size, name=self.name)
        stride = context.test.frame_stride
        return {
            CODE_AGREEMENT: code_agreement(context, table, demos),
            MOTION_R2: motion_agreement(probe, table, demos, frame_stride=stride),
        }


def _figure(metrics: Mapping[str, Metric], codes: Sequence[str], names: Sequence[str]) -> Figure:
    shares = [
        [metrics[f"sign_consistency/code{code}/{name}"].value for name in names]
        for code in range(len(codes))
    ]
    return heat_map(
        np.array(shares, dtype=float),
        rows=codes,
        columns=names,
        labels=("latent action", "axis"),
        title="episodes that agree on the sign of the motion",
    )
