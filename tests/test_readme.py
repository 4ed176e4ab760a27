"""Commands in the README exist and compose; its links lead somewhere; it is short."""

import re
import shlex
from pathlib import Path

import pytest

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command

MOST_LINES = 150
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("genie-robo")])
def test_every_command_line_composes(line):
    _, name, *overrides = shlex.split(line)
    command = load_command(name)

    assert type(to_config(command, compose_config(command, overrides))) is command.config


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    wanted = re.findall(r"\bmake ([\w-]+)", README)

    assert {"demo", "test"} <= set(wanted)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in wanted)


def test_every_line_is_a_command_that_is_tested():
    assert LINES
    assert all(line.startswith(("genie-robo ", "make ")) for line in LINES)


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_pictures_are_the_demo_and_the_viewer():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures == ["docs/images/demo.gif", "docs/images/viewer.png"]


def test_it_is_short_and_says_how_to_install():
    assert len(README.splitlines()) <= MOST_LINES
    (quick_start,) = re.findall(r"## Quick start\n(.*?)\n## ", README, re.DOTALL)
    assert "pip install" in quick_start
