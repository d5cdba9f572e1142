"""Two identities of the gradient of f(x, y) = x^2 / (x^2 + y^2), at random points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.dynamics.identities import orthogonality_error, scaling_error
from perigee.dynamics.toy import toy_gradient


def tabulate(
    runs: Sequence[RunInput], *, points: int, factors: Sequence[float], seed: int
) -> pd.DataFrame:
    """Measure the errors of <grad f(x), x> = 0 and grad f(a x) = grad f(x) / a.

    Lobacheva et al. 2021, Section 2, eqs. (1a) and (1b).

    Args:
        runs: not used.
        points: how many points to draw from the plane's standard normal distribution.
        factors: a, by which each point is scaled.
        seed: seed of the points.

    Returns:
        Columns x, y, factor, orthogonality_error = |<grad f(x), x>| / (|grad f(x)| |x|) and
        scaling_error = |a grad f(a x) - grad f(x)| / |grad f(x)|; a row per point and factor.
    """
    drawn = np.random.default_rng(seed).standard_normal((points, 2))
    tables = [
        pd.DataFrame(
            {
                "x": drawn[:, 0],
                "y": drawn[:, 1],
                "factor": factor,
                "orthogonality_error": orthogonality_error(toy_gradient, drawn),
                "scaling_error": scaling_error(toy_gradient, drawn, factor),
            }
        )
        for factor in factors
    ]
    return pd.concat(tables, ignore_index=True)
