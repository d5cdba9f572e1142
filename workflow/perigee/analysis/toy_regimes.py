"""Projected gradient descent on the toy function with several effective learning rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.toy import (
    combination_gradient,
    combination_value,
    equilibrium_value,
    projected_gradient_step,
    random_point_on_sphere,
)


def tabulate(
    runs: Sequence[RunInput],
    *,
    coefficients: Sequence[float],
    effective_learning_rates: Sequence[float],
    iterations: int,
    starts: int,
    seed: int,
) -> pd.DataFrame:
    """Compute F over iterations on the unit sphere (Kodryan et al. 2022, Section 3.2, Figure 2).

    Args:
        runs: not used.
        coefficients: alpha_i.
        effective_learning_rates: one trajectory each, all from the same random starts.
        iterations: steps of each trajectory.
        starts: number of starts, which are drawn uniformly from the sphere.
        seed: seed of the first start; the next ones give the others.

    Returns:
        Columns effective_learning_rate, start, iteration (both from 0), value (F), and
        relative_value, F over `perigee.dynamics.toy.equilibrium_value`, NaN in the first regime.
    """
    alpha = np.array(coefficients, dtype=float)
    rows = []
    for rate in effective_learning_rates:
        level = equilibrium_value(alpha, rate) or np.nan
        for start in range(starts):
            points = random_point_on_sphere((len(alpha), 2), seed + start)
            for iteration in range(iterations + 1):
                value = combination_value(points, alpha)
                rows.append((rate, start, iteration, value, value / level))
                gradient = combination_gradient(points, alpha)
                points = projected_gradient_step(points, gradient, rate)
    columns = ["effective_learning_rate", "start", "iteration", "value", "relative_value"]
    return pd.DataFrame(rows, columns=columns)
