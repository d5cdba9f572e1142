"""Checks of the rows that a quantity is measured on."""

from __future__ import annotations

import pandas as pd

from perigee.errors import PerigeeError

RATE = "optimiser.learning_rate"


class NotMeasurableError(PerigeeError):
    """The table has no runs of the setting that a quantity needs; the message names it."""


def of_one_run(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows if they belong to one run.

    Raises:
        PerigeeError: they belong to several, which a quantity of one run would mix up.
    """
    if rows["run"].nunique() > 1:
        raise PerigeeError(
            f"{rows['run'].nunique()} runs have the learning rate and seed that a claim is "
            "measured on; give the claim a table of its own, with one run for each."
        )
    return rows


def run_of_rate(table: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Return the rows of the run with this learning rate in column `RATE`.

    Raises:
        NotMeasurableError: no run has this rate.
        PerigeeError: several runs have it.
    """
    rows = table[table[RATE] == rate]
    if rows.empty:
        raise NotMeasurableError(f"no run with learning rate {rate:g}")
    return of_one_run(rows)
