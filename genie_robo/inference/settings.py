"""How rollouts are decoded, and how latent actions are mapped to robot actions."""

from dataclasses import dataclass
from enum import Enum


class Order(Enum):
    """In which order MaskGIT reveals the tokens of a frame."""

    random = "random"
    confidence = "confidence"


@dataclass
class SamplerConfig:
    """How MaskGIT decodes one frame."""

    num_steps: int = 4
    temperature: float = 0.25
    order: Order = Order.random
    """Which tokens come first; confidence copies the last frame in static video."""
    top_k: int = 0
    """Draw among so many most likely tokens only; 0 draws among all."""
    guidance: float = 1.0
    """Exaggerate what the latent action changes; 1 is off, anything else takes twice the time."""


@dataclass
class ActionMapConfig:
    """The map between latent and robot actions, fitted when it is first needed."""

    num_labels: int = 200
    """Steps of val episodes whose robot action is looked at."""
