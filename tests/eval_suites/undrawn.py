"""Suites without their figures, where only numbers are looked at."""

from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure

DRAWING = (
    *(
        "tokenizer.TokenizerSuite._figures",
        "video._figure",
        "video._strip",
        "controllability._figures",
    ),
    *("action_following._figure", "latent_transfer._figure", "few_label._figure"),
    *("latent_structure._matrix", "latent_structure.figures.usage", "latent_probe.probe_figures"),
)


@contextmanager
def undrawn():
    """Draw nothing: half of the time that a suite takes on small data."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWING:
            empty = dict if name.endswith("figures") else Figure
            patch.setattr(f"eval_suites.{name}", lambda *_, empty=empty, **__: empty())
        yield
