"""How many labelled transitions turn latent actions into robot actions?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.probes.data import COMMANDED, ProbeData, collect_both
from eval_suites.probes.decoded_replay import mean_by_way, replay_errors
from eval_suites.probes.label_efficiency import (
    CODES,
    ORACLE,
    SUPERVISED,
    Curve,
    check_labels,
    decode,
    draw_labels,
    label_curve,
    label_metrics,
)
from eval_suites.probes.rows import Columns, squares, to_rows
from eval_suites.probes.scores import (
    CodePair,
    Motion,
    ProbeSettings,
    moving_dimensions,
    oracle_codes,
)
from eval_suites.statistics import episode_mean, notes_on_units, to_metric
from genie_robo.types import ACTION_NAMES, GRIPPER

STILL = "stand_still"
FAST_REPLAYS = 4
REPLAY_PROTOCOL = (
    "MuJoCo, restored at the first step of a test episode, executes the actions decoded with n "
    "labels; distance of the end effector from where the recorded actions bring it, mean over the "
    "first {steps} transitions; lower is better; stand_still: no motion at all; inverse_dynamics: "
    "from the same labels; ceiling: oracle codes with the same labels; interval over test episodes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabel:
    """R2 of decoded actions, and where they bring the robot, against number of labels."""

    name: ClassVar[str] = "few_label"
    summary: ClassVar[str] = "how many action labels turn latent actions into robot actions"

    labels: Sequence[int] = (10, 50, 200, 1000)
    """Labelled transitions."""
    num_draws: int = 5
    """Draws of labels over which the errors behind R2 are averaged; replay takes the first."""
    max_episodes: int = 200
    """Of validation and of test episodes."""
    num_replays: int = 12
    """Test episodes replayed in MuJoCo."""
    replay_steps: int = 10
    """Transitions replayed from the first step of an episode."""
    min_move: float = 1e-3
    """Distance (m or rad) from the median that counts as motion of a dimension."""
    min_share: float = 0.1
    renderer: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what would fail after everything slow."""
        check_labels(self.labels, self.name)

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Decode with few labels, score, replay."""
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        target = COMMANDED if COMMANDED in fit.targets else next(iter(fit.targets))
        moving = moving_dimensions(fit, target, min_move=self.min_move, min_share=self.min_share)
        if not moving:
            return self._nothing(
                f"no robot action moves by more than {self.min_move} (m or rad) in "
                f"{self.min_share:.0%} of the validation transitions"
            )
        motion = Motion(target, moving)
        settings = ProbeSettings(
            num_codes=context.encoder.num_codes,
            num_random_draws=self.num_draws,
            num_components=1,
            seed=context.seed,
        )
        oracle = oracle_codes(fit, test, motion, settings)
        curve = label_curve(fit, test, motion, settings, self.labels, oracle=oracle)
        sizes = (len(fit.codes), test.num_episodes)
        found = label_metrics(curve, self.labels, settings, sizes=sizes)
        metrics = {name.replace("labels/", "r2/"): metric for name, metric in found.items()}
        errors = self._replay(context, fit, test, motion, settings, oracle)
        metrics |= self._replay_metrics(errors, context.seed)
        counts = [n for n in self.labels if metrics[f"r2/n{n}"].value is not None]
        most = max(counts, default=self.labels[0])
        rows = to_rows(_columns(test, motion, curve))
        return SuiteResult(
            metrics=metrics,
            headline=(f"r2/n{most}", f"replay_error/n{most}"),
            per_episode=[{**row, **errors.get(str(row["episode_id"]), {})} for row in rows],
            figures={"labels": _figure(metrics, counts)} if counts else {},
            notes=notes_on_units(test.num_episodes),
        )

    def _replay(
        self,
        context: EvalContext,
        fit: ProbeData,
        test: ProbeData,
        motion: Motion,
        settings: ProbeSettings,
        oracle: CodePair,
    ) -> dict[str, dict[str, float]]:
        """Replay errors (m) of every test episode and way; none without a simulator."""
        if context.dataset[context.test.episodes[0]].sim_state is None:
            return {}
        ways = {STILL: _still(test, motion)}
        for n in self.labels:
            if n <= len(fit.codes):
                labelled = draw_labels(len(fit.codes), n, draw=0, seed=context.seed)
                whole = fit.targets[motion.target]
                decoded = decode(
                    fit, test, whole, labelled, oracle=oracle, num_codes=settings.num_codes
                )
                ways |= {f"{way}/n{n}": actions for way, actions in decoded.items()}
        return replay_errors(
            context,
            test,
            ways,
            num_episodes=FAST_REPLAYS if context.fast else self.num_replays,
            num_steps=self.replay_steps,
            renderer=self.renderer,
            description=self.name,
        )

    def _replay_metrics(
        self, errors: Mapping[str, Mapping[str, float]], seed: int
    ) -> dict[str, Metric]:
        protocol = REPLAY_PROTOCOL.format(steps=self.replay_steps)
        metrics = {}
        for n in self.labels:
            ways = [f"{way}/n{n}" for way in (CODES, ORACLE, SUPERVISED)]
            if not errors or any(ways[0] not in row for row in errors.values()):
                reason = (
                    "the validation episodes have too few transitions"
                    if errors
                    else "the dataset holds no simulator state, so MuJoCo cannot replay it"
                )
                metrics[f"replay_error/n{n}"] = undefined(reason, unit="m", protocol=protocol)
                continue
            means = mean_by_way(errors, [STILL, *ways])
            own = np.array([[row[ways[0]]] for row in errors.values()])
            metrics[f"replay_error/n{n}"] = to_metric(
                episode_mean(own, np.arange(len(own)), seed=seed),
                n_units=len(own),
                unit="m",
                protocol=protocol,
                baselines={STILL: means[STILL], SUPERVISED: means[ways[2]]},
                ceiling=means[ways[1]],
            )
        return metrics

    def _nothing(self, reason: str) -> SuiteResult:
        metric = undefined(reason, unit="R2", protocol="R2 of decoded robot actions")
        names = tuple(f"{what}/n{n}" for what in ("r2", "replay_error") for n in self.labels)
        return SuiteResult(
            metrics=dict.fromkeys(names, metric),
            headline=names,
            per_episode=[],
            figures={},
            notes=(reason,),
        )


def _still(test: ProbeData, motion: Motion) -> Float[np.ndarray, "m 7"]:
    """No motion; the gripper does as it did."""
    actions = np.zeros((len(test.codes), GRIPPER + 1))
    actions[:, GRIPPER] = test.targets[motion.target][:, GRIPPER]
    return actions


def _columns(test: ProbeData, motion: Motion, curve: Curve) -> Columns:
    """Squared errors by number of labels, from which R2 follows."""
    names = [ACTION_NAMES[d] for d in motion.dimensions]
    columns: Columns = {"episode_id": test.episode_ids, "num_transitions": test.lengths}
    for n, sums in curve.items():
        columns |= squares("deviation_", sums[CODES][:, 1], names)
        columns |= squares(f"error_labels_n{n}_", sums[CODES][:, 0], names)
    return columns


def _figure(metrics: Mapping[str, Metric], counts: Sequence[int]) -> Figure:
    panels = figures.new_axes(2, width=11.0)
    scores = (("r2", "R2 of the robot action", 1.0), ("replay_error", "replay error (cm)", 100.0))
    for axes, (name, label, scale) in zip(panels, scores, strict=True):
        shown = [metrics[f"{name}/n{n}"] for n in counts]
        axes.set_title(label, fontsize=12, loc="left")
        axes.set_xlabel("labelled transitions", fontsize=12)
        if shown[0].value is None:
            axes.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center")
            continue
        own = figures.metric_curve(shown)
        axes.fill_between(
            counts, own.low * scale, own.high * scale, color=figures.BLUE, alpha=0.18, linewidth=0
        )
        lines = {
            "latent actions": (own.values, figures.BLUE, "o"),
            "oracle codes": (_values([m.ceiling for m in shown]), figures.BLACK, "s"),
            "supervised inverse dynamics": (
                _values([m.baselines[SUPERVISED] for m in shown]),
                figures.ORANGE,
                "D",
            ),
        }
        for who, (values, colour, marker) in lines.items():
            axes.plot(counts, values * scale, color=colour, marker=marker, label=who)
        axes.set_xscale("log")
        axes.set_xticks(list(counts), [str(n) for n in counts])
        axes.minorticks_off()
        axes.legend(fontsize=10, frameon=False)
    panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], -1.0))
    return figures.owner(panels[0])


def _values(values: Sequence[float | None]) -> Float[np.ndarray, " n"]:
    return np.array([np.nan if value is None else value for value in values])
