"""perigee.analysis.toy_regimes against an independent loop, and the regimes themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from perigee.analysis import toy_regimes
from perigee.dynamics.toy import random_point_on_sphere

COEFFICIENTS = (1, 2, 4)
"""alpha_i = 2^i of Kodryan et al. 2022, Figure 2; convergence only below 1 / 7."""


def table(rates: list[float], iterations: int, seed: int, starts: int = 1) -> pd.DataFrame:
    return toy_regimes.tabulate(
        [],
        coefficients=COEFFICIENTS,
        effective_learning_rates=rates,
        iterations=iterations,
        starts=starts,
        seed=seed,
    )


def independent_values(rate: float, iterations: int, seed: int) -> list[float]:
    """The same by autograd, starting from the same point."""
    theta = torch.tensor(random_point_on_sphere((3, 2), seed), requires_grad=True)
    alpha = torch.tensor(COEFFICIENTS, dtype=torch.float64)
    values = []
    for _ in range(iterations + 1):
        value = (alpha * theta[:, 0] ** 2 / (theta[:, 0] ** 2 + theta[:, 1] ** 2)).sum()
        values.append(value.item())
        (gradient,) = torch.autograd.grad(value, theta)
        with torch.no_grad():
            stepped = theta - rate * gradient
            theta = (stepped / stepped.norm()).requires_grad_()
    return values


def test_rows_are_the_iterations_of_an_independent_loop() -> None:
    found = table([0.1, 0.2, 0.5], 20, seed=3)
    columns = ["effective_learning_rate", "start", "iteration", "value", "relative_value"]
    assert list(found.columns) == columns
    assert found["effective_learning_rate"].tolist() == [0.1] * 21 + [0.2] * 21 + [0.5] * 21
    assert found["iteration"].tolist() == 3 * list(range(21))
    for rate, rows in found.groupby("effective_learning_rate"):
        # Chaos amplifies rounding errors; over these few steps it cannot reach the sixth digit.
        np.testing.assert_allclose(rows["value"], independent_values(rate, 20, 3), rtol=1e-6)


def test_all_rates_start_from_one_point_that_the_seed_settles() -> None:
    def starts(seed: int) -> set[float]:
        found = table([0.1, 0.2, 0.5], 1, seed)
        return set(found.loc[found["iteration"] == 0, "value"])

    assert len(starts(0)) == 1
    assert starts(0) == starts(0) != starts(1)


def test_further_starts_are_those_of_the_next_seeds() -> None:
    found = table([0.1, 0.5], 5, seed=3, starts=2)
    assert found["start"].tolist() == 2 * ([0] * 6 + [1] * 6)
    for start in (0, 1):
        other = table([0.1, 0.5], 5, seed=3 + start)
        assert found.loc[found["start"] == start, "value"].tolist() == other["value"].tolist()


def test_values_are_told_relative_to_the_level_of_the_second_regime() -> None:
    found = table([0.1, 0.2, 0.25], 3, seed=0)
    levels = found["effective_learning_rate"].map({0.1: np.nan, 0.2: 1.0, 0.25: 1.5})
    np.testing.assert_allclose(found["relative_value"], found["value"] / levels)


@pytest.mark.parametrize("seed", range(3))
def test_the_regimes(seed: int) -> None:
    found = table([0.1, 0.2, 0.5], 2000, seed)
    late = found[found["iteration"] > 1000].groupby("effective_learning_rate")["value"]
    # First regime: below 1 / 7 it converges to the minimum, 0.
    assert late.max()[0.1] < 1e-12
    # Second and third: above, at least one function exceeds its own threshold by Proposition 1
    # and eq. (3), so the sum cannot vanish.
    assert late.min()[0.2] > 1e-2
    assert late.min()[0.5] > 1e-3
    assert late.max()[0.5] <= sum(COEFFICIENTS)
    # More chaos at the higher rate.
    assert late.std()[0.5] > late.std()[0.2]
    assert late.mean()[0.5] > late.mean()[0.2] > 0
