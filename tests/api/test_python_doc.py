"""The code of docs/python.md and of the README runs, in its order, in a folder with a run."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from genie_robo import cli

ROOT = Path(__file__).parents[2]
PAGES = ("docs/python.md", "README.md")
ALLOWED_IN_README = 12


@pytest.fixture
def folder(run, tmp_path, monkeypatch):
    shutil.copytree(run.path, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES)
def test_the_code_on_the_page_runs(page):
    text = (ROOT / page).read_text()
    (export,) = re.findall(r"genie-robo (export [^`\n]*)", text)
    assert cli.main(shlex.split(export)) == cli.OK
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert blocks
    assert names["genie"].num_codes == 5
    if page == "docs/python.md":
        assert len(names["held"].frames) == 10
        assert names["every_code"].frames.shape[:2] == (5, 5)
        assert names["result"].num_episodes == len(names["episodes"]) == len(names["own"])


def test_the_readme_is_brief_about_it():
    (section,) = re.findall(
        r"## From Python\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert len(section.strip().splitlines()) <= ALLOWED_IN_README
