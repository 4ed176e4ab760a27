import logging
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import EntryPoint, version
from typing import Any

import pytest

from genie_robo import cli
from genie_robo.commands import table
from genie_robo.commands.command import Command, UsageError
from genie_robo.commands.table import command_names, did_you_mean, load_command


class Colour(Enum):
    red = "red"
    blue = "blue"


@dataclass
class Wheel:
    """A wheel."""

    radius_m: float = 0.1
    """How far the rim is from the hub."""


@dataclass
class CartConfig:
    path: str = "???"
    """Where the cart goes."""
    colour: Colour = Colour.red
    count: int = 4
    wheel: Wheel = field(default_factory=Wheel)
    extras: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count={self.count} must be at least 1")


def move(config):
    """What the cart does; replaced by each test."""
    raise NotImplementedError


@pytest.fixture
def cart(monkeypatch):
    """A command without a YAML file; collects what it is run with."""
    ran = []

    def install(action=ran.append):
        command = Command(
            name="cart", summary="move a cart", config=CartConfig, run=f"{__name__}:move"
        )
        monkeypatch.setitem(table.COMMANDS, "cart", command)
        monkeypatch.setattr(sys.modules[__name__], "move", action)
        return ran

    return install


def test_runs_with_a_checked_dataclass(run_cli, cart):
    ran = cart()
    outcome = run_cli("cart", "path=a", "wheel.radius_m=2", "colour=blue")
    assert outcome == (0, "", ""), outcome.err
    assert ran == [CartConfig(path="a", colour=Colour.blue, wheel=Wheel(radius_m=2.0))]


def test_unknown_command_names_the_closest(run_cli):
    outcome = run_cli("train2")
    assert outcome.status == cli.USAGE
    assert "there is no command 'train2'. Did you mean train?" in outcome.err
    assert "doctor" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["path=a", "cuont=3"], "cart has no setting 'cuont'. Did you mean count?"),
        (["path=a", "radius_m=3"], "Did you mean wheel.radius_m?"),
        (["path=a", "+weight=3"], "cart has no setting 'weight'"),
        (["path=a", "count=four"], "count=four does not fit: Value 'four' of type 'str' could not"),
        (["path=a", "count=four"], "count takes int"),
        (["path=a", "colour=green"], "expected one of [red, blue]"),
        (["path=a", "wheel=3"], "wheel=3 does not fit"),
        (["path=a", "count"], "'count' is not an override that can be read: write KEY=VALUE"),
        (["path=a", "count=[1"], "is not an override that can be read: count takes int"),
        (["path=a", "count=1,2"], "--multirun"),
        (["path=${nowhere}"], "path refers to a setting that does not exist"),
        (["path=a", "count=0"], "count=0 must be at least 1"),
        ([], "cart needs a value for path (Where the cart goes). Give it as path=VALUE"),
        (["path=a", "extras.depth=3"], "is set with +extras.depth=VALUE"),
    ],
)
def test_wrong_overrides_are_refused_before_any_work(run_cli, cart, overrides, message):
    ran = cart()
    outcome = run_cli("cart", *overrides)
    assert outcome.status == cli.USAGE
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert ran == []


def test_open_mapping_takes_new_keys(run_cli, cart):
    ran = cart()
    assert run_cli("cart", "path=a", "+extras.depth=3").status == cli.OK
    assert ran[0].extras == {"depth": 3}


def test_unknown_option_of_a_group_lists_what_is_there(run_cli):
    outcome = run_cli("train", "engine=gpo", "run=x", "data.path=y")
    assert outcome.status == cli.USAGE
    assert "there is no engine 'gpo'. Did you mean gpu?" in outcome.err
    assert "auto, cpu, exact, gpu" in outcome.err


