"""The verdicts that a claim may have, and the columns of their table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

REPRODUCED = "reproduced"
CONTRADICTED = "contradicted"
INCONCLUSIVE = "inconclusive"
NOTHING = "nothing to measure"
NOT_TESTABLE = "not testable at this scale"
HOLDS = "holds"
VIOLATED = "violated"

IDENTITY = "identity"
"""The kind of claims that are true by calculus: they check this implementation, not the world."""

EMPIRICAL = (REPRODUCED, CONTRADICTED, INCONCLUSIVE, NOTHING, NOT_TESTABLE)
"""The verdicts on claims that may fail; all are counted."""

OF_IDENTITIES = (HOLDS, VIOLATED, NOTHING, NOT_TESTABLE)

NOT_LOCKED = "not locked"
"""The beginning of what the table says of a rule that is not in claims.lock."""

COLUMNS = (
    "paper",
    "figure",
    "claim",
    "kind",
    "quantity",
    "unit",
    "expected",
    "estimate",
    "interval",
    "fulfilled",
    "measured_seeds",
    "premise",
    "verdict",
    "seen",
    "locked",
    "source",
)
"""The columns of claims.csv. In the store it has a claim's name instead of its wording, and none of
`seen`, `locked` and `source`: these are added on publication, so that changing a word does not
cause a new judgement."""

Row = Mapping[Any, Any]


def apart(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of empirical claims, and those of identities, which are not counted among them."""
    every = list(rows)
    return (
        [row for row in every if row["kind"] != IDENTITY],
        [row for row in every if row["kind"] == IDENTITY],
    )


def counts(rows: Iterable[Row], verdicts: Iterable[str]) -> dict[str, int]:
    """The number of rows by verdict, in the order of the verdicts."""
    every = [row["verdict"] for row in rows]
    return {verdict: every.count(verdict) for verdict in verdicts}


def reproduced_on_the_border(rows: Iterable[Row]) -> float:
    """How many claims would be called reproduced on average if each were on the border of its rule.

    A rate, or a trend of ranks, then holds in every second seed; the interval of another kind lies
    in the expected region in 5 % of cases. It tells how much chance there is in the verdicts, and
    not how many claims are false: nobody knows how far these are from the border.

    Args:
        rows: empirical claims. Those without a verdict count for nothing, nor do those that are
            measured in too few seeds for one.
    """
    from perigee.claims.inference import (  # SciPy starts slowly
        FEWEST_SEEDS,
        PROOF,
        chance_of_false_proof,
    )

    chance = 0.0
    for row in _decided(rows):
        measured = int(row["fulfilled"].partition("/")[2] or 0)
        if row["kind"] == "rate" or (row["kind"] == "trend" and row["interval"].startswith("p ")):
            chance += chance_of_false_proof(measured)
        elif measured >= FEWEST_SEEDS:
            chance += 1 - PROOF
    return chance


def _decided(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["verdict"] in (REPRODUCED, CONTRADICTED, INCONCLUSIVE)]


def headline(rows: Iterable[Row]) -> str:
    """All verdicts in short: empirical claims, and apart from them the identities."""
    empirical, identities = apart(rows)
    told = []
    if empirical:
        listed = ", ".join(f"{n} {one}" for one, n in counts(empirical, EMPIRICAL).items())
        told.append(f"Of {len(empirical)} empirical claim{'s' * (len(empirical) > 1)}: {listed}.")
        if chance := round(reproduced_on_the_border(empirical)):
            told.append(
                f"Were each of the {len(_decided(empirical))} that were judged on the border of "
                f"its rule, about {chance} would be called reproduced."
            )
    if identities:
        found = counts(identities, OF_IDENTITIES).items()
        listed = ", ".join(
            f"{n} {'hold' if n > 1 and one == HOLDS else one}" for one, n in found if n
        )
        name = "identity" if len(identities) == 1 else "identities"
        told.append(f"Of {len(identities)} {name}: {listed}.")
    return " ".join(told) or "No claims."
