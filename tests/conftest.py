"""The command line as a process of its own, the way a user starts it."""

import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# A machine that does other work meanwhile must not fail a test.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
MENAGERIE_FOLDER = ROOT.parent / "shared" / "menagerie"


@pytest.fixture(scope="session", autouse=True)
def cache_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is written into the real user's cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("GENIE_ROBO_CACHE", None)


@pytest.fixture
def menagerie(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the Menagerie's robots, which `record robot=` finds."""
    if not MENAGERIE_FOLDER.is_dir():
        pytest.skip(f"no robot models in {MENAGERIE_FOLDER}")
    monkeypatch.setenv("MENAGERIE_ROOT", str(MENAGERIE_FOLDER))
    return MENAGERIE_FOLDER


@pytest.fixture(scope="session")
def genie_robo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `genie-robo WORDS` and return its status and both of its outputs."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "genie_robo", *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture
def small_files_only() -> Callable[[int], AbstractContextManager[None]]:
    """A block in which no file can grow beyond some bytes, as on a disk that is almost full."""

    @contextmanager
    def limit(num_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def toy_rlds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Six episodes of 3 to 8 steps with images of 16 x 16, opened."""
    # Not at the top: what is imported before the tests are collected has no shape checks.
    from tensorflow_datasets import features as F

    from genie_robo.config import Source
    from genie_robo.data.rlds import RldsDataset
    from genie_robo.data.rlds_writer import ShardWriter

    folder = tmp_path_factory.mktemp("toy")
    step = {
        "observation": {"image": F.Image(shape=(16, 16, 3), encoding_format="png")},
        "action": F.Tensor(shape=(7,), dtype=np.float32),
        "language_instruction": F.Text(),
    }
    features = F.FeaturesDict({"steps": F.Dataset(step)})
    rng = np.random.default_rng(0)
    with closing(
        ShardWriter(folder, name="toy", version="1.0.0", features=features, description="")
    ) as writer:
        for length in range(3, 9):
            frames = rng.integers(0, 256, (length, 16, 16, 3), np.uint8)
            writer.write({"steps": [_step(frame) for frame in frames]})
        writer.finish()
    return RldsDataset(folder, Source(camera="observation/image"))


def _step(frame: np.ndarray) -> dict[str, object]:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    file.seek(0)
    return {
        "observation": {"image": file},
        "action": np.zeros(7, np.float32),
        "language_instruction": "",
    }
