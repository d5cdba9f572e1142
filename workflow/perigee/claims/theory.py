"""How far a run keeps to the propositions of Lobacheva et al. 2021, for SGD without momentum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.claims.rows import of_one_run, run_of_rate
from perigee.dynamics.jumps import jump_squared_norm, minimal_jump_time
from perigee.dynamics.norm import equilibrium_squared_norm, next_squared_norm


def settled_fraction(
    table: pd.DataFrame, *, learning_rates: Sequence[float], weight_decay: float
) -> float:
    """The part of the run's second half that rho^2 spends in [kappa l, kappa L], eq. (7).

    The smallest of these rates' runs. l and L are the smallest and largest mean effective gradient
    norm of that half's epochs (our choice): single mini-batches range further, so the interval
    is narrower than the one Proposition 3 speaks of. Its condition, 2 eta lambda L <= l, is not
    asked for: the paper says that it is generally fulfilled with small eta lambda, which runs with
    destabilisations at laptop scale do not bear out (`perigee.dynamics.norm.settles_between`).

    Args:
        table: a row an epoch, columns ``weight_norm``, ``effective_gradient_norm`` and
            ``learning_rate``.
        learning_rates: of the runs that count.
        weight_decay: lambda of all of them.

    Returns:
        From 0 to 1; NaN if a value of a run is not finite.
    """
    fractions = []
    for rate in learning_rates:
        run = run_of_rate(table, rate)
        half = run.iloc[len(run) // 2 :]
        norm, gradient, eta = _floats(
            half, "weight_norm", "effective_gradient_norm", "learning_rate"
        )
        lowest = equilibrium_squared_norm(eta, weight_decay, gradient.min())
        highest = equilibrium_squared_norm(eta, weight_decay, gradient.max())
        inside = (lowest <= norm**2) & (norm**2 <= highest)
        fractions.append(float(inside.mean()) if np.isfinite(norm * gradient).all() else math.nan)
    return float(np.min(fractions))


def norm_prediction_error(table: pd.DataFrame, *, weight_decay: float) -> float:
    """How far rho^2 gets from what eq. (3) makes of its first value, relative to that.

    From the table's first step to its last, only the effective gradient norm of each step is taken
    from the run; the largest departure counts.

    Args:
        table: a row a step, columns ``weight_norm``, ``effective_gradient_norm`` and
            ``learning_rate``.
        weight_decay: lambda.

    Returns:
        At least 0; NaN with fewer than two steps, or if a value is not finite.
    """
    norm, gradient, rate = _floats(
        of_one_run(table), "weight_norm", "effective_gradient_norm", "learning_rate"
    )
    if len(norm) < 2:
        return math.nan
    predicted = np.empty_like(norm)
    predicted[0] = norm[0]
    for step in range(len(norm) - 1):
        here = predicted[step]
        predicted[step + 1] = math.sqrt(
            next_squared_norm(rate[step], weight_decay, gradient[step] / here, here)
        )
    return float(np.max(np.abs((norm / predicted) ** 2 - 1)))


def jump_condition_error(table: pd.DataFrame) -> float:
    """How far steps of phase B are from making just the jumps that Proposition 1 says.

    With l = L = the effective gradient norm of a step, the tightest bounds (Remark 1), eqs. (4a)
    and (4b) together say at which rho^2 its cosine distance is what it is. The largest relative
    departure of rho^2 from that counts. The terms that the proposition leaves out are 3/4 of the
    cosine distance and, with the other sign, eta lambda.

    Args:
        table: a row a step, columns ``phase``, ``weight_norm``, ``effective_gradient_norm``,
            ``learning_rate`` and ``cosine_distance``.

    Returns:
        At least 0; NaN without phases, or if a step does not move or is not finite.
    """
    norm, gradient, rate, distance = _steps_of_phase_b(table)
    if not (len(norm) and (gradient > 0).all() and (distance > 0).all()):
        return math.nan
    return float(np.max(np.abs(norm**2 / jump_squared_norm(rate, gradient, distance) - 1)))


def jump_delay(table: pd.DataFrame, *, weight_decay: float) -> float:
    """By how many steps the largest jump of phase B comes later than Proposition 2 allows.

    Delta is the largest cosine distance of phase B, time begins with the phase, and l and L are
    the smallest and largest effective gradient norm of its steps up to the jump. Negative if the
    jump comes sooner than t_min, eq. (5).

    Args:
        table: a row a step, columns ``phase``, ``weight_norm``, ``effective_gradient_norm``,
            ``learning_rate`` and ``cosine_distance``.
        weight_decay: lambda.

    Returns:
        Steps; NaN without phases, if a value is not finite, and where the proposition says
        nothing: its condition is not met, or so large a jump is possible at once.
    """
    norm, gradient, rate, distance = _steps_of_phase_b(table)
    if not (len(norm) and np.isfinite(norm * gradient * distance).all() and distance.max() > 0):
        return math.nan
    steps = int(np.argmax(distance))
    shortest = minimal_jump_time(
        rate[0],
        weight_decay,
        gradient[: steps + 1].min(),
        gradient[: steps + 1].max(),
        initial_squared_norm=norm[0] ** 2,
        cosine_distance=distance[steps],
    )
    return steps - shortest if shortest > 0 else math.nan


def _steps_of_phase_b(table: pd.DataFrame) -> list[np.ndarray]:
    """Rho, effective gradient norm, eta and cosine distance of each step."""
    table = of_one_run(table)
    columns = ("weight_norm", "effective_gradient_norm", "learning_rate", "cosine_distance")
    return _floats(table[table["phase"] == "B"], *columns)


def _floats(table: pd.DataFrame, *columns: str) -> list[np.ndarray]:
    return [table[column].to_numpy(dtype=float) for column in columns]
