"""Statistics of the periods of several runs, a row per run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.courses import Course, course_of, course_of_metrics
from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import (
    Floats,
    find_loss_spikes,
    find_periods,
    first_norm_peak,
    warm_up_length,
)

NAN = math.nan

FEWEST_INTERVALS = 4
"""The least number of intervals whose variation says anything of their regularity."""


def tabulate(runs: Sequence[RunInput], *, near_zero: str, resolution: str) -> pd.DataFrame:
    """Make a row per run; `perigee.analysis.periods` defines destabilisations, stages and spikes.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``stopped`` (whether it diverged), and those of `statistics_of`.

    Args:
        runs: finished runs.
        near_zero: a key of `perigee.analysis.periods.FLOORS`, whose column identifies phase B.
        resolution: "epoch", or "step" for runs with the measure ``steps``.
    """
    rows = []
    for position, run in enumerate(runs):
        course = course_of(run, near_zero=near_zero, resolution=resolution)
        labels = {"run": position, **run.labels(), "stopped": run.stopped}
        decay = None if run.weight_decay is None else run.weight_decay * run.steps_per_epoch
        rows.append(
            labels | statistics_of(run.metrics(), near_zero, course=course, decay_per_rate=decay)
        )
    return pd.DataFrame(rows)


def statistics_of(
    metrics: pd.DataFrame,
    near_zero: str = "train_loss",
    *,
    course: Course | None = None,
    decay_per_rate: float | None = None,
) -> dict[str, Any]:
    """The statistics of one run, by their columns' names; NaN where there is nothing to measure.

    Times and lengths are in epochs. ``epochs`` is the number trained. Destabilisations:
    ``destabilisations``, their number, ``destabilises``, whether there is any,
    ``warm_up_destabilisations``, that of the warm-up stage,
    ``first_destabilisation``, the first norm onset, ``loss_spikes``, the number of those that the
    loss alone shows, whatever the norm does (NaN where the train error identifies phase B), and
    ``first_norm_peak``, the end of the first phase A. ``warm_up_epochs`` is the time until rho
    first is as small as in the consistent stage (`perigee.analysis.periods.warm_up_length`).

    Of the consistent stage: ``period_epochs`` and ``median_period_epochs``, the mean and median
    length of its periods, ``period_decay_units``, the latter times eta lambda and the steps per
    epoch, ``interval_variation``, the coefficient of variation of the intervals between norm onsets
    (of at least `FEWEST_INTERVALS`), ``destabilisation_norm``, the mean rho at these onsets, and
    ``onset_norm_spread``, the largest over the smallest of them.

    Of phases: ``phase_a_epochs`` and ``phase_b_epochs``, the median lengths; over all epochs in
    phase B the medians ``phase_b_train_loss`` and ``phase_b_effective_gradient_norm``; and
    ``late_phase_b_test_error``, the median over the last third of each phase B in the last half of
    the run. A run without destabilisations has no phases; there this is ``late_test_error``.

    Of the run: ``lowest_train_loss``, ``late_train_loss`` (median of the last half),
    ``lowest_test_error``, ``late_test_error`` (median of the last tenth),
    ``final_effective_learning_rate`` and ``late_effective_gradient_norm`` (mean of the last half);
    and ``reached_effective_learning_rate``, the smallest to which weight decay raises it before the
    norm rises again: at a norm onset, or at the end of a run without destabilisations.

    Args:
        metrics: columns ``epoch``, ``train_loss``, ``test_error``, ``weight_norm`` and the one that
            identifies phase B, a row per epoch; what needs another that is missing is NaN.
        near_zero: see `tabulate`.
        course: where the destabilisations are; from the metrics if it is not given.
        decay_per_rate: lambda times the steps per epoch.
    """
    if course is None:
        course = course_of_metrics(metrics, near_zero)
    by_loss = near_zero == "train_loss"
    spikes = len(find_loss_spikes(course.loss, per_epoch=course.per_epoch)) if by_loss else NAN
    first_peak = first_norm_peak(course.weight_norm)
    first_norms = warm_up_length(course.found, course.weight_norm)
    return {
        "epochs": int(metrics["epoch"].iloc[-1]),
        "destabilisations": len(course.found),
        "destabilises": bool(course.found),
        "warm_up_destabilisations": course.warm_up,
        "first_destabilisation": _first([course.time(one.norm_onset) for one in course.found]),
        "loss_spikes": spikes,
        "first_norm_peak": NAN if first_peak is None else course.time(first_peak),
        "warm_up_epochs": NAN if first_norms is None else course.time(first_norms),
        **_of_the_consistent_stage(course, metrics, decay_per_rate),
        **_of_phases(course, metrics),
        **_of_the_run(metrics),
        "reached_effective_learning_rate": _reached(course),
    }


def variation(values: Sequence[float] | Floats) -> float:
    """The coefficient of variation, the standard deviation over the mean, of at least two values.

    It is 0 for equal values and about 1 for the intervals between events at random times.
    """
    return float(np.std(values, ddof=1) / np.mean(values)) if len(values) > 1 else NAN


def late_epochs(course: Course, metrics: pd.DataFrame) -> np.ndarray:
    """The epochs at which a run's test error counts, (rows of the metrics,), true or false.

    They are those in the last third of each phase B in the last half of the run; of a run without
    destabilisations, which has no phases, the last tenth.
    """
    phases = course.phases_b
    if not phases:
        return np.arange(len(metrics)) >= len(metrics) - _tenth(len(metrics))
    late = _within(course, metrics, phases, late=True)
    counted: np.ndarray = late & (metrics["epoch"].to_numpy() >= metrics["epoch"].iloc[-1] / 2)
    return counted


def _of_the_consistent_stage(
    course: Course, metrics: pd.DataFrame, decay_per_rate: float | None
) -> dict[str, float]:
    onsets = [one.norm_onset for one in course.consistent]
    norms = course.weight_norm[onsets]
    intervals = np.diff([course.time(onset) for onset in onsets])
    lengths = [
        course.time(period.end) - course.time(period.start)
        for period in find_periods(course.consistent)
    ]
    decay = NAN
    if decay_per_rate is not None:
        decay = decay_per_rate * float(_column(metrics, "learning_rate").mean())
    return {
        "period_epochs": _mean(lengths),
        "median_period_epochs": _median(lengths),
        "period_decay_units": _median(lengths) * decay,
        "interval_variation": variation(intervals) if len(intervals) >= FEWEST_INTERVALS else NAN,
        "destabilisation_norm": _mean(norms),
        "onset_norm_spread": float(norms.max() / norms.min()) if len(norms) > 1 else NAN,
    }


def _of_phases(course: Course, metrics: pd.DataFrame) -> dict[str, float]:
    phases = course.phases_b
    complete = phases[: len(course.found)]
    inside = _within(course, metrics, phases, late=False)
    error = _column(metrics, "test_error")
    return {
        "phase_a_epochs": _median(
            [course.time(one.norm_peak) - course.time(one.loss_peak) for one in course.found]
        ),
        "phase_b_epochs": _median([course.time(end) - course.time(at) for at, end in complete]),
        "phase_b_train_loss": _median(_column(metrics, "train_loss")[inside]),
        "phase_b_effective_gradient_norm": _median(
            _column(metrics, "effective_gradient_norm")[inside]
        ),
        "late_phase_b_test_error": _median(error[late_epochs(course, metrics)]),
    }


def _of_the_run(metrics: pd.DataFrame) -> dict[str, float]:
    loss, error = _column(metrics, "train_loss"), _column(metrics, "test_error")
    gradient = _column(metrics, "effective_gradient_norm")
    return {
        "lowest_train_loss": float(np.min(loss)),
        "late_train_loss": float(np.median(loss[len(loss) // 2 :])),
        "lowest_test_error": float(np.min(error)),
        "late_test_error": _late_test_error(error),
        "final_effective_learning_rate": float(_column(metrics, "effective_learning_rate")[-1]),
        "late_effective_gradient_norm": float(np.mean(gradient[len(gradient) // 2 :])),
    }


def _reached(course: Course) -> float:
    ends = [one.norm_onset for one in course.found] or [-1]
    return float(np.min(course.effective_learning_rate[ends]))


def _late_test_error(error: Floats) -> float:
    return float(np.median(error[-_tenth(len(error)) :]))


def _tenth(epochs: int) -> int:
    """A tenth of the epochs, at least one."""
    return max(1, epochs // 10)


def _within(
    course: Course, metrics: pd.DataFrame, phases: Sequence[tuple[int, int]], *, late: bool
) -> np.ndarray:
    """The epochs, of the rows of metrics, that lie in one of these phases."""
    epochs = metrics["epoch"].to_numpy(float)
    inside = np.zeros(len(epochs), dtype=bool)
    for phase in phases:
        start, end = course.epochs_within(*phase, late=late)
        inside |= (epochs >= start) & (epochs < end)
    return inside


def _column(metrics: pd.DataFrame, name: str) -> Floats:
    """A column of numbers, or NaN for each row if the metrics lack it."""
    if name not in metrics:
        return np.full(len(metrics), NAN)
    return metrics[name].to_numpy(dtype=float)


def _first(values: Sequence[float]) -> float:
    return values[0] if values else NAN


def _mean(values: Sequence[float] | Floats) -> float:
    return float(np.mean(values)) if len(values) else NAN


def _median(values: Sequence[float] | Floats) -> float:
    return float(np.median(values)) if len(values) else NAN
