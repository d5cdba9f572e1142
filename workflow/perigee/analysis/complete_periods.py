"""All complete periods of several runs, a row per period, from the measure of every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.courses import Course, course_of_steps
from perigee.analysis.destabilisations import onset_lead
from perigee.analysis.inputs import RunInput
from perigee.analysis.one_period import described_steps, window_of, with_bounds
from perigee.analysis.periods import Floats, find_periods
from perigee.dynamics.jumps import jump_squared_norm
from perigee.dynamics.norm import (
    equilibrium_squared_norm,
    exact_weight_decay,
    least_squared_norm,
)

NAN = math.nan

LAST_TENTH = 10
"""The last part of phase B, a tenth, whose steps tell how far a jump goes."""

COLUMNS = (
    "number",
    "consistent",
    "start_epoch",
    "end_epoch",
    "phase_a_steps",
    "phase_b_steps",
    "phase_c_steps",
    "cosine_distance_growth",
    "lower_bound_growth",
    "upper_bound_growth",
    "share_within_bounds",
    "jump_norm_ratio",
    "onset_lead",
)
"""The columns that `periods_of` gives."""


def tabulate(runs: Sequence[RunInput], *, smoothing_epochs: int) -> pd.DataFrame:
    """Make a row per complete period (Lobacheva et al. 2021, Section 5.1 and Figure 4).

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys, and
    those of `periods_of`. A run without a complete period has no row.

    Args:
        runs: runs of SGD without momentum that have the measure ``steps``.
        smoothing_epochs: width of all running windows, in epochs.
    """
    tables = []
    for position, run in enumerate(runs):
        window = window_of(run, smoothing_epochs)
        decay = NAN if run.weight_decay is None or run.momentum else run.weight_decay
        table = periods_of(course_of_steps(run), described_steps(run, window), window, decay)
        for column, value in reversed({"run": position, **run.labels()}.items()):
            table.insert(0, column, value)
        tables.append(table)
    filled = [table for table in tables if len(table)]
    return pd.concat(filled or tables[:1], ignore_index=True)


def periods_of(
    course: Course, steps: pd.DataFrame, window: int, weight_decay: float
) -> pd.DataFrame:
    """The complete periods of one run.

    Args:
        course: of its steps.
        steps: the steps, with the columns of `perigee.analysis.one_period.described_steps`.
        window: width of all running windows, in steps.
        weight_decay: lambda of SGD without momentum; NaN of another optimiser.

    Returns:
        A row per period, in order: ``number`` from 1; ``consistent``, whether both destabilisations
        belong to the consistent stage; ``start_epoch`` and ``end_epoch``, those of the two loss
        peaks; ``phase_a_steps``, ``phase_b_steps`` and ``phase_c_steps``, the lengths;
        ``cosine_distance_growth``, ``lower_bound_growth`` and ``upper_bound_growth``, the factors
        by which the trend of the cosine distance and its bounds delta_min and delta_max grow over
        the second half of phase B (`late_growth`); ``share_within_bounds``, the share of the steps
        of phase B whose cosine distance lies between the bounds, which are smooth;
        ``jump_norm_ratio``, see the function; and ``onset_lead``, the steps from the rise of the
        loss to that of rho at the period's end.
    """
    rows: list[dict[str, Any]] = []
    for number, period in enumerate(find_periods(course.found)):
        phase_b = with_bounds(steps.iloc[period.falling : period.rising], window)
        distance, lower, upper = (
            phase_b[name].to_numpy(float)
            for name in ("cosine_distance", "lower_bound", "upper_bound")
        )
        inside = (lower <= distance) & (distance <= upper)
        rows.append(
            {
                "number": number + 1,
                "consistent": number >= course.warm_up,
                "start_epoch": course.time(period.start),
                "end_epoch": course.time(period.end),
                "phase_a_steps": period.falling - period.start,
                "phase_b_steps": period.rising - period.falling,
                "phase_c_steps": period.end - period.rising,
                "cosine_distance_growth": late_growth(phase_b["cosine_distance_trend"].to_numpy()),
                "lower_bound_growth": late_growth(lower),
                "upper_bound_growth": late_growth(upper),
                "share_within_bounds": float(inside.mean()) if len(inside) else NAN,
                "jump_norm_ratio": jump_norm_ratio(phase_b, weight_decay),
                "onset_lead": onset_lead(course, course.found[number + 1]),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"number": int, "consistent": bool})


def jump_norm_ratio(phase_b: pd.DataFrame, weight_decay: float) -> float:
    """How much larger rho^2 may be than it must be at the first jump of a phase B.

    A jump goes as far as the median step of the phase's last tenth: its cosine distance exceeds
    that one's, delta. Time begins where the trend of the cosine distance is smallest. At the first
    jump from there rho^2 is at most eta L / sqrt(2 delta), by eq. (4a) of Lobacheva et al. 2021,
    and at least `perigee.dynamics.norm.least_squared_norm`, by which Proposition 2 bounds the
    jump's time: l and L bound the effective gradient norm of every step up to it. With
    L / (1 - eta lambda) for L and `exact_weight_decay` both hold exactly, so that the ratio of the
    two is at least 1. It compares rho^2 and not times, since near kappa l times change by many
    steps where rho^2 changes by rounding.

    Args:
        phase_b: the steps, with the columns of `perigee.analysis.one_period.with_bounds`.
        weight_decay: lambda.

    Returns:
        The ratio; NaN where the proposition says nothing: so large a jump is possible at once, or
        rho^2 is below kappa l; without a jump, or if the learning rate changes before it.
    """
    columns = ("cosine_distance", "effective_gradient_norm", "weight_norm", "learning_rate")
    distance, gradient, norm, rates = (phase_b[name].to_numpy(float) for name in columns)
    if not (weight_decay > 0 and len(distance)):
        return NAN
    delta = float(np.median(distance[-max(1, len(distance) // LAST_TENTH) :]))
    start = int(np.argmin(phase_b["cosine_distance_trend"].to_numpy(float)))
    jumps = np.flatnonzero(distance[start:] > delta)
    if not (len(jumps) and delta > 0):
        return NAN
    before = slice(start, start + int(jumps[0]) + 1)
    rate, initial = float(rates[start]), float(norm[start]) ** 2
    lower, upper = float(np.min(gradient[before])), float(np.max(gradient[before]))
    decay = exact_weight_decay(rate, weight_decay)
    possible = jump_squared_norm(rate, upper / (1 - rate * weight_decay), delta)
    is_bound = equilibrium_squared_norm(rate, decay, lower) < initial > possible
    if not is_bound or np.ptp(rates[before]) > 0:
        return NAN
    least = least_squared_norm(
        rate, decay, lower, initial_squared_norm=initial, steps=int(jumps[0])
    )
    return possible / least


def late_growth(values: Floats) -> float:
    """The factor by which values grow over their second half.

    It is that of a straight line fitted to the logarithm by least squares; NaN of fewer than two
    values there, or if one is not positive.
    """
    second_half = np.asarray(values, float)[len(values) // 2 :]
    if len(second_half) < 2 or not (second_half > 0).all():
        return math.nan
    time = np.linspace(0, 1, len(second_half))
    slope, _ = np.polyfit(time, np.log(second_half), 1)
    return float(np.exp(slope))