def test_an_unknown_dataset_is_answered_in_a_short_line(run_cli):
    outcome = run_cli("train", "data=bridg", "run=x", "data.path=y")
    assert outcome.status == cli.USAGE
    assert "there is no data 'bridg'. Did you mean bridge" in outcome.err
    assert "`genie-robo datasets` lists all of them" in outcome.err
    assert len(outcome.err) < 200


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["train", "--run=x"], "run=x"),
        (["train", "--run", "x"], "run=VALUE"),
        (["imagine", "--num-episodes=3", "run=x"], "num_episodes=3"),
    ],
)
def test_settings_with_dashes_are_answered_with_those_without(run_cli, words, meant):
    outcome = run_cli(*words)
    assert outcome.status == cli.USAGE
    assert f"there is no option {words[1]}. " in outcome.err
    assert f"settings have no dashes: give {meant}\n" in outcome.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["imagine", "runs/demo"], "run=runs/demo"),
        (["play", "my run"], "'run=my run'"),
        (["compare", "runs/a", "runs/b"], "runs=[runs/a]"),
        (["record", "datasets/mine"], "path=datasets/mine"),
        (["view", "some.rrd"], "path=some.rrd"),
        (["train", "run=x", "seed"], "seed=VALUE"),
    ],
)
def test_a_word_without_a_key_is_answered_with_the_setting(run_cli, words, meant):
    outcome = run_cli(*words)
    assert outcome.status == cli.USAGE
    assert f"write KEY=VALUE, such as {meant}\n" in outcome.err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("patch_size=7 does not divide 64"), "error: patch_size=7 does not divide 64"),
        (KeyError("no camera here; there are: a, b"), "error: no camera here; there are: a, b"),
        (FileNotFoundError("no folder x"), "error: no folder x"),
        (RuntimeError(""), "error: RuntimeError"),
    ],
)
def test_errors_are_one_paragraph(run_cli, cart, error, text):
    def fail(config):
        raise error

    cart(fail)
    outcome = run_cli("cart", "path=a")
    assert outcome.status == cli.FAILED
    assert outcome.err.strip() == text


def test_debug_raises(run_cli, cart):
    def fail(config):
        raise ValueError("deep")

    cart(fail)
    with pytest.raises(ValueError, match="deep"):
        run_cli("cart", "path=a", "--debug")


def test_ctrl_c_says_how_to_go_on(run_cli, cart):
    def interrupted(config):
        raise KeyboardInterrupt

    cart(interrupted)
    outcome = run_cli("cart", "path=my cart")
    assert outcome.status == cli.INTERRUPTED
    assert "Stopped by Ctrl-C. Finished work is kept" in outcome.err
    assert "`genie-robo cart 'path=my cart'`" in outcome.err


def test_a_stopped_training_names_the_signal(run_cli, cart):
    def terminated(config):
        raise KeyboardInterrupt("SIGTERM")

    cart(terminated)
    assert "Stopped by SIGTERM. Finished work is kept" in run_cli("cart", "path=a").err


def test_fault_of_ours_is_named_as_such(capsys):
    try:
        [].nonsense  # noqa: B018  the fault
    except AttributeError as error:
        cli._explain_fault(type(error), error, error.__traceback__)
    text = capsys.readouterr().err
    assert "AttributeError at" in text
    assert "test_cli.py" in text
    assert "bug in genie_robo" in text


def test_version(run_cli):
    assert run_cli("--version") == (0, f"{version('genie-robo')}\n", "")


def test_no_words_shows_the_commands_and_is_wrong_usage(run_cli, cart):
    cart()
    outcome = run_cli()
    assert outcome.status == cli.USAGE
    assert "move a cart" in outcome.out
    assert run_cli("--help").status == cli.OK


def test_command_that_cannot_be_loaded_is_listed_with_the_reason(run_cli, monkeypatch):
    broken = EntryPoint("cart", "wheels.cart:COMMAND", table.GROUP)

    def entry_points(*, group, name="cart"):
        return [broken] if (group, name) == (table.GROUP, "cart") else []

    monkeypatch.setattr(table, "entry_points", entry_points)
    assert "(cannot be loaded: No module named 'wheels')" in run_cli("--help").out
    outcome = run_cli("cart")
    assert outcome.status == 1
    assert outcome.err.startswith("error: No module named 'wheels'; the package wheels is missing")


def test_cfg_prints_the_composed_configuration(run_cli, cart):
    ran = cart()
    outcome = run_cli("cart", "--cfg", "count=7")
    assert "count: 7" in outcome.out
    assert "path: ???" in outcome.out
    assert ran == []


