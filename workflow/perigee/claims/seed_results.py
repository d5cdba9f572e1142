"""The numbers of single seeds, to be kept and added to from run to run and machine to machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from perigee.claims.judging import by_seed
from perigee.claims.rows import NotMeasurableError
from perigee.claims.verdicts import is_measured, value_of
from perigee.spec import Claim

KEYS = ("scale", "paper", "figure", "claim", "seed", "commit", "processor", "torch")
"""The columns by which rows are told apart; where all are equal, the later row replaces."""

COLUMNS = (*KEYS, "date", "value", "premise")
"""The columns of the file: `value` is empty where there was nothing to measure, and `premise` says
whether it is met, or is empty where there is none."""


def seed_results(
    claims: Sequence[Claim],
    tables: Mapping[str, pd.DataFrame],
    seeds: Mapping[str, Sequence[int]],
    further: Mapping[str, str],
) -> pd.DataFrame:
    """The number of every claim in every seed, a row each, all as text.

    Claims without seeds, and those about settings that the tables lack, have none.

    Args:
        claims: the claims of a figure.
        tables, seeds: see `perigee.claims.judging.judgements`.
        further: the other columns, such as the paper and the day.
    """
    rows = []
    for claim in claims:
        try:
            numbers, meets = by_seed(claim, tables, seeds)
        except NotMeasurableError:
            continue
        for seed, number in numbers.items():
            if claim.draws != "seed" or not seed:
                continue
            value = f"{value_of(number):.6g}" if is_measured(claim, number) else ""
            premise = "" if claim.given is None else ("met" if meets[seed] else "not met")
            told = {"claim": claim.name, "seed": seed, "value": value, "premise": premise}
            rows.append({**further, **told})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def merged(known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """All rows of both, in the order of their keys; of equal ones the new."""
    both = pd.concat([known, new], ignore_index=True)
    kept = both.drop_duplicates(list(KEYS), keep="last")
    return kept.sort_values(list(KEYS), key=_in_order, ignore_index=True)


def _in_order(column: pd.Series[str]) -> pd.Series[str] | pd.Series[int]:
    return column.astype(int) if column.name == "seed" else column
