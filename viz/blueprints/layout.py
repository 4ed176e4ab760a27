"""What the layouts of rollouts depend on."""

from dataclasses import dataclass

from viz.scene import Eye


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLayout:
    """One rollout."""

    root: str
    episode_id: str
    control_hz: float
    eye: Eye | None
    """None without a 3D scene."""
    parts: frozenset[str]
    """Entities that were logged, among those that may be missing."""

    @property
    def shape(self) -> str:
        """The same for rollouts that look alike."""
        return " ".join([self.root, *sorted(self.parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLayout:
    """Several models on one episode, whose truth lies below its root."""

    root: str
    models: tuple[RolloutLayout, ...]

    @property
    def control_hz(self) -> float:
        """Steps per second, 0 when unknown."""
        return self.models[0].control_hz

    @property
    def parts(self) -> frozenset[str]:
        """What any of the models has."""
        return frozenset().union(*(model.parts for model in self.models))

    @property
    def shape(self) -> str:
        """The same for comparisons that look alike."""
        return " ".join([self.root, *(model.shape for model in self.models)])
