"""The documentation: its navigation, its links, its generated pages, and its notebooks' files."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from genie_robo.commands.settings import list_settings
from genie_robo.commands.table import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
EXCLUDED = SITE["exclude_docs"].split()
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generated_pages()


@pytest.fixture(scope="module")
def pages(generated):
    """Markdown of every page by its path in docs/."""
    files = [path for path in DOCS.rglob("*.md") if path.name not in EXCLUDED]
    stored = {path.relative_to(DOCS).as_posix(): path.read_text() for path in files}
    assert not stored.keys() & generated.keys()
    return stored | generated


def leaves(entry):
    """The pages of a part of the navigation."""
    match entry:
        case str():
            return [entry]
        case dict():
            return [page for part in entry.values() for page in leaves(part)]
        case list():
            return [page for part in entry for page in leaves(part)]


def test_the_navigation_has_every_page_once(pages):
    assert sorted(leaves(SITE["nav"])) == sorted(pages)


def test_every_relative_link_leads_to_a_file_or_a_page(pages):
    links = [
        (page, link)
        for page, text in pages.items()
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"`[^`]*`", "", text))
        if "://" not in link
    ]
    targets = [((DOCS / page).parent / link).resolve() for page, link in links]
    known = {(DOCS / page).resolve() for page in pages}
    broken = [
        link
        for link, target in zip(links, targets, strict=True)
        if target not in known and not target.is_file()
    ]
    assert len(links) > 50
    assert broken == []
    assert all(target.is_relative_to(DOCS) for target in targets), "the site has only docs/"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_of_a_command_has_each_of_its_settings_and_examples(generated, name):
    page = generated[f"reference/commands/{name}.md"]
    for setting in list_settings(COMMANDS[name].config):
        row = f"| `{setting.path}` | `{setting.type_name}` | `"
        assert page.count(row) == (0 if setting.is_section else 1)
    assert all(example in page for example in COMMANDS[name].examples)


def test_the_page_of_a_command_shows_the_values_that_would_be_used(generated):
    page = generated["reference/commands/train.md"]
    assert "| `tokenizer.batch_size` | `int` | `" in page
    assert "| `run` | `str` | `required` |" in page


def test_the_site_loads_nothing_from_elsewhere():
    assert SITE["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css"} & SITE.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_stores_no_outputs(path):
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    assert 8 <= len(notebook["cells"]) <= 16
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_of_a_notebook_has_its_cells(generated, path):
    page = generated[f"notebooks/{path.stem}.md"]
    for cell in json.loads(path.read_text())["cells"]:
        assert "".join(cell["source"]) in page
    assert f"]({path.name})" in page
