import inspect

import numpy as np
import pytest

from eval_suites import statistics
from eval_suites.metrics import (
    following,
    frechet,
    image_metrics,
    information,
    jackknife,
    known_answers,
    ranking,
    verdicts,
)
from eval_suites.metrics.known import Known
from eval_suites.metrics.known_answers import KNOWN
from eval_suites.probes import code_meaning
from eval_suites.selfcheck import SelfCheck, check
from genie_robo import cli

NO_METRICS = {"notes_on_units", "to_metric", "number_episodes", "to_unit", "gain_terms"}
NO_METRICS |= {"lag_terms", "best_lag", "joint_counts"}
"""Texts, and the parts of `gain`, of `lag` and of information."""

SUITES = ("latent_probe", "latent_structure", "few_label", "controllability", "action_following")
MODULES = (following, frechet, image_metrics, information, jackknife, ranking, verdicts)
"""Of plain arrays; beside them the statistics, and what codes mean."""


def test_every_known_answer_is_given():
    wrong = [row for row in check(KNOWN) if not row.is_ok]
    assert wrong == []
    result = SelfCheck().evaluate()
    assert result.metrics["wrong"].value == 0


@pytest.mark.parametrize("module", [*MODULES, statistics, code_meaning])
def test_every_metric_function_has_a_known_answer(module):
    named = {known.name for known in KNOWN}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        is_metric = function.__module__ == module.__name__ and not name.startswith("_")
        assert not is_metric or name in named | NO_METRICS, name


@pytest.mark.parametrize("suite", SUITES)
def test_suites_whose_numbers_come_from_models_have_known_answers_too(suite):
    assert any(known.name.startswith(f"{suite}/") for known in KNOWN)


def test_an_answer_is_known_from_somewhere():
    """Another text for each, so that no two rows of the table say the same."""
    texts = [(known.name, known.why) for known in KNOWN]
    assert all(why for _, why in texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("found", [1.1, np.nan, np.inf])
def test_wrong_answers_are_found_out(found):
    (row,) = check([Known("broken", "by hand", 1.0, lambda: found)])
    assert not row.is_ok


def test_the_command_needs_no_run_and_prints_the_table(capsys):
    assert cli.main(["eval", "suite=selfcheck"]) == 0
    assert "known answer" in capsys.readouterr().out


def test_a_wrong_metric_is_an_error(capsys, monkeypatch):
    broken = Known("mmrv", "by hand", 1.0, lambda: 2.0)
    monkeypatch.setattr(known_answers, "KNOWN", (*KNOWN, broken))
    assert cli.main(["eval", "suite=selfcheck"]) == 1
    captured = capsys.readouterr()
    assert "NO" in captured.out
    assert f"1 of {len(KNOWN) + 1} metrics do not give their known answer: mmrv" in captured.err


def test_every_other_suite_needs_a_run(capsys):
    assert cli.main(["eval", "suite=tokenizer"]) == 2
    assert "needs a value for run" in capsys.readouterr().err
