"""How far a step of SGD turns the weights: delta-jumps (Lobacheva et al. 2021, Section 5.1)."""

from __future__ import annotations

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
