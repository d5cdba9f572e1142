"""Quantities of the periods of runs that differ in learning rate, from a row per epoch.

Destabilisations are those of `perigee.analysis.periods`. Each run is given by its learning rate; a
rate that no run has raises a `NotMeasurableError`. A run that diverged has nothing to measure: NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.periods import find_destabilisations
from perigee.claims.rows import run_of_rate


def count(table: pd.DataFrame, *, learning_rates: Sequence[float], statistic: str) -> float:
    """The smallest or largest number of destabilisations among these rates' runs.

    Args:
        table: columns ``optimiser.learning_rate``, ``train_loss`` and ``weight_norm``, a row per
            epoch.
        learning_rates: learning rates of the runs that count.
        statistic: "minimum" or "maximum".
    """
    counts = [_count(run_of_rate(table, rate)) for rate in learning_rates]
    return float({"minimum": np.min, "maximum": np.max}[statistic](counts))


def _count(run: pd.DataFrame) -> float:
    loss, norm = (run[name].to_numpy(dtype=float) for name in ("train_loss", "weight_norm"))
    if not np.isfinite([loss, norm]).all():
        return math.nan
    return float(len(find_destabilisations(loss, norm)))
