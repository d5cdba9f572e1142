"""The statistics by which BatchNorm normalises test images: running ones, or recomputed ones.

An option of what is measured, not of a run: it moves no weight, so runs stay whichever it is.
"""

from __future__ import annotations

from typing import Literal

from perigee.blocks.evaluations import Evaluation, Predictions, RecomputedPredictions
from perigee.blocks.measures import (
    Measure,
    Metrics,
    RecomputedMetrics,
    RecomputedTestHits,
    TestHits,
)

TestStatistics = Literal["running", "recomputed"]
"""The choice: running ones, as in the papers; or recomputed over the training set before each test
(ours)."""

MEASURES: dict[type[Measure], type[Measure]] = {
    Metrics: RecomputedMetrics,
    TestHits: RecomputedTestHits,
}
EVALUATIONS: dict[type[Evaluation], type[Evaluation]] = {Predictions: RecomputedPredictions}
"""The blocks that test with recomputed statistics, by those that they stand for."""


def measured_with(statistics: TestStatistics, measure: Measure) -> Measure:
    """The measure that analyses read in the place of another; itself if it tests nothing."""
    if statistics == "running" or type(measure) not in MEASURES:
        return measure
    return MEASURES[type(measure)]()


def evaluated_with(statistics: TestStatistics, evaluation: Evaluation) -> Evaluation:
    """The evaluation that analyses read in the place of another; itself if it tests nothing."""
    if statistics == "running" or type(evaluation) not in EVALUATIONS:
        return evaluation
    return EVALUATIONS[type(evaluation)]()
