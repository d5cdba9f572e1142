"""The file of a figure's judged claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CLAIMS = "claims.csv"
"""The file of a figure's verdicts in the store, and of a scale's where they are published."""


def with_wording(judged: pd.DataFrame, wording: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Verdicts with what the claims say, and where.

    Args:
        judged: with the column ``claim``, the claims' names.
        wording: by name, "says" and "source".

    Returns:
        The same rows with the wording in ``claim`` and the column ``source``.
    """
    names = judged["claim"]
    says, sources = ([wording[name][kind] for name in names] for kind in ("says", "source"))
    return judged.assign(claim=says, source=sources)
