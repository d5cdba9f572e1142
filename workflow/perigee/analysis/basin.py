"""Steps of a given angular update in a basin, for drawings (Wan et al. 2021, Figures 2 and 7).

The basin is f = sin^2 of the angle from its bottom: f(x, y) = x^2 / (x^2 + y^2) on the unit circle,
the function of Lobacheva et al. 2021, Figure 2. A step goes down by the angular update, whatever
the slope, as in equilibrium (Section 3); so it overshoots the bottom when it is near. Function and
start are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.layer_steps import Floats
from perigee.dynamics.equilibrium import (
    angular_update_after_decay,
    equilibrium_angular_update,
)


def tabulate(
    runs: Sequence[RunInput],
    *,
    learning_rates: Sequence[float],
    weight_decay: float,
    momentum: float,
    start: float,
    steps: int,
) -> pd.DataFrame:
    """Take steps in equilibrium, a row per learning rate and step.

    Args:
        runs: not used.
        learning_rates, weight_decay, momentum: eta, lambda and alpha, which settle the angular
            update (Theorem 3).
        start: the first angle from the bottom, in radians.
        steps: how many are taken at each rate.

    Returns:
        Columns learning_rate, step, angular_update, angle and value (f); steps + 1 rows a rate.
    """
    parts = []
    for rate in learning_rates:
        update = equilibrium_angular_update(rate, weight_decay, momentum)
        table = _descent(start, np.full(steps, update))
        table.insert(0, "learning_rate", rate)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def tabulate_after_decay(
    runs: Sequence[RunInput],
    *,
    learning_rate: float,
    factor: float,
    weight_decay: float,
    momentum: float,
    start: float,
    steps_before: int,
    steps_after: int,
) -> pd.DataFrame:
    """Take steps in equilibrium, and go on after a decay of the learning rate, a row per step.

    Args:
        runs: not used.
        learning_rate: eta before the decay.
        factor: k, by which it is divided.
        weight_decay, momentum: lambda and alpha.
        start: the first angle from the bottom, in radians.
        steps_before, steps_after: steps before and after the decay.

    Returns:
        Columns step (0 is the first after the decay), learning_rate, angular_update,
        equilibrium_angular_update, angle and value (f).
    """
    rates = np.repeat([learning_rate, learning_rate / factor], [steps_before, steps_after + 1])
    after = angular_update_after_decay(
        np.arange(steps_after + 1.0), factor, learning_rate / factor, weight_decay, momentum
    )
    before = equilibrium_angular_update(learning_rate, weight_decay, momentum)
    updates = np.concatenate([np.full(steps_before, before), after])
    table = _descent(start, updates[:-1])
    table["angular_update"] = updates
    table["step"] -= steps_before
    table.insert(1, "learning_rate", rates)
    theory = equilibrium_angular_update(rates, weight_decay, momentum)
    table.insert(3, "equilibrium_angular_update", theory)
    return table


def _descent(start: float, updates: Floats) -> pd.DataFrame:
    """Step down the slope by each angular update in turn; the last row has no step after it."""
    angles = [start]
    for update in updates:
        angles.append(angles[-1] - np.sign(angles[-1]) * update)
    angle = np.array(angles)
    return pd.DataFrame(
        {
            "step": np.arange(len(angle)),
            "angular_update": [*updates, np.nan],
            "angle": angle,
            "value": np.sin(angle) ** 2,
        }
    )
