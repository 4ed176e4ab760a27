"""Settings of decoding and of the action map."""

from dataclasses import dataclass
from enum import StrEnum

from genie_robo.settings import Precision, bounded, take_names


class Order(StrEnum):
    """Order in which MaskGIT reveals the tokens of a frame."""

    random = "random"
    confidence = "confidence"


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How MaskGIT decodes one frame.

    The paper samples 25 steps at temperature 2 in random order. One step at 0.25, which draws the
    tokens of a frame independently of each other, imagines the demo's videos as well as two or four
    (docs/LOG.md). A dynamics that was trained with masked earlier frames may need more.
    """

    num_steps: int = 1
    temperature: float = 0.25
    """Divides the logits; 0 always takes the most likely token."""
    order: Order = Order.random
    """Which tokens are revealed first; confidence copies the last frame in static video."""
    top_k: int = 0
    """Sample from the top_k most likely tokens; 0 disables."""
    guidance: float = 1.0
    """Scale of the latent action's effect on the logits; 1 disables, any other value takes twice
    the time."""
    precision: Precision = Precision.auto
    """Arithmetic of decoding; auto is bf16 on a GPU and fp32 on a CPU, where bf16 pays from some
    hundred tokens a frame on."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot decode."""
        take_names(self, "sampler")
        if self.num_steps < 1 or self.temperature < 0:
            raise ValueError(
                f"sampler.num_steps={self.num_steps} must be at least 1 and "
                f"sampler.temperature={self.temperature} at least 0"
            )
        if self.top_k < 0 or self.guidance < 0:
            raise ValueError(
                f"sampler.top_k={self.top_k} must be at least 0 (all tokens) and "
                f"sampler.guidance={self.guidance} at least 0 (1 is off)"
            )

    def describe(self) -> str:
        """The settings on one line."""
        steps = "1 step" if self.num_steps == 1 else f"{self.num_steps} steps"
        return (
            f"{steps}, temperature {self.temperature:g}, {self.order} order, top_k "
            f"{self.top_k}, guidance {self.guidance:g}"
        )


@dataclass(frozen=True, kw_only=True)
class ActionMapConfig:
    """The map between latent and robot actions, fitted when it is first needed."""

    num_labels: int = bounded(200, least=1, most=10**9)
    """Steps of val episodes with known robot actions."""
