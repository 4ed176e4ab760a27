"""An imagined rollout, what it came from, and what happened instead."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.imagine.prompts import Prompt
from genie_robo.imagine.readers import RolloutReaders
from genie_robo.imagine.steering import Steering
from genie_robo.sim.replay import Replay
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Rollout

Video = UInt8[np.ndarray, "t h w c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutParts:
    """Everything that is known of one rollout."""

    trained: TrainedRun
    prompt: Prompt
    steering: Steering
    rollout: Rollout
    happened: Replay | None
    """None for real data, and where nobody can execute the actions."""
    readers: RolloutReaders

    @property
    def true_video(self) -> Video | None:
        """MuJoCo's frames, else the dataset's while the same actions led to them."""
        if self.happened is not None:
            return self.happened.video
        followed = self.prompt.followed
        return followed.window.video if followed and self.steering.is_true else None

    @property
    def robot_actions(self) -> Float[np.ndarray, "n 7"] | None:
        """The true ones inside the prompt, then those that steered; None where none are known."""
        followed, steered = self.prompt.followed, self.steering.robot_actions
        if followed is None or steered is None:
            return None
        true = followed.window.robot_actions[: len(self.prompt.frames) - 1]
        return np.concatenate([true, steered])

    @property
    def imagined_video(self) -> Video:
        """The prompt as the tokenizer sees it, and the imagined frames."""
        return self.rollout.video[0].cpu().numpy()
