"""`genie-robo eval run=[A,B]`: what is refused, and two tiny runs through the command line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from genie_robo import cli
from genie_robo import config as cfg
from genie_robo.commands.base import UsageError, load_command
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.eval_pairs import _settings, check_shared, run_names
from genie_robo.sim.record import RecordSpec, record_dataset
from genie_robo.train.run import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two seeds of one run, trained for a moment."""
    folder = tmp_path_factory.mktemp("pairs")
    spec = RecordSpec(num_episodes=12, num_steps=4, image_size=(32, 32), num_workers=1, seed=3)
    dataset = record_dataset(folder / "dataset", spec)
    configs = [tiny(folder / f"tiny-seed{seed}", dataset, seed) for seed in (0, 1)]
    for config in configs:
        train(config)
    return [Path(config.run) for config in configs]


def tiny(run, dataset, seed):
    stack = cfg.TransformerConfig(num_blocks=1, dim=16, num_heads=2, head_dim=8)
    codes = cfg.QuantizerConfig(num_codes=4, code_dim=4)
    stage = cfg.StageConfig(num_steps=1, batch_size=2, num_frames=4, validation_windows=2)
    source = cfg.SourceConfig(camera="observation/image")
    data = cfg.DataConfig(path=str(dataset), source=source, test_fraction=0.6)
    return cfg.TrainConfig(
        run=str(run),
        seed=seed,
        data=replace(data, image_height=32, image_width=32),
        model=cfg.ModelConfig(
            tokenizer=cfg.TokenizerConfig(encoder=stack, decoder=stack, quantizer=codes),
            latent_action=cfg.LatentActionConfig(
                downscale=2, encoder=stack, decoder=stack, quantizer=codes
            ),
            dynamics=cfg.DynamicsConfig(transformer=stack),
        ),
        tokenizer=stage,
        world_model=stage,
        engine=cfg.EngineConfig(precision=cfg.Precision.fp32, num_threads=1),
    )


def opened(name, ids, **settings):
    """As much of a trained run as is looked at."""
    data = cfg.DataConfig(path=f"{name}/dataset")
    config = cfg.TrainConfig(run=name, data=data, **settings)
    dataset = SimpleNamespace(folder=Path(data.path), episode_ids=tuple(ids), fingerprint="same")
    return SimpleNamespace(
        config=config,
        data=data,
        dataset=dataset,
        windows=lambda _: SimpleNamespace(episodes=range(len(ids))),
    )


def test_run_is_a_string_or_a_list():
    assert run_names("runs/a") == ["runs/a"]
    assert run_names(["runs/a", "runs/b"]) == ["runs/a", "runs/b"]
    command = load_command("eval")
    for word, value in (("run=runs/a", "runs/a"), ("run=[runs/a,runs/b]", ["runs/a", "runs/b"])):
        assert to_config(command, compose_config(command, [word])).run == value


@pytest.mark.parametrize("run", ["", [], [""], None])
def test_no_run_is_a_wrong_command_line(run):
    with pytest.raises(UsageError, match="eval needs a value for run"):
        run_names(run)


@pytest.mark.parametrize(
    ("run", "message"),
    [(["runs/a", "runs/a/"], "names a run twice"), ([["a"], "b"], "or a list of them")],
)
def test_lists_that_make_no_sense(run, message):
    with pytest.raises(ValueError, match=message):
        run_names(run)


def test_runs_without_a_shared_test_episode_are_refused():
    runs = {"a": opened("a", "xyz"), "b": opened("b", "vw")}
    with pytest.raises(ValueError, match=r"a and b share no test episode \(3 of a/dataset, 2 of"):
        check_shared(runs)


def test_partly_shared_episodes_and_other_frames_are_noted():
    runs = {"a": opened("a", "wxyz"), "b": opened("b", "yz"), "c": opened("c", "wxyz")}
    runs["c"].data.image_height = 128

    partly, frames = check_shared(runs)

    assert partly.startswith("b shares 2 test episodes with a, which has 4; it has 2.")
    assert frames == "c sees other frames than a (image_height: 64 -> 128)."


def test_seeds_of_one_setting_are_found_in_the_configuration():
    runs = {
        "runs/x-seed0": opened("runs/x-seed0", "ab", seed=0),
        "runs/again": opened("runs/again", "ab", seed=1),
        "runs/other": opened("runs/other", "ab", seed=1, log_every=7),
    }
    assert _settings(runs) == {"runs/x-seed0": "x", "runs/again": "x", "runs/other": "other"}


def test_a_copied_dataset_is_the_same_but_another_one_is_not():
    runs = {name: opened(name, "ab") for name in ("a", "b")}
    assert _settings(runs) == {"a": "a", "b": "a"}
    runs["b"].dataset.fingerprint = "another"
    assert _settings(runs) == {"a": "a", "b": "b"}


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
    assert "cannot be recomputed from the rows" in used["reason"]
    assert (tmp_path / "tokenizer" / "paired.png").exists()
    for run in runs:
        shutil.rmtree(run / "eval")


def test_one_run_writes_no_comparison(runs, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run_cli("eval", f"run={runs[0]}", "suite=tokenizer", "fast=true")
    assert outcome.status == cli.OK, outcome.err
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(runs[0] / "eval")
