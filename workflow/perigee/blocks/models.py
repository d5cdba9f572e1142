"""Networks."""

from __future__ import annotations

from perigee.blocks.base import Block, Count, Positive, Seed, Truth


class Model(Block, kind="model"):
    """A network.

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
