"""The file of a figure's judged claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CLAIMS = "claims.csv"
"""The file of a figure's verdicts in the store, and of a scale's where they are published."""


def with_prose(judged: pd.DataFrame, prose: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Verdicts with what the claims say, where, and how their rules came about.

    Args:
        judged: with the column ``claim``, the claims' names.
        prose: by name, "says", "source", "seen" and "locked" (`perigee.spec.Claim.prose`).

    Returns:
        The same rows with the wording in ``claim``, and the columns ``seen``, ``locked`` and
        ``source``.
    """
    columns = {"claim": "says", "seen": "seen", "locked": "locked", "source": "source"}
    names = judged["claim"]
    return judged.assign(
        **{column: [prose[name][kind] for name in names] for column, kind in columns.items()}
    )
