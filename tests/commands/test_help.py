"""Help pages on 80 columns: short, and complete with their sections."""

import itertools
import shlex

import pytest

from genie_robo import cli
from genie_robo.commands.settings import list_settings
from genie_robo.commands.table import COMMANDS, command_names, load_command

MOST_LINES = 120
NARROW = 60


@pytest.fixture(params=[80, NARROW])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def widest(page):
    """Length of the longest line, apart from single words that cannot be broken."""
    lines = page.splitlines()
    return max(len(line) for line in lines if len(line.rstrip(" \\").split()) > 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_of_a_command_is_short_and_narrow(run_cli, name, width):
    outcome = run_cli(name, "--help")
    assert (outcome.status, outcome.err) == (cli.OK, "")
    assert COMMANDS[name].summary in " ".join(outcome.out.split())
    assert widest(outcome.out) <= width
    assert width == NARROW or len(outcome.out.splitlines()) <= MOST_LINES


def test_the_list_of_commands_is_short_and_narrow(run_cli, width):
    page = run_cli("--help").out
    assert widest(page) <= width
    assert len(page.splitlines()) <= MOST_LINES
    assert all(f"  {name} " in page for name in command_names())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_is_on_the_page_or_in_a_section_that_it_names(run_cli, name, width):
    page = run_cli(name, "--help").out
    settings = list_settings(load_command(name).config)
    for section in (s.path for s in settings if s.is_section and "." not in s.path):
        assert f"\n  {section} " in page
        outcome = run_cli(name, "--help", section)
        assert outcome.status == cli.OK
        assert widest(outcome.out) <= width
        page += outcome.out
    words = set(page.split())
    for setting in settings:
        if not setting.is_section:
            assert f"\n  {setting.path}=" in page
        assert set(setting.meaning.split()) <= words


@pytest.mark.parametrize("name", COMMANDS)
def test_no_meaning_is_squeezed(run_cli, name, monkeypatch):
    """Every line of a meaning but its last has room for 40 characters, or a long word behind it."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_cli(name, "--help").out.splitlines()
    for line, following in itertools.pairwise(lines):
        if line.startswith(" " * 28) and following.startswith(" " * 28):
            assert len(line.strip()) + len(following.split()[0]) >= 40


def test_the_most_used_settings_come_first():
    for command in COMMANDS.values():
        known = {setting.path for setting in list_settings(command.config)}
        assert set(command.common) <= known
        assert len(known) <= 30 or command.common


def test_the_first_settings_of_train(run_cli):
    page = run_cli("train", "--help").out
    settings = page.split("\nSettings\n")[1].splitlines()
    assert settings[0].startswith("  run= ")
    assert "required" in settings[1]
    assert page.index("\n  data.path=") < page.index("\n  seed=") < page.index("\n  log_every=")
    assert "stanford_" not in page  # one of many datasets


def test_values_are_those_that_would_be_used(run_cli):
    assert "\n  horizon=7 " in run_cli("imagine", "horizon=7", "--help").out
    page = run_cli("train", "data=droid", "--help", "data.source.action").out
    assert "data.source.action.translation_scale=0.075\n" in page
    assert "data.source.camera" not in page


@pytest.mark.parametrize("words", [("--help", "train", "engine"), ("train", "-h", "engine")])
def test_a_section_follows_the_command_and_help(run_cli, words):
    assert run_cli(*words).out.startswith("genie-robo train, engine: Where and how")


def test_several_sections(run_cli):
    page = run_cli("imagine", "--help", "sampler", "action_map").out
    assert "\n  sampler.guidance=" in page
    assert "\n  action_map.num_labels=" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("imagine", "--help", "samplr"), "has no section 'samplr'. Did you mean sampler? It has:"),
        (("imagine", "--help", "horizon"), "imagine has no section 'horizon'. It has: sampler, "),
        (("view", "--help", "data"), "view has no section 'data'. It has none"),
    ],
)
def test_an_unknown_section_is_refused_with_those_that_there_are(run_cli, words, message):
    outcome = run_cli(*words)
    assert (outcome.status, outcome.out) == (cli.USAGE, "")
    assert message in outcome.err


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_may_be_pasted(run_cli, name, width):
    page = run_cli(name, "--help").out
    shown = page.split("\nExamples\n")[1].split("\n\n")[0]
    pasted = [shlex.split(line) for line in shown.replace("\\\n", "").splitlines()]
    assert pasted == [shlex.split(line) for line in COMMANDS[name].examples]
