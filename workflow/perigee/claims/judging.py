"""Judging a figure's claims on its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from perigee import registry
from perigee.blocks.quantities import Column
from perigee.claims.columns import Ratio, by_shared
from perigee.claims.inference import FEWEST_SEEDS
from perigee.claims.outcomes import COLUMNS, IDENTITY, NOT_TESTABLE
from perigee.claims.relations import RELATIONS, SIGNS, number, shown
from perigee.claims.rows import NotMeasurableError
from perigee.claims.verdicts import Finding, is_measured, is_rate, judge, value_of
from perigee.errors import PerigeeError
from perigee.spec import Claim, Expectation

Numbers = Mapping[str, float | Ratio]
"""One number a seed, by seed; by "" where the table has no seeds."""

MOST_LISTED = 12
"""The most seeds whose numbers are listed one by one."""


def measure(
    claim: str, expectation: Expectation, table: pd.DataFrame, draws: str = "seed"
) -> dict[str, float | Ratio]:
    """The quantity of a claim, or of its premise, by seed.

    Args:
        claim: the claim's name, for messages.
        expectation: whose quantity is measured.
        table: the table that it names.
        draws: the column that tells seeds, or other independent draws, apart.

    Raises:
        PerigeeError: the table lacks a column that the quantity is computed from, or has runs with
            and without a swept seed.
        NotMeasurableError: the table lacks rows of a setting in every seed. Where single seeds lack
            them, these have NaN.
    """
    quantity = expectation.quantity
    if draws in table and table[draws].isna().any():
        raise PerigeeError(
            f"Claim '{claim}': table '{expectation.table}' has runs with and without a swept "
            f"{draws}; sweep the {draws} in all of its runs or in none."
        )
    parts = (
        {str(draw): rows for draw, rows in table.groupby(draws)} if draws in table else {"": table}
    )
    given = {} if expectation.within_seed is None else {"within_seed": expectation.within_seed}
    function = registry.load(quantity)
    found: dict[str, float | Ratio] = {}
    missing: list[NotMeasurableError] = []
    try:
        for draw, rows in parts.items():
            try:
                found[draw] = function(rows, **quantity.parameters, **given)
            except NotMeasurableError as error:  # of one seed: nothing was measured in it
                found[draw] = math.nan
                missing.append(error)
    except KeyError as error:
        raise PerigeeError(
            f"Claim '{claim}': quantity '{_described(expectation)}' needs the column {error}, "
            f"which table '{expectation.table}' lacks; name another table or column."
        ) from error
    if missing and len(missing) == len(parts):
        raise missing[0]
    return found


def judgements(
    paper: str,
    figure: str,
    claims: Sequence[Claim],
    tables: Mapping[str, pd.DataFrame],
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> pd.DataFrame:
    """Judge claims: a row per claim, with the columns `COLUMNS`.

    A claim about runs that the configuration no longer contains is not testable.

    Args:
        paper, figure: the paper and the figure that the claims are about.
        claims: any number of claims.
        tables: the figure's tables, by name.
        seeds: those of the tables' runs, by the tables' names. A seed without a row in its table
            has nothing to measure.

    Raises:
        PerigeeError: a table lacks a column that a quantity is computed from.
    """
    rows = [
        {"paper": paper, "figure": figure, **_judged(claim, tables, seeds or {})}
        for claim in claims
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


class BySeed(NamedTuple):
    """The numbers that a claim is judged on.

    Attributes:
        numbers: one number a seed.
        meets: whether the seed meets the premise; every one does where there is none.
    """

    numbers: Numbers
    meets: Mapping[str, bool]


def by_seed(
    claim: Claim, tables: Mapping[str, pd.DataFrame], seeds: Mapping[str, Sequence[int]]
) -> BySeed:
    """The number that a claim is judged on in each seed, and whether that one meets its premise.

    Args:
        claim: the claim.
        tables, seeds: see `judgements`.

    Raises:
        PerigeeError, NotMeasurableError: see `measure`.
    """
    planned = {str(seed): math.nan for seed in seeds.get(claim.table, ())}
    found = measure(claim.name, claim, tables[claim.table], claim.draws)
    numbers = {**(planned if claim.draws == "seed" and "" not in found else {}), **found}
    premises: Numbers = {}
    if claim.given is not None:
        premises = measure(claim.name, claim.given, tables[claim.given.table], claim.draws)
    return BySeed(numbers, {seed: _meets_premise(claim, premises, seed) for seed in numbers})


def _judged(
    claim: Claim, tables: Mapping[str, pd.DataFrame], seeds: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """The row of a claim without paper and figure."""
    try:
        found, missing = by_seed(claim, tables, seeds), ""
    except NotMeasurableError as error:
        found, missing = BySeed({}, {}), str(error)
    numbers, meets = found
    counted = [seed for seed in numbers if meets[seed]]
    shared = _by_shared(claim, tables[claim.table], numbers)
    finding = judge(
        claim, [numbers[seed] for seed in counted], [shared.get(seed, ()) for seed in counted]
    )
    return {
        "claim": claim.name,
        "kind": claim.kind,
        "quantity": _described(claim, pooled=claim.pooled),
        "unit": claim.unit,
        "expected": _expected(claim),
        "estimate": missing or number(finding.estimate),
        "interval": _interval(claim, finding),
        "fulfilled": f"{finding.fulfilled}/{finding.measured}",
        "measured_seeds": _seeds(claim, numbers, meets, finding),
        "premise": _premise(claim, meets),
        "verdict": finding.verdict if claim.testable and not missing else NOT_TESTABLE,
        **dict.fromkeys(("seen", "locked", "source"), ""),
    }


def _by_shared(
    claim: Claim, table: pd.DataFrame, numbers: Numbers
) -> dict[str, tuple[pd.Series, ...]]:
    """The means behind the numbers of seeds, apart for what these share."""
    if claim.shared is None:
        return {}
    return {
        str(seed): by_shared(rows, shared=claim.shared, **claim.quantity.parameters)
        for seed, rows in table.groupby(claim.draws)
        if is_measured(claim, numbers.get(str(seed), math.nan))
    }


def _meets_premise(claim: Claim, premises: Numbers, seed: str) -> bool:
    """Return whether a seed's rows meet the premise; a premise on no seed holds for all."""
    if claim.given is None:
        return True
    value = value_of(premises.get(seed, premises.get("", math.nan)))
    return bool(RELATIONS[claim.given.relation](value, claim.given.bound))


