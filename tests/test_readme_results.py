"""The results in README and docs are those of the stored file, and no others."""

import re
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


def section(page: str, title: str) -> str:
    return re.split(r"^## ", page.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.M)[0]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+\.\d+(?: ± \d+\.\d+)?", text))


def test_the_numbers_of_a_paragraph_are_in_the_section_that_it_links_to():
    shown = section((ROOT / "README.md").read_text(), "Results of the demo")
    page = (ROOT / "docs/results.md").read_text()
    titles = {title.lower().replace(" ", "-"): title for title in re.findall(r"\n## (.*)", page)}
    found = set()
    for paragraph in shown.strip().split("\n\n"):
        if not paragraph.startswith("|") and (wanted := numbers(paragraph)):
            (anchor,) = re.findall(r"docs/results\.md#([\w-]+)", paragraph)
            assert wanted <= numbers(section(page, titles[anchor])), paragraph
            found |= wanted
    assert len(found) >= 4


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
