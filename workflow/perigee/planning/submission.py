"""The submission of a training run to a cluster: whether it is short, and its time limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perigee.planning.costs import Record, estimate
from perigee.planning.products import RunProduct

SHORT_RUNS = "short_runs"
"""The group of the runs that may share one submission."""

HEADROOM = 2.0
STARTING_MINUTES = 10
"""The head room of a time limit (our choice): a multiple of similar runs' times, plus minutes to
start and save."""


def is_short(run: RunProduct, steps: int) -> bool:
    """Return whether a run may share a submission, having no more than so many steps."""
    return run.epochs * run.steps_per_epoch <= steps


def minutes(
    run: RunProduct, records: Sequence[Record], attempt: int, *, unknown: int, longest: int
) -> int:
    """The time limit of a run's job, in minutes.

    It is estimated from finished runs of its kind (`perigee.planning.costs.estimate`), with head
    room. Each further attempt adds as much again, though it resumes from what the previous one
    saved.

    Args:
        run: the run, all of whose epochs count.
        records: the records of finished runs.
        attempt: the number of the attempt, from 1.
        unknown: the minutes if no finished run is of its kind.
        longest: the largest limit; a run that reaches it is resumed.
    """
    seconds = estimate(run, run.epochs, records).seconds
    first = unknown if seconds is None else math.ceil(STARTING_MINUTES + HEADROOM * seconds / 60)
    return min(first * attempt, longest)
