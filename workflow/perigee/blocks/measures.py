"""Measures."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count


class Measure(Block):
    """A quantity that is watched while a run trains; it moves no weight.

    Attributes:
        at_epochs: whether it looks at the network after epochs only, so that kept checkpoints are
            enough to compute it.
    """

    kind: ClassVar[str] = "measure"
    at_epochs: ClassVar[bool] = False


class Metrics(Measure):
    """Losses, errors and norms at the fixed weights after every epoch."""

    name: ClassVar[str] = "metrics"
    code: ClassVar[str] = "perigee.measures.metrics:Metrics"
    at_epochs: ClassVar[bool] = True


class FullGradientNorm(Measure):
    """The norm of the gradient with respect to all trained weights, after every epoch."""

    name: ClassVar[str] = "full_gradient_norm"
    code: ClassVar[str] = "perigee.measures.full_gradient_norm:FullGradientNorm"
    at_epochs: ClassVar[bool] = True


class Steps(Measure):
    """Loss, norms and cosine distance of every step."""

    name: ClassVar[str] = "steps"
    code: ClassVar[str] = "perigee.measures.steps:Steps"


class Layers(Measure):
    """Norms and angular update of every scale-invariant weight tensor in every step."""

    name: ClassVar[str] = "layers"
    code: ClassVar[str] = "perigee.measures.layers:Layers"


class Checkpoints(Measure):
    """The weights after some epochs.

    Attributes:
        interval: epochs from one kept checkpoint to the next; the first and the last are kept too.
    """

    name: ClassVar[str] = "checkpoints"
    code: ClassVar[str] = "perigee.measures.checkpoints:Checkpoints"

    interval: Count = 1
