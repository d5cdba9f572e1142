"""Measures."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count


class Measure(Block, kind="measure"):
    """A quantity that is recorded while a run trains; it changes no weight.

    Attributes:
        at_epochs: whether it depends on the network after epochs only, so that kept checkpoints are
            enough to compute it.
        columns: its columns except ``epoch``, for a measure with a row per epoch that may be named
            under ``further``.
    """

    at_epochs: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()


class Metrics(Measure, name="metrics", code="perigee.measures.metrics:Metrics"):
    """Losses, errors and norms at the fixed weights after every epoch."""

    at_epochs: ClassVar[bool] = True


class FullGradientNorm(
    Measure, name="full_gradient_norm", code="perigee.measures.full_gradient_norm:FullGradientNorm"
):
    """The norm of the gradient with respect to all trained weights, after every epoch."""

    at_epochs: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("full_gradient_norm",)


class Steps(Measure, name="steps", code="perigee.measures.steps:Steps"):
    """Loss, norms and cosine distance of every step."""


class Layers(Measure, name="layers", code="perigee.measures.layers:Layers"):
    """Norms and angular update of every scale-invariant weight tensor in every step."""


class Checkpoints(Measure, name="checkpoints", code="perigee.measures.checkpoints:Checkpoints"):
    """The weights after some epochs.

    Attributes:
        interval: epochs between kept checkpoints; the first and the last are kept too.
    """

    interval: Count = 1
