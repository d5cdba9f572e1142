"""The pre-activation ResNet-18 of the periodic-behaviour and three-regimes papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from perigee.models.declaration import ScaleInvariantWeights
from perigee.models.head import freeze_head, redraw_head

STAGE_STRIDES = (1, 2, 2, 2)
BLOCKS_PER_STAGE = 2


class Block(nn.Module):
    """A residual block: BN-ReLU-conv3x3 twice, and a shortcut past both.

    Where stride or width changes, the shortcut is a BN and a 1x1 convolution of the input after the
    block's first BN and ReLU, as in the official implementation; elsewhere it is the input itself
    (He et al. 2016, Identity Mappings).

    Args:
        inputs, outputs: numbers of channels.
        stride: stride of the first convolution and of the shortcut.
        affine: whether BatchNorm has location and scale.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.preactivation = nn.Sequential(nn.BatchNorm2d(inputs, affine=affine), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.downsampling: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsampling = nn.Sequential(
                nn.BatchNorm2d(inputs, affine=affine),
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (images, channels, height, width) to activations with sides divided by the stride."""
        activated = self.preactivation(inputs)
        shortcut = inputs if self.downsampling is None else self.downsampling(activated)
        summed: Tensor = self.branch(activated) + shortcut
        return summed


class ResNet18(nn.Module):
    """A convolution, four stages of two blocks with k, 2k, 4k and 8k channels, a linear head.

    The head follows BN, ReLU and global average-pooling, and has no bias. Images may have any size
    (Lobacheva et al. 2021, Section 3; Kodryan et al. 2022, Section 4).

    Args:
        image_shape: (channels, height, width).
        classes: outputs of the head.
        width: k, channels of the first stage; 64 is the standard ResNet-18.
        scale_invariant: True for the fully scale-invariant version, with BatchNorm without location
            and scale and a frozen head; False for the standard network, in which everything trains.
            In both, all convolutions together are scale-invariant; those followed by BatchNorm are
            scale-invariant filter by filter, too.
        head_norm: Frobenius norm that the frozen head's weight matrix is rescaled to; 10 in the
            papers. The standard network ignores this and ``head_seed``.
        head_seed: seed of the frozen head; None keeps the head as drawn with the network.
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
        affine = not scale_invariant
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        inputs = width
        for stage, stage_stride in enumerate(STAGE_STRIDES):
            outputs = width * 2**stage
            for block in range(BLOCKS_PER_STAGE):
                layers.append(Block(inputs, outputs, stage_stride if block == 0 else 1, affine))
                inputs = outputs
        reduction = math.prod(STAGE_STRIDES)
        self.features = nn.Sequential(
            *layers,
            nn.BatchNorm2d(inputs, affine=affine),
            nn.ReLU(),
            # Global; unlike AdaptiveAvgPool2d it has a deterministic gradient on GPUs.
            nn.AvgPool2d((math.ceil(sides[0] / reduction), math.ceil(sides[1] / reduction))),
            nn.Flatten(),
        )
        self.head = nn.Linear(inputs, classes, bias=False)
        if scale_invariant:
            redraw_head(self.head, head_seed)
            freeze_head(self.head, head_norm)
        convolutions = tuple(
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d)
        )
        normalised = tuple(name for name in convolutions if name.endswith("branch.0.weight"))
        self.scale_invariant_weights = ScaleInvariantWeights(convolutions, normalised)

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
    """Build a ResNet-18 on the CPU at PyTorch's default initialisation, from the two seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNet18(image_shape, classes, width, scale_invariant, head_norm, head_seed)
