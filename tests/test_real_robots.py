"""The same commands on real robot episodes: train a little, probe, see honest output."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SETS = {
    "bridge_dataset": DATA / "octo_bridge_debug" / "bridge_dataset" / "1.0.0",
    "droid_ee_delta": DATA / "derived_rlds" / "droid_new_setup_ee_delta" / "1.0.0",
}
TINY = ("num_blocks: 1", "dim: 32", "num_heads: 2", "head_dim: 16")
STACK = "{" + ", ".join(TINY) + "}"


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_train_and_probe_on_real_episodes(name, tmp_path, genie_robo):
    if not SETS[name].is_dir():
        pytest.skip(f"no real robot episodes in {SETS[name]}")
    run = tmp_path / "run"
    trained = genie_robo(
        "train",
        f"run={run}",
        f"data={name}",
        f"data.path={SETS[name]}",
        *(f"model.tokenizer.{part}={STACK}" for part in ("encoder", "decoder")),
        *(f"model.latent_action.{part}={STACK}" for part in ("encoder", "decoder")),
        f"model.dynamics.transformer={STACK}",
        *(f"{stage}.{key}" for stage in ("tokenizer", "world_model")
          for key in ("num_steps=12", "batch_size=2", "num_frames=6")),
        *(f"model.{part}.quantizer.warmup_steps=6" for part in ("tokenizer", "latent_action")),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr

    probed = genie_robo("eval", f"run={run}", "suite=latent_probe")

    assert probed.returncode == 0, probed.stderr
    metrics = json.loads((run / "eval" / "latent_probe" / "metrics.json").read_text())
    r2 = metrics["metrics"]["achieved/xyz/r2"]
    assert r2["value"] is not None
    assert r2["value"] < r2["ceiling"] <= 1
    provenance = json.loads((run / "provenance.json").read_text())
    split = provenance["episodes"]
    assert not set(split["train"]) & set(split["test"])
    assert not set(split["val"]) & set(split["test"])
