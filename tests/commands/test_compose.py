"""run=DIR and run=[DIR,DIR], as `eval` and `imagine` read them."""

import pytest
from hydra.utils import instantiate

from genie_robo.commands.checks import run_names
from genie_robo.commands.command import UsageError
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command

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


def compose_suites(*words):
    command = load_command("eval")
    return to_config(command, compose_config(command, ["run=r", *words])).suite


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_parameter_of_a_suite_is_set_as_any_other_setting(plus):
    suites = compose_suites("suite=tokenizer", f"{plus}suite.tokenizer.max_episodes=20")

    assert suites["tokenizer"]["max_episodes"] == 20
    assert instantiate(suites["tokenizer"]).max_episodes == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suite.tokenizer.max_episode=3"], "'max_episode'. Did you mean max_episodes?.* It has: "),
        (["+suite.tokenizer.depth=3"], "suite.tokenizer has no setting 'depth'. It has: "),
        (["suite.video.horizon=3"], "suite.video.horizon belongs to a suite that is not chosen"),
    ],
)
def test_parameters_that_no_suite_takes_are_refused(words, message):
    with pytest.raises(UsageError, match=message):
        compose_suites("suite=tokenizer", *words)


def test_a_sampler_that_cannot_decode_is_refused_before_any_work():
    with pytest.raises(UsageError, match=r"sampler\.num_steps=0 must be at least 1"):
        compose_suites("sampler.num_steps=0")
