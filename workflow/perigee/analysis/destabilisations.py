"""The destabilisations of several runs, a row per destabilisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.courses import Course, course_of
from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import Destabilisation, Floats, late_part, onset

NAN = math.nan

SMALL_ERROR = 0.01
"""The largest train error that counts as nearly zero."""

COLUMNS = (
    "number",
    "consistent",
    "loss_onset_epoch",
    "norm_onset_epoch",
    "loss_peak_epoch",
    "norm_peak_epoch",
    "interval_epochs",
    "onset_weight_norm",
    "peak_weight_norm",
    "onset_effective_learning_rate",
    "onset_effective_gradient_norm",
    "onset_gradient_norm",
    "phase_b_effective_gradient_norm",
    "train_loss_before",
    "peak_train_loss",
    "peak_train_error",
    "phase_a_epochs",
    "phase_b_epochs",
    "phase_a_loss_ratio",
    "start_train_error",
    "small_error_delay_epochs",
    "test_error_before",
    "test_error_after",
    "test_error_change",
    "circulation",
    "onset_lead",
    "peak_gradient_ratio",
    "largest_cosine_distance",
    "largest_jump_ratio",
)
"""The columns that `events_of` gives."""


def tabulate(runs: Sequence[RunInput], *, near_zero: str, resolution: str) -> pd.DataFrame:
    """Make a row per destabilisation; `perigee.analysis.periods` defines them.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys, and
    those of `events_of`. A run without destabilisations has no row.

    Args:
        runs: finished runs.
        near_zero: a key of `perigee.analysis.periods.FLOORS`, whose column identifies phase B.
        resolution: "epoch", or "step" for runs with the measure ``steps``.
    """
    tables = []
    for position, run in enumerate(runs):
        course = course_of(run, near_zero=near_zero, resolution=resolution)
        table = events_of(course, run.metrics())
        for column, value in reversed({"run": position, **run.labels()}.items()):
            table.insert(0, column, value)
        tables.append(table)
    filled = [table for table in tables if len(table)]
    return pd.concat(filled or tables[:1], ignore_index=True)


def events_of(course: Course, metrics: pd.DataFrame) -> pd.DataFrame:
    """The destabilisations of one run; a value is NaN where there is nothing to measure.

    All times and lengths are in epochs, whole ones unless the course is one of steps.

    Args:
        course: of the run.
        metrics: its metrics, a row per epoch.

    Returns:
        A row per destabilisation, in order:

        - ``number``, from 1, and ``consistent``, whether it belongs to the consistent stage;
        - ``loss_onset_epoch``, ``norm_onset_epoch``, ``loss_peak_epoch``, ``norm_peak_epoch``;
        - ``interval_epochs`` since the norm onset before, and the lengths ``phase_a_epochs`` and
          ``phase_b_epochs`` of the period that it ends (of the first one only phase B);
        - ``onset_weight_norm`` and ``peak_weight_norm``, rho;
        - ``onset_effective_learning_rate``, ``onset_effective_gradient_norm`` and
          ``onset_gradient_norm`` at the norm onset, and ``phase_b_effective_gradient_norm``, the
          median of phase B before;
        - ``train_loss_before``, the median over the last third of the fall of rho, and
          ``peak_train_loss``; the train error, if that identifies phase B;
        - ``peak_train_error`` after the epoch of the loss peak;
        - ``phase_a_loss_ratio``, the loss at the end of phase A over that at its start;
        - ``start_train_error`` after the epoch of the loss peak at which the period begins, and
          ``small_error_delay_epochs`` from the end of phase A to the first epoch of the period with
          a train error of at most `SMALL_ERROR`, or if there is none to the end of phase B;
        - ``test_error_before`` and ``test_error_after``, the median over the last third of phase B
          before and after it, and ``test_error_change``, their difference;
        - ``circulation``, the signed area that the period encloses in the plane of log effective
          learning rate and log effective gradient norm, positive counterclockwise;
        - of steps, else NaN: ``onset_lead``, the steps from the rise of the loss to that of rho by
          `perigee.analysis.periods.onset`, ``peak_gradient_ratio``, the effective gradient norm at
          the norm peak over the largest since the loss onset, ``largest_cosine_distance`` of a step
          from the loss onset to the norm peak, and ``largest_jump_ratio``, the largest cosine
          distance in phase C over the median in the last third of phase B.
    """
    rows = [
        _times(course, number)
        | _dynamics(course, number)
        | _losses_and_errors(course, number, metrics)
        for number in range(len(course.found))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"number": int, "consistent": bool})


def signed_area(x: Floats, y: Floats) -> float:
    """The area that a closed curve encloses, positive counterclockwise (the shoelace formula).

    Args:
        x, y: coordinates of its points, (points,); the last one is joined to the first. Points
            with a coordinate that is not finite are left out.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2) if len(x) > 2 else NAN


def onset_lead(course: Course, one: Destabilisation) -> float:
    """The positions from the rise of the loss to that of rho.

    Both are the place after which a signal stays above the same share of its rise in the logarithm.
    The loss rises from its level before and rho from its least value; noise of the loss thus does
    not make it lead. NaN where the norm is fixed.
    """
    if course.norm_is_fixed:
        return NAN
    lowest = float(course.weight_norm[one.norm_onset])
    rising = onset(course.weight_norm, one.fall_start, one.norm_peak, lowest)
    return float(rising - one.loss_onset)


