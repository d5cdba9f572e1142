"""The ConvNet of the periodic-behaviour and three-regimes papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perigee.errors import PerigeeError
from perigee.models.declaration import ScaleInvariantWeights
from perigee.models.head import freeze_head, redraw_head

POOLINGS = 3
CONVOLUTION_BLOCKS = (0, 1, 3, 5)
"""The positions of the convolution blocks among the features; poolings lie between them."""


class ConvBlock(nn.Sequential):
    """conv3x3 without bias, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
            nn.ReLU(),
        )


class ConvNet(nn.Module):
    """Four convolution blocks of c, 2c, 4c and 8c channels, max-pooling, a linear head.

    The papers call it a 3-layer ConvNet; the official implementation has four convolutions
    (Lobacheva et al. 2021, Section 3; Kodryan et al. 2022, Section 4).

    Args:
        image_shape: (channels, height, width); height and width at least 8.
        classes: outputs of the head.
        width: c, channels of the first block; 32 in the papers.
        scale_invariant: True for the fully scale-invariant version, with BatchNorm without location
            and scale and a frozen head; False for the standard network, in which everything trains.
        head_norm: Frobenius norm that the frozen head's weight matrix is rescaled to; 10 in the
            papers. The standard network ignores this and ``head_seed``.
        head_seed: seed of the frozen head; None keeps the head as drawn with the network.

    Raises:
        PerigeeError: the images are too small for three 2x2 poolings.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        width: int,
        scale_invariant: bool,
        head_norm: float,
        head_seed: int | None,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        if min(sides) < 2**POOLINGS:
            raise PerigeeError(
                f"Model 'convnet' pools its images {POOLINGS} times by 2 and needs at least "
                f"{2**POOLINGS}x{2**POOLINGS} pixels, but these have {sides[0]}x{sides[1]}; "
                "choose another model or data set."
            )
        affine = not scale_invariant
        self.features = nn.Sequential(
            ConvBlock(channels, width, affine),
            ConvBlock(width, 2 * width, affine),
            nn.MaxPool2d(2),
            ConvBlock(2 * width, 4 * width, affine),
            nn.MaxPool2d(2),
            ConvBlock(4 * width, 8 * width, affine),
            nn.MaxPool2d(2),
            # Global; unlike AdaptiveMaxPool2d it has a deterministic gradient on GPUs.
            nn.MaxPool2d((sides[0] // 2**POOLINGS, sides[1] // 2**POOLINGS)),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, classes)
        if scale_invariant:
            redraw_head(self.head, head_seed)
            freeze_head(self.head, head_norm)
        convolutions = tuple(f"features.{number}.0.weight" for number in CONVOLUTION_BLOCKS)
        self.scale_invariant_weights = ScaleInvariantWeights(convolutions, convolutions)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (images, classes) of images (images, channels, height, width)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int,
    *,
    width: int,
    scale_invariant: bool,
    head_norm: float,
    head_seed: int | None,
) -> nn.Module:
    """Build a ConvNet on the CPU at PyTorch's default initialisation, drawn from the two seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(image_shape, classes, width, scale_invariant, head_norm, head_seed)
