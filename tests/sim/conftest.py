import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sim_episodes import SPEC, read_raw, to_episode

from genie_robo.build import build_genie
from genie_robo.models.genie import Genie
from genie_robo.sim.record import record_dataset
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode
from tests.models.conftest import toy_config


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    """The version folder of a small recording."""
    return record_dataset(replace(SPEC, path=str(tmp_path_factory.mktemp("recording"))))


@pytest.fixture(scope="session")
def raw_episodes(recording) -> list[dict[str, Any]]:
    return read_raw(recording)


@pytest.fixture(scope="session")
def episodes(raw_episodes) -> list[Episode]:
    return [to_episode(raw, str(i)) for i, raw in enumerate(raw_episodes)]


@pytest.fixture
def env():
    tabletop = Tabletop()
    tabletop.reset(seed=0)
    yield tabletop
    tabletop.close()


@pytest.fixture(scope="session")
def genie() -> Genie:
    """Untrained; frames of 16 x 32 pixels, five codes."""
    torch.manual_seed(0)
    return build_genie(toy_config())


@pytest.fixture
def prompt(genie) -> np.ndarray:
    size = (*genie.tokenizer.image_size, 3)
    return np.random.default_rng(0).integers(256, size=size, dtype=np.uint8)


@pytest.fixture
def count_tensors() -> Callable[[], int]:
    """How many numbers are alive in tensors."""

    def count() -> int:
        gc.collect()
        return sum(item.numel() for item in gc.get_objects() if type(item) is torch.Tensor)

    return count
