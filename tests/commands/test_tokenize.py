"""`genie-robo tokenize` under torchrun."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genie_robo import cli
from genie_robo.run_folder import RunFolder

sys.path.append(str(Path(__file__).parents[1] / "data"))
from rlds_files import table_episode, write_rlds

STACK = "{num_blocks: 1, dim: 16, num_heads: 2, head_dim: 8}"


@pytest.fixture
def run(tmp_path, run_cli) -> RunFolder:
    """A tokenizer of one step, for 144 windows: two whole chunks and a quarter of one."""
    episodes = [table_episode(20, tag=10 * i, size=(16, 16)) for i in range(12)]
    outcome = run_cli(
        "train",
        "stage=tokenizer",
        f"run={tmp_path / 'run'}",
        "data=rlds",
        f"data.path={write_rlds(tmp_path, {'train': [episodes]})}",
        "data.source.camera=observation/image",
        *("data.image_height=16", "data.image_width=16"),
        *(f"model.tokenizer.{part}={STACK}" for part in ("encoder", "decoder")),
        *("tokenizer.num_steps=1", "tokenizer.batch_size=2", "tokenizer.num_frames=3"),
        "world_model.num_frames=3",
        "engine=exact",
    )
    assert outcome.status == cli.OK, outcome.err
    return RunFolder(tmp_path / "run")


@pytest.mark.slow
def test_two_processes_make_the_store_of_one_and_only_the_first_draws_its_share(run, run_cli):
    alone = shutil.copytree(run.path, run.path.with_name("alone"))
    assert run_cli("tokenize", f"run={alone}").status == cli.OK

    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    together = subprocess.run(
        [sys.executable, *launch, "-m", "genie_robo", "tokenize", f"run={run.path}"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )

    assert together.returncode == 0, together.stderr
    stores = [RunFolder(alone).tokens, run.tokens]
    one, two = ({f.name: f.read_bytes() for f in store.iterdir()} for store in stores)
    assert one == two
    assert len(np.unique(np.load(run.tokens / "tokens.npy"))) > 1
    bars = [line for line in together.stderr.splitlines() if line.startswith("tokenize")]
    assert len(bars) == 1
    assert " 80/80 " in bars[0]  # the first and the third chunk
