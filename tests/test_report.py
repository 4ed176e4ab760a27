import json

import pytest
from PIL import Image

from genie_robo.provenance import read_provenance, write_provenance
from genie_robo.report import draw_training, read_suite, write_report
from genie_robo.run_folder import RunFolder

METRIC = {
    "value": 0.314,
    "ci95": [0.25, 0.36],
    "n_units": 36,
    "unit": "R2",
    "protocol": "ridge on validation episodes, scored once on test episodes",
    "baselines": {"random codes": -0.01, "optical flow": None},
    "ceiling": 0.62,
}
UNDEFINED = METRIC | {"value": None, "ci95": None, "ceiling": None, "reason": "no gripper here"}


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path / "my run")
    suite = run.suite("latent_probe")
    (suite / "figures").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(suite / "figures" / "lag_curve.png")
    content = {
        "suite": "latent_probe",
        "provenance": {},
        "headline": ["r2", "gripper"],
        "notes": ["commanded actions lag the motion"],
        "metrics": {"r2": METRIC, "gripper": UNDEFINED, "hidden": METRIC},
    }
    (suite / "metrics.json").write_text(json.dumps(content))
    run.rollouts.mkdir()
    for name in ("episode_000", "episode_000_branches"):
        Image.new("RGB", (4, 4)).save(run.rollouts / f"{name}.png")
    for stage, name in (("tokenizer", "psnr"), ("world_model", "lam_perplexity")):
        run.log(stage).parent.mkdir()
        lines = [{"step": step, "loss": 1 / step, name: step} for step in (20, 40)]
        run.log(stage).write_text("\n".join(json.dumps(line) for line in lines))
    stamps = run.path / "stages"
    stamps.mkdir()
    stamp = {"settings": {}, "inputs": {}, "finished": True, "seconds": 300.0}
    (stamps / "record.json").write_text(json.dumps(stamp))
    write_provenance(
        run,
        dataset_fingerprints={"": "abc123", "other": "def456"},
        episodes={
            "": {"train": ["x", "y"], "test": ["z"]},
            "other": {"train": ["v"], "test": ["w"]},
        },
        seeds={"train": 7},
    )
    return run


def test_report_has_numbers_pictures_curves_and_origin(run):
    text = write_report(run).read_text()
    assert text.startswith("# my run\n")
    row = "| r2 | 0.31 [0.25, 0.36] | R2 | 36 | random codes -0.01, optical flow undefined | 0.62 |"
    assert row in text
    assert "ridge on validation episodes" in text
    assert "- commanded actions lag the motion" in text
    assert "40 steps of latent actions and dynamics" in text
    assert "- record: 5.0 min" in text
    assert "dataset abc123: 2 train, 1 test episodes" in text
    assert "- seeds: train 7" in text
    assert "torch 2" in text


def test_undefined_metrics_come_with_their_reason(run):
    text = write_report(run).read_text()
    assert "| gripper | undefined: no gripper here |" in text
    assert "NaN" not in text
    assert "nan" not in text


def test_every_link_leads_to_a_file(run):
    text = write_report(run).read_text()
    (run.suite("latent_probe") / "report.md").touch()
    run.config.touch()
    links = [part.split(")")[0].replace("%20", " ") for part in text.split("](")[1:]]
    assert "rollouts/episode_000.png" in links
    assert text.count("true above imagined](rollouts/") == 1
    assert text.count("a row per latent action](rollouts/episode_000_branches.png)") == 1
    assert "eval/latent_probe/figures/lag_curve.png" in links
    assert "report/tokenizer.png" in links
    assert all((run.path / link).exists() for link in links)


def test_curves_are_drawn_for_what_is_logged(run):
    drawn = draw_training(run)
    assert list(drawn) == ["tokenizer", "world_model"]
    with Image.open(drawn["tokenizer"]) as picture:
        assert picture.size == (1260, 480)


def test_report_of_an_empty_run_says_what_is_missing(tmp_path):
    text = write_report(RunFolder(tmp_path)).read_text()
    assert f"`genie-robo imagine run={tmp_path}`" in text
    assert f"`genie-robo eval run={tmp_path}`" in text
    assert "No training log" in text
    assert "no provenance.json" in text


@pytest.mark.parametrize("content", ["{", '{"metrics": {}, "headline": ["r2"], "notes": []}'])
def test_damaged_metrics_are_named(tmp_path, content):
    path = tmp_path / "eval" / "tokenizer" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match="is not the result of a suite"):
        read_suite(path)


def test_provenance_names_versions_machine_and_split(run):
    content = read_provenance(run)
    assert content is not None
    assert content["episodes"] == {"train": ["x", "y"], "test": ["z"]}
    assert content["versions"]["genie-robo"]
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["memory_gib"] > 0
