"""Training curves of a run."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from genie_robo.build import shorten_warmups
from genie_robo.config_file import read_config
from genie_robo.eval_suites.figures import BLUE, GREY, ORANGE, legend_above, new_axes, owner
from genie_robo.models.settings import QuantizerKind
from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.train.metrics import read_log
from genie_robo.train.settings import TrainConfig

CURVES = {
    "loss": "loss",
    "psnr": "PSNR (dB)",
    "perplexity": "tokens in use (perplexity)",
    "lam_unexplained_change": "frame change left unexplained",
    "lam_perplexity": "latent actions in use (perplexity)",
    "dynamics_loss": "cross-entropy of masked tokens (nat)",
}
"""Logged numbers that are drawn, with their titles."""
STAGES = {
    "tokenizer": "tokenizer",
    "world_model": "latent actions and dynamics",
    "robot_control": "robot control",
}
PANEL_IN = 3.7
"""Width of a curve's panel (inches)."""


def draw_training(run: RunFolder) -> dict[str, Path]:
    """Draw the curves of every stage that has a log; returns the images by stage."""
    drawn, starts = {}, quantising_starts(run)
    for stage in STAGES:
        log = pd.DataFrame(read_log(run.log(stage))).dropna(axis="columns", how="all")
        curves = [name for name in CURVES if name in log]
        if curves:
            drawn[stage] = run.path / "report" / f"{stage}.png"
            picture = BytesIO()
            draw_curves(log, curves, quantised_from=starts.get(stage, 0)).savefig(picture)
            write_atomic(drawn[stage], picture.getvalue())
    return drawn


def quantising_starts(run: RunFolder) -> dict[str, int]:
    """The step from which encodings have codes, by stage; 0 where they have from the beginning."""
    if not run.config.exists():
        return {}
    model = shorten_warmups(read_config(run, TrainConfig))
    found = {"tokenizer": model.tokenizer.quantizer, "world_model": model.latent_action.quantizer}
    return {
        stage: 0 if quantizer.kind is QuantizerKind.fsq else quantizer.warmup_steps
        for stage, quantizer in found.items()
    }


def draw_curves(log: pd.DataFrame, names: Sequence[str], *, quantised_from: int = 0) -> Figure:
    """One panel for each logged number over the training steps, with validation if logged.

    A line marks the step from which encodings have codes, where losses may jump.
    """
    panels = new_axes(len(names), width=PANEL_IN * min(len(names), 3), height=3.0)
    last = float(log["step"].to_numpy().max())
    for axes, name in zip(panels, names, strict=True):
        training = log.reindex(columns=["step", name]).dropna()
        lone = "o" if len(training) == 1 else ""  # a line of one point cannot be seen
        axes.plot(*training.to_numpy().T, marker=lone, color=BLUE, label="training batch")
        validation = log.reindex(columns=["step", f"val_{name}"]).dropna()
        if len(validation):
            axes.plot(*validation.to_numpy().T, "o-", color=ORANGE, label="validation episodes")
        if 0 < quantised_from < last:
            axes.axvline(quantised_from, color=GREY, linestyle=":", label="codes start")
        axes.set_xlim(0, 1.03 * last)
        axes.set_xlabel("training step", fontsize=11)
        axes.set_title(CURVES[name], fontsize=11, loc="left")
    legend_above(panels)
    return owner(panels[0])
