"""Tables of the toy function on which the claims of regimes_fig2 hold, and others that lack it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from support.configured_claims import Pair, Place


def convergence(shares: Mapping[float, float]) -> pd.DataFrame:
    """The table of a given share of converging starts, out of ten, for each rate."""
    rows = [
        (rate, start, 200, 1e-7, True) if start < 10 * share else (rate, start, 5000, 0.3, False)
        for rate, share in shares.items()
        for start in range(10)
    ]
    columns = ["effective_learning_rate", "start", "iterations", "value", "converged"]
    return pd.DataFrame(rows, columns=columns)


def stabilisation(ends_above_the_threshold: Callable[[float, float], float]) -> pd.DataFrame:
    """The table of functions that end, above their threshold, at a value of alpha, alpha * ELR."""
    rows = []
    for alpha, product in itertools.product([1.0, 2.0, 4.0], [0.5, 0.9, 1.1, 2.0, 20.0]):
        predicted = max(0.0, (alpha - alpha / product) / 2)
        value = ends_above_the_threshold(alpha, product) if product > 1 else 1e-12
        rows.append((alpha, product / alpha, value, predicted, abs(value - predicted) / alpha))
    columns = ["coefficient", "effective_learning_rate", "value", "predicted", "error"]
    return pd.DataFrame(rows, columns=columns)


def group_identities(stride: int) -> pd.DataFrame:
    """Projected descent on the sum of alpha_i f(x_i, y_i), each pair ``stride`` from the next.

    With a stride of 2 the pairs are groups as in the paper; with 1 every pair shares a parameter
    with the next, so that only all together are scale-invariant.
    """
    alpha = (1.0, 2.0, 4.0)
    pairs = [slice(stride * i, stride * i + 2) for i in range(3)]
    rows = []
    for rate in (0.1, 0.5):
        point = np.random.default_rng(1).standard_normal(2 * stride + 2)
        point /= np.linalg.norm(point)
        for iteration in range(30):
            gradient = np.zeros_like(point)
            for coefficient, pair in zip(alpha, pairs, strict=True):
                x, y = point[pair]
                slope = 2 * coefficient * x * y / (x * x + y * y) ** 2
                gradient[pair] += slope * y, -slope * x
            squares = np.array([point[pair] @ point[pair] for pair in pairs])
            slopes = np.array([gradient[pair] @ gradient[pair] for pair in pairs])
            total_step = rate**2 * gradient @ gradient
            steps = rate**2 * slopes / squares
            combined = (squares * steps).sum() / squares.sum()
            point = point - rate * gradient
            point /= np.linalg.norm(point)
            found = rate / np.array([point[pair] @ point[pair] for pair in pairs])
            expected = rate / squares * (1 + combined) / (1 + steps)
            rows.append(
                (
                    rate,
                    iteration,
                    abs(1 / squares.sum() - 1),
                    abs(combined / total_step - 1),
                    np.abs(expected / found - 1).max(),
                )
            )
    errors = [f"equation_{number}_error" for number in (3, 4, 5)]
    return pd.DataFrame(rows, columns=["effective_learning_rate", "iteration", *errors])


def equilibrium(levels: Mapping[float, float], deviations: Mapping[float, float]) -> pd.DataFrame:
    """Values that come down to a level, of ten starts, and then vary around it at random."""
    rng = np.random.default_rng(0)
    iterations = np.arange(401)
    parts = []
    for rate, start in itertools.product(levels, range(10)):
        wobble = deviations[rate] * rng.standard_normal(len(iterations))
        value = np.abs(levels[rate] + 3 * 0.8**iterations + wobble)
        parts.append(
            pd.DataFrame(
                {
                    "effective_learning_rate": rate,
                    "start": start,
                    "iteration": iterations,
                    "value": value,
                    "relative_value": value / ((7 - 1 / rate) / 2),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


LEVELS = {0.15: 1 / 6, 0.2: 1.0, 0.5: 2.5}
DEVIATIONS = {0.15: 0.01, 0.2: 0.02, 0.5: 0.7}


def of_levels(levels: Mapping[float, float], deviations: Mapping[float, float]) -> Pair:
    changed = {**LEVELS, **levels}, {**DEVIATIONS, **deviations}
    return partial(equilibrium, LEVELS, DEVIATIONS), partial(equilibrium, *changed)


OF_GROUPS = (partial(group_identities, 2), partial(group_identities, 1))


def of_starts(shares: Mapping[float, float]) -> Pair:
    usual = {0.1: 1.0, 0.1425: 0.9, 0.1435: 0.0}
    return partial(convergence, usual), partial(convergence, {**usual, **shares})


TABLES: dict[Place, Pair] = {
    ("regimes_fig2", "converges_below_the_threshold"): of_starts({0.1: 0.6}),
    ("regimes_fig2", "can_converge_just_below_the_threshold"): of_starts({0.1425: 0.2}),
    ("regimes_fig2", "never_converges_above_the_threshold"): of_starts({0.1435: 0.1}),
    # It converges to the minimum whatever the rate is.
    ("regimes_fig2", "single_function_stabilises_at_the_predicted_value"): (
        partial(stabilisation, lambda alpha, product: (alpha - alpha / product) / 2 + 1e-9),
        partial(stabilisation, lambda alpha, product: 1e-12),
    ),
    ("regimes_fig2", "total_rate_from_individual_rates"): OF_GROUPS,
    ("regimes_fig2", "total_step_is_a_convex_combination"): OF_GROUPS,
    ("regimes_fig2", "negative_feedback_of_individual_rates"): OF_GROUPS,
    # It converges after all, or walks at random: the mean over the sphere is 7 / 2.
    ("regimes_fig2", "second_regime_has_its_level"): of_levels({0.2: 3.5}, {0.2: 1.0}),
    ("regimes_fig2", "second_regime_has_its_level_just_above_the_threshold"): of_levels(
        {0.15: 0.0}, {}
    ),
    # It goes round its level as closely as at 0.2.
    ("regimes_fig2", "largest_rate_is_the_most_chaotic"): of_levels({}, {0.5: 0.01}),
}
