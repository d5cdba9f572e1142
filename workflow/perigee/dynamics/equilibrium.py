"""The equilibrium of norm and angular update under SGD with weight decay and momentum.

Wan et al. 2021, "Spherical Motion Dynamics", Sections 3 and 4.2. The weights w of one
scale-invariant tensor are updated by v_t = alpha v_{t-1} + g_t + lambda w_t and
w_{t+1} = w_t - eta v_t, eqs. (10) and (11); alpha = 0 is SGD, eq. (7). The unit gradient is
||w_t|| g_t, and L the mean of its squared norm; with momentum, of ~h_t = ||w_t||^2 (||g_t||^2 +
2 alpha <v_{t-1}, g_t>). Arguments are floats or arrays of equal shape.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from perigee.dynamics.sphere import Number

Floats = NDArray[np.float64]


def equilibrium_norm(
    learning_rate: Number, weight_decay: float, unit_gradient: Number, momentum: float = 0.0
) -> Number:
    """w*, around which the weight norm oscillates (Theorem 1 for SGD, Theorem 2 with momentum).

    Args:
        learning_rate, weight_decay, momentum: eta, lambda, alpha.
        unit_gradient: L of the step before.
    """
    share = (1 - momentum) * (2 - learning_rate * weight_decay / (1 + momentum)) if momentum else 2
    norm: Number = (unit_gradient * learning_rate / (weight_decay * share)) ** 0.25
    return norm


def equilibrium_angular_update(
    learning_rate: Number, weight_decay: float, momentum: float = 0.0
) -> Number:
    """sqrt(2 lambda eta / (1 + alpha)), the angle of a step in radians (Theorem 3, eq. (14))."""
    angle: Number = (2 * weight_decay * learning_rate / (1 + momentum)) ** 0.5
    return angle


def approach_rate(learning_rate: float, weight_decay: float, momentum: float = 0.0) -> float:
    """2 lambda eta / (1 - alpha), the share of the mean squared error of ||w||^2 that a step takes.

    It is the vanishing term of eq. (8) for SGD and of eq. (12) with momentum.
    """
    return 2 * learning_rate * weight_decay / (1 - momentum)


def relative_variance_bound(
    learning_rate: float, weight_decay: float, unit_gradient: float, least: float, variance: float
) -> float:
    """4 V lambda eta / (L l), which bounds SGD's variance of ||w||^2 relative to (w*)^4, eq. (9).

    Args:
        learning_rate, weight_decay: eta and lambda.
        unit_gradient: L.
        least: l, a lower bound of the squared norm of the unit gradient.
        variance: V, an upper bound of its variance.
    """
    return 4 * variance * learning_rate * weight_decay / (unit_gradient * least)


def steps_to_new_equilibrium(
    factor: float, learning_rate: float, weight_decay: float, momentum: float = 0.0
) -> int:
    """The least number of steps to the equilibrium after a decay (Corollary 3.1).

    After that many steps `angular_update_after_decay` is 96 % of its new equilibrium where
    ``factor`` is 10.

    Args:
        factor: k > 1, by which the learning rate was divided.
        learning_rate: eta after the decay. The paper does not say which; with that before it the
            time would be k times shorter than the paper's experiments say (our reading).
        weight_decay, momentum: lambda and alpha.
    """
    return math.ceil(math.log(factor) / approach_rate(learning_rate, weight_decay, momentum))


def angular_update_after_decay(
    steps: Floats, factor: float, learning_rate: float, weight_decay: float, momentum: float = 0.0
) -> Floats:
    """The angular update after a decay, from one equilibrium to the next, for a constant L.

    Delta* [1 + (k - 1) exp(-4 lambda eta t / (1 - alpha))]^(-1/2). It is not in the paper. It
    follows from its eqs. (10) and (11) to first order in lambda eta, by which ||w||^4 goes from
    k (w*)^4 to (w*)^4 exponentially, since Delta is proportional to ||w||^(-2).

    Args:
        steps: t >= 0, steps since the decay.
        factor: k > 0, by which the learning rate was divided.
        learning_rate: eta after the decay.
        weight_decay, momentum: lambda and alpha.

    Returns:
        Radians, in the shape of ``steps``.
    """
    excess = (factor - 1) * np.exp(
        -2 * approach_rate(learning_rate, weight_decay, momentum) * steps
    )
    settled = equilibrium_angular_update(learning_rate, weight_decay, momentum)
    course: Floats = settled / np.sqrt(1 + excess)
    return course


def largest_decay(momentum: float) -> float:
    """(1 - sqrt(alpha))^2, below which lambda eta must be (assumption 5; 1 for SGD)."""
    return (1 - math.sqrt(momentum)) ** 2


def least_unit_gradient(learning_rate: float, weight_decay: float, momentum: float = 0.0) -> float:
    """The least squared unit gradient relative to L for which the theorems hold.

    Assumption 4 for SGD and 8 with momentum: l must be larger than this number times L.

    Returns:
        Infinity where no gradient is large enough.
    """
    decay = learning_rate * weight_decay
    if momentum:
        room = (1 - momentum) ** 3 * (1 + momentum) - 8 * decay * (1 - momentum)
        share = 6 * decay / room if room > 0 else math.inf
    else:
        share = 2 * decay / (1 - 2 * decay) if 2 * decay < 1 else math.inf
    return 2 * share**2


def largest_drift(learning_rate: float, weight_decay: float, variance: float) -> float:
    """4 sqrt(V) (lambda eta)^(3/2), the most that L may change in a step (assumptions 3 and 7)."""
    drift: float = 4 * math.sqrt(variance) * (learning_rate * weight_decay) ** 1.5
    return drift
