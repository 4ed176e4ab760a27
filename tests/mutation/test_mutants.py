"""The tests fail when a metric, MaskGIT or the alignment of actions is wrong in one place."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVAL, METRICS = "tests/eval_suites", "tests/eval_suites/metrics"
MASKGIT = ("genie_robo.models.maskgit", "tests/models/test_maskgit.py")
ACTIONS = ("genie_robo.data.actions", "tests/data/test_actions.py")
POSES = ("genie_robo.data.actions", "tests/data/test_actions_from_poses.py")
FEEDBACK = ("genie_robo.inference.error_feedback", "tests/inference/test_error_feedback.py")
STATISTICS = ("genie_robo.eval_suites.statistics", f"{EVAL}/test_statistics.py {METRICS}")
IMAGES = ("genie_robo.eval_suites.metrics.image_metrics", METRICS)
INFORMATION = ("genie_robo.eval_suites.metrics.information", METRICS)
RANKING = ("genie_robo.eval_suites.metrics.ranking", METRICS)
FOLLOWING = ("genie_robo.eval_suites.metrics.following", METRICS)
FRECHET = ("genie_robo.eval_suites.metrics.frechet", METRICS)
VERDICTS = ("genie_robo.eval_suites.metrics.verdicts", METRICS)
COMPARING = ("genie_robo.eval_suites.comparing", f"{EVAL}/test_comparing.py")
TABLE = ("genie_robo.eval_suites.table", f"{EVAL}/test_table.py {EVAL}/test_comparing.py")

MUTANTS = [
    (MASKGIT, "math.floor(num_tokens * ratio)", "math.ceil(num_tokens * ratio)"),
    (MASKGIT, "range(1, num_steps))", "range(num_steps))"),
    (MASKGIT, "return noise < rate[..., None]", "return noise > rate[..., None]"),
    (MASKGIT, "(logits / temperature).softmax", "(logits * temperature).softmax"),
    (MASKGIT, "return logits.max(-1)", "return logits.min(-1)"),
    (MASKGIT, "guidance * (conditioned", "(conditioned"),
    (MASKGIT, "masked_fill(~is_hidden", "masked_fill(is_hidden"),
    (ACTIONS, "rotations[:, step] @ total", "total @ rotations[:, step]"),
    (ACTIONS, "composed = runs[:, -1].copy()", "composed = runs[:, 0].copy()"),
    (ACTIONS, "runs[:, :, XYZ].sum(axis=1)", "runs[:, :, XYZ].mean(axis=1)"),
    (ACTIONS, "is_open = values < 0", "is_open = values > 0"),
    (ACTIONS, "shift_commands(rows, action.lag)[:-1]", "shift_commands(rows, action.lag)[1:]"),
    (POSES, "end_effector_pose[1:, GRIPPER]", "end_effector_pose[:-1, GRIPPER]"),
    (FEEDBACK, "corrected = motions + residual", "corrected = motions - residual"),
    (FEEDBACK, "self.decay * error", "error"),
    (STATISTICS, "1.0 - totals[..., 0, :] / totals[..., 1, :]", "1.0 - totals[..., 0, :]"),
    (STATISTICS, "totals[..., 1, :] - totals[..., 0, :]", "totals[..., 0, :] - totals[..., 1, :]"),
    (STATISTICS, "mean_r2(totals[..., [0, 2], :]) /", "mean_r2(totals[..., [1, 2], :]) /"),
    (STATISTICS, "np.exp(-(chances * logs)", "np.exp((chances * logs)"),
    (STATISTICS, "[2.5, 97.5]", "[25, 75]"),
    (STATISTICS, "(1 + as_good.sum()) / (1 + len(null))", "as_good.sum() / len(null)"),
    (IMAGES, "-10.0 * np.log10", "-20.0 * np.log10"),
    (IMAGES, "change.max(axis=-1) > threshold", "change.min(axis=-1) > threshold"),
    (IMAGES, "(error * changed).sum", "error.sum"),
    (INFORMATION, "entropy(cells) - bias", "entropy(cells)"),
    (INFORMATION, "entropy(rows) + entropy(columns)", "entropy(rows)"),
    (RANKING, "(apart * is_wrong).max(axis=-1)", "(apart * is_wrong).mean(axis=-1)"),
    (RANKING, "apart = np.abs(_differences(true))", "apart = np.abs(_differences(predicted))"),
    (RANKING, "pearson(_ranks(predicted), _ranks(true))", "pearson(predicted, true)"),
    (FOLLOWING, "first, second = max(lag, 0), max(-lag, 0)", "first, second = 0, 0"),
    (FOLLOWING, "correlation.argmax(axis=-1)", "correlation.argmin(axis=-1)"),
    (FOLLOWING, "moved = true[1:] - true[0]", "moved = true[1:] - true[:-1]"),
    (FRECHET, "spread - 2 * shared", "spread - shared"),
    (FRECHET, "matrix.sum() - np.trace(matrix)", "matrix.sum()"),
    (STATISTICS, "(len(side) - 1) * float(np.var(side))", "float(np.var(side))"),
    (VERDICTS, "0.5 * (apart == 0)", "(apart == 0)"),
    (COMPARING, "is_same &= np.isclose", "is_same |= np.isclose"),
    (TABLE, "known, values * weights, 0.0", "known, values, 0.0"),
    (TABLE, "self.values(columns) - self.values(others)", "self.values(columns)"),
]


def run_tests(tests, mutant):
    """The exit status of pytest with one change: 1 when a test fails."""
    words = ["-q", "-x", "-p", "tests.mutation.mutate", "-m", "not slow", "-o", "addopts="]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, *tests.split()],
        cwd=ROOT,
        env=os.environ | {"MUTANT": mutant, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("where", "old", "new"), MUTANTS, ids=lambda value: str(value)[:60])
def test_a_wrong_place_fails_a_test(where, old, new):
    module, tests = where
    done = run_tests(tests, json.dumps([module, old, new]))
    assert done.returncode == 1, done.stdout[-2000:]
    assert "not once" not in done.stdout


@pytest.mark.slow
def test_the_same_tests_pass_without_a_change():
    places = " ".join(dict.fromkeys(tests for (_, tests), _, _ in MUTANTS))
    unchanged = json.dumps(["genie_robo.models.maskgit", "import math\n", "import math\n"])
    done = run_tests(" ".join(dict.fromkeys(places.split())), unchanged)
    assert done.returncode == 0, done.stdout[-2000:]
