"""HTML pages of the report, from workflow/report/*.html.j2."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image

from perigee.claims.outcomes import (
    CONTRADICTED,
    EMPIRICAL,
    HOLDS,
    NOT_LOCKED,
    REPRODUCED,
    VIOLATED,
    apart,
    counts,
    headline,
)
from perigee.configuration.requests import Note
from perigee.paths import CAPTIONS
from perigee.planning.pages import folders_of
from perigee.planning.plan import Plan
from perigee.planning.products import FigureProduct
from perigee.reporting.dials import dials_of_figure
from perigee.store.claims import CLAIMS, with_prose
from perigee.store.figures import published_figure, published_names
from perigee.store.provenance import Provenance, read_provenance

LOOKS = {REPRODUCED: "good", HOLDS: "good", CONTRADICTED: "bad", VIOLATED: "bad"}
"""The classes of verdicts in the page's style; that of others is "open"."""

PREVIEW_PIXELS = (1400, 900)
"""Greatest width and height of a picture on the opening page; the published file is larger."""


def index_page(plan: Plan, store: Path, folder: Path, *, complete: bool = True) -> str:
    """The page that opens the report: every figure's picture with its verdicts in short.

    A figure that is not published in the version planned is shown as not made yet.

    Args:
        plan: of the figures that are shown.
        store: the store's folder.
        folder: results/<scale>, in which the page stands; its links are relative to that.
        complete: whether the pages of claims and provenance stand beside it.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for figure in plan.figures.values():
        request = figure.request
        source = "Questions of one's own" if request.is_own else request.citation
        groups.setdefault(source, []).append(_card(figure, store, folder / "figures"))
    cards = [card for group in groups.values() for card in group]
    return _render(
        "index",
        groups=groups,
        scale=plan.scale,
        figures=len(cards),
        made=sum(card["made"] for card in cards),
        headline=headline(row for card in cards for row in card["claims"]),
        counts=_counts([row for card in cards for row in card["claims"]]),
        complete=complete,
    )


def _card(figure: FigureProduct, store: Path, folder: Path) -> dict[str, Any]:
    """The contents of a figure's card on the opening page."""
    key = figure.request.key
    publication = published_figure(folder, key)
    made = publication.is_current(figure.identity.digest)
    pdf, paper_width, picture, numbers, notebook = published_names(key)
    claims = _judged(figure, store)
    return {
        "key": key,
        "title": figure.request.title,
        "made": made,
        "preview": _preview(folder / picture) if made else "",
        "pdf": pdf,
        "paper_width": paper_width,
        "picture": picture,
        "numbers": numbers,
        "notebook": notebook,
        "to_judge": len(figure.request.claims) if claims is None else 0,
        "claims": claims or [],
        "counts": _counts(claims or []),
    }


def _judged(figure: FigureProduct, store: Path) -> list[Any] | None:
    """The figure's claims with their verdicts; None while they are not judged."""
    claims = figure.claims
    if claims is None:
        return []
    if not claims.is_complete(store):
        return None
    judged = pd.read_csv(store / claims.folder / CLAIMS, dtype=str, keep_default_na=False)
    prose = {one.name: one.prose for one in claims.claims}
    return with_prose(judged, prose).to_dict("records")


def _counts(rows: Sequence[Any]) -> dict[str, int]:
    """The number of empirical claims by verdict; verdicts that none has are left out."""
    empirical, _ = apart(rows)
    return {verdict: number for verdict, number in counts(empirical, EMPIRICAL).items() if number}


def _look(verdict: str) -> str:
    """The class of a verdict in the page's style."""
    return LOOKS.get(verdict, "open")


def _preview(picture: Path) -> str:
    """A reduced copy of a picture, as a URI that holds it."""
    with Image.open(picture) as image:
        reduced = image.convert("RGB")
    reduced.thumbnail(PREVIEW_PIXELS)
    written = io.BytesIO()
    reduced.save(written, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def claims_page(claims: pd.DataFrame, scale: str) -> str:
    """The table of claims, by figure.

    Args:
        claims: columns `perigee.claims.outcomes.COLUMNS`, all text.
        scale: at which they were judged.
    """
    rows = claims.to_dict("records")
    empirical, identities = apart(rows)
    return _render(
        "claims",
        empirical=empirical,
        identities=identities,
        headline=headline(rows),
        scale=scale,
        not_locked=NOT_LOCKED,
    )


def provenance_page(plan: Plan, store: Path) -> str:
    """The page of provenance: each figure's scale, deviations from the paper, and all its products.

    Raises:
        PerigeeError: a product is not complete.
    """
    figures = []
    for key, figure in plan.figures.items():
        products = [read_provenance(store / folder) for folder in folders_of(figure, store)]
        figures.append(
            {
                "key": key,
                "title": figure.request.title,
                **figure.stamp,
                "dials": dials_of_figure(figure, store),
                "notes": [_note(note) for note in figure.request.notes],
                "products": [_row(product) for product in products],
                "mixed": mixed_versions(products),
            }
        )
    return _render("provenance", figures=figures)


def _note(note: Note) -> dict[str, str]:
    """A value that is our choice, or that was set in view of results, in words."""
    seeds = ", ".join(map(str, note.seeds))
    seen = f"Set in view of seed{'s' * (len(note.seeds) > 1)} {seeds}." if seeds else "Set in view."
    shown = note.value if isinstance(note.value, bool | int | float | str) else ""
    return {
        "key": f"{note.key}{f': {shown}' if shown != '' else ''}",
        "told": f"{seen} {note.told}" if note.was_seen else note.told,
        "file": note.file,
    }


def mixed_versions(products: Sequence[Provenance]) -> list[str]:
    """Packages that the products were made with several versions of, in words.

    Returns:
        Such as "torch 2.11.0 (3), 2.12.1 (9)", with the numbers of products.
    """
    used: dict[str, Counter[str]] = {}
    for product in products:
        for package, version in product.versions.items():
            used.setdefault(package, Counter())[version] += 1
    return [
        f"{package} " + ", ".join(f"{version} ({n})" for version, n in sorted(versions.items()))
        for package, versions in sorted(used.items())
        if len(versions) > 1
    ]


def _row(product: Provenance) -> dict[str, str]:
    details = product.details
    shown = {key: details[key] for key in ("epochs", "seed") if key in details}
    stopped = details.get("stopped_at_step")
    if stopped is not None:
        shown["loss not finite at step"] = stopped
    hardware = product.hardware
    return {
        "kind": product.kind,
        "name": f"{product.name}-{product.digest}",
        "details": ", ".join(f"{key} {value}" for key, value in shown.items()),
        "started": product.started,
        "wall_time": f"{product.wall_time_s:.1f} s",
        "hardware": hardware.get("gpu") or f"{hardware['processor']}, {hardware['cores']} cores",
        "versions": ", ".join(f"{name} {v}" for name, v in sorted(product.versions.items())),
        "code": product.code_at_hand or product.code,
        "commit": _commit(product),
    }


def _commit(product: Provenance) -> str:
    """The commit of the checkout that made a product, abbreviated."""
    if not product.git:
        return ""
    changed = " with changes" if product.git["dirty"] else ""
    return f"commit {product.git['commit'][:10]}{changed}"


def _render(name: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CAPTIONS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["look"] = _look
    return environment.get_template(f"{name}.html.j2").render(values) + "\n"
