"""The submission of a training run to a cluster: whether it is short, and its time limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perigee.planning.costs import Record, Source, estimate
from perigee.planning.products import RunProduct

SHORT_RUNS = "short_runs"
"""The group of the runs that may share one submission."""

HEADROOM = {Source.RUN: 2.0, Source.CALIBRATION: 3.0, Source.GUESS: 8.0}
STARTING_MINUTES = 10
"""The head room of a time limit (our choice): a multiple of the estimate, by where that comes from,
plus minutes to start and save.

A calibration had its device to itself and saw seconds of a run, so its multiple is larger than that
of finished runs. Where there are both, the larger limit counts: they may be of different devices,
and nobody knows which one a job gets. A guess only raises the limit that there is without it: the
device may be a slower one by far. Its multiple allows for a card that is three times slower than
the one measured and for passes of measures, which it lacks, of up to 1.7 times the steps (a pass
over the training set costs about as much as its steps)."""


def is_short(run: RunProduct, steps: int) -> bool:
    """Return whether a run may share a submission, having no more than so many steps."""
    return run.epochs * run.steps_per_epoch <= steps


def minutes(
    run: RunProduct, records: Sequence[Record], attempt: int, *, unknown: int, longest: int
) -> int:
    """The time limit of a run's job, in minutes.

    It is estimated from finished runs of its kind and from calibrations
    (`perigee.planning.costs.estimate`), with head room. Each further attempt adds as much again,
    though it resumes from what the previous one saved.

    Args:
        run: the run, all of whose epochs count.
        records: the records of finished runs and of calibrations.
        attempt: the number of the attempt, from 1.
        unknown: the minutes if there is no estimate, and the least of them if there is a guess.
        longest: the largest limit; a run that reaches it is resumed.
    """

    def limits(*sources: Source) -> list[int]:
        costs = (
            (source, estimate(run, run.epochs, [one for one in records if one.source is source]))
            for source in sources
        )
        return [
            math.ceil(STARTING_MINUTES + HEADROOM[source] * cost.seconds / 60)
            for source, cost in costs
            if cost.seconds is not None
        ]

    known = limits(Source.RUN, Source.CALIBRATION) or [unknown, *limits(Source.GUESS)]
    return min(max(known) * attempt, longest)
