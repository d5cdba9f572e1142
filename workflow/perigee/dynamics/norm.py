"""How the norm rho of the scale-invariant weights moves under SGD with weight decay."""

from __future__ import annotations

from perigee.dynamics.sphere import Number, effective_gradient_norm


def next_squared_norm(
    learning_rate: float, weight_decay: float, gradient_norm: Number, weight_norm: Number
) -> Number:
    """rho_{t+1}^2 after a step of SGD with weight decay (Lobacheva et al. 2021, eq. (3))."""
    effective_gradient = effective_gradient_norm(gradient_norm, weight_norm)
    return (1 - learning_rate * weight_decay) ** 2 * weight_norm**2 + (
        learning_rate * effective_gradient
    ) ** 2 / weight_norm**2
