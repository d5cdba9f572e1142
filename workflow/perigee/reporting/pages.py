"""HTML pages of the report, from workflow/report/*.html.j2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from perigee.claims.judging import NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED
from perigee.configuration.requests import Note
from perigee.paths import CAPTIONS
from perigee.planning.pages import folders_of
from perigee.planning.plan import Plan
from perigee.store.provenance import Provenance, read_provenance

VERDICTS = {REPRODUCED: "good", NOT_REPRODUCED: "bad", NOT_TESTABLE: "open"}
"""Each with its class in the page's style."""


def claims_page(claims: pd.DataFrame, scale: str) -> str:
    """The table of claims, by figure.

    Args:
        claims: columns `perigee.claims.judging.COLUMNS`, all text.
        scale: at which they were judged.
    """
    rows = claims.to_dict("records")
    counts = Counter(row["verdict"] for row in rows)
    return _render(
        "claims", rows=rows, scale=scale, verdicts=VERDICTS, counts={v: counts[v] for v in VERDICTS}
    )


def provenance_page(plan: Plan, store: Path) -> str:
    """Of each figure its scale, what differs from the paper, and all its products.

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
    """Of the checkout that made it, shortly."""
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
    return environment.get_template(f"{name}.html.j2").render(values) + "\n"
