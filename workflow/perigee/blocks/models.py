"""Networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Len
from pydantic import BeforeValidator

from perigee.blocks.base import Block, Count, Positive, Seed, Truth, as_tuple


class Network(Block, kind="model"):
    """A network of any kind.

    Attributes:
        detects: whether it detects objects, and so belongs to a task of that kind.
    """

    detects: ClassVar[bool] = False


class Model(Network):
    """A network of which there is a fully scale-invariant version.

    Attributes:
        width: channels of its first stage.
        scale_invariant: True for the fully scale-invariant version, with a frozen head; False for
            the standard network, in which everything trains.
        head_norm: Frobenius norm of the frozen head's weight matrix.
        head_seed: seed of the frozen head alone; None draws it from the run's seed.
    """

    width: Count
    scale_invariant: Truth
    head_norm: Positive = 10.0
    head_seed: Seed | None = None


class ConvNet(Model, name="convnet", code="perigee.models.convnet:build"):
    """The ConvNet of Lobacheva et al. 2021 and Kodryan et al. 2022."""


class ResNet18(Model, name="resnet18", code="perigee.models.resnet18:build"):
    """The pre-activation ResNet-18 of Lobacheva et al. 2021 and Kodryan et al. 2022."""


class PostActivationResNet(
    Network,
    name="post_activation_resnet",
    code="perigee.models.post_activation_resnet:build",
):
    """A ResNet of He et al. 2016 as torchvision has it, in which everything trains.

    ResNet-18 has the basic blocks (2, 2, 2, 2), ResNet-50 the bottlenecks (3, 4, 6, 3).

    Attributes:
        block: "basic" or "bottleneck".
        blocks: number of blocks of each of the four stages.
        width: channels of its first stage.
        stem: "large" for images of 224 pixels, "small" for those of 32 and fewer.
    """

    block: Literal["basic", "bottleneck"]
    blocks: Annotated[tuple[Count, ...], BeforeValidator(as_tuple), Len(4, 4)]
    width: Count = 64
    stem: Literal["large", "small"]


class MaskRCNN(Network, name="mask_rcnn", code="perigee.models.mask_rcnn:build"):
    """Mask R-CNN on a feature pyramid over a bottleneck ResNet, everything trained from scratch.

    The defaults are those of ResNet-50 on COCO.

    Attributes:
        blocks: number of bottlenecks of each of the four stages.
        width: channels of the first stage.
        pyramid_width: channels of the feature pyramid and of the convolutions of the heads.
        head_width: outputs of the hidden linear layer of the box head.
        smallest_anchor: side of the smallest anchors, in pixels; it doubles from level to level.
        proposals: how many proposals an image's loss is made of.
    """

    detects: ClassVar[bool] = True

    blocks: Annotated[tuple[Count, ...], BeforeValidator(as_tuple), Len(4, 4)] = (3, 4, 6, 3)
    width: Count = 64
    pyramid_width: Count = 256
    head_width: Count = 1024
    smallest_anchor: Count = 32
    proposals: Annotated[Count, Ge(4)] = 512
