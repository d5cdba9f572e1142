"""SGD with weight decay on f(x, y) = x^2 / (x^2 + y^2), a row per step, for a drawing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.toy import toy_gradient, toy_value
from perigee.errors import PerigeeError


def tabulate(
    runs: Sequence[RunInput],
    *,
    learning_rate: float,
    weight_decay: float,
    start: Sequence[float],
    steps: int,
) -> pd.DataFrame:
    """Compute points of the iteration x_{t+1} = (1 - eta * lambda) x_t - eta * grad f(x_t).

    Lobacheva et al. 2021, eq. (2) and Figure 2.

    Args:
        runs: not used.
        learning_rate, weight_decay: eta and lambda.
        start: the first point, (x, y).
        steps: how many steps are taken.

    Raises:
        PerigeeError: the start is the origin.

    Returns:
        Columns step, x, y, value (f), gradient_step_x, gradient_step_y (-eta grad f) and
        decay_step_x, decay_step_y (-eta lambda x); steps + 1 rows.
    """
    point = np.array(start, dtype=float)
    if not point.any():
        raise PerigeeError(
            "Analysis 'scale_invariant_steps': 'start' is the origin, where the function is not "
            "defined; give another point."
        )
    rows = []
    for step in range(steps + 1):
        gradient_step = -learning_rate * toy_gradient(point)
        decay_step = -learning_rate * weight_decay * point
        rows.append((step, *point, float(toy_value(point)), *gradient_step, *decay_step))
        point = point + gradient_step + decay_step
    columns = ["step", "x", "y", "value"]
    columns += [f"{kind}_step_{axis}" for kind in ("gradient", "decay") for axis in "xy"]
    return pd.DataFrame(rows, columns=columns)
