"""Everything that the recording of one rollout may show; missing parts are left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from genie_robo.sim.replay import Replay

IMAGINED, COPY_LAST, TOKENIZER, TRUE_FRAMES = "imagined", "copy_last", "tokenizer", "true_frames"
"""Names of curves: the model, a copy of the last prompt frame, and two upper bounds."""

Curves = Mapping[str, Float[np.ndarray, " t"]]
"""By name; values that are not finite are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMaps:
    """Tokens of every frame, row by row."""

    grid: tuple[int, int]
    """Rows and columns of tokens."""
    tokens: Int[np.ndarray, "t s"]
    entropy: Float[np.ndarray, "t s"]
    """Nats, when the token was revealed; 0 in the prompt."""
    true_tokens: Int[np.ndarray, "t s"] | None = None
    """The tokens of the true frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPath:
    """Where the end effector is in imagined frames, read from their pixels."""

    positions: Float[np.ndarray, "t 3"]
    """Metres."""
    error_mm: Curves = field(default_factory=dict)
    """Distance to the true position; empty without a ground truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """One rollout with its ground truth and baselines."""

    episode_id: str
    control_hz: float
    """Steps per second, 0 when unknown."""
    imagined_video: UInt8[np.ndarray, "t h w c"]
    latent_actions: Int[np.ndarray, " t-1"] | None
    """None for worlds without latent actions."""
    num_codes: int
    num_prompt_frames: int
    summary: str
    """Markdown."""
    code_names: tuple[str, ...] = ()
    """Of every code; empty names them by their numbers."""
    code_chances: Float[np.ndarray, "t-1 k"] | None = None
    """Probability of each code; None where the actions were given and not inferred."""
    tokens: TokenMaps | None = None
    uncertainty: Float[np.ndarray, " t"] | None = None
    """Mean token entropy of each frame (nats)."""
    trust: Float[np.ndarray, " t"] | None = None
    """In each frame, from 1 to 0; NaN where it is not known."""
    decoded_actions: Float[np.ndarray, "t-1 a"] | None = None
    """Mean robot actions of the latent actions; None without an action map."""
    imagined_actions: Float[np.ndarray, "t-1 a"] | None = None
    """What a policy did in imagination; None where the true actions were imagined."""
    read_path: ReadPath | None = None
    true_video: UInt8[np.ndarray, "t h w c"] | None = None
    robot_actions: Float[np.ndarray, "t-1 a"] | None = None
    """The true ones; NaN where unknown."""
    action_mask: Bool[np.ndarray, " a"] | None = None
    """Dimensions of a robot action that the dataset has; None for all."""
    joint_names: tuple[str, ...] = ()
    """Of the joints in a robot action; empty where they have none."""
    replay: Replay | None = None
    """None for episodes that no simulator can replay."""
    psnr: Curves = field(default_factory=dict)
    """Decibels: imagined, copy_last, tokenizer."""

    def __post_init__(self) -> None:
        """Refuse parts of different lengths and codes out of range."""
        for problem in self._problems():
            raise ValueError(f"rollout of episode {self.episode_id}: {problem}")

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each code."""
        return self.code_names or tuple(map(str, range(self.num_codes)))

    def _problems(self) -> Iterator[str]:
        num_frames = len(self.imagined_video)
        for parts, wanted in (
            (self._per_frame(), num_frames),
            (self._per_action(), num_frames - 1),
        ):
            for name, part in parts.items():
                if part is not None and len(part) != wanted:
                    yield (
                        f"{name} has {len(part)} steps, but {num_frames} imagined frames need "
                        f"{wanted}"
                    )
        if not 1 <= self.num_prompt_frames < num_frames:
            yield (
                f"num_prompt_frames={self.num_prompt_frames} must be at least 1 and below "
                f"{num_frames} frames"
            )
        if self.latent_actions is not None:
            low, high = self.latent_actions.min(), self.latent_actions.max()
            if low < 0 or high >= self.num_codes:
                yield f"latent actions span {low}..{high}, outside the {self.num_codes} codes"
        if len(self.names) != self.num_codes:
            yield f"code_names has {len(self.names)} names for {self.num_codes} codes"

    def _per_frame(self) -> dict[str, np.ndarray | None]:
        return {
            "true_video": self.true_video,
            "replay": None if self.replay is None else self.replay.positions,
            "uncertainty": self.uncertainty,
            "trust": self.trust,
            "tokens": None if self.tokens is None else self.tokens.tokens,
            "read_path": None if self.read_path is None else self.read_path.positions,
            **{f"psnr[{name!r}]": values for name, values in self.psnr.items()},
        }

    def _per_action(self) -> dict[str, np.ndarray | None]:
        return {
            "robot_actions": self.robot_actions,
            "decoded_actions": self.decoded_actions,
            "imagined_actions": self.imagined_actions,
            "latent_actions": self.latent_actions,
            "code_chances": self.code_chances,
        }
