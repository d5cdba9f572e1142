"""Several scale-invariant groups on one sphere (Kodryan et al. 2022, Section 3.1, eqs. (3)-(5)).

Group i has the norm rho_i, the individual effective learning rate eta_i = eta / rho_i^2 and the
individual effective gradient norm g_i = rho_i * |grad_i F|. The last axis of an array has one entry
per group; other axes are kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTITIES = (
    "weight_norm",
    "gradient_norm",
    "effective_gradient_norm",
    "effective_learning_rate",
    "effective_step_size",
)
"""The names of rho_i, of the gradient norm, and of what follows from these for each group."""

MEAN, ROOT_MEAN_SQUARE = "mean", "rms"
"""The ends of the names of such quantities over steps."""


def total_effective_learning_rate(individual: Floats) -> Floats:
    """The total ELR of groups with these individual ELRs, eq. (3); shape (...)."""
    total: Floats = 1 / (1 / individual).sum(axis=-1)
    return total


def total_squared_effective_step_size(
    individual_rates: Floats, individual_gradient_norms: Floats
) -> Floats:
    """The squared total ESS as the convex combination of squared individual ones, eq. (4).

    Args:
        individual_rates: ELRs (..., groups).
        individual_gradient_norms: effective gradient norms (..., groups).

    Returns:
        (eta g)^2, shape (...).
    """
    weights = 1 / individual_rates
    weights = weights / weights.sum(axis=-1, keepdims=True)
    total: Floats = (weights * (individual_rates * individual_gradient_norms) ** 2).sum(axis=-1)
    return total


def next_individual_effective_learning_rates(
    individual_rates: Floats,
    individual_gradient_norms: Floats,
    squared_effective_step_size: Floats,
) -> Floats:
    """The individual ELRs after a step of projected gradient descent, eq. (5).

    Args:
        individual_rates, individual_gradient_norms: values before the step, (..., groups).
        squared_effective_step_size: the total squared ESS, (...).

    Returns:
        Shape (..., groups).
    """
    growth = 1 + squared_effective_step_size[..., None]
    return individual_rates * growth / (1 + (individual_rates * individual_gradient_norms) ** 2)
