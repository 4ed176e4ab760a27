"""The README's results are those of the stored file, and no others."""

from pathlib import Path

import pandas as pd
import pytest

from tests.benchmarks.demo_seeds import ROWS, STORED, collect, render

README = Path(__file__).parents[1] / "README.md"


def test_the_table_of_the_readme_is_the_stored_one():
    assert render(pd.read_csv(STORED)) in README.read_text()


def test_a_changed_number_changes_the_table():
    stored = pd.read_csv(STORED)
    other = stored.copy()
    other.loc[0, "seed0"] += 1.0
    assert render(other) != render(stored)


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
