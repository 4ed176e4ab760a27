"""The documentation: its navigation, its links, its command lines, its pages and notebooks."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
import yaml
from markdown_it import MarkdownIt

from genie_robo import cli
from genie_robo.commands.command import Command
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.settings import list_settings
from genie_robo.commands.table import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
EXCLUDED = SITE["exclude_docs"].split()
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
PROGRAM = "genie-robo"


def lines_of(page: str) -> Iterator[str]:
    """The shell lines of a page that start the program, its own variables replaced."""
    variables: dict[str, str] = {}
    blocks = [
        token.content
        for token in MarkdownIt().parse(page)
        if token.type == "code_block" or (token.type == "fence" and token.info in ("", "bash"))
    ]
    for line in "".join(blocks).replace("\\\n", "").splitlines():
        if assigned := re.fullmatch(r'([A-Z]+)="(.*)"', line):
            variables[assigned[1]] = assigned[2]
        elif PROGRAM in line.partition("#")[0].split():
            yield Template(line).safe_substitute(variables)


LINES = [
    pytest.param(line, id=f"{path.stem}-{number}")
    for path in sorted(DOCS.rglob("*.md"))
    for number, line in enumerate(lines_of(path.read_text()))
]
WITH_IMAGES = [
    path
    for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if "![" in re.sub(r"`[^`]*`", "", path.read_text())
]


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


@pytest.mark.parametrize("path", WITH_IMAGES, ids=lambda path: path.name)
def test_every_image_of_a_page_has_a_caption(path):
    parts = path.read_text().split("\n\n")
    images = [n for n, part in enumerate(parts) if part.startswith(("![", "[!["))]
    assert len(images) == path.read_text().count("![")
    for n in images:
        assert re.fullmatch(r"\*[^*]+\*", parts[n + 1].strip()), parts[n]


@pytest.fixture
def started(monkeypatch, tmp_path) -> list:
    """The configurations that commands would run with, the first one of a sweep; none runs."""
    configs = []

    def sweep(command, words):
        configs.append(to_config(command, compose_config(command, words, is_sweep=True)))
        return cli.OK

    monkeypatch.setattr(Command, "start", lambda _, config: configs.append(config))
    monkeypatch.setattr(cli, "_sweep", sweep)
    monkeypatch.chdir(tmp_path)
    mapping = tmp_path / "MINE" / "data" / "my_robot.yaml"
    mapping.parent.mkdir(parents=True)
    mapping.write_text("path: FOLDER\nsource: {camera: observation/image}\n")
    return configs


@pytest.mark.parametrize("line", LINES)
def test_every_command_line_of_the_pages_composes(line, started):
    words = shlex.split(line, comments=True)
    status = cli.main(words[words.index(PROGRAM) + 1 :])
    assert (status, len(started)) == (cli.OK, 1)


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


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    if not all(map(importlib.util.find_spec, ("material", "mkdocstrings_handlers"))):
        pytest.skip(
            "the theme or the Python reference is not installed: the extra docs brings them"
        )
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in ("index.html", "metrics/index.html", "reference/commands/demo/index.html"):
        assert (site / page).stat().st_size > 10_000
    assert "InferredActions" in (site / "reference/python/index.html").read_text()
