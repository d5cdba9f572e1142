"""Delta-jumps: how far a step of SGD turns the weights (Lobacheva et al. 2021, Section 5.1).

A step makes a delta-jump if the cosine distance of the weights before and after it exceeds delta
(Definition 1). l and L bound the effective gradient norm, 0 <= l <= L; the times are for SGD with
weight decay and without momentum.
"""

from __future__ import annotations

import math

from perigee.dynamics.norm import equilibrium_squared_norm, steps_of_decay
from perigee.dynamics.sphere import Number, effective_learning_rate


def cosine_distance_bound(
    learning_rate: Number, effective_gradient_bound: Number, weight_norm: Number
) -> Number:
    """eta^2 l^2 / (2 rho^4), the cosine distance of a step with effective gradient norm l.

    With a lower bound l of the effective gradient norm this is delta_min, with an upper bound L
    delta_max (from eqs. (4b) and (4a)); exact to first order in small steps without weight decay.

    Args:
        learning_rate: eta.
        effective_gradient_bound: l or L.
        weight_norm: rho.
    """
    return (
        0.5 * (effective_learning_rate(learning_rate, weight_norm) * effective_gradient_bound) ** 2
    )


def jump_squared_norm(
    learning_rate: Number, effective_gradient_bound: Number, cosine_distance: Number
) -> Number:
    """Eta l / sqrt(2 delta), the rho^2 at which a step's cosine distance is delta (Proposition 1).

    For an upper bound L of the effective gradient norm, a delta-jump is possible only below this
    rho^2 (eq. (4a)); for a lower bound l it is certain below it (eq. (4b)); both to first order in
    delta and eta lambda.

    Args:
        learning_rate: eta.
        effective_gradient_bound: l or L.
        cosine_distance: delta > 0.
    """
    squared: Number = learning_rate * effective_gradient_bound / (2 * cosine_distance) ** 0.5
    return squared


def minimal_jump_time(
    learning_rate: float,
    weight_decay: float,
    lower: float,
    upper: float,
    *,
    initial_squared_norm: float,
    cosine_distance: float,
) -> float:
    """The time t_min: no delta-jump happens in fewer steps (Proposition 2, eq. (5)).

    It needs rho_0^2 > kappa l, and eta L / sqrt(2 delta) > kappa l, or its logarithms do not exist.
    The latter is delta < eta lambda L^2 / l^2; that condition is garbled in our text of the paper,
    so it is derived here. As delta approaches this limit, t_min grows without bound.

    Args:
        learning_rate, weight_decay: eta and lambda.
        lower, upper: l and L.
        initial_squared_norm: rho_0^2, where the time begins, at the start of phase B, say.
        cosine_distance: delta > 0.

    Returns:
        Not rounded; 0 if a jump is possible at once; NaN if a condition is not met or
        4 eta lambda >= 1.
    """
    rest = equilibrium_squared_norm(learning_rate, weight_decay, lower)
    possible = jump_squared_norm(learning_rate, upper, cosine_distance)
    if not (initial_squared_norm > rest and possible > rest):
        return math.nan
    return steps_of_decay(
        initial_squared_norm - rest, possible - rest, 4 * learning_rate * weight_decay
    )


def maximal_jump_time(
    learning_rate: float,
    weight_decay: float,
    lower: float,
    upper: float,
    *,
    initial_squared_norm: float,
    cosine_distance: float,
) -> float:
    """The time t_max: a delta-jump has happened after that many steps (Proposition 2, eq. (6)).

    It needs rho_0^2 > kappa L, and delta < eta lambda l^2 / L^2, that is,
    eta l / sqrt(2 delta) > kappa L. As delta approaches this limit, t_max grows without bound.

    Args:
        learning_rate, weight_decay: eta and lambda.
        lower, upper: l and L.
        initial_squared_norm: rho_0^2, where the time begins.
        cosine_distance: delta > 0.

    Returns:
        Not rounded; 0 if a jump is certain at once; NaN if a condition is not met or
        2 eta lambda >= 1.
    """
    rest = equilibrium_squared_norm(learning_rate, weight_decay, upper)
    certain = jump_squared_norm(learning_rate, lower, cosine_distance)
    if not (initial_squared_norm > rest and certain > rest):
        return math.nan
    return steps_of_decay(
        initial_squared_norm - rest, certain - rest, 2 * learning_rate * weight_decay
    )
