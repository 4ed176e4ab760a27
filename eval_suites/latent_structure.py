"""Do latent actions behave like motions: do they invert, add up and change the frame?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from genie_robo.eval_suites.base import EvalContext, SuiteResult, why_unavailable
from genie_robo.eval_suites.figures import heat_map
from genie_robo.eval_suites.metrics.information import entropy, joint_counts, mutual_information
from genie_robo.eval_suites.probes.data import ProbeData, collect_both
from genie_robo.eval_suites.probes.figures import code_usage_figure, name_codes
from genie_robo.eval_suites.probes.imagined import copying_measurements, probed_clips
from genie_robo.eval_suites.probes.latent_algebra import (
    COMPOSITION_PROTOCOL,
    SWAP_PROTOCOL,
    backward_measurements,
    backward_undefined,
    composition_measurements,
    reversed_codes,
    swap_measurement,
    swapped_codes,
)
from genie_robo.eval_suites.probes.metrics import code_measurements
from genie_robo.eval_suites.probes.scores import Probe, main_motion
from genie_robo.eval_suites.rollouts import episode_limit
from genie_robo.eval_suites.settings import LatentStructureSettings
from genie_robo.eval_suites.statistics import notes_on_units
from genie_robo.eval_suites.table import (
    FEWER_CODES,
    OTHER_CODES,
    Fixed,
    Interval,
    Measurement,
    Sums,
    Table,
    undefined,
)

FAST_PAIRS = 60
TRANSITION_PROTOCOL = (
    "mutual information of a code and the code before it in the same test episode, corrected for "
    "its bias; ceiling: entropy of the codes; interval by jackknife over test episodes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentStructure(LatentStructureSettings):
    """Code use, reversal, composition, and gain over copying the frame."""

    summary: ClassVar[str] = "whether latent actions are used, invert and add up as motions do"
    headline: ClassVar[Mapping[str, str]] = {
        "codes/perplexity": "codes",
        "codes/dead": "codes",
        "forward_backward/agreement": "share",
        "endpoint_swap/r2": "R2",
        "composition/h2": "R2",
        "gain_over_copying/changed_psnr": "dB",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes forwards and backwards."""
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        num_codes = context.encoder.num_codes
        successions = _successions(test, num_codes)
        names = name_codes(context, fit)
        drawn = {"transitions": _matrix(successions, ("latent action", "the next one"), names)}
        table = _table(test, num_codes)
        found = _code_measurements(table, test, successions)
        reversal, pairs = self._reversal(context, table, fit, test)
        if pairs is not None:
            labels = ("forwards", "the same transition backwards")
            drawn["forward_backward"] = _matrix(pairs, labels, names)
        found |= reversal | self._motions(context, table, fit, test)
        clips = probed_clips(context, test, num_clips=self.num_clips, horizon=1, name=self.name)
        found |= copying_measurements(
            context, table, clips, batch_size=self.batch_size, suite=self.name
        )
        drawn["code_usage"] = code_usage_figure(test, names)
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=notes_on_units(test.num_episodes),
        )
        return replace(result, figures=drawn)

    def _reversal(
        self, context: EvalContext, table: Table, fit: ProbeData, test: ProbeData
    ) -> tuple[dict[str, Measurement], Float[np.ndarray, "e k k"] | None]:
        """Measurements on reversed videos, and counts of code pairs; None if unavailable."""
        if reason := why_unavailable(context.encoder):
            return backward_undefined(reason), None
        num_codes, counted = context.encoder.num_codes, []
        for side, data in ((context.fit, fit), (context.test, test)):
            back = reversed_codes(
                context.encoder,
                side,
                data,
                max_episodes=episode_limit(context, self.max_episodes),
                description=f"{self.name}: backwards",
            )
            shape = (data.num_episodes, num_codes, num_codes)
            counted.append(joint_counts(data.codes, back, data.episode, shape=shape))
        table.texts["codes_backward"] = test.as_text(back)
        return backward_measurements(table, *counted), counted[1]

    def _motions(
        self, context: EvalContext, table: Table, fit: ProbeData, test: ProbeData
    ) -> dict[str, Measurement]:
        """Measurements against the robot's motion: swapped frames and sums of motions."""
        motion = main_motion(fit, min_move=self.min_move, min_share=self.min_share)
        if motion is None:
            reason = f"the robot never moves by more than {self.min_move} m in validation episodes"
            missing = undefined(reason, unit="R2", protocol=COMPOSITION_PROTOCOL)
            names = ("endpoint_swap/r2", *(f"composition/h{h}" for h in self.horizons))
            return dict.fromkeys(names, missing)
        probe = Probe(
            fit=fit,
            test=test,
            motion=motion,
            num_codes=context.encoder.num_codes,
            seed=context.seed,
        )
        if reason := why_unavailable(context.encoder):
            swap = undefined(reason, unit="R2", protocol=SWAP_PROTOCOL)
        else:
            swapped = swapped_codes(
                context.encoder,
                context.test,
                test,
                max_episodes=episode_limit(context, self.max_episodes),
                max_pairs=FAST_PAIRS if context.fast else self.max_pairs,
                description=f"{self.name}: swapped frames",
            )
            swap = swap_measurement(probe, table, *swapped)
        return {
            "endpoint_swap/r2": swap,
            **composition_measurements(probe, table, self.horizons),
        }


def _table(test: ProbeData, num_codes: int) -> Table:
    """A row for each test episode: its codes and their counts."""
    table = Table(test.episode_ids)
    table.texts["codes"] = test.as_text(test.codes)
    for code, count in enumerate(test.sums(np.eye(num_codes)[test.codes]).T):
        table.add(f"code_{code}", count)
    table.add("num_transitions", test.lengths, given=True)
    return table


def _successions(data: ProbeData, num_codes: int) -> Float[np.ndarray, "e k k"]:
    """Counts of successive pairs of codes, by episode."""
    same = np.diff(data.episode) == 0
    return joint_counts(
        data.codes[:-1][same],
        data.codes[1:][same],
        data.episode[1:][same],
        shape=(data.num_episodes, num_codes, num_codes),
    )


def _code_measurements(
    table: Table, test: ProbeData, successions: Float[np.ndarray, "e k k"]
) -> dict[str, Measurement]:
    """Code use, and mutual information of successive codes."""
    num_codes = successions.shape[-1]
    dead = num_codes - len(np.unique(test.codes))
    following = successions.sum(axis=(0, 1))
    return {
        **code_measurements(table, test, num_codes=num_codes),
        "codes/dead": Measurement(
            of=Fixed(table, float(dead), FEWER_CODES),
            unit="codes",
            protocol=f"codes of {num_codes} that never occur in the test episodes",
        ),
        "transitions/information": Measurement(
            of=Sums(table, successions, mutual_information, Interval.jackknife, OTHER_CODES),
            unit="bits",
            protocol=TRANSITION_PROTOCOL,
            ceiling=float(entropy(following)) if following.any() else None,
            reason="no test episode has two transitions",
        ),
    }


def _matrix(
    counts: Float[np.ndarray, "e k k"], labels: tuple[str, str], names: Sequence[str]
) -> Figure:
    total = counts.sum(axis=0)
    each = total.sum(axis=1, keepdims=True)
    share = np.divide(total, each, out=np.full(total.shape, np.nan), where=each > 0)
    return heat_map(
        share, rows=names, columns=names, labels=labels, title="share of each row, test episodes"
    )
