"""The three parts of Genie together."""

from torch import nn

from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.tokenizer import VideoTokenizer


class Genie(nn.Module):
    """Tokenizer, latent action model and dynamics (paper section 2)."""

    def __init__(
        self,
        *,
        tokenizer: VideoTokenizer,
        latent_action: LatentActionModel,
        dynamics: DynamicsModel,
        num_frames: int,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.latent_action = latent_action
        self.dynamics = dynamics
        self.num_frames = num_frames
        """Frames that the dynamics sees at once, the current one included."""
