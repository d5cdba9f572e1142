"""Convergence of the toy function from random starts, near the border of the first regime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.toy import (
    combination_gradient,
    combination_value,
    projected_gradient_step,
    random_point_on_sphere,
)


def tabulate(
    runs: Sequence[RunInput],
    *,
    coefficients: Sequence[float],
    effective_learning_rates: Sequence[float],
    starts: int,
    iterations: int,
    converged_below: float,
    seed: int,
) -> pd.DataFrame:
    """Test whether F converges to its minimum 0 (Kodryan et al. 2022, eq. (8)).

    Args:
        runs: not used.
        coefficients: alpha_i.
        effective_learning_rates: each is tried from all starts.
        starts: number of random points on the unit sphere.
        iterations: a trajectory that has not converged by then counts as not converging.
        converged_below: the value of F that counts as converged; the trajectory ends there.
        seed: seed of the first start; the next ones give the others.

    Returns:
        Columns effective_learning_rate, start, iterations, value and converged.
    """
    alpha = np.array(coefficients, dtype=float)
    rows = []
    for rate in effective_learning_rates:
        for start in range(starts):
            points = random_point_on_sphere((len(alpha), 2), seed + start)
            done = 0
            while (value := combination_value(points, alpha)) >= converged_below:
                if done == iterations:
                    break
                points = projected_gradient_step(points, combination_gradient(points, alpha), rate)
                done += 1
            rows.append((rate, start, done, value, value < converged_below))
    columns = ["effective_learning_rate", "start", "iterations", "value", "converged"]
    return pd.DataFrame(rows, columns=columns)
