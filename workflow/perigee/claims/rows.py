"""What quantities say of the rows they are given."""

from __future__ import annotations

import pandas as pd

from perigee.errors import PerigeeError

RATE = "optimiser.learning_rate"


class NotMeasurableError(PerigeeError):
    """The table has no runs of the setting that a quantity asks for; the message says which."""


def of_one_run(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, if they are those of one run.

    Raises:
        PerigeeError: they are of several, which a quantity of one run would mix up.
    """
    if rows["run"].nunique() > 1:
        raise PerigeeError(
            f"{rows['run'].nunique()} runs have the learning rate and seed that a claim is "
            "measured on; give the claim a table of its own, with one run for each."
        )
    return rows


def run_of_rate(table: pd.DataFrame, rate: float) -> pd.DataFrame:
    """The rows of the run with this learning rate in column `RATE`.

    Raises:
        NotMeasurableError: no run has it.
        PerigeeError: several have.
    """
    rows = table[table[RATE] == rate]
    if rows.empty:
        raise NotMeasurableError(f"no run with learning rate {rate:g}")
    return of_one_run(rows)
