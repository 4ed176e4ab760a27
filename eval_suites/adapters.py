"""Latent action model and tokenizer of a Genie, as implementations of the protocols in base.py."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from genie_robo.data.windows import overlapping_chunks
from genie_robo.eval_suites.base import Reconstruction, Transitions
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.frame_decoder import FrameDecoder
from genie_robo.models.genie import Genie
from genie_robo.models.skip import keep_tokens
from genie_robo.types import Window, video_to_bytes, video_to_float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenieEncoder:
    """The latent action model of a Genie."""

    genie: Genie
    device: torch.device

    @property
    def num_codes(self) -> int:
        """Size of the latent action codebook."""
        return self.genie.latent_action.num_codes

    @property
    def latents_steer(self) -> bool:
        """Whether the dynamics was trained on these latents."""
        return self.genie.takes_latents

    def encode(self, window: Window) -> Transitions:
        """Latent actions of a window of any length, each transition encoded exactly once."""
        return self.encode_video(window.video)

    @torch.no_grad()
    def encode_video(self, video: UInt8[np.ndarray, "t h w c"]) -> Transitions:
        """Latent actions of the transitions of a video, each encoded exactly once."""
        num_transitions = len(video) - 1
        chunks = overlapping_chunks(video, num_frames=self.genie.num_frames)
        pixels = video_to_float(torch.from_numpy(chunks).to(self.device))
        encoded = self.genie.eval().infer_actions(pixels)
        return Transitions(
            encoded.indices.flatten(0, 1)[:num_transitions].cpu().numpy(),
            encoded.continuous.flatten(0, 1)[:num_transitions].cpu().double().numpy(),
        )

    @torch.no_grad()
    def encode_sequence(self, window: Window, start: int) -> Int[np.ndarray, " n"]:
        """Latent actions from frame `start` on, by error feedback where codes are additive."""
        encoded = self.encode(window)
        latent_action = self.genie.latent_action
        if not latent_action.quantizer.is_additive:
            return encoded.codes[start:]
        codes = latent_action.codes(torch.arange(self.num_codes, device=self.device))
        feedback = ErrorFeedback.to_nearest(codes.double().cpu().numpy())
        return feedback.encode_sequence(encoded.latents[start:])


@dataclass(frozen=True, slots=True, kw_only=True)
class GenieTokenizer:
    """The video tokenizer of a Genie."""

    genie: Genie
    device: torch.device

    @property
    def num_codes(self) -> int:
        """Size of the token codebook."""
        return self.genie.tokenizer.num_codes

    @torch.no_grad()
    def reconstruct(self, video: UInt8[np.ndarray, "t h w c"]) -> Reconstruction:
        """Encode a video in stretches of the model's window, and decode it.

        A tokenizer that skips what stays does so from one stretch to the next, and is given the
        first frame, as it is in a rollout.
        """
        tokenizer = self.genie.eval().tokenizer
        stretches = _stretches(video, length=self.genie.num_frames)
        pixels = video_to_float(torch.from_numpy(stretches).to(self.device))
        tokens = tokenizer.encode(pixels)
        if not tokenizer.skips:
            decoded = tokenizer.decode(tokens).flatten(0, 1)[: len(video)]
            return _reconstruction(tokens.flatten(0, 1)[: len(video)], decoded)
        pixels, tokens = pixels.flatten(0, 1)[: len(video)], tokens.flatten(0, 1)[: len(video)]
        tokens = keep_tokens(tokens[None], pixels[None], tokenizer.patch_size)[0]
        decoder = FrameDecoder(tokenizer, num_frames=self.genie.num_frames)
        first = decoder.decode(tokens[:1], seen=pixels[:1])
        others = [decoder.decode(frame[None]) for frame in tokens[1:]]
        return _reconstruction(tokens, torch.cat([first, *others]))


def _reconstruction(
    tokens: Int[torch.Tensor, "t s"], frames: Float[torch.Tensor, "t h w c"]
) -> Reconstruction:
    return Reconstruction(tokens.cpu().numpy(), video_to_bytes(frames).cpu().numpy())


def _stretches(
    video: UInt8[np.ndarray, "t h w c"], *, length: int
) -> UInt8[np.ndarray, "b n h w c"]:
    """Consecutive stretches without overlap; the last one repeats the last frame."""
    num_stretches = -(-len(video) // length)
    frames = np.arange(num_stretches * length).reshape(num_stretches, length)
    return video[np.minimum(frames, len(video) - 1)]
