"""The version of the report's pages: a digest of all that they show."""

from __future__ import annotations

from pathlib import Path

from perigee.identity.canonical import digest
from perigee.paths import CAPTIONS
from perigee.planning.plan import Plan
from perigee.planning.products import FigureProduct, RunProduct
from perigee.store.provenance import PROVENANCE, checksum

PAGES = ("index.html", "pages/claims.html", "pages/provenance.html")
"""Below results/<scale>; the report opens on the first."""


def pages_version(plan: Plan, store: Path) -> str | None:
    """Digest of all that the pages show: the provenance of every product, prose, and templates.

    A product's path does not cover the hardware and the versions with which it was made, nor the
    titles of figures and the wording of claims.

    Returns:
        The digest; None while a product is missing, or cannot be read.
    """
    folders = {f for figure in plan.figures.values() for f in folders_of(figure, store)}
    paths = (store / folder / PROVENANCE for folder in sorted(folders))
    prose = [
        [
            figure.request.title,
            *(claim.prose for claim in figure.request.claims),
            *(vars(note) for note in figure.request.notes),
        ]
        for figure in plan.figures.values()
    ]
    try:
        templates = [checksum(path) for path in sorted(CAPTIONS.glob("*.html.j2"))]
        return digest([[checksum(path) for path in paths], prose, templates])
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
