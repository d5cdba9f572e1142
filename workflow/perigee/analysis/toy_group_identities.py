"""The equations of individual effective learning rates, along trajectories of the toy function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.groups import (
    next_individual_effective_learning_rates,
    total_effective_learning_rate,
    total_squared_effective_step_size,
)
from perigee.dynamics.toy import (
    combination_gradient,
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
    """Measure relative errors of eqs. (3), (4) and (5) of Kodryan et al. 2022 in every iteration.

    Left sides are measured on the trajectory: total ELR and ESS from all parameters together,
    individual ones group by group, the next individual ELRs from the next point's norms.

    Args:
        runs: not used.
        coefficients: alpha_i.
        effective_learning_rates: one trajectory each, all from the same random start.
        iterations: steps of each trajectory.
        seed: seed of the start.

    Returns:
        Columns effective_learning_rate, iteration, equation_3_error, equation_4_error and
        equation_5_error (the largest of all groups).
    """
    alpha = np.array(coefficients, dtype=float)
    rows = []
    for rate in effective_learning_rates:
        points = random_point_on_sphere((len(alpha), 2), seed)
        for iteration in range(iterations):
            gradient = combination_gradient(points, alpha)
            norms = np.linalg.norm(points, axis=1)
            rates = rate / norms**2
            gradient_norms = norms * np.linalg.norm(gradient, axis=1)
            total_rate = rate / np.linalg.norm(points) ** 2
            total_step = total_rate * np.linalg.norm(points) * np.linalg.norm(gradient)
            squared = total_squared_effective_step_size(rates, gradient_norms)
            expected = next_individual_effective_learning_rates(rates, gradient_norms, squared)
            points = projected_gradient_step(points, gradient, rate)
            found = rate / np.linalg.norm(points, axis=1) ** 2
            rows.append(
                (
                    rate,
                    iteration,
                    abs(total_effective_learning_rate(rates) / total_rate - 1),
                    abs(squared / total_step**2 - 1),
                    np.abs(expected / found - 1).max(),
                )
            )
    errors = [f"equation_{number}_error" for number in (3, 4, 5)]
    return pd.DataFrame(rows, columns=["effective_learning_rate", "iteration", *errors])
