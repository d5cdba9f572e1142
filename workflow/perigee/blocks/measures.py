"""Measures."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count, Names


class Measure(Block, kind="measure"):
    """A quantity that is recorded while a run trains; it changes no weight.

    Attributes:
        at_epochs: whether it depends on the network after epochs only, so that kept checkpoints are
            enough to compute it.
        columns: its columns except ``epoch``, for a measure with a row per epoch that may be named
            under ``further``.
        stands_for: the measure in whose place analyses read it, with the same columns; None if it
            does so for no other.
        needs_one_label: whether it is defined for tasks alone whose images have one label each.
    """

    at_epochs: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()
    stands_for: ClassVar[type[Measure] | None] = None
    needs_one_label: ClassVar[bool] = False

    @property
    def role(self) -> str:
        """The name by which analyses read it: its own, or that of the measure it stands for."""
        return (self.stands_for or type(self)).name


class Metrics(Measure, name="metrics", code="perigee.measures.metrics:Metrics"):
    """Losses, errors and norms at the fixed weights after every epoch."""

    at_epochs: ClassVar[bool] = True


class RecomputedMetrics(
    Measure, name="recomputed_metrics", code="perigee.measures.recomputed:RecomputedMetrics"
):
    """The metrics, tested with BatchNorm statistics recomputed over the training set."""

    at_epochs: ClassVar[bool] = True
    stands_for: ClassVar = Metrics
    needs_one_label: ClassVar[bool] = True


class TestHits(Measure, name="test_hits", code="perigee.measures.hits:TestHits"):
    """Which test images are classified rightly after every epoch."""

    __test__: ClassVar[bool] = False

    at_epochs: ClassVar[bool] = True
    needs_one_label: ClassVar[bool] = True


class RecomputedTestHits(
    Measure, name="recomputed_test_hits", code="perigee.measures.recomputed:RecomputedTestHits"
):
    """The same with BatchNorm statistics recomputed over the training set."""

    at_epochs: ClassVar[bool] = True
    stands_for: ClassVar = TestHits
    needs_one_label: ClassVar[bool] = True


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


class ThinnedLayers(
    Measure, name="thinned_layers", code="perigee.measures.thinned_layers:ThinnedLayers"
):
    """The same as ``layers``, but of most layers only at every n-th step of the run.

    Attributes:
        every: steps from one kept step to the next.
        in_full: layers of which all steps are kept, such as "layer2.0.conv2".
    """

    every: Count = 1
    in_full: Names = ()


class Filters(Measure, name="filters", code="perigee.measures.filters:Filters"):
    """Norms, gradients and rates of every scale-invariant filter, over the steps of each epoch."""


class Checkpoints(Measure, name="checkpoints", code="perigee.measures.checkpoints:Checkpoints"):
    """The weights after some epochs.

    Attributes:
        interval: epochs between kept checkpoints; the first and the last are kept too.
    """

    interval: Count = 1
