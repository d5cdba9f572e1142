"""Networks."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import BeforeValidator

from perigee.blocks.base import Block, Count, Positive, Seed, Truth, as_tuple


class Network(Block, kind="model"):
    """A network of any kind."""


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
