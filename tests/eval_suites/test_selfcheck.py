import inspect

import numpy as np
import pytest

from eval_suites import statistics
from eval_suites.metrics import following, image_metrics, known_answers, ranking, verdicts
from eval_suites.metrics.known_answers import KNOWN, Known
from eval_suites.selfcheck import SelfCheck, check
from genie_robo import cli

NO_METRICS = {"notes_on_units", "to_metric", "number_episodes", "to_unit", "gain_terms"}
NO_METRICS |= {"lag_terms", "best_lag"}
"""Texts, and the parts of `gain` and `lag`."""


def test_every_known_answer_is_given():
    wrong = [row for row in check(KNOWN) if not row.is_ok]
    assert wrong == []
    result = SelfCheck().evaluate()
    assert result.metrics["wrong"].value == 0


@pytest.mark.parametrize("module", [following, image_metrics, ranking, statistics, verdicts])
def test_every_metric_function_has_a_known_answer(module):
    named = {known.name for known in KNOWN}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        is_metric = function.__module__ == module.__name__ and not name.startswith("_")
        assert not is_metric or name in named | NO_METRICS, name


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
