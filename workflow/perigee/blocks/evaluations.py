"""Evaluations of checkpoints."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block


class Evaluation(Block, kind="evaluation"):
    """A computation on the kept checkpoints of a finished run.

    Attributes:
        stands_for: the evaluation in whose place analyses read it, with the same files; None if it
            does so for no other.
        needs_one_label: whether it is defined for tasks alone whose images have one label each.
    """

    stands_for: ClassVar[type[Evaluation] | None] = None
    needs_one_label: ClassVar[bool] = False

    @property
    def role(self) -> str:
        """The name by which analyses read it: its own, or that of what it stands for."""
        return (self.stands_for or type(self)).name


class Predictions(
    Evaluation, name="predictions", code="perigee.evaluation.predictions:Predictions"
):
    """Class probabilities on the test set."""

    needs_one_label: ClassVar[bool] = True


class RecomputedPredictions(
    Evaluation,
    name="recomputed_predictions",
    code="perigee.evaluation.recomputed_predictions:RecomputedPredictions",
):
    """The predictions with BatchNorm statistics recomputed over the training set."""

    stands_for: ClassVar = Predictions
    needs_one_label: ClassVar[bool] = True
