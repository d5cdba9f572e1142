"""The tables of the toy function that claims are measured on: right, and able to be wrong.

Identities hold to round-off whatever the table does with them, so each is also tabulated with
dynamics that break it: its error column has to be what the broken dynamics make it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from perigee.analysis import (
    toy_convergence,
    toy_gradient_identities,
    toy_group_identities,
    toy_stabilisation,
)
from perigee.dynamics.toy import random_point_on_sphere

Floats = NDArray[np.float64]
COEFFICIENTS = (1, 2, 4)


def trajectory(rate: float, iterations: int, seed: int, coefficients: Any) -> list[Floats]:
    """Points of projected gradient descent, with partial derivatives written out."""
    alpha = np.array(coefficients, dtype=float)
    points = random_point_on_sphere((len(alpha), 2), seed)
    found = [points]
    for _ in range(iterations):
        x, y = points.T
        slope = 2 * alpha * x * y / (x * x + y * y) ** 2
        points = points - rate * np.column_stack((slope * y, -slope * x))
        points = points / math.sqrt((points * points).sum())
        found.append(points)
    return found


def value(points: Floats, coefficients: Any) -> float:
    x, y = points.T
    return float(np.array(coefficients) @ (x * x / (x * x + y * y)))


# Convergence


@pytest.mark.parametrize(("iterations", "bound"), [(25, 0.02), (6, 0.006)])
def test_a_start_converges_where_its_value_falls_below_the_bound(
    iterations: int, bound: float
) -> None:
    rates, starts = [0.1, 0.2], 6
    table = toy_convergence.tabulate(
        [],
        coefficients=COEFFICIENTS,
        effective_learning_rates=rates,
        starts=starts,
        iterations=iterations,
        converged_below=bound,
        seed=5,
    )
    assert list(table.columns) == [
        "effective_learning_rate",
        "start",
        "iterations",
        "value",
        "converged",
    ]
    pairs = list(itertools.product(rates, range(starts)))
    assert list(zip(table["effective_learning_rate"], table["start"], strict=True)) == pairs
    for row, (rate, start) in zip(table.itertuples(), pairs, strict=True):
        points = trajectory(rate, iterations, 5 + start, COEFFICIENTS)
        values = [value(each, COEFFICIENTS) for each in points]
        ends = next((i for i, v in enumerate(values) if v < bound), iterations)
        assert row.iterations == ends
        assert row.value == pytest.approx(values[ends], rel=1e-6)
        assert row.converged == (values[ends] < bound)
    # Otherwise the loop above would not have seen both.
    assert table["converged"].any()
    assert not table["converged"].all()


def test_nothing_converges_where_the_step_goes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def tabulate() -> pd.DataFrame:
        return toy_convergence.tabulate(
            [],
            coefficients=COEFFICIENTS,
            effective_learning_rates=[0.05],
            starts=3,
            iterations=400,
            converged_below=1e-6,
            seed=0,
        )

    assert tabulate()["converged"].all()
    right = toy_convergence.combination_gradient
    monkeypatch.setattr(toy_convergence, "combination_gradient", lambda *given: -right(*given))
    assert not tabulate()["converged"].any()


# The gradient's identities


def identities(points: int = 5, factors: tuple[float, ...] = (0.25, 3.0)) -> pd.DataFrame:
    return toy_gradient_identities.tabulate([], points=points, factors=factors, seed=1)


def test_the_identities_hold_to_round_off() -> None:
    table = identities(200)
    assert list(table.columns) == ["x", "y", "factor", "orthogonality_error", "scaling_error"]
    assert table["factor"].tolist() == [0.25] * 200 + [3.0] * 200
    first, second = (rows[["x", "y"]].to_numpy() for _, rows in table.groupby("factor"))
    assert np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) == 200
    assert table["orthogonality_error"].max() < 1e-15
    assert table["scaling_error"].max() < 1e-14


def test_the_errors_are_those_of_a_function_that_is_not_scale_invariant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def partial_derivatives(x: float, y: float) -> tuple[float, float]:
        """The derivatives of -x^2 / (x^2 + y^2 + 1), which falls with the norm."""
        squares = x * x + y * y + 1
        return -2 * x * (y * y + 1) / squares**2, 2 * x * x * y / squares**2

    def gradient(points: Floats) -> Floats:
        return np.array([partial_derivatives(x, y) for x, y in points])

    monkeypatch.setattr(toy_gradient_identities, "toy_gradient", gradient)
    table = identities()
    for row in table.itertuples():
        a = row.factor
        here = partial_derivatives(row.x, row.y)
        there = partial_derivatives(a * row.x, a * row.y)
        size = math.hypot(*here)
        inner = abs(here[0] * row.x + here[1] * row.y)
        assert row.orthogonality_error == pytest.approx(inner / size / math.hypot(row.x, row.y))
        difference = math.hypot(a * there[0] - here[0], a * there[1] - here[1])
        assert row.scaling_error == pytest.approx(difference / size)
    assert table["orthogonality_error"].min() > 1e-3
    assert table["scaling_error"].min() > 1e-3


# The equations of individual effective learning rates

EQUATIONS = ["equation_3_error", "equation_4_error", "equation_5_error"]


def groups() -> pd.DataFrame:
    return toy_group_identities.tabulate(
        [],
        coefficients=COEFFICIENTS,
        effective_learning_rates=[0.1, 0.5],
        iterations=20,
        seed=2,
    )


def test_the_equations_hold_to_round_off() -> None:
    table = groups()
    assert list(table.columns) == ["effective_learning_rate", "iteration", *EQUATIONS]
    assert table["effective_learning_rate"].tolist() == [0.1] * 20 + [0.5] * 20
    assert table["iteration"].tolist() == 2 * list(range(20))
    assert table[EQUATIONS].to_numpy().max() < 1e-12


def test_without_projection_equation_5_is_wrong_by_the_squared_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        toy_group_identities,
        "projected_gradient_step",
        lambda points, gradient, rate: points - rate * gradient,
    )
    table = groups()
    # Norms grow by 1 + (eta_i g_i)^2, which is (5) without its growth 1 + (eta g)^2. The first
    # point is on the unit sphere, where eta g = rate * |grad F|.
    for rate in (0.1, 0.5):
        points = random_point_on_sphere((3, 2), 2)
        x, y = points.T
        gradient = 2 * np.array(COEFFICIENTS) * np.abs(x * y) / (x * x + y * y) ** 1.5
        first = table[(table["effective_learning_rate"] == rate) & (table["iteration"] == 0)]
        expected = rate**2 * float(gradient @ gradient)
        assert first["equation_5_error"].item() == pytest.approx(expected, rel=1e-10)


def _skewed(points: Floats, coefficients: Floats) -> Floats:
    """A gradient that is not orthogonal to its point."""
    return coefficients[:, None] * points[:, ::-1] ** 2


@pytest.mark.parametrize(
    ("name", "replacement", "wrong"),
    [
        # (3) and (4) are the theorem of Pythagoras: they hold whatever the gradient is, so that
        # only a wrong formula breaks them.
        ("combination_gradient", _skewed, {"equation_5_error"}),
        (
            "total_effective_learning_rate",
            lambda rates: rates.mean(axis=-1),
            {"equation_3_error"},
        ),
        (
            "total_squared_effective_step_size",
            lambda rates, sizes: ((rates * sizes) ** 2).mean(axis=-1),
            {"equation_4_error", "equation_5_error"},
        ),
        (
            "next_individual_effective_learning_rates",
            lambda rates, sizes, squared: rates,
            {"equation_5_error"},
        ),
    ],
)
def test_what_is_broken_shows_in_the_error(
    name: str, replacement: Any, wrong: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_group_identities, name, replacement)
    largest = groups()[EQUATIONS].max()
    assert set(largest.index[largest > 1e-3]) == wrong
    assert largest.drop(list(wrong)).max() < 1e-12


# Proposition 1


def stabilisation(iterations: int) -> pd.DataFrame:
    return toy_stabilisation.tabulate(
        [],
        coefficients=COEFFICIENTS,
        rates_times_coefficient=[0.5, 2.0, 5.0],
        iterations=iterations,
        seed=3,
    )


def test_single_functions_end_where_the_proposition_says() -> None:
    table = stabilisation(1000)
    assert list(table.columns) == [
        "coefficient",
        "effective_learning_rate",
        "value",
        "predicted",
        "error",
    ]
    pairs = list(itertools.product(COEFFICIENTS, (0.5, 2.0, 5.0)))
    for row, (alpha, product) in zip(table.itertuples(), pairs, strict=True):
        assert row.coefficient == alpha
        assert row.effective_learning_rate == product / alpha
        expected = max(0.0, alpha / 2 * (1 - 1 / product))
        assert row.predicted == pytest.approx(expected, abs=1e-15)
        assert row.value == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert table["error"].max() < 1e-9


def test_the_error_is_the_distance_of_the_two_by_the_coefficient() -> None:
    table = stabilisation(3)
    for row in table.itertuples():
        last = trajectory(row.effective_learning_rate, 3, 3, (row.coefficient,))[-1]
        found = value(last, (row.coefficient,))
        assert row.value == pytest.approx(found, rel=1e-9)
        expected = abs(found - row.predicted) / row.coefficient
        assert row.error == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert table["error"].max() > 1e-2


def test_half_the_gradient_ends_at_another_value(monkeypatch: pytest.MonkeyPatch) -> None:
    right = toy_stabilisation.combination_gradient
    monkeypatch.setattr(
        toy_stabilisation, "combination_gradient", lambda *given: 0.5 * right(*given)
    )
    table = stabilisation(2000)
    # The products are 0.25, 1 and 2.5 in effect. At 1, on the border, descent is slow.
    errors = table["error"].to_numpy().reshape(3, 3)
    np.testing.assert_allclose(errors[:, 0], 0, atol=1e-9)
    assert (errors[:, 1] > 0.2).all()
    np.testing.assert_allclose(errors[:, 2], abs((1 - 1 / 2.5) - (1 - 1 / 5)) / 2, rtol=1e-8)
