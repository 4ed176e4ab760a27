"""How fast this machine reads, trains, imagines and records, beside what one writes without us."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from eval_suites.base import EvalContext, SuiteResult
from eval_suites.timing.imagining import ImaginingSpeed
from eval_suites.timing.reading import ReadingSpeed
from eval_suites.timing.recording import RecordingSpeed
from eval_suites.timing.training import TrainingSpeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Reading, training, imagining and recording, each measurement in a fresh process."""

    name: ClassVar[str] = "speed"
    summary: ClassVar[str] = "how fast this machine reads windows, trains, imagines and records"

    parts: Sequence[str] = ("reading", "training", "imagining", "recording")
    """What to measure: some of reading, training, imagining and recording."""
    reading: ReadingSpeed = field(default_factory=ReadingSpeed)
    training: TrainingSpeed = field(default_factory=TrainingSpeed)
    imagining: ImaginingSpeed = field(default_factory=ImaginingSpeed)
    recording: RecordingSpeed = field(default_factory=RecordingSpeed)

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Measure the parts asked for, one after another.

        Raises:
            ValueError: An unknown part, none at all, or a number below one.
        """
        known: Mapping[str, _Part] = {
            "reading": self.reading,
            "training": self.training,
            "imagining": self.imagining,
            "recording": self.recording,
        }
        if not self.parts or set(self.parts) - set(known):
            raise ValueError(
                f"suite.speed.parts must name some of {', '.join(known)}; got {list(self.parts)}"
            )
        results = [known[part].evaluate(context) for part in dict.fromkeys(self.parts)]
        return SuiteResult(
            metrics={name: metric for found in results for name, metric in found.metrics.items()},
            headline=tuple(name for found in results for name in found.headline),
            per_episode=[row for found in results for row in found.per_episode],
            figures={name: drawn for found in results for name, drawn in found.figures.items()},
            notes=tuple(note for found in results for note in found.notes),
        )


class _Part(Protocol):
    def evaluate(self, context: EvalContext) -> SuiteResult: ...
