"""Quantities of the periods of runs that differ in learning rate, from a row per epoch.

Destabilisations, warm-up and consistent stage are those of `perigee.analysis.periods`. Each run
is given by its learning rate; a rate that no run has raises a `NotMeasurableError`. A run that
diverged has nothing to measure: NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.periods import (
    Destabilisation,
    consistent_from,
    find_destabilisations,
    warm_up_length,
)
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


def count_ratio(table: pd.DataFrame, *, higher: float, lower: float) -> float:
    """The destabilisations at the higher rate per one at the lower; NaN if that has none."""
    at_higher, at_lower = (_count(run_of_rate(table, rate)) for rate in (higher, lower))
    return at_higher / at_lower if at_lower else math.nan


def norm_ratio(table: pd.DataFrame, *, higher: float, lower: float) -> float:
    """The rho at which consistent periods end, at the higher rate over the lower.

    It is the mean of rho over the onsets of the consistent stage's destabilisations; NaN if one of
    the two runs has none.
    """
    return _consistent_norm(run_of_rate(table, higher)) / _consistent_norm(
        run_of_rate(table, lower)
    )


def warm_up_ratio(table: pd.DataFrame, *, higher: float, lower: float) -> float:
    """The length of the warm-up stage, at the lower rate over the higher.

    It ends where rho first is as small as in the consistent stage
    (`perigee.analysis.periods.warm_up_length`); NaN if one of the two runs has none.
    """
    return _warm_up_epochs(run_of_rate(table, lower)) / _warm_up_epochs(run_of_rate(table, higher))


def warm_up_test_error_ratio(table: pd.DataFrame, *, learning_rates: Sequence[float]) -> float:
    """The largest ratio of the test errors after and before a warm-up destabilisation.

    For each destabilisation, the lowest test error between it and the next is divided by the lowest
    between the one before (or the start) and it; the largest ratio over all runs counts. NaN
    without any.
    """
    ratios = []
    for rate in learning_rates:
        run = run_of_rate(table, rate)
        found = _destabilisations(run)
        error = run["test_error"].to_numpy(dtype=float)
        edges = [-1, *(d.norm_onset for d in found), len(run) - 1]
        for position in range(_warm_up_count(run)):
            before, here, after = edges[position : position + 3]
            stretches = error[before + 1 : here + 1], error[here + 1 : after + 1]
            ratios.append(float(stretches[1].min() / stretches[0].min()))
    return float(np.max(ratios)) if ratios else math.nan


def _count(run: pd.DataFrame) -> float:
    finite = np.isfinite(run[["train_loss", "weight_norm"]].to_numpy(dtype=float)).all()
    return float(len(_destabilisations(run))) if finite else math.nan


def _destabilisations(run: pd.DataFrame) -> list[Destabilisation]:
    return find_destabilisations(run["train_loss"].to_numpy(), run["weight_norm"].to_numpy())


def _warm_up_count(run: pd.DataFrame) -> int:
    return consistent_from(_destabilisations(run), run["weight_norm"].to_numpy())


def _consistent_norm(run: pd.DataFrame) -> float:
    consistent = _destabilisations(run)[_warm_up_count(run) :]
    norm = run["weight_norm"].to_numpy(dtype=float)
    return float(np.mean([norm[d.norm_onset] for d in consistent])) if consistent else math.nan


def _warm_up_epochs(run: pd.DataFrame) -> float:
    length = warm_up_length(_destabilisations(run), run["weight_norm"].to_numpy(dtype=float))
    return math.nan if length is None else float(run["epoch"].iloc[length])
