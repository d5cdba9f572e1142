"""Configurations as plain documents, which tests edit and write to a folder of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from perigee.configuration.reading import read_yaml
from perigee.configuration.requests import FigureRequest
from perigee.paths import CARRIED
from perigee.planning.plan import Plan, check_all_scales, make_plan, read_requests

Documents = dict[str, Any]
"""Papers and studies by name. A paper has ``citation``, ``runs``, ``figures`` (each with its
``claims``) and ``overlays``: scale -> "paper" or a figure -> what changes."""

SCALES = ("smoke", "laptop", "paper")
TESTS_CLAIMS = {"smoke": False, "laptop": True}
SEEDS = {"smoke": {"seeds": 1}}


def shipped_paper(paper: str, figures: Collection[str] | None = None) -> dict[str, Any]:
    """A paper that comes with Perigee, with some of its figures or all of them."""
    folder = CARRIED / "config" / "papers" / paper
    document = read_yaml(folder / "paper.yaml")
    document["figures"] = {}
    for path in sorted(folder.glob("fig*.yaml")):
        if figures is None or path.stem in figures:
            claims = read_yaml(folder / "claims" / path.name)
            document["figures"][path.stem] = read_yaml(path) | {"claims": claims["claims"]}
    known = {"paper", *document["figures"]}
    document["overlays"] = {
        scale: {
            path.stem: read_yaml(path)
            for path in (CARRIED / "config" / "scales" / scale / paper).glob("*.yaml")
            if path.stem in known
        }
        for scale in TESTS_CLAIMS
    }
    return document


def write(
    folder: Path, documents: Documents, tests_claims: Mapping[str, bool] = TESTS_CLAIMS
) -> None:
    """Write documents to ``config/`` of a folder, in the place of what stands there."""
    config = folder / "config"
    for path in sorted(config.rglob("*.yaml")):
        path.unlink()
    for scale, tested in tests_claims.items():
        about = {"description": "d", "tests_claims": tested, **SEEDS.get(scale, {})}
        put(config / f"scales/{scale}/scale.yaml", about)
    for name, document in documents.items():
        if "figures" not in document:
            put(config / f"studies/{name}.yaml", document)
            continue
        paper = dict(document)
        for figure, content in paper.pop("figures").items():
            written = dict(content)
            claims = written.pop("claims", None)
            put(config / f"papers/{name}/{figure}.yaml", written)
            if claims is not None:
                put(config / f"papers/{name}/claims/{figure}.yaml", {"claims": claims})
        for scale, overlays in paper.pop("overlays", {}).items():
            for file, overlay in overlays.items():
                put(config / f"scales/{scale}/{name}/{file}.yaml", overlay)
        put(config / f"papers/{name}/paper.yaml", paper)


def put(path: Path, document: Any) -> None:
    """Write a document to a file, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


@contextmanager
def read_from(folder: Path) -> Iterator[None]:
    """While the context is held, ``config/`` of a folder is all the configuration there is."""
    with (
        mock.patch("perigee.paths.config_folders", return_value=[folder / "config"]),
        mock.patch("perigee.paths.project", return_value=folder),
    ):
        yield


def plan_of(
    folder: Path, documents: Documents, scale: str = "smoke", papers: Collection[str] | None = None
) -> Plan:
    """The plan of documents, written to a folder and checked at every scale.

    It is of all papers if none are named.

    Raises:
        PerigeeError: they are wrong.
    """
    write(folder, documents)
    every = [name for name, document in documents.items() if "figures" in document]
    planned = every if papers is None else list(papers)
    with read_from(folder):
        plan = make_plan(planned, scale)
        check_all_scales(planned)
    return plan


def figure_of(folder: Path, documents: Documents, key: str, scale: str = "smoke") -> FigureRequest:
    """A figure of documents, written to a folder, and checked at every scale.

    Raises:
        PerigeeError: they are wrong.
    """
    write(folder, documents)
    papers = [name for name, document in documents.items() if "figures" in document]
    with read_from(folder):
        check_all_scales(papers)
        _, requests = read_requests(papers, scale)
    return next(request for request in requests if request.key == key)
