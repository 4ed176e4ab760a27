"""The three parts of Genie together."""

from jaxtyping import Float
from torch import Tensor, nn

from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.latent_action import LatentActionModel, LatentActions
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
        takes_latents: bool,
        joint_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.latent_action = latent_action
        self.dynamics = dynamics
        self.num_frames = num_frames
        """Length of the dynamics' window, the frame that is decoded included."""
        self.takes_latents = takes_latents
        """Whether the dynamics was trained on latents too, not on their codes alone."""
        self.joint_names = joint_names
        """Of the joints in a robot action; empty where they have none."""

    @property
    def takes_codes(self) -> bool:
        """Whether latent actions steer the dynamics, not robot actions alone."""
        return self.dynamics.latent_dim > 0

    @property
    def takes_robot_actions(self) -> bool:
        """Whether robot actions steer the dynamics without a map to latent actions."""
        return self.dynamics.robot is not None

    def infer_actions(self, video: Float[Tensor, "b t h w c"]) -> LatentActions:
        """The latent action of every transition."""
        tokens = self.tokenizer.encode(video) if self.latent_action.reads_tokens else None
        return self.latent_action.encode(video, tokens)
