"""Judging a claim on a table."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from perigee import registry
from perigee.blocks.quantities import Quantity
from perigee.claims.rows import NotMeasurableError
from perigee.errors import PerigeeError
from perigee.spec import Claim

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable at this scale"

RELATIONS = {
    "at_least": (operator.ge, "≥"),
    "at_most": (operator.le, "≤"),
    "greater_than": (operator.gt, ">"),
    "less_than": (operator.lt, "<"),
    "equal_to": (operator.eq, "="),
}
"""The relations that a measured value may have to the expected one. NaN fulfils none."""


COLUMNS = (
    "paper",
    "figure",
    "claim",
    "quantity",
    "expected",
    "measured",
    "seeds",
    "verdict",
    "source",
)
"""The columns of claims.csv. In the store it has a claim's name instead of its wording, and no
source: these are added on publication, so that changing a word does not cause a new judgement."""


def measure(claim: Claim, table: pd.DataFrame) -> dict[str, float]:
    """The claim's quantity by seed, or by "" where the table has no seeds.

    Raises:
        PerigeeError: the table lacks a column that the quantity is computed from, or has runs with
            and without a swept seed.
        NotMeasurableError: the table lacks runs of a setting.
    """
    quantity = registry.load(claim.quantity)
    if "seed" in table and table["seed"].isna().any():
        raise PerigeeError(
            f"Claim '{claim.name}': table '{claim.table}' has runs with and without a swept seed; "
            "sweep the seed in all of its runs or in none."
        )
    parts = (
        {str(seed): rows for seed, rows in table.groupby("seed")}
        if "seed" in table
        else {"": table}
    )
    try:
        return {seed: quantity(rows, **claim.quantity.parameters) for seed, rows in parts.items()}
    except KeyError as error:
        raise PerigeeError(
            f"Claim '{claim.name}': quantity '{claim.quantity.name}' needs the column {error}, "
            f"which table '{claim.table}' lacks; name another table or column."
        ) from error


def fulfilled(claim: Claim, value: float) -> bool:
    """Return whether a measured value has the expected relation to the bound."""
    return bool(RELATIONS[claim.relation][0](value, claim.bound))


def verdict(claim: Claim, values: Mapping[str, float]) -> str:
    """Judge a claim: reproduced if there are seeds and the value of each fulfils the relation.

    Args:
        claim: the rule.
        values: the measured values, by seed.
    """
    if not claim.testable:
        return NOT_TESTABLE
    every = bool(values) and all(fulfilled(claim, value) for value in values.values())
    return REPRODUCED if every else NOT_REPRODUCED


def judgements(
    paper: str, figure: str, claims: Sequence[Claim], tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Judge claims: a row per claim, with the columns `COLUMNS`.

    A claim about runs that the configuration no longer contains is not testable.

    Args:
        paper, figure: the paper and the figure that the claims are about.
        claims: any number of claims.
        tables: the figure's tables, by name.

    Raises:
        PerigeeError: a table lacks a column that a quantity is computed from.
    """
    rows = []
    for claim in claims:
        values, missing = {}, ""
        try:
            values = measure(claim, tables[claim.table])
        except NotMeasurableError as error:
            missing = str(error)
        rows.append(
            (
                paper,
                figure,
                claim.name,
                _described(claim.quantity),
                f"{RELATIONS[claim.relation][1]} {_shown(claim.bound)}",
                missing or _summary(list(values.values())),
                "; ".join(f"{seed}: {_shown(value)}" for seed, value in values.items() if seed),
                NOT_TESTABLE if missing else verdict(claim, values),
                "",
            )
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _described(quantity: Quantity) -> str:
    """A quantity's name, and the parameters that differ from their defaults."""
    given = {name: value for name, value in quantity.to_dict().items() if name != "name"}
    return (
        f"{quantity.name}({', '.join(f'{name}={_shown(value)}' for name, value in given.items())})"
    )


def _summary(values: list[float]) -> str:
    """The median and range over the seeds, as text."""
    if any(math.isnan(value) for value in values):
        missing = sum(math.isnan(value) for value in values)
        return "nothing to measure" + (f" in {missing} of {len(values)}" if len(values) > 1 else "")
    if len(values) == 1:
        return _shown(values[0])
    return f"{_shown(statistics.median(values))} ({_shown(min(values))} to {_shown(max(values))})"


def _shown(value: Any) -> str:
    """A value of a claim as text: four digits of a number, "nothing" for NaN."""
    if isinstance(value, Mapping):
        return " and ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, float):
        return "nothing" if math.isnan(value) else f"{value:.4g}"
    return str(value)
