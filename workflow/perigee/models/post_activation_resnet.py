"""Post-activation ResNets (He et al. 2016) of the paper on spherical motion dynamics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from perigee.models.declaration import ScaleInvariantWeights

BLOCKS: dict[str, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class PostActivationResNet(ResNet):  # type: ignore[misc] # torchvision has no types
    """Torchvision's ResNet with any width and number of blocks, and with a stem for small images.

    Names of layers are torchvision's, such as ``layer2.0.conv2``, as in the figures of Wan et al.
    2021. BatchNorm follows every convolution, so that each is scale-invariant filter by filter.

    Args:
        image_shape: (channels, height, width).
        classes: outputs of the last layer.
        block: "basic", two 3x3 convolutions; or "bottleneck", 1x1, 3x3 and 1x1.
        blocks: number of blocks of each of the four stages.
        width: channels of the stem and of the 3x3 convolutions of the first stage, doubled from
            stage to stage; 64 in the standard networks.
        stem: "large", a 7x7 convolution of stride 2 and max-pooling, for images of 224 pixels; or
            "small", a 3x3 convolution, for those of CIFAR's size (He et al. 2016, Section 4.2).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        block: str,
        blocks: Sequence[int],
        width: int,
        stem: str,
    ) -> None:
        # Torchvision's constructor knows one width alone, so it is not called.
        nn.Module.__init__(self)
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        channels = image_shape[0]
        self.maxpool: nn.Module
        if stem == "large":
            self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        kind = BLOCKS[block]
        for stage, count in enumerate(blocks):
            layers = self._make_layer(kind, width * 2**stage, count, stride=2 if stage else 1)
            setattr(self, f"layer{stage + 1}", layers)
        # Global; unlike AdaptiveAvgPool2d it has a deterministic gradient on GPUs.
        reduction = 32 if stem == "large" else 8
        sides = [math.ceil(side / reduction) for side in image_shape[1:]]
        self.avgpool: nn.Module = nn.AvgPool2d((sides[0], sides[1]))
        self.fc = nn.Linear(self.inplanes, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        convolutions = tuple(
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d)
        )
        self.scale_invariant_weights = ScaleInvariantWeights(convolutions, convolutions)


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int,
    *,
    block: str,
    blocks: Sequence[int],
    width: int,
    stem: str,
) -> nn.Module:
    """Build a network on the CPU at torchvision's initialisation, from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PostActivationResNet(image_shape, classes, block, blocks, width, stem)
