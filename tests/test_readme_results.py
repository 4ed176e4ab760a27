"""The results in README and docs are those of the stored file, and no others."""

from pathlib import Path

import pandas as pd
import pytest

from tests.benchmarks.demo_seeds import FIRST, ROWS, STORED, collect, render, render_seeds

ROOT = Path(__file__).parents[1]


def test_the_tables_of_the_pages_are_the_stored_ones():
    stored = pd.read_csv(STORED)
    results = (ROOT / "docs/results.md").read_text()
    assert render(stored, FIRST) in (ROOT / "README.md").read_text()
    assert render(stored) in results
    assert render_seeds(stored) in results


def test_a_changed_number_changes_the_table():
    stored = pd.read_csv(STORED)
    other = stored.copy()
    other.loc[0, "seed0"] += 1.0
    assert render(other, FIRST) != render(stored, FIRST)
    assert len(render(stored, FIRST).splitlines()) == 2 + len(FIRST)


def test_every_row_has_its_numbers_of_five_seeds():
    stored = pd.read_csv(STORED)
    seeds = [f"seed{n}" for n in range(5)]
    for row in ROWS:
        own = stored[stored["row"] == row.title]
        assert list(own["number"]) == [row.number, *row.others]
        assert own[seeds].notna().all(axis=None)
        assert (own["n"] > 0).all()


def test_a_suite_that_was_not_evaluated_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"latent_probe.metrics\.csv"):
        collect([tmp_path])
