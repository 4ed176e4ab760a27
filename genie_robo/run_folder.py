"""The names of everything inside a run folder, in one place."""

import os
from dataclasses import dataclass
from pathlib import Path

from genie_robo.atomic import replacing

BRANCHES = "_branches"
"""Suffix of rollouts that tried every code from one prompt."""
COMPARISON = Path("runs/comparison")
"""Default output folder of comparisons between runs."""
STAGE_OF_PART = {
    "tokenizer": "tokenizer",
    "latent_action": "world_model",
    "dynamics": "world_model",
    "robot_dynamics": "robot_control",
}
"""Which training stage makes the weights of a part."""
PARTS_OF_GENIE = ("tokenizer", "latent_action", "dynamics")
"""Without what stage robot_control makes."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`runs/NAME`: configuration, weights, numbers and images of one run."""

    path: Path

    @classmethod
    def at(cls, path: str | Path) -> "RunFolder":
        """The run folder at a path, whether it exists yet or not."""
        return cls(Path(path))

    @property
    def config(self) -> Path:
        """The composed training configuration."""
        return self.path / "config.yaml"

    @property
    def lock(self) -> Path:
        """Held by the process that writes into the run."""
        return self.path / ".lock"

    @property
    def provenance(self) -> Path:
        """Versions, commit, dataset fingerprint, episode split, seeds."""
        return self.path / "provenance.json"

    @property
    def dataset(self) -> Path:
        """Where the demo records its simulated RLDS dataset."""
        return self.path / "dataset"

    @property
    def tokens(self) -> Path:
        """The memory-mapped token store."""
        return self.path / "tokens"

    @property
    def rollouts(self) -> Path:
        """Recordings, videos and strips of imagined rollouts."""
        return self.path / "rollouts"

    @property
    def rollout_settings(self) -> Path:
        """What each rollout was made with, by name."""
        return self.path / ".rollouts.json"

    @property
    def action_map(self) -> Path:
        """The map between latent and robot actions, fitted when first needed."""
        return self.path / "action_map"

    @property
    def trust(self) -> Path:
        """What imagined frames usually look like, measured when first needed."""
        return self.path / "trust.json"

    @property
    def report(self) -> Path:
        """The page to read first."""
        return self.path / "report.md"

    @property
    def report_page(self) -> Path:
        """The same as one HTML file that needs no other."""
        return self.path / "report.html"

    def checkpoints(self, stage: str) -> Path:
        """Checkpoints of a training stage, `tokenizer` or `world_model`."""
        return self.path / stage / "checkpoints"

    def log(self, stage: str) -> Path:
        """The JSON lines that a training stage logs."""
        return self.path / stage / "log.jsonl"

    def weights(self, stage: str, part: str) -> Path:
        """Finished weights of one part of Genie, made by a training stage."""
        return self.path / stage / f"{part}.safetensors"

    def part(self, part: str) -> Path:
        """Finished weights of one part of Genie, `tokenizer` or another of STAGE_OF_PART."""
        return self.weights(STAGE_OF_PART[part], part)

    def suite(self, name: str) -> Path:
        """Results of one evaluation suite."""
        return self.path / "eval" / name


def has_weights(run: RunFolder, part: str) -> bool:
    """Whether training of this part of Genie has finished in this run."""
    return run.part(part).exists()


def require_weights(run: RunFolder, part: str) -> Path:
    """The file with the finished weights of a part.

    Raises:
        FileNotFoundError: The stage that makes them has not finished in this run.
    """
    path = run.part(part)
    if not path.exists():
        stage = STAGE_OF_PART[part]
        raise FileNotFoundError(
            f"{run.path} has no trained {part}: {path} is missing. Run stage={stage} of its "
            "training to the end first, with the command line that began it"
        )
    return path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new, never a part of it."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, num_bytes=len(data)) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
