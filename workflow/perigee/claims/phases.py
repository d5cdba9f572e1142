"""Quantities of a period's phases, from a row per step (`perigee.analysis.one_period`)."""

from __future__ import annotations

import math

import pandas as pd

from perigee.analysis.complete_periods import late_growth
from perigee.claims.rows import of_one_run


def norm_onset_after_loss_onset(table: pd.DataFrame) -> float:
    """The number of steps from the rise of the loss to that of rho, at the end of phase B.

    The loss starts to rise with the first step of phase C; rho starts where it is lowest in B and
    C. A negative number means that rho started first. NaN without phases.
    """
    table = of_one_run(table)
    phase_c = table[table["phase"] == "C"]
    falling = table[table["phase"].isin(["B", "C"])]
    if phase_c.empty:
        return math.nan
    norm_onset = falling["step"].iloc[int(falling["weight_norm"].to_numpy().argmin())]
    return float(norm_onset - phase_c["step"].iloc[0])


def growth_late_in_phase_b(table: pd.DataFrame, *, column: str) -> float:
    """The factor by which a column grows over the second half of phase B.

    It is that of a straight line fitted to the logarithm by least squares; NaN without phases.
    """
    table = of_one_run(table)
    return late_growth(table.loc[table["phase"] == "B", column].to_numpy(dtype=float))
