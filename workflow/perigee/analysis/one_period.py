"""One training period in detail: a row per step, with phases and the bounds on the steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.courses import Course, course_of_steps, step_learning_rates
from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import Period, find_periods, running_median, smoothed
from perigee.dynamics.jumps import cosine_distance_bound
from perigee.dynamics.sphere import effective_gradient_norm, effective_learning_rate

MARGIN = 0.05
"""The share of a period's length that is shown before and after it."""


def tabulate(runs: Sequence[RunInput], *, smoothing_epochs: int) -> pd.DataFrame:
    """The steps of one period of each run (Lobacheva et al. 2021, Figure 4).

    The period shown is a run's longest complete one: of the consistent stage if that has one, or
    else of the whole run (our choice; the paper does not say how it chose). Claims need all of
    them: `perigee.analysis.complete_periods`. Phases are found as in
    `perigee.analysis.courses.course_of_steps`; ``median_loss``, over ``smoothing_epochs``, is for
    the eye. A run without a complete period gives all its steps, with the phase "none".

    The bounds are those of Section 5.1: delta_min and delta_max from l and L. These bound the
    effective gradient norm locally: they are its running minimum and maximum over
    ``smoothing_epochs``, smoothed over as many (our choice of smooth functions; the paper gives its
    own in its appendix).

    Args:
        runs: one or more runs of SGD without momentum.
        smoothing_epochs: width of all running windows, in epochs.

    Returns:
        Columns ``run``, the swept values, ``learning_rate``, ``step``, ``epoch``, ``phase`` ("A",
        "B", "C", "before", "after", "none"), ``loss``, ``median_loss``, ``train_error`` (over the
        training set, at the end of the step's epoch), ``weight_norm``,
        ``effective_learning_rate``, ``effective_gradient_norm``, ``cosine_distance``,
        ``cosine_distance_trend``, ``lower_bound`` and ``upper_bound``.
    """
    tables = []
    for position, run in enumerate(runs):
        table = _period_of(run, smoothing_epochs)
        for column, value in reversed({"run": position, **run.labels()}.items()):
            table.insert(0, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def choose_period(course: Course) -> Period | None:
    """Return the longest complete period, of the consistent stage if that has one, or None."""
    candidates = find_periods(course.consistent) or find_periods(course.found)
    return max(candidates, key=lambda period: period.end - period.start, default=None)


def window_of(run: RunInput, smoothing_epochs: int) -> int:
    """The steps of so many epochs, and one more if they are even.

    Only a window with a middle has all those of its steps for which it is among theirs, so that a
    running minimum, averaged over as many steps, is nowhere above the values themselves.
    """
    return smoothing_epochs * run.steps_per_epoch | 1


def described_steps(run: RunInput, window: int) -> pd.DataFrame:
    """The steps of a run with the columns of `tabulate` that do not depend on phases.

    Args:
        run: a run with the measure ``steps``.
        window: width of the running median of the loss, in steps.
    """
    steps = run.steps()
    metrics = run.metrics().set_index("epoch")
    rate = step_learning_rates(run, steps)
    norm = steps["weight_norm"].to_numpy(dtype=float)
    gradient_norm = steps.pop("gradient_norm").to_numpy(dtype=float)
    return steps.assign(
        learning_rate=rate,
        median_loss=running_median(steps["loss"].to_numpy(dtype=float), window),
        train_error=metrics.loc[steps["epoch"], "train_error"].to_numpy(dtype=float),
        effective_learning_rate=effective_learning_rate(rate, norm),
        effective_gradient_norm=effective_gradient_norm(gradient_norm, norm),
    )


def with_bounds(phase: pd.DataFrame, window: int) -> pd.DataFrame:
    """Add trend and bounds of the cosine distance within one phase.

    Windows end with the phase, so that the destabilisation does not leak into phase B.

    Args:
        phase: the phase's steps, with the columns of `described_steps`.
        window: width of all running windows, in steps.
    """
    rate, norm = phase["learning_rate"].to_numpy(), phase["weight_norm"].to_numpy(dtype=float)
    gradient = phase["effective_gradient_norm"].rolling(window, center=True, min_periods=1)

    def bound(local: pd.Series) -> np.ndarray:
        return cosine_distance_bound(rate, smoothed(local.to_numpy(), window), norm)

    distance = phase["cosine_distance"].to_numpy(dtype=float)
    return phase.assign(
        cosine_distance_trend=smoothed(distance, window),
        lower_bound=bound(gradient.min()),
        upper_bound=bound(gradient.max()),
    )


def _period_of(run: RunInput, smoothing_epochs: int) -> pd.DataFrame:
    window = window_of(run, smoothing_epochs)
    shown = _with_phases(described_steps(run, window), choose_period(course_of_steps(run)))
    phases = [with_bounds(rows, window) for _, rows in shown.groupby("phase", sort=False)]
    return pd.concat(phases, ignore_index=True)


def _with_phases(steps: pd.DataFrame, period: Period | None) -> pd.DataFrame:
    if period is None:
        return steps.assign(phase="none")
    margin = int(MARGIN * (period.end - period.start))
    edges = (0, period.start, period.falling, period.rising, period.end, len(steps))
    names = ("before", "A", "B", "C", "after")
    phases = np.repeat(names, np.diff(edges))
    first, last = max(0, period.start - margin), period.end + margin
    return steps.assign(phase=phases).iloc[first:last]
