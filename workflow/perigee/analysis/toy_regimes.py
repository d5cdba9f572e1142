"""Projected gradient descent on the toy function with several effective learning rates."""

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
    iterations: int,
    seed: int,
) -> pd.DataFrame:
    """Compute F over iterations on the unit sphere (Kodryan et al. 2022, Section 3.2, Figure 2).

    Args:
        runs: not used.
        coefficients: alpha_i.
        effective_learning_rates: one trajectory each, all from the same random start.
        iterations: steps of each trajectory.
        seed: seed of the start, which is drawn uniformly from the sphere.

    Returns:
        Columns effective_learning_rate, iteration (from 0) and value (F).
    """
    alpha = np.array(coefficients, dtype=float)
    rows = []
    for rate in effective_learning_rates:
        points = random_point_on_sphere((len(alpha), 2), seed)
        for iteration in range(iterations + 1):
            rows.append((rate, iteration, combination_value(points, alpha)))
            gradient = combination_gradient(points, alpha)
            points = projected_gradient_step(points, gradient, rate)
    return pd.DataFrame(rows, columns=["effective_learning_rate", "iteration", "value"])
