"""Quantities that compare a run of SGD without momentum with theory (Lobacheva et al. 2021)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from perigee.claims.rows import of_one_run
from perigee.dynamics.jumps import jump_squared_norm
from perigee.dynamics.norm import next_squared_norm


def norm_prediction_error(table: pd.DataFrame, *, weight_decay: float) -> float:
    """The largest relative error of rho^2 as eq. (3) predicts it from its first value.

    From the table's first step to its last, the prediction takes only the effective gradient norm
    of each step from the run.

    Args:
        table: a row per step, columns ``weight_norm``, ``effective_gradient_norm`` and
            ``learning_rate``.
        weight_decay: lambda.

    Returns:
        The error, at least 0; NaN with fewer than two steps, or if a value is not finite.
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
    """The largest relative error of Proposition 1 in the steps of phase B.

    With the tightest bounds, l = L = the effective gradient norm of a step (Remark 1), eqs. (4a)
    and (4b) together determine rho^2 from the step's cosine distance. The largest relative
    difference of the actual rho^2 from this value counts. The terms that the proposition leaves out
    are 3/4 of the cosine distance and, with the other sign, eta lambda.

    Args:
        table: a row per step, columns ``phase``, ``weight_norm``, ``effective_gradient_norm``,
            ``learning_rate`` and ``cosine_distance``.

    Returns:
        The error, at least 0; NaN without phases, or if a step does not move or is not finite.
    """
    norm, gradient, rate, distance = _steps_of_phase_b(table)
    if not (len(norm) and (gradient > 0).all() and (distance > 0).all()):
        return math.nan
    return float(np.max(np.abs(norm**2 / jump_squared_norm(rate, gradient, distance) - 1)))


def _steps_of_phase_b(table: pd.DataFrame) -> list[np.ndarray]:
    """The rho, effective gradient norm, eta and cosine distance of each step of phase B."""
    table = of_one_run(table)
    columns = ("weight_norm", "effective_gradient_norm", "learning_rate", "cosine_distance")
    return _floats(table[table["phase"] == "B"], *columns)


def _floats(table: pd.DataFrame, *columns: str) -> list[np.ndarray]:
    return [table[column].to_numpy(dtype=float) for column in columns]