def test_sweep_runs_every_combination_and_leaves_no_files(run_cli, cart, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genie-robo"])
    ran = cart()
    outcome = run_cli("cart", "-m", "path=p${count}", "count=1,2", "colour=red,blue")
    assert outcome.status == cli.OK
    assert [(c.path, c.colour.name) for c in ran] == [
        ("p1", "red"),
        ("p1", "blue"),
        ("p2", "red"),
        ("p2", "blue"),
    ]
    assert "sweep 3: " in outcome.err
    assert list(tmp_path.iterdir()) == []
    assert sys.argv == ["genie-robo"]


@pytest.mark.parametrize("option", ["--help", "-h", "--cfg"])
@pytest.mark.parametrize("many", ["-m", "--multirun"])
def test_a_sweep_with_help_or_cfg_prints_and_starts_nothing(run_cli, cart, option, many):
    ran = cart()
    words = ["path=p${count}", "count=7,8", "wheel.radius_m=range(0.5,2)", "colour=blue,red"]
    outcome = run_cli("cart", many, option, *words)
    assert (outcome.status, outcome.err, ran) == (cli.OK, "", [])
    if option == "--cfg":
        assert "path: p${count}\ncolour: blue\ncount: 7\n" in outcome.out
    else:
        assert "wheel.radius_m" in outcome.out


def test_sweep_over_folders_with_any_name(run_cli, cart, tmp_path, monkeypatch):
    strange = tmp_path / "a=b,c {d} müller's"
    strange.mkdir()
    monkeypatch.chdir(strange)
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    ran = cart()
    outcome = run_cli("cart", "-m", "path=1.10,é=#,~x", "count=2")
    assert outcome.status == cli.OK, outcome.err
    assert [config.path for config in ran] == ["1.10", "é=#", "~x"]
    assert "sweep 1: path=é=# count=2" in outcome.err


@pytest.mark.parametrize(("counts", "status"), [("1,2", cli.FAILED), ("1,3", cli.USAGE)])
def test_a_sweep_is_a_usage_error_where_every_combination_is(run_cli, cart, counts, status):
    done = []

    def run(config):
        if config.count % 2:
            raise UsageError("odd")
        done.append(config.count)

    cart(run)
    assert run_cli("cart", "-m", "path=a", f"count={counts}").status == status
    assert done == ([2] if status == cli.FAILED else [])


def test_sweep_reports_a_failure_and_goes_on(run_cli, cart):
    done = []

    def run(config):
        if config.count == 1:
            raise ValueError("one is too few")
        done.append(config.count)

    cart(run)
    outcome = run_cli("cart", "-m", "path=a", "count=1,2,0")
    assert outcome.status == cli.FAILED
    assert done == [2]
    assert "error: one is too few" in outcome.err
    assert "count=0 must be at least 1" in outcome.err


def test_sweep_refuses_an_unknown_key(run_cli, cart):
    ran = cart()
    outcome = run_cli("cart", "-m", "path=a", "cuont=1,2")
    assert outcome.status == cli.USAGE
    assert "Did you mean count?" in outcome.err
    assert ran == []


def test_installed_commands_are_in_order_of_use():
    assert command_names()[:5] == ["demo", "record", "inspect", "datasets", "train"]


def test_load_command_refuses_unknown_names():
    with pytest.raises(UsageError, match="Commands: demo"):
        load_command("zzz")


def test_did_you_mean_knows_last_parts():
    known = ["model.tokenizer.patch_size", "seed"]
    assert did_you_mean("tokenizer.patch_size", known) == (
        " Did you mean model.tokenizer.patch_size?"
    )
    assert did_you_mean("zzz", known) == ""


HEAVY = {"torch", "mujoco", "sklearn", "scipy", "rerun", "matplotlib", "tensorflow_datasets"}


@pytest.mark.parametrize(
    ("lines", "heavy"),
    [
        ([["--help"], ["--version"]], HEAVY | {"hydra", "omegaconf", "numpy"}),
        ([[name, "--help"] for name in command_names()], HEAVY),
    ],
)
def test_help_imports_nothing_heavy(lines, heavy):
    program = (
        "import sys\n"
        "from genie_robo.cli import main\n"
        f"for words in {lines}:\n"
        "    main(words)\n"
        f"    if found := {heavy} & set(sys.modules):\n"
        "        sys.exit(f'{words} imports {found}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_has_a_function_to_run():
    for command in map(load_command, command_names()):
        assert callable(command.load_run())
        assert command.load_after_sweep() is None or command.name == "demo"


def test_log_lines_are_whole_where_the_output_is_no_terminal(run_cli, monkeypatch):
    def log_much(*_):
        logging.getLogger("genie_robo").info("word " * 100 + "\x1b[2J [brackets]")
        return cli.OK

    monkeypatch.setattr(cli, "_dispatch", log_much)
    text = "INFO     " + "word " * 100 + r"\x1b[2J [brackets]" + "\n"
    assert run_cli("demo").err == text
