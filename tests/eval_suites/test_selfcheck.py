import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from genie_robo import cli
from genie_robo.commands import eval as eval_command
from genie_robo.eval_suites import statistics
from genie_robo.eval_suites.metrics import (
    following,
    frechet,
    image_metrics,
    information,
    ranking,
    verdicts,
)
from genie_robo.eval_suites.probes import code_meaning
from genie_robo.eval_suites.selfcheck import ANSWERS, Known, SelfCheck, check

MODULES = (following, frechet, image_metrics, information, ranking, verdicts)
"""Of plain arrays; next to them the statistics, and what codes mean."""
FAMILIES = ("latent_probe/r2", "partial_r2", "jackknife", "p_value", "psnr", "frechet", "mmd")
FAMILIES += ("mmrv", "perplexity", "transitions", "auroc", "gain", "lag")
TESTS = "".join(path.read_text() for path in Path(__file__).parent.glob("**/test_*.py"))


def test_every_known_answer_is_given():
    wrong = [row for row in check(ANSWERS) if not row.is_ok]
    assert wrong == []
    result = SelfCheck().evaluate()
    assert result.metrics["wrong"].value == 0
    assert len(result.metrics) == 1 + len(ANSWERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_metrics_is_checked(family):
    assert any(family in known.name for known in ANSWERS)


@pytest.mark.parametrize("module", [*MODULES, statistics, code_meaning])
def test_every_metric_function_is_tested(module):
    for name, function in inspect.getmembers(module, inspect.isfunction):
        is_metric = function.__module__ == module.__name__ and not name.startswith("_")
        assert not is_metric or re.search(rf"\b{name}\(", TESTS), name


def test_an_answer_is_known_from_somewhere():
    """Another text for each, so that no two rows of the table say the same."""
    texts = [(known.name, known.why) for known in ANSWERS]
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
    monkeypatch.setattr(eval_command, "ANSWERS", (*ANSWERS, broken))
    assert cli.main(["eval", "suite=selfcheck"]) == 1
    captured = capsys.readouterr()
    assert "NO" in captured.out
    assert f"1 of {len(ANSWERS) + 1} metrics do not give their known answer: mmrv" in captured.err


def test_every_other_suite_needs_a_run(capsys):
    assert cli.main(["eval", "suite=tokenizer"]) == 2
    assert "needs a value for run" in capsys.readouterr().err