def _times(course: Course, number: int) -> dict[str, Any]:
    one = course.found[number]
    before = course.found[number - 1] if number else None
    start, end = course.phases_b[number]
    time = course.time
    return {
        "number": number + 1,
        "consistent": number >= course.warm_up,
        "loss_onset_epoch": time(one.loss_onset),
        "norm_onset_epoch": time(one.norm_onset),
        "loss_peak_epoch": time(one.loss_peak),
        "norm_peak_epoch": time(one.norm_peak),
        "interval_epochs": time(one.norm_onset) - time(before.norm_onset) if before else NAN,
        "phase_a_epochs": time(before.norm_peak) - time(before.loss_peak) if before else NAN,
        "phase_b_epochs": time(end) - time(start),
    }


def _dynamics(course: Course, number: int) -> dict[str, float]:
    one = course.found[number]
    before = course.found[number - 1] if number else None
    start, end = course.phases_b[number]
    gradient, rate = course.effective_gradient_norm, course.effective_learning_rate
    norm = float(course.weight_norm[one.norm_onset])
    values = {
        "onset_weight_norm": norm,
        "peak_weight_norm": float(course.weight_norm[one.norm_peak]),
        "onset_effective_learning_rate": float(rate[one.norm_onset]),
        "onset_effective_gradient_norm": float(gradient[one.norm_onset]),
        "onset_gradient_norm": float(gradient[one.norm_onset]) / norm,
        "phase_b_effective_gradient_norm": median(gradient[start:end]),
    }
    if before is not None and not course.norm_is_fixed:
        period = slice(before.loss_peak, one.loss_peak + 1)
        values["circulation"] = signed_area(np.log(rate[period]), np.log(gradient[period]))
    if np.isfinite(course.cosine_distance[one.loss_peak]):
        distance = course.cosine_distance
        jump = float(np.max(distance[one.loss_onset : one.loss_peak + 1]))
        largest = float(np.max(gradient[one.loss_onset : one.norm_peak + 1]))
        at_peak = float(gradient[one.norm_peak]) / largest if largest > 0 else NAN
        late = median(distance[late_part(start, end)]) if end > start else NAN
        values |= {
            "onset_lead": onset_lead(course, one),
            "peak_gradient_ratio": NAN if course.norm_is_fixed else at_peak,
            "largest_cosine_distance": float(np.max(distance[one.loss_onset : one.norm_peak + 1])),
            "largest_jump_ratio": jump / late if late > 0 else NAN,
        }
    return values


def _losses_and_errors(course: Course, number: int, metrics: pd.DataFrame) -> dict[str, float]:
    one = course.found[number]
    before = course.found[number - 1] if number else None
    peak = math.ceil(course.time(one.loss_peak))
    phases = course.phases_b
    values = {
        "train_loss_before": one.level_before,
        "peak_train_loss": float(course.loss[one.loss_peak]),
        "peak_train_error": _at(metrics, "train_error", peak),
        "test_error_before": median_within(course, metrics, "test_error", phases[number]),
    }
    if number + 1 < len(phases):
        following = phases[number + 1]
        values["test_error_after"] = median_within(course, metrics, "test_error", following)
        values["test_error_change"] = values["test_error_after"] - values["test_error_before"]
    if before is not None:
        loss = course.loss
        values["phase_a_loss_ratio"] = float(loss[before.norm_peak] / loss[before.loss_peak])
        start, end = course.time(before.loss_peak), course.time(one.loss_onset)
        values["start_train_error"] = _at(metrics, "train_error", math.ceil(start))
        small = _first_small_error(metrics, start, end)
        values["small_error_delay_epochs"] = small - course.time(before.norm_peak)
    return values


def median_within(
    course: Course, metrics: pd.DataFrame, column: str, phase: tuple[int, int], *, late: bool = True
) -> float:
    """The median of a column of the metrics over the epochs of a phase, or over its last third.

    Args:
        course: of the run.
        metrics: a row per epoch.
        column: one of its columns.
        phase: positions in the course, the first and the first after it.
        late: only the last third.
    """
    if column not in metrics:
        return NAN
    start, end = course.epochs_within(*phase, late=late)
    epochs = metrics["epoch"].to_numpy(float)
    return median(metrics[column].to_numpy(float)[(epochs >= start) & (epochs < end)])


def median(values: Floats) -> float:
    """The median; NaN of no value."""
    return float(np.median(values)) if len(values) else NAN


def _at(metrics: pd.DataFrame, column: str, epoch: int) -> float:
    """The value of a column after an epoch; NaN if it has none."""
    if column not in metrics:
        return NAN
    rows = metrics.loc[metrics["epoch"] == epoch, column]
    return float(rows.iloc[0]) if len(rows) else NAN


def _first_small_error(metrics: pd.DataFrame, start: float, end: float) -> float:
    if "train_error" not in metrics:
        return NAN
    inside = (metrics["epoch"] >= start) & (metrics["epoch"] <= end)
    small = metrics.loc[inside & (metrics["train_error"] <= SMALL_ERROR), "epoch"]
    return float(small.iloc[0]) if len(small) else end
