"""The figures of the latent probe."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.probes.data import ProbeData
from genie_robo.eval_suites.probes.scores import (
    BASELINES,
    DENSE_FLOW,
    SUPERVISED,
    TRANSLATION,
    Motion,
)
from genie_robo.eval_suites.table import Metric
from genie_robo.inference.code_names import code_names

SHOWN = (
    "permuted_codes",
    "untrained_encoder",
    "frame_difference_clusters",
    "optical_flow_clusters",
    "dense_flow_clusters",
    "previous_action",
    "current_frame",
    SUPERVISED,
    DENSE_FLOW,
)
"""Baselines in the figure; the others are all close to 0."""

_NAMES = {
    "ceiling": "{num_codes} clusters of the true motions",
    "frame_difference_clusters": "{num_codes} clusters of frame differences",
    "optical_flow_clusters": "{num_codes} clusters of optical flow",
    "dense_flow_clusters": "{num_codes} clusters of dense optical flow",
    SUPERVISED: "ridge on frame differences, all labels",
    DENSE_FLOW: "ridge on dense optical flow, all labels",
}


def baseline_name(baseline: str, *, num_codes: int) -> str:
    """The name of a baseline of R2, or of its ceiling, in figures and in tables of results."""
    return _NAMES.get(baseline, baseline).format(num_codes=num_codes).replace("_", " ")


def probe_figures(
    metrics: Mapping[str, Metric],
    test: ProbeData,
    motions: Mapping[str, Motion],
    names: Sequence[str],
) -> dict[str, Figure]:
    """Bars with baselines, gains, lags, labels, use of codes, motion of codes by their names."""
    main, motion = next(iter(motions.items()))
    keys = {"mean": f"{main}/r2"}
    keys |= {name: f"{main}/r2/{name}" for name in motion.names}
    shown = [metrics[key] for key in keys.values()]
    gains = {
        baseline_name(name, num_codes=len(names)): metrics[f"{main}/gain_over/{name}"]
        for name in BASELINES
    }
    drawn = {
        "r2": figures.bars_with_baselines(
            list(keys),
            [metric.value for metric in shown],
            [metric.ci95 for metric in shown],
            baselines={
                baseline_name(name, num_codes=len(names)): [m.baselines[name] for m in shown]
                for name in SHOWN
            },
            ceilings=[metric.ceiling for metric in shown],
            labels=(
                f"{len(names)} latent actions",
                baseline_name("ceiling", num_codes=len(names)),
                f"R2 of the {motion.target} motion, test episodes",
            ),
        ),
        "gain_over_baselines": figures.forest(
            list(gains),
            [metric.value for metric in gains.values()],
            [metric.ci95 for metric in gains.values()],
            label="R2 gained over the baseline, 95 % interval over episodes",
        ),
        "lag": _lag_figure(metrics, motions),
        "labels": _label_figure(metrics, main),
        "code_usage": code_usage_figure(test, names),
    }
    if motion.dimensions[0] in TRANSLATION:
        moves = test.targets[motion.target][:, list(TRANSLATION)]
        drawn["displacement_rose"] = figures.displacement_rose(test.codes, moves, names=names)
    return drawn


def code_usage_figure(test: ProbeData, names: Sequence[str]) -> Figure:
    """Share of the test transitions that have each latent action."""
    return figures.usage(
        np.bincount(test.codes, minlength=len(names)),
        label="latent action",
        title="use of latent actions in test episodes",
        names=names,
    )


def name_codes(context: EvalContext, fit: ProbeData) -> Sequence[str]:
    """The names of the encoder's codes: of the run's action map, else by the motions to fit on."""
    if context.code_names is not None:
        return context.code_names()
    moves, num_codes = next(iter(fit.targets.values())), context.encoder.num_codes
    means = np.full((num_codes, moves.shape[1]), np.nan)
    for code in np.unique(fit.codes):
        means[code] = moves[fit.codes == code].mean(axis=0)
    return code_names(means, fit.joint_names)


def _lag_figure(metrics: Mapping[str, Metric], motions: Mapping[str, Motion]) -> Figure:
    lines, lags = {}, []
    for name in motions:
        found = {
            int(key.rsplit("/", 1)[1]): metric
            for key, metric in metrics.items()
            if key.startswith(f"{name}/lag/")
        }
        lags = sorted(found)
        lines[name.replace("/", ", ")] = figures.metric_curve([found[lag] for lag in lags])
    return figures.curves(
        lags,
        lines,
        labels=("lag: code of transition i against motion of transition i + lag", "R2"),
        title="aligned codes peak at lag 0",
    )


def _label_figure(metrics: Mapping[str, Metric], motion: str) -> Figure:
    shown = {
        int(name.rsplit("/n", 1)[1]): metric
        for name, metric in metrics.items()
        if name.startswith(f"{motion}/labels/") and metric.value is not None
    }
    (axes,) = figures.new_axes()
    draw_label_curve(axes, shown, label="R2 on test episodes")
    figures.legend_above([axes])
    axes.set_ylim(bottom=max(axes.get_ylim()[0], -1.0))
    return figures.owner(axes)


def draw_label_curve(
    axes: Axes, metrics: Mapping[int, Metric], *, label: str, scale: float = 1.0
) -> None:
    """Metrics by number of labels, with oracle codes and a ridge on frame differences."""
    shown = list(metrics.values())
    lines = {
        "latent actions": figures.metric_curve(shown),
        "oracle codes": figures.value_curve([metric.ceiling for metric in shown]),
        "ridge on frame differences, the same labels": figures.value_curve(
            [metric.baselines[SUPERVISED] for metric in shown]
        ),
    }
    scaled = {
        name: figures.Curve(*(scale * values for values in line)) for name, line in lines.items()
    }
    figures.draw_curves(axes, list(metrics), scaled, labels=("labelled transitions", label))
    axes.set_xscale("log")
    axes.set_xticks(list(metrics), [str(n) for n in metrics])
    axes.minorticks_off()
