"""What a cluster is told of a training run: whether it is short, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perigee.planning.costs import Record, estimate
from perigee.planning.products import RunProduct

SHORT_RUNS = "short_runs"
"""Group of the runs that may share one submission."""

HEADROOM = 2.0
STARTING_MINUTES = 10
"""(ours) A run is given so many times what others like it took, and this long to start and save."""


def is_short(run: RunProduct, steps: int) -> bool:
    """Whether a run may share a submission: it has no more than so many steps."""
    return run.epochs * run.steps_per_epoch <= steps


def minutes(
    run: RunProduct, records: Sequence[Record], attempt: int, *, unknown: int, longest: int
) -> int:
    """The time that a run's job may take.

    From finished runs of its kind (`perigee.planning.costs.estimate`), with head room. Each further
    attempt may take as much again, though it goes on from what the one before saved.

    Args:
        run: all of its epochs count.
        records: of finished runs.
        attempt: 1 at first.
        unknown: the minutes if no finished run is of its kind.
        longest: never more than so many, since a run that reaches its limit goes on.
    """
    seconds = estimate(run, run.epochs, records).seconds
    first = unknown if seconds is None else math.ceil(STARTING_MINUTES + HEADROOM * seconds / 60)
    return min(first * attempt, longest)
