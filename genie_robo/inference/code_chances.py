"""How clearly a transition belongs to its latent action."""

import numpy as np
import torch
from jaxtyping import Float

from genie_robo.models.quantizer import ENTROPY_TEMPERATURE, Quantizer


@torch.no_grad()
def code_chances(
    quantizer: Quantizer, latents: Float[np.ndarray, "n e"]
) -> Float[np.ndarray, "n k"]:
    """Chance of every code for encodings that are not yet quantised; the nearest has the most.

    The soft assignment of the quantiser's entropy term: softmax of the negative squared distance
    over twice ENTROPY_TEMPERATURE, which on the unit sphere is softmax(cosine / temperature).
    """
    device = next(quantizer.buffers()).device
    codes = quantizer.lookup(torch.arange(quantizer.num_codes, device=device)).double()
    encoded = quantizer.bound(torch.from_numpy(latents).to(device)).double()
    distances = torch.cdist(encoded, codes, compute_mode="donot_use_mm_for_euclid_dist")
    return (-distances.square() / (2 * ENTROPY_TEMPERATURE)).softmax(-1).cpu().numpy()
