"""`genie-robo report`: the page of a run that `train` and `eval` made."""

import json
import re
import shutil

import pytest
from PIL import Image

from genie_robo import cli
from genie_robo.run_folder import RunFolder

PSNR = {
    "value": 21.5,
    "ci95": [20.5, 22.5],
    "n_units": 12,
    "unit": "dB",
    "protocol": "rebuilt test frames",
    "baselines": {"copy_last": 18.0},
    "ceiling": None,
}


def evaluate(run, suite, **metrics):
    """As much of the results of a suite as a report reads."""
    (run.suite(suite) / "figures").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(run.suite(suite) / "figures" / "strip.png")
    content = {"headline": list(metrics), "notes": [], "metrics": metrics}
    (run.suite(suite) / "metrics.json").write_text(json.dumps(content))


@pytest.fixture
def run(runs, tmp_path) -> RunFolder:
    """A trained run in which one suite was evaluated."""
    run = RunFolder.at(tmp_path / "mine")
    shutil.copytree(runs[0], run.path)
    evaluate(run, "tokenizer", psnr=PSNR)
    return run


def test_a_trained_and_evaluated_run_has_a_report(run, run_cli):
    outcome = run_cli("report", f"run={run.path}")
    assert outcome.status == cli.OK, outcome.err
    assert outcome.out.split() == ["report", str(run.report), str(run.report_page)]
    text = run.report.read_text()
    row = "| tokenizer: PSNR of rebuilt frames | 21.50 [20.50, 22.50] dB | 18 (copy last) |"
    assert f"{row}  | better than the baseline |" in text
    assert "(eval/tokenizer/figures/strip.png)" in text
    assert "No rollouts yet" in text
    images = re.findall(r"!\[[^]]*\]\((.*?)\)", text)
    assert {"report/tokenizer.png", "report/world_model.png"} < set(images)
    assert all((run.path / image).is_file() for image in images)
    assert run.report_page.read_text().count("data:image/png;base64,") == len(images)


def test_a_later_report_has_what_was_added(run, run_cli):
    assert run_cli("report", f"run={run.path}").status == cli.OK
    evaluate(run, "video", psnr=PSNR)
    run.rollouts.mkdir()
    Image.new("RGB", (4, 4)).save(run.rollouts / "episode_000.png")
    assert run_cli("report", f"run={run.path}").status == cli.OK
    text = run.report.read_text()
    assert "### tokenizer" in text
    assert "### video" in text
    assert "(rollouts/episode_000.png)" in text
    assert "No rollouts yet" not in text


def test_a_damaged_result_is_refused_and_the_report_stays(run, run_cli):
    assert run_cli("report", f"run={run.path}").status == cli.OK
    before = run.report.read_text(), run.report_page.read_text()
    (run.suite("tokenizer") / "metrics.json").write_text("{")
    outcome = run_cli("report", f"run={run.path}")
    assert outcome.status == cli.FAILED
    assert "is not the result of a suite" in outcome.err
    assert (run.report.read_text(), run.report_page.read_text()) == before
