"""`genie-robo eval run=[A,B]`: what is refused, and two tiny runs through the command line."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from genie_robo import cli
from genie_robo import config as cfg
from genie_robo.comparison.shared import check_shared, settings_of
from genie_robo.eval_suites.tokenizer import TokenizerSuite
from genie_robo.trained_run import TrainedRun, open_run
from genie_robo.types import Split


def opened(name, ids, **settings):
    """As much of a trained run as is looked at."""
    data = cfg.DataConfig(path=f"{name}/dataset")
    config = cfg.TrainConfig(run=name, data=data, **settings)
    dataset = SimpleNamespace(place=data.path, episode_ids=tuple(ids), fingerprint="same")
    return Mock(
        spec=TrainedRun,
        config=config,
        data=data,
        dataset=dataset,
        windows=lambda _: SimpleNamespace(episodes=range(len(ids))),
    )


def test_runs_without_a_shared_test_episode_are_refused():
    runs = {"a": opened("a", "xyz"), "b": opened("b", "vw")}
    with pytest.raises(ValueError, match=r"a and b share no test episode \(3 of a/dataset, 2 of"):
        check_shared(runs)


def test_partly_shared_episodes_and_other_frames_are_noted():
    runs = {"a": opened("a", "wxyz"), "b": opened("b", "yz"), "c": opened("c", "wxyz")}
    runs["c"].data = replace(runs["c"].data, image_height=128)

    partly, frames = check_shared(runs)

    assert partly.startswith("b shares 2 test episodes with a, which has 4; it has 2.")
    assert frames == "c sees other frames than a (image_height: 64 -> 128)."


def test_seeds_of_one_setting_are_found_in_the_configuration():
    runs = {
        "runs/x-seed0": opened("runs/x-seed0", "ab", seed=0),
        "runs/again": opened("runs/again", "ab", seed=1),
        "runs/other": opened("runs/other", "ab", seed=1, log_every=7),
    }
    assert settings_of(runs) == {"runs/x-seed0": "x", "runs/again": "x", "runs/other": "other"}


def test_a_copied_dataset_is_the_same_but_another_one_is_not():
    runs = {name: opened(name, "ab") for name in ("a", "b")}
    assert settings_of(runs) == {"a": "a", "b": "a"}
    runs["b"].dataset.fingerprint = "another"
    assert settings_of(runs) == {"a": "a", "b": "b"}


def test_nothing_is_evaluated_when_a_run_is_missing(runs, run_cli, tmp_path):
    outcome = run_cli("eval", f"run=[{runs[0]},{tmp_path}]", "suite=tokenizer")
    assert outcome.status == cli.FAILED
    assert "is not a run folder" in outcome.err
    assert not (runs[0] / "eval").exists()


def test_two_runs_are_evaluated_and_compared(runs, run_cli, tmp_path):
    words = (f"run=[{runs[0]},{runs[1]}]", "suite=tokenizer", f"output={tmp_path}", "fast=true")
    outcome = run_cli("eval", *words)

    assert outcome.status == cli.OK, outcome.err
    assert "tokenizer, paired by episode" in outcome.out
    content = json.loads((tmp_path / "tokenizer" / "paired.json").read_text())
    assert list(content["seeds"]) == ["tiny"]
    own = [json.loads((run / "eval/tokenizer/metrics.json").read_text()) for run in runs]
    values = [metrics["metrics"]["psnr"]["value"] for metrics in own]
    (difference,) = content["metrics"]["psnr"][f"minus {runs[0]}"].values()
    assert difference["value"] == pytest.approx(values[1] - values[0], abs=1e-9)
    assert difference["num_episodes"] == own[0]["metrics"]["psnr"]["n_units"]
    assert difference["ci95"][0] <= difference["value"] <= difference["ci95"][1]
    used = content["metrics"]["used_codes"][f"minus {runs[0]}"][str(runs[1])]
    assert used["ci95"] is None
    assert "fewer codes" in used["reason"]
    assert (tmp_path / "tokenizer" / "paired.png").exists()
    for run in runs:
        shutil.rmtree(run / "eval")


@pytest.mark.parametrize("side", ["val", "train"])
def test_probes_are_fitted_on_the_side_that_was_asked_for(runs, run_cli, monkeypatch, side):
    seen = []
    evaluate = TokenizerSuite.evaluate

    def remember(self, context):
        seen.append(list(context.fit.episodes))
        return evaluate(self, context)

    monkeypatch.setattr(TokenizerSuite, "evaluate", remember)
    words = ("suite=tokenizer", "fast=true", f"fit_on={side}")
    outcome = run_cli("eval", f"run={runs[0]}", *words)
    assert outcome.status == cli.OK, outcome.err
    assert seen == [list(open_run(str(runs[0]), device="cpu").windows(Split(side)).episodes)]
    (folder,) = (runs[0] / "eval").iterdir()
    assert folder.name == ("tokenizer" if side == "val" else "tokenizer+fit_on_train")
    said = (
        "fitted on the episodes that the models were trained on"
        in (folder / "report.md").read_text()
    )
    assert said is (side == "train")
    shutil.rmtree(runs[0] / "eval")


def test_one_run_writes_no_comparison(runs, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run_cli("eval", f"run={runs[0]}", "suite=tokenizer", "fast=true")
    assert outcome.status == cli.OK, outcome.err
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(runs[0] / "eval")
