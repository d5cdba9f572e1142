"""The norm rho of the scale-invariant weights under SGD with weight decay.

Lobacheva et al. 2021, Section 5, for SGD without momentum. l and L bound the effective gradient
norm, 0 <= l <= L. Propositions leave out terms of order (eta lambda)^2; with lambda (1 - eta lambda
/ 2) in place of lambda, kappa and the rate of decay below are exact.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from perigee.dynamics.sphere import Number, effective_gradient_norm


def next_squared_norm(
    learning_rate: float, weight_decay: float, gradient_norm: Number, weight_norm: Number
) -> Number:
    """rho_{t+1}^2 after a step of SGD with weight decay (Lobacheva et al. 2021, eq. (3))."""
    effective_gradient = effective_gradient_norm(gradient_norm, weight_norm)
    return (1 - learning_rate * weight_decay) ** 2 * weight_norm**2 + (
        learning_rate * effective_gradient
    ) ** 2 / weight_norm**2


def unprojected_log_norm(
    cosine_distance: NDArray[np.float64],
    learning_rate: NDArray[np.float64],
    weight_decay: float,
) -> NDArray[np.float64]:
    """Log(rho_t / rho_0) that the same turns of the weights would give a norm that is not fixed.

    A step of SGD without momentum shortens the weights by 1 - eta lambda and adds a tangential
    part. It so turns them by the angle with cosine 1 - delta and, where the norm is free,
    multiplies rho by (1 - eta lambda) / (1 - delta): eq. (3) of Lobacheva et al. 2021 with eq. (4)
    for the angle. The result tells how a fixed norm would have moved, and how a free one did.

    Args:
        cosine_distance: delta of each step, (steps,), less than 1.
        learning_rate: eta of each step, (steps,).
        weight_decay: lambda.

    Returns:
        The logarithm before each step, (steps,); it begins with 0.
    """
    growth = np.log1p(-learning_rate * weight_decay) - np.log1p(-cosine_distance)
    return np.concatenate(([0.0], np.cumsum(growth)[:-1]))


def exact_weight_decay(learning_rate: float, weight_decay: float) -> float:
    """Lambda (1 - eta lambda / 2), which in place of lambda makes the propositions exact.

    1 - 2 eta times it is the factor (1 - eta lambda)^2 of eq. (3).
    """
    return weight_decay * (1 - learning_rate * weight_decay / 2)


def equilibrium_squared_norm(
    learning_rate: Number, weight_decay: float, effective_gradient_bound: Number
) -> Number:
    """Kappa l with kappa = sqrt(eta / (2 lambda)): where rho^2 rests while the bound is attained.

    For l and L these are the ends of the interval that rho^2 settles in (Proposition 3, eq. (7)).

    Args:
        learning_rate: eta.
        weight_decay: lambda > 0.
        effective_gradient_bound: l or L.
    """
    rest: Number = (learning_rate / (2 * weight_decay)) ** 0.5 * effective_gradient_bound
    return rest


def settles_between(learning_rate: float, weight_decay: float, lower: float, upper: float) -> bool:
    """Return whether the condition of Proposition 3 holds: 2 eta lambda L <= l.

    By the proposition, rho^2 then ends up in [kappa l, kappa L]. To be exact, this needs
    2 eta lambda (l + L) <= l; between the two conditions rho^2 may exceed the interval by at most
    the factor 1 + 2 eta lambda.

    Args:
        learning_rate, weight_decay: eta and lambda.
        lower, upper: l and L.
    """
    return 2 * learning_rate * weight_decay * upper <= lower


def settling_time(
    learning_rate: float,
    weight_decay: float,
    upper: float,
    *,
    initial_squared_norm: float,
    tolerance: float,
) -> float:
    """The steps after which rho^2, coming from above, is at most (1 + tolerance) kappa L.

    This is the linear convergence of Proposition 3: rho^2 - kappa L shrinks at least by the factor
    1 - 2 eta lambda per step. Without the tolerance rho^2 might come ever nearer and never arrive.

    Args:
        learning_rate, weight_decay: eta and lambda.
        upper: L > 0.
        initial_squared_norm: rho_0^2.
        tolerance: > 0.

    Returns:
        Not rounded; 0 if rho_0^2 is there already; NaN if 2 eta lambda >= 1.
    """
    end = equilibrium_squared_norm(learning_rate, weight_decay, upper)
    return steps_of_decay(
        initial_squared_norm - end, tolerance * end, 2 * learning_rate * weight_decay
    )


def least_squared_norm(
    learning_rate: float,
    weight_decay: float,
    lower: float,
    *,
    initial_squared_norm: float,
    steps: int,
) -> float:
    """The least rho^2 after a number of steps (the proof of Proposition 2, eq. (5)).

    Above kappa l, rho^2 - kappa l shrinks at most by the factor 1 - 4 eta lambda per step.

    Args:
        learning_rate, weight_decay: eta and lambda, 4 eta lambda < 1.
        lower: l.
        initial_squared_norm: rho_0^2 > kappa l.
        steps: their number.
    """
    rest = equilibrium_squared_norm(learning_rate, weight_decay, lower)
    left = math.exp(steps * math.log1p(-4 * learning_rate * weight_decay))
    return rest + (initial_squared_norm - rest) * left


def steps_of_decay(start: float, end: float, rate: float) -> float:
    """The steps in which ``start`` shrinks to ``end`` > 0 if each removes the fraction ``rate``.

    Returns:
        Not rounded; 0 if ``start`` is not larger; NaN unless 0 < rate < 1.
    """
    if not 0 < rate < 1:
        return math.nan
    return math.log(start / end) / -math.log1p(-rate) if start > end else 0.0
