"""Two identities of the gradient of f(x, y) = x^2 / (x^2 + y^2), at random points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.toy import toy_gradient


def tabulate(
    runs: Sequence[RunInput], *, points: int, factors: Sequence[float], seed: int
) -> pd.DataFrame:
    """How far <grad f(x), x> = 0 and grad f(a x) = grad f(x) / a fail to hold.

    Lobacheva et al. 2021, Section 2, eqs. (1a) and (1b).

    Args:
        runs: none are needed.
        points: how many, drawn from the plane's standard normal distribution.
        factors: a, by which each point is scaled.
        seed: of the points.

    Returns:
        Columns x, y, factor, orthogonality_error = |<grad f(x), x>| / (|grad f(x)| |x|) and
        scaling_error = |a grad f(a x) - grad f(x)| / |grad f(x)|; a row a point and factor.
    """
    drawn = np.random.default_rng(seed).standard_normal((points, 2))
    gradient = toy_gradient(drawn)
    length = np.linalg.norm(gradient, axis=1)
    inner = np.abs((gradient * drawn).sum(axis=1))
    tables = []
    for factor in factors:
        difference = factor * toy_gradient(factor * drawn) - gradient
        tables.append(
            pd.DataFrame(
                {
                    "x": drawn[:, 0],
                    "y": drawn[:, 1],
                    "factor": factor,
                    "orthogonality_error": inner / (length * np.linalg.norm(drawn, axis=1)),
                    "scaling_error": np.linalg.norm(difference, axis=1) / length,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
