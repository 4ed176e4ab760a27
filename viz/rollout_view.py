"""Everything that the recording of one rollout may show; missing parts are left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.sim.replay import Replay

IMAGINED, COPY_LAST, TOKENIZER, TRUE_FRAMES = "imagined", "copy_last", "tokenizer", "true_frames"

Curves = Mapping[str, Float[np.ndarray, " t"]]
"""By name: imagined, copy_last, and the best that can be reached. What is not finite stays out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMaps:
    """Tokens of every frame, row by row."""

    grid: tuple[int, int]
    """Rows and columns of tokens."""
    tokens: Int[np.ndarray, "t s"]
    entropy: Float[np.ndarray, "t s"]
    """Nats when a token was revealed, 0 in the prompt."""
    true_tokens: Int[np.ndarray, "t s"] | None = None
    """The tokenizer's view of the true frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPath:
    """Where the end effector is in imagined frames, as something reads it from their pixels."""

    positions: Float[np.ndarray, "t 3"]
    """Metres."""
    error_mm: Curves = field(default_factory=dict)
    """Distance from where it really is; empty without a truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """One rollout, and what it is to be compared with."""

    episode_id: str
    control_hz: float
    """Steps per second, 0 when unknown."""
    imagined_video: UInt8[np.ndarray, "t h w c"]
    latent_actions: Int[np.ndarray, " t-1"]
    num_codes: int
    num_prompt_frames: int
    summary: str
    """Markdown."""
    code_names: tuple[str, ...] = ()
    """Of every code; empty calls them by their numbers."""
    code_chances: Float[np.ndarray, "t-1 k"] | None = None
    """How likely each code was; None where the actions were given and not inferred."""
    tokens: TokenMaps | None = None
    uncertainty: Float[np.ndarray, " t"] | None = None
    """Mean token entropy of each frame (nats)."""
    decoded_actions: Float[np.ndarray, "t-1 7"] | None = None
    """The robot actions that the latent actions stand for; None without an action map."""
    read_path: ReadPath | None = None
    true_video: UInt8[np.ndarray, "t h w c"] | None = None
    robot_actions: Float[np.ndarray, "t-1 7"] | None = None
    """The true ones; NaN where none is known."""
    replay: Replay | None = None
    """None for episodes that no simulator can replay."""
    psnr: Curves = field(default_factory=dict)
    """Decibels: imagined, copy_last, tokenizer."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        num_frames = len(self.imagined_video)
        for name, (found, wanted) in self._lengths().items():
            if found != wanted:
                raise ValueError(
                    f"rollout of episode {self.episode_id}: {name} has {found} steps, but "
                    f"{num_frames} imagined frames want {wanted}"
                )
        if not 1 <= self.num_prompt_frames < num_frames:
            raise ValueError(
                f"rollout of episode {self.episode_id}: num_prompt_frames="
                f"{self.num_prompt_frames} must be at least 1 and below {num_frames} frames"
            )
        if self.latent_actions.min() < 0 or self.latent_actions.max() >= self.num_codes:
            raise ValueError(
                f"rollout of episode {self.episode_id}: latent actions span "
                f"{self.latent_actions.min()}..{self.latent_actions.max()}, outside the "
                f"{self.num_codes} codes"
            )
        if len(self.names) != self.num_codes:
            raise ValueError(
                f"rollout of episode {self.episode_id}: code_names has {len(self.names)} names "
                f"for {self.num_codes} codes"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What to call each code."""
        return self.code_names or tuple(map(str, range(self.num_codes)))

    def _lengths(self) -> dict[str, tuple[int, int]]:
        """Found and wanted number of steps of every part that there is."""
        num_frames = len(self.imagined_video)
        per_frame = {
            "true_video": self.true_video,
            "replay": None if self.replay is None else self.replay.positions,
            "uncertainty": self.uncertainty,
            "tokens": None if self.tokens is None else self.tokens.tokens,
            "read_path": None if self.read_path is None else self.read_path.positions,
            **{f"psnr[{name!r}]": values for name, values in self.psnr.items()},
        }
        per_action = {
            "robot_actions": self.robot_actions,
            "decoded_actions": self.decoded_actions,
            "latent_actions": self.latent_actions,
            "code_chances": self.code_chances,
        }
        return {
            name: (len(part), wanted)
            for parts, wanted in ((per_frame, num_frames), (per_action, num_frames - 1))
            for name, part in parts.items()
            if part is not None
        }
