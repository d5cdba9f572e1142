"""Evaluations of checkpoints."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block


class Evaluation(Block):
    """Computed from the kept checkpoints of a finished run."""

    kind: ClassVar[str] = "evaluation"


class Predictions(Evaluation):
    """Class probabilities on the test set."""

    name: ClassVar[str] = "predictions"
    code: ClassVar[str] = "perigee.evaluation.predictions:Predictions"
