"""The file of a figure's judged claims."""

from __future__ import annotations

CLAIMS = "claims.csv"
"""Of one figure in the store; and, gathered from all figures, the published one of a scale."""
