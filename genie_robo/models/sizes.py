"""Sizes that fit each other: patches and the image, heads and attention. Imports no torch."""

import math

from genie_robo.models.settings import (
    Backend,
    LatentActionConfig,
    LatentActionInput,
    ModelConfig,
    PatchLayers,
    QuantizerKind,
)

HEAD_DIM_MULTIPLE = 8
"""The kernels of xformers load 16 bytes at once: 8 numbers in bf16."""
LEVELS = {
    2: (2,),
    4: (2, 2),
    8: (2, 2, 2),
    16: (4, 4),
    64: (8, 8),
    256: (8, 6, 5),
    1024: (8, 5, 5, 5),
    4096: (7, 5, 5, 5, 5),
    16384: (8, 8, 8, 6, 5),
    65536: (8, 8, 8, 5, 5, 5),
}
"""Levels by approximate number of codes: from 256 on those of the paper's table 1."""


def check_sizes(model: ModelConfig, image_size: tuple[int, int]) -> None:
    """Refuse a model that cannot be built for images of height and width `image_size`.

    Raises:
        ValueError: A patch does not divide the image or cannot be halved, or attention cannot be
            computed with a head dimension.
    """
    tokenizer, latent_action = model.tokenizer, model.latent_action
    tokenizer_grid(image_size, tokenizer.patch_size)
    if tokenizer.patch_layers is PatchLayers.convolutional:
        count_halvings(tokenizer.patch_size)
    if latent_action.input is LatentActionInput.pixels:
        latent_action_grid(image_size, latent_action.downscale, latent_action.patch_size)
    stacks = (tokenizer.encoder, tokenizer.decoder, latent_action.encoder, latent_action.decoder)
    for stack in (*stacks, model.dynamics.transformer):
        check_head_dim(stack.head_dim, model.attention)


def tokenizer_grid(image_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """The `patch_grid` of the tokenizer."""
    return patch_grid(image_size, patch_size, setting="model.tokenizer.patch_size")


def latent_action_grid(
    image_size: tuple[int, int], downscale: int, patch_size: int
) -> tuple[int, int]:
    """The `patch_grid` of latent actions of pixels, whose patches lie in scaled-down frames."""
    setting = "model.latent_action.downscale * patch_size"
    return patch_grid(image_size, downscale * patch_size, setting=setting)


def patch_grid(image_size: tuple[int, int], patch_size: int, *, setting: str) -> tuple[int, int]:
    """Rows and columns of patches in an image of height and width `image_size`.

    `setting` names the configuration key in the error.

    Raises:
        ValueError: The patch does not divide the image.
    """
    height, width = image_size
    if height % patch_size or width % patch_size:
        fitting = [p for p in (4, 8, 10, 16, 20, 32) if not (height % p or width % p)]
        raise ValueError(
            f"{setting}={patch_size} does not divide the image of {height}x{width} "
            f"pixels (data.image_height, data.image_width); use one of {fitting}, or another "
            "image size"
        )
    return height // patch_size, width // patch_size


def count_halvings(patch_size: int) -> int:
    """How often convolutions halve a frame until a patch is one place.

    Raises:
        ValueError: The patch size is not a power of two above 1.
    """
    num_halvings = patch_size.bit_length() - 1
    if num_halvings < 1 or patch_size != 2**num_halvings:
        raise ValueError(
            f"model.tokenizer.patch_layers=convolutional halves frames, so "
            f"model.tokenizer.patch_size={patch_size} must be 2, 4, 8 or another power of two; "
            "change it, or take patch_layers=linear"
        )
    return num_halvings


def check_head_dim(head_dim: int, backend: Backend) -> None:
    """Refuse a head dimension that the backend does not support, before anything is built.

    xformers needs a multiple of 8 in bf16, the default precision on a GPU; weights trained in fp32
    may be used in bf16 later. Rotary position embeddings need an even head dimension. `auto` falls
    back to another backend where xformers has no kernel.

    Raises:
        ValueError: It is odd, or xformers was requested and has no kernel for it.
    """
    multiple = HEAD_DIM_MULTIPLE if backend is Backend.xformers else 2
    if head_dim > 0 and head_dim % multiple == 0:
        return
    reason = (
        "the bf16 kernels of model.attention=xformers"
        if multiple == HEAD_DIM_MULTIPLE
        else "the rotary positions of time"
    )
    allowed = ", ".join(str(factor * multiple) for factor in (1, 2, 4, 8))
    elsewhere = " or model.attention=auto" if backend is Backend.xformers else ""
    raise ValueError(
        f"head_dim={head_dim} does not fit {reason}: it must be a multiple of {multiple} "
        f"({allowed}, ...). Change head_dim{elsewhere}"
    )


def levels_for(num_codes: int) -> tuple[int, ...]:
    """Levels for about `num_codes` codes.

    Raises:
        ValueError: There is no recommendation for that number.
    """
    if num_codes not in LEVELS:
        raise ValueError(
            f"quantizer.kind=fsq has no levels for quantizer.num_codes={num_codes}; take one of "
            f"{', '.join(map(str, LEVELS))}, or give quantizer.levels, such as [8, 5, 5, 5]"
        )
    return LEVELS[num_codes]


def count_latent_actions(config: LatentActionConfig) -> int:
    """Latent actions are 0 .. this - 1.

    Raises:
        ValueError: No levels are known for the number of codes of an fsq grid.
    """
    quantizer = config.quantizer
    num_codes = quantizer.num_codes
    if quantizer.kind is QuantizerKind.fsq:
        num_codes = math.prod(quantizer.levels or levels_for(num_codes))
    return num_codes**config.codes_per_transition
