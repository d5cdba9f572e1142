"""Evaluations of checkpoints."""

from __future__ import annotations

from perigee.blocks.base import Block


class Evaluation(Block, kind="evaluation"):
    """A computation on the kept checkpoints of a finished run."""


class Predictions(
    Evaluation, name="predictions", code="perigee.evaluation.predictions:Predictions"
):
    """Class probabilities on the test set."""
