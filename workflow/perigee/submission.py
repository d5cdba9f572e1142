"""What a cluster is told of a training run: whether it is short, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perigee.data.order import steps_per_epoch
from perigee.plan import PlannedRun
from perigee.registry import registration
from perigee.store.costs import Record, estimate

SHORT_RUNS = "short_runs"
"""Group of the runs that may share one submission."""

HEADROOM = 2.0
STARTING_MINUTES = 10
"""(ours) A run is given so many times what others like it took, and this long to start and save."""


def planned_steps(run: PlannedRun) -> int:
    """Updates of the weights, from the first on."""
    images = registration("dataset", run.spec.dataset).train_images
    return run.epochs * steps_per_epoch(images, run.spec.batch_size, run.spec.gradient)


def is_short(run: PlannedRun, steps: int) -> bool:
    """Whether a run may share a submission: it has no more than so many steps."""
    return planned_steps(run) <= steps


def minutes(
    run: PlannedRun, records: Sequence[Record], attempt: int, *, unknown: int, longest: int
) -> int:
    """The time that a run's job may take.

    From finished runs of its kind (`perigee.store.costs.estimate`), with head room. Each further
    attempt may take as much again, though it goes on from what the one before saved.

    Args:
        run: all of its epochs count.
        records: of finished runs.
        attempt: 1 at first.
        unknown: the minutes if no finished run is of its kind.
        longest: never more than so many, since a run that reaches its limit goes on.
    """
    images = registration("dataset", run.spec.dataset).train_images
    steps = steps_per_epoch(images, run.spec.batch_size, run.spec.gradient)
    seconds = estimate(run.spec.to_dict(), run.epochs, steps, records).seconds
    first = unknown if seconds is None else math.ceil(STARTING_MINUTES + HEADROOM * seconds / 60)
    return min(first * attempt, longest)
