import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from genie_robo import cli
from genie_robo import config as cfg
from genie_robo.sim.record import record_dataset
from genie_robo.train.run import train


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run_cli(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Run a command line in this process, as the installed script would."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    monkeypatch.setattr(logging.root, "level", logging.root.level)

    def run(*words: str) -> Outcome:
        status = cli.main(words)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> list[Path]:
    """Two seeds of one run, trained for a moment."""
    folder = tmp_path_factory.mktemp("pairs")
    sizes = {"num_episodes": 12, "num_steps": 4, "image_size": 32, "num_workers": 1, "seed": 3}
    dataset = record_dataset(cfg.RecordConfig(path=str(folder / "dataset"), **sizes))
    configs = [tiny(folder / f"tiny-seed{seed}", dataset, seed) for seed in (0, 1)]
    for config in configs:
        train(config)
    return [Path(config.run) for config in configs]


def tiny(run, dataset, seed):
    stack = cfg.TransformerConfig(num_blocks=1, dim=16, num_heads=2, head_dim=8)
    codes = cfg.QuantizerConfig(num_codes=4, code_dim=4)
    stage = cfg.StageConfig(num_steps=1, batch_size=2, num_frames=4, validation_windows=2)
    source = cfg.Source(camera="observation/image")
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
