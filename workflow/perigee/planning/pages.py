"""The version of the report's pages, by which they are found to be up to date or not."""

from __future__ import annotations

from pathlib import Path

from perigee.identity.canonical import digest
from perigee.planning.plan import Plan
from perigee.planning.products import FigureProduct, RunProduct
from perigee.store.provenance import PROVENANCE, checksum

PAGES = ("claims.html", "provenance.html")


def pages_version(plan: Plan, store: Path) -> str | None:
    """The digest of the pages' contents: the provenance of every product of the plan, and prose.

    A product's path does not cover the hardware and the versions with which it was made, nor the
    titles of figures and the wording of claims.

    Returns:
        The digest; None while a product is missing, or cannot be read.
    """
    folders = {f for figure in plan.figures.values() for f in folders_of(figure, store)}
    paths = (store / folder / PROVENANCE for folder in sorted(folders))
    prose = [
        [figure.request.title, *([claim.says, claim.source] for claim in figure.request.claims)]
        for figure in plan.figures.values()
    ]
    try:
        return digest([[checksum(path) for path in paths], prose])
    except OSError:
        return None


def folders_of(figure: FigureProduct, store: Path) -> list[str]:
    """The folders below the store of all that a figure is made of, with the versions in use.

    Args:
        figure: the figure with its claims.
        store: the store's folder. A product that it lacks has its planned folder.
    """
    found: dict[str, None] = {}
    for folder, product in figure.products.items():
        if not isinstance(product, RunProduct):
            found[folder] = None
    for run in figure.runs:
        found |= dict.fromkeys(sorted(run.folders_in(store)) or [run.folder])
    return list(found)