# In words


def _described(expectation: Expectation, *, pooled: bool = False) -> str:
    """A quantity in words, such as "median of train_loss where phase B"."""
    quantity = expectation.quantity
    if not isinstance(quantity, Column):
        given = {name: value for name, value in quantity.to_dict().items() if name != "name"}
        told = ", ".join(f"{name}={shown(value)}" for name, value in given.items())
        return f"{quantity.name}({told})"
    words = f"{'pooled ' * pooled}{expectation.within_seed} of {quantity.column}"
    if quantity.border is not None:
        words = f"{quantity.against} from which on {shown({words: quantity.border})}"
    elif quantity.against is not None:
        words += f" against {quantity.against}"
    for one, sign, other in (("over", "over", "under"), ("plus", "minus", "minus")):
        rows = getattr(quantity, one), getattr(quantity, other)
        if rows[0] is not None:
            words += f", {shown(rows[0]) or 'all'} {sign} {shown(rows[1]) or 'all'}"
    if quantity.where:
        words += f" where {shown(quantity.where)}"
    return words + (f", last {quantity.last_fraction:g}" if quantity.last_fraction < 1 else "")


def _expected(claim: Claim) -> str:
    """The relation and the bound, such as "≥ 2", with the margin if there is one."""
    told = f"{SIGNS[claim.relation]} {number(claim.bound)}"
    if claim.margin is None:
        return told
    is_equal, margin = claim.relation == "equal_to", number(claim.margin)
    if claim.quantity.averages_logarithm:
        return f"{told} {'within' if is_equal else 'by more than'} a factor of {margin}"
    return f"{told} ± {margin}" if is_equal else f"{told} by more than {margin}"


def _interval(claim: Claim, finding: Finding) -> str:
    """The 90 % interval; of a rate that of p, the chance that a fresh seed fulfils the rule."""
    if not math.isfinite(finding.low + finding.high):
        return ""
    return f"{'p ' * is_rate(claim)}{number(finding.low)} to {number(finding.high)}"


def _seeds(claim: Claim, numbers: Numbers, meets: Mapping[str, bool], finding: Finding) -> str:
    """How many seeds were measured, of how many, and the number of each."""
    if not set(numbers) - {""}:
        told = "no seeds" if numbers and claim.kind != IDENTITY else ""
        return f"{told}, and {FEWEST_SEEDS} are needed" if told else ""
    told = f"{finding.measured} of {len(numbers)}"
    if claim.kind != IDENTITY and finding.measured < FEWEST_SEEDS:
        told += f", and {FEWEST_SEEDS} are needed"
    if len(numbers) > MOST_LISTED:
        return told
    listed = []
    for seed, one in numbers.items():
        value = number(value_of(one)) if is_measured(claim, one) else "nothing"
        listed.append(f"{seed}: {value}{'' if meets[seed] else ' without the premise'}")
    return f"{told} ({'; '.join(listed)})"


def _premise(claim: Claim, meets: Mapping[str, bool]) -> str:
    """The premise, and how many seeds meet it."""
    given = claim.given
    if given is None:
        return ""
    rule = f"{_described(given)} {SIGNS[given.relation]} {number(given.bound)}"
    return f"{sum(meets.values())} of {len(meets)}: {rule}"
