"""How clearly a transition belongs to its latent action."""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from genie_robo.models.fsq import FiniteScalarQuantizer
from genie_robo.models.joint_quantizer import JointQuantizer
from genie_robo.models.quantizer import ENTROPY_TEMPERATURE, Quantizer


@torch.no_grad()
def code_chances(
    quantizer: Quantizer, latents: Float[np.ndarray, "n e"]
) -> Float[np.ndarray, "n k"]:
    """Chance of every code for encodings that are not yet quantised; the code taken has the most.

    The soft assignment of the quantiser's entropy term: softmax of the negative squared distance
    over twice ENTROPY_TEMPERATURE, which on the unit sphere is softmax(cosine / temperature).
    """
    device = next(quantizer.buffers()).device
    codes = quantizer.lookup(torch.arange(quantizer.num_codes, device=device)).double()
    encoded = _bounded(quantizer, torch.from_numpy(latents).to(device))
    distances = torch.cdist(encoded, codes, compute_mode="donot_use_mm_for_euclid_dist")
    return (-distances.square() / (2 * ENTROPY_TEMPERATURE)).softmax(-1).cpu().numpy()


def _bounded(quantizer: Quantizer, encoded: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    """Encodings where the codes live: in the cube of a grid, or on the sphere of a codebook."""
    if isinstance(quantizer, JointQuantizer):
        parts = rearrange(encoded, "n (p e) -> (n p) e", p=quantizer.num_parts)
        return rearrange(_bounded(quantizer.part, parts), "(n p) e -> n (p e)", n=len(encoded))
    if isinstance(quantizer, FiniteScalarQuantizer):
        return encoded.tanh()
    return F.normalize(encoded, dim=-1)
