import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from genie_robo.build import build_datasets
from genie_robo.config import (
    DataConfig,
    DynamicsConfig,
    EngineConfig,
    LatentActionConfig,
    ModelConfig,
    OptimConfig,
    Precision,
    QuantizerConfig,
    RecordConfig,
    Source,
    StageConfig,
    TokenizerConfig,
    TrainConfig,
    TransformerConfig,
)
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset
from genie_robo.train.assemble import build_loop, build_stage
from genie_robo.train.engine import make_fabric
from genie_robo.train.metrics import read_log
from genie_robo.train.run import train
from genie_robo.train.settings import Stage
from genie_robo.train.step import TrainStep
from genie_robo.types import EpisodeBatch


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory) -> Path:
    path = str(tmp_path_factory.mktemp("small") / "dataset")
    settings = {"num_episodes": 6, "num_steps": 10, "image_size": 32, "num_workers": 1, "seed": 3}
    return record_dataset(RecordConfig(path=path, **settings))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, small_dataset) -> TrainConfig:
    """A finished run of `config`; tests that change its folder copy it first."""
    config = tiny_config(tmp_path_factory.mktemp("trained") / "run", small_dataset)
    train(config)
    return config


@pytest.fixture
def config(tmp_path, small_dataset) -> TrainConfig:
    return tiny_config(tmp_path / "run", small_dataset)


@pytest.fixture
def copy_of_trained(trained, tmp_path) -> Callable[..., TrainConfig]:
    """A copy of the finished run, or of its tokenizer alone."""

    def copy(*, tokenizer_only: bool = False) -> TrainConfig:
        folder = tmp_path / "copy"
        shutil.copytree(trained.run, folder)
        if tokenizer_only:
            shutil.rmtree(folder / "world_model")
        return replace(trained, run=str(folder))

    return copy


@pytest.fixture
def training_step(
    copy_of_trained,
) -> Iterator[Callable[[str], tuple[TrainStep, Iterator[EpisodeBatch]]]]:
    """The training step of a stage, in a copy of the finished run, and its batches."""
    opened = []

    def build(name: str) -> tuple[TrainStep, Iterator[EpisodeBatch]]:
        config = replace(copy_of_trained(), stage=Stage(name))
        run, fabric = RunFolder.at(config.run), make_fabric(config.engine)
        datasets = build_datasets(config.data)
        stage = build_stage(config.stage, run, config, datasets, fabric)
        loop = build_loop(stage, run, config, datasets, fabric)
        opened.append(iter(loop.loader))
        return loop.train_step, opened[-1]

    yield build
    for batches in opened:
        batches.close()


@pytest.fixture(scope="session")
def weights() -> Callable[[str | Path], dict[str, Tensor]]:
    """All finished weights of a run."""
    return lambda run: {
        f"{path.stem}/{name}": tensor
        for path in sorted(Path(run).glob("*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }


@pytest.fixture(scope="session")
def logged() -> Callable[..., list[float]]:
    """What a stage logged under a name, where it did."""
    return lambda run, stage, name="loss": [
        line[name] for line in read_log(RunFolder.at(run).log(stage)) if name in line
    ]


def tiny_config(run: Path, dataset: Path) -> TrainConfig:
    stack = TransformerConfig(num_blocks=1, dim=16, num_heads=2, head_dim=8)
    codes = QuantizerConfig(num_codes=16, code_dim=4, warmup_steps=2, reset_after=3)
    stage = StageConfig(
        num_steps=8,
        batch_size=2,
        num_frames=4,
        validation_windows=2,
        optim=OptimConfig(warmup_steps=2),
    )
    return TrainConfig(
        run=str(run),
        data=DataConfig(
            path=str(dataset),
            source=Source(camera="observation/image"),
            image_height=32,
            image_width=32,
        ),
        model=ModelConfig(
            tokenizer=TokenizerConfig(encoder=stack, decoder=stack, quantizer=codes),
            latent_action=LatentActionConfig(
                downscale=2,
                encoder=stack,
                decoder=stack,
                quantizer=QuantizerConfig(num_codes=4, code_dim=4, warmup_steps=3),
            ),
            dynamics=DynamicsConfig(transformer=stack),
        ),
        tokenizer=stage,
        world_model=stage,
        engine=EngineConfig(precision=Precision.fp32, num_threads=1),
        log_every=1,
    )
