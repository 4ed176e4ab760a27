"""run=DIR and run=[DIR,DIR], as `eval` and `imagine` read them."""

import pytest

from genie_robo.commands.compose import compose_config, run_names, to_config
from genie_robo.commands.table import UsageError, load_command

WHO = {"command": "eval", "purpose": "the run folder"}


@pytest.mark.parametrize("command", ["eval", "imagine"])
def test_run_is_a_string_or_a_list(command):
    assert run_names("runs/a", **WHO) == ["runs/a"]
    assert run_names(["runs/a", "runs/b"], **WHO) == ["runs/a", "runs/b"]
    loaded = load_command(command)
    for word, value in (("run=runs/a", "runs/a"), ("run=[runs/a,runs/b]", ["runs/a", "runs/b"])):
        assert to_config(loaded, compose_config(loaded, [word])).run == value


@pytest.mark.parametrize("run", ["", [], [""], None])
def test_no_run_is_a_wrong_command_line(run):
    with pytest.raises(UsageError, match="eval needs a value for run"):
        run_names(run, **WHO)


@pytest.mark.parametrize(
    ("run", "message"),
    [(["runs/a", "runs/a/"], "names a run twice"), ([["a"], "b"], "or a list of them")],
)
def test_lists_that_make_no_sense(run, message):
    with pytest.raises(ValueError, match=message):
        run_names(run, **WHO)
