"""Suites without what is slow, where a test looks at other numbers only."""

from contextlib import contextmanager

import numpy as np
import pytest
from matplotlib.figure import Figure

from genie_robo.eval_suites.probes.pixel_features import coarse_grey

DRAWING = (
    *("tokenizer._figures", "video._figure", "video._strip", "controllability._figures"),
    *("action_following._figure", "latent_transfer._figure", "few_label._figure"),
    *("latent_structure._matrix", "latent_structure.code_usage_figure"),
    "latent_probe.probe_figures",
)


@contextmanager
def undrawn():
    """Draw nothing: half of the time that a suite takes on small data."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWING:
            empty = dict if name.endswith("figures") else Figure
            patch.setattr(f"genie_robo.eval_suites.{name}", lambda *_, empty=empty, **__: empty())
        yield


@contextmanager
def without_flow():
    """Changes of grey images in the place of optical flow, which only one baseline is made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "genie_robo.eval_suites.probes.data.block_flow",
            lambda video: np.diff(coarse_grey(video), axis=0),
        )
        yield
