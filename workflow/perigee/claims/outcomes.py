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


def reproduced_by_chance(rows: Iterable[Row]) -> float:
    """How many empirical claims would be called reproduced on average if there were nothing to see.

    Rates, and trends, would then hold in every second seed; the interval of the other kinds would
    lie in the expected region in 5 % of cases at most.

    Args:
        rows: claims with a verdict; those that are not testable have none to give by chance.
    """
    from perigee.claims.inference import PROOF, chance_of_false_proof  # SciPy starts slowly

    chance = 0.0
    for row in rows:
        if row["verdict"] not in (REPRODUCED, CONTRADICTED, INCONCLUSIVE):
            continue
        if row["kind"] in ("rate", "trend"):
            chance += chance_of_false_proof(int(row["fulfilled"].partition("/")[2]))
        else:
            chance += 1 - PROOF
    return chance


def headline(rows: Iterable[Row]) -> str:
    """All verdicts in short: empirical claims, and apart from them the identities."""
    empirical, identities = apart(rows)
    told = []
    if empirical:
        listed = ", ".join(f"{n} {one}" for one, n in counts(empirical, EMPIRICAL).items())
        told.append(f"Of {len(empirical)} empirical claim{'s' * (len(empirical) > 1)}: {listed}.")
        if chance := round(reproduced_by_chance(empirical)):
            told.append(f"Were there nothing to see, some {chance} would be reproduced by chance.")
    if identities:
        found = counts(identities, OF_IDENTITIES).items()
        listed = ", ".join(
            f"{n} {'hold' if n > 1 and one == HOLDS else one}" for one, n in found if n
        )
        name = "identity" if len(identities) == 1 else "identities"
        told.append(f"Of {len(identities)} {name}: {listed}.")
    return " ".join(told) or "No claims."
