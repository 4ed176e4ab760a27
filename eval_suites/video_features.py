"""Feature networks for images and videos: fixed random ones, and pretrained ones by path."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

RANDOM_SEED = 20240223
"""Seed of the random networks, part of their definition."""

Features = Callable[[UInt8[np.ndarray, "m t h w c"]], Float[np.ndarray, "m f"]]


def random_video_features(videos: UInt8[np.ndarray, "m t h w c"]) -> Float[np.ndarray, "m 128"]:
    """Means and spreads of the channels of a fixed random 3-D convolutional network.

    Random features represent brightness, edges and motion but no semantics: distances between them
    rank models on one dataset and are not comparable with published numbers.
    """
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    first, second = _kernel(generator, 32, 3, 3, 5, 5), _kernel(generator, 64, 32, 3, 3, 3)
    with torch.no_grad():
        features = [_two_layers(video, first, second) for video in videos]
    return torch.stack(features).double().numpy()


def random_conv_distance(
    true: UInt8[np.ndarray, "t h w c"], other: UInt8[np.ndarray, "t h w c"]
) -> Float[np.ndarray, " t"]:
    """Distance of frames in three layers of a fixed random convolutional network, 0 = equal.

    In the manner of LPIPS (Zhang et al. 2018, eq. 1): squared difference of features normalised
    over channels, averaged over places, summed over layers; without its learned weights.
    """
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    shapes = ((16, 3, 5, 5), (32, 16, 3, 3), (64, 32, 3, 3))
    kernels = [_kernel(generator, *shape) for shape in shapes]
    layers = [_images(true), _images(other)]
    total = torch.zeros(len(true))
    with torch.no_grad():
        for kernel in kernels:
            layers = [functional.relu(functional.conv2d(x, kernel, padding="same")) for x in layers]
            units = [functional.normalize(x, dim=1) for x in layers]
            total += (units[0] - units[1]).square().sum(dim=1).mean(dim=(1, 2))
            layers = [functional.avg_pool2d(x, 2, ceil_mode=True) for x in layers]
    return total.double().numpy()


def i3d_features(file: Path) -> Features:
    """The 400 features of I3D (Carreira and Zisserman 2017) behind the Fréchet video distance."""
    network = torch.jit.load(file, map_location="cpu").eval()

    def features(videos: UInt8[np.ndarray, "m t h w c"]) -> Float[np.ndarray, "m 400"]:
        found = []
        with torch.no_grad():
            for video in videos:
                inputs = torch.from_numpy(video).permute(3, 0, 1, 2)[None].float()
                found.append(network(inputs, rescale=True, resize=True, return_features=True)[0])
        return torch.stack(found).double().numpy()

    return features


def lpips_distance(
    file: Path,
) -> Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " t"]]:
    """LPIPS by a TorchScript VGG16 whose features have the learned weights folded in."""
    network: nn.Module = torch.jit.load(file, map_location="cpu").eval()

    def distance(
        true: UInt8[np.ndarray, "t h w c"], other: UInt8[np.ndarray, "t h w c"]
    ) -> Float[np.ndarray, " t"]:
        with torch.no_grad():
            first, second = (
                network(_images(video) * 255.0, resize_images=False, return_lpips=True)
                for video in (true, other)
            )
        return (first - second).square().sum(dim=1).double().numpy()

    return distance


def _two_layers(
    video: UInt8[np.ndarray, "t h w c"], first: Tensor, second: Tensor
) -> Float[Tensor, " 128"]:
    inputs = torch.from_numpy(video).permute(3, 0, 1, 2)[None] / 127.5 - 1.0
    inner = functional.relu(functional.conv3d(inputs, first, stride=(1, 2, 2), padding=(1, 2, 2)))
    outer = functional.relu(functional.conv3d(inner, second, stride=(1, 2, 2), padding=1))
    places = outer[0].flatten(1)
    return torch.cat([places.mean(dim=1), places.std(dim=1)])


def _kernel(generator: torch.Generator, *shape: int) -> Tensor:
    """Normal weights that preserve variance through a ReLU (He et al. 2015)."""
    fan_in = int(np.prod(shape[1:]))
    return torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5


def _images(video: UInt8[np.ndarray, "t h w c"]) -> Float[Tensor, "t c h w"]:
    return torch.from_numpy(video).permute(0, 3, 1, 2) / 255.0
