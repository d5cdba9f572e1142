"""Whether the report's pages tell what the store holds."""

from __future__ import annotations

from pathlib import Path

from perigee.identity.canonical import digest
from perigee.planning.plan import Plan
from perigee.planning.products import FigureProduct, RunProduct
from perigee.store.provenance import PROVENANCE, checksum

PAGES = ("claims.html", "provenance.html")


def pages_version(plan: Plan, store: Path) -> str | None:
    """Digest of all that the pages tell: the provenance of every product of the plan, and prose.

    A product's path tells neither on which hardware and with which versions it was made, nor the
    titles of figures and the wording of claims.

    Returns:
        None while a product is missing, or cannot be read.
    """
    folders = {f for figure in plan.figures.values() for f in folders_of(figure, store)}
    paths = (store / folder / PROVENANCE for folder in sorted(folders))
    prose = [
        [
            figure.request.title,
            *([claim.says, claim.source] for claim in figure.request.claims),
            *(vars(note) for note in figure.request.notes),
        ]
        for figure in plan.figures.values()
    ]
    try:
        return digest([[checksum(path) for path in paths], prose])
    except OSError:
        return None


def folders_of(figure: FigureProduct, store: Path) -> list[str]:
    """The folders below the store of all that a figure is made of, those of its runs as they lie.

    Args:
        figure: with its claims.
        store: the store's folder. A product that it lacks stays under its planned name.
    """
    found: dict[str, None] = {}
    for folder, product in figure.products.items():
        if not isinstance(product, RunProduct):
            found[folder] = None
    for run in figure.runs:
        found |= dict.fromkeys(sorted(run.folders_in(store)) or [run.folder])
    return list(found)
