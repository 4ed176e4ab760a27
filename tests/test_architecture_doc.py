"""The package table of docs/architecture.md names modules that exist, and forgets none."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line.split("|")[1:3]
    for line in (ROOT / "docs/architecture.md").read_text().splitlines()
    if line.startswith(("| `genie_robo/", "| `eval_suites/", "| `viz/"))
]
PACKAGES = {
    match[1]: described for name, described in ROWS if (match := re.search(r"`([a-z_/]+)/`", name))
}
SUITES = {path.stem for path in (ROOT / "conf/suite").glob("*.yaml")}
COMMANDS = {path.stem for path in (ROOT / "genie_robo/commands").glob("*.py")}
UNNAMED = {"__init__", "settings"}


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_of_a_package_are_those_in_its_row(package):
    folder = ROOT / package
    modules = {path.stem for path in folder.glob("*.py")}
    inside = {path.name for path in folder.iterdir() if path.is_dir()}
    named = set(re.findall(r"`([a-z0-9_]+)/?`", PACKAGES[package]))
    assert named <= modules | inside | COMMANDS
    assert modules - UNNAMED - SUITES - COMMANDS <= named


def test_every_package_has_a_row():
    folders = {path.parent.resolve() for path in ROOT.glob("genie_robo/*/*.py")}
    found = {folder.relative_to(ROOT).as_posix() for folder in folders}
    assert {"eval_suites", "viz"} <= found <= set(PACKAGES)
