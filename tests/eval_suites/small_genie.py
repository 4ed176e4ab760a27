"""An untrained Genie for frames of 32 x 32, as small as one can be."""

import torch

from genie_robo import config as cfg
from genie_robo.build import build_genie

CPU = torch.device("cpu")


def build_small_genie():
    small = cfg.TransformerConfig(num_blocks=1, dim=16, num_heads=2, head_dim=8)
    model = cfg.ModelConfig(
        tokenizer=cfg.TokenizerConfig(
            patch_size=16, encoder=small, decoder=small, quantizer=cfg.QuantizerConfig(num_codes=32)
        ),
        latent_action=cfg.LatentActionConfig(encoder=small, decoder=small),
        dynamics=cfg.DynamicsConfig(transformer=small),
    )
    data = cfg.DataConfig(path="unused", image_height=32, image_width=32)
    stage = cfg.StageConfig(num_frames=4)
    torch.manual_seed(0)
    config = cfg.TrainConfig(run="unused", data=data, model=model, world_model=stage)
    return build_genie(config).eval()
