"""Compiled blocks compute what uncompiled ones do."""

import pytest

from genie_robo.run_folder import RunFolder
from genie_robo.train.metrics import read_log

STACK = "{num_blocks: 1, dim: 32, num_heads: 2, head_dim: 16}"
SMALL = [
    "data.image_height=32",
    "data.image_width=32",
    "engine=exact",
    "log_every=1",
    *(f"model.{part}={STACK}" for part in ("tokenizer.encoder", "tokenizer.decoder")),
    *(f"model.latent_action.{part}={STACK}" for part in ("encoder", "decoder")),
    f"model.dynamics.transformer={STACK}",
    "model.latent_action.downscale=2",
    *("tokenizer.num_steps=3", "tokenizer.batch_size=2", "world_model.num_steps=3"),
    *("world_model.batch_size=2", "world_model.num_frames=5"),
]


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses(tmp_path, genie_robo):
    dataset = tmp_path / "dataset"
    record = ["num_episodes=6", "num_steps=12", "image_size=32", "num_workers=1"]
    assert genie_robo("record", f"path={dataset}", *record).returncode == 0
    losses = {}
    for name, words in {"plain": [], "compiled": ["engine.compile=true"]}.items():
        run = tmp_path / name
        done = genie_robo("train", f"run={run}", f"data.path={dataset}", *SMALL, *words)
        assert done.returncode == 0, done.stderr
        steps = [read_log(RunFolder.at(run).log(stage)) for stage in ("tokenizer", "world_model")]
        # Not the dynamics' loss: a token that turns by rounding is another target.
        losses[name] = [line["loss"] for line in steps[0]]
        losses[name] += [line["lam_unexplained_change"] for line in steps[1]]
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-4)
    assert losses["compiled"] != losses["plain"]  # other code, other rounding
