"""The value at which the single function alpha x^2 / (x^2 + y^2) stabilises, by learning rate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.toy import (
    combination_gradient,
    combination_value,
    projected_gradient_step,
    random_point_on_sphere,
    stable_value,
)


def tabulate(
    runs: Sequence[RunInput],
    *,
    coefficients: Sequence[float],
    rates_times_coefficient: Sequence[float],
    iterations: int,
    seed: int,
) -> pd.DataFrame:
    """Compare the last values of gradient descent on the unit circle with those of Proposition 1.

    Kodryan et al. 2022, Proposition 1.

    Args:
        runs: not used.
        coefficients: alpha; each is tried with each rate.
        rates_times_coefficient: ELR times alpha; the border is at 1.
        iterations: steps of each trajectory.
        seed: seed of the start, the same for all.

    Returns:
        Columns coefficient, effective_learning_rate, value, predicted, and error, the difference
        of the two divided by alpha.
    """
    rows = []
    for alpha, product in itertools.product(coefficients, rates_times_coefficient):
        rate = product / alpha
        points = random_point_on_sphere((1, 2), seed)
        coefficient = np.array([alpha], dtype=float)
        for _ in range(iterations):
            gradient = combination_gradient(points, coefficient)
            points = projected_gradient_step(points, gradient, rate)
        value, predicted = combination_value(points, coefficient), stable_value(alpha, rate)
        rows.append((alpha, rate, value, predicted, abs(value - predicted) / alpha))
    columns = ["coefficient", "effective_learning_rate", "value", "predicted", "error"]
    return pd.DataFrame(rows, columns=columns)
