"""Whether the report's pages tell what the store holds."""

from __future__ import annotations

from pathlib import Path

from perigee.identity.canonical import digest
from perigee.plan import Plan
from perigee.store.provenance import PROVENANCE, checksum

PAGES = ("claims.html", "provenance.html")


def pages_version(plan: Plan, store: Path) -> str | None:
    """Digest of all that the pages tell: the provenance of every product of the plan.

    A product's path does not tell on which hardware and with which versions it was made.

    Returns:
        None while a product is missing.
    """
    paths = (store / folder / PROVENANCE for folder in sorted(plan.referenced_folders))
    try:
        return digest([checksum(path) for path in paths])
    except FileNotFoundError:
        return None
