"""Scales: the papers' own values, and folders of overlays over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perigee import paths
from perigee.configuration import models
from perigee.configuration.overlays import holds, merged
from perigee.configuration.reading import read_shared, yaml_files, yaml_paths
from perigee.configuration.seeds import SEEDS, judged_seeds, with_seeds
from perigee.configuration.validation import Sources, checked, suggestion
from perigee.errors import PerigeeError
from perigee.paths import shown

PAPER = "paper"
"""The scale without overlays."""

SCALE_FILE = "scale.yaml"


@dataclass(frozen=True)
class Scale:
    """A scale.

    Attributes:
        name: the folder of results is named after it.
        tests_claims: whether claims that are measured on runs are tested.
        folders: where overlays lie; a file of the first hides those of the others.
        seeds: the setting of that name, how many seeds are judged.
        most_seeds: how many of them this scale has at most; None for all.
        precision: that of the papers' runs whose file names none.
    """

    name: str
    tests_claims: bool = True
    folders: tuple[Path, ...] = ()
    seeds: int = SEEDS
    most_seeds: int | None = None
    precision: str = models.PRECISION

    def overlay(self, *path: str) -> Path | None:
        """The overlay over a file of a paper; None if the scale has none.

        Args:
            path: below the scale's folder, such as "periodic", "fig3.yaml".
        """
        found = (folder.joinpath(*path) for folder in self.folders)
        return next((path for path in found if path.is_file()), None)

    def read(self, path: Path) -> Document:
        """A paper's file under the scale's overlay.

        Raises:
            PerigeeError: one of them cannot be read, or they do not fit.
        """
        overlay = self.overlay(path.parent.name, path.name)
        over = (None, "") if overlay is None else (read_shared(overlay), shown(overlay))
        return self.seeded(document(read_shared(path), shown(path), *over))

    def seeded(self, read: Document) -> Document:
        """A document with the judged seeds in its sweeps."""
        here = min(self.seeds, self.most_seeds or self.seeds)
        values = with_seeds(read.values, judged_seeds(here))
        return replace(read, plain=with_seeds(read.plain, judged_seeds(self.seeds)), values=values)

    def require_used(self, papers: Mapping[str, Iterable[str]]) -> None:
        """Refuse overlays over files that no paper has.

        Args:
            papers: known figures by paper.

        Raises:
            PerigeeError: there is one.
        """
        for folder in self.folders:
            below = next((path for path in folder.glob("[!.]*/[!.]*/")), None)
            if below is not None:
                raise PerigeeError(
                    f"{shown(below)} is a folder, and overlays lie in the one above, named as the "
                    "files that they change; claims are the same at every scale."
                )
            for path in yaml_paths(folder, "*/"):
                known = {*papers.get(path.parent.name, ()), PAPER}
                if path.parent.name not in papers:
                    told = f"'{path.parent.name}', which is not a paper"
                    near = suggestion(path.parent.name, papers)
                elif path.stem not in known:
                    told = f"'{path.stem}', which is not a file of the paper"
                    near = suggestion(path.stem, known)
                else:
                    continue
                raise PerigeeError(f"{shown(path)} changes {told}; {near}.")


@dataclass(frozen=True)
class Document:
    """A file at one scale.

    Attributes:
        plain: what the file holds.
        values: the same under the scale's overlay.
        file: the file's name, which knows the overlay's.
        notes: the documents that have ``ours`` and ``seen``, each with its file's name.
    """

    plain: Mapping[str, Any]
    values: dict[str, Any]
    file: str
    notes: tuple[tuple[Mapping[str, Any], str], ...]


NOTES = ("ours", "seen")
GIVEN_BY_OVERLAYS = ("untestable", "test_statistics", "outside_theorems")
"""Keys that an overlay may give though the file that it overlays lacks them."""


def document(
    plain: Mapping[str, Any], file: str, overlay: Mapping[str, Any] | None = None, over: str = ""
) -> Document:
    """A document, perhaps under an overlay.

    Args:
        plain, file: the document and its file's name.
        overlay, over: the same of the overlay.
    """
    overlay = overlay or {}
    apart = (*NOTES, *GIVEN_BY_OVERLAYS)
    changes = {key: value for key, value in overlay.items() if key not in apart}
    values = merged(plain, changes, over)
    values |= {key: overlay[key] for key in GIVEN_BY_OVERLAYS if key in overlay}
    sources = Sources(file, lambda key: over if holds(overlay, key) else None)
    return Document(plain, values, sources, ((plain, file), (overlay, over)))


def known_scales() -> dict[str, Scale]:
    """The scales by name: the paper's, and one for each folder of overlays.

    Raises:
        PerigeeError: a scale's description is missing or wrong.
    """
    folders: dict[str, list[Path]] = {}
    for root in paths.config_folders():
        for folder in sorted((root / "scales").glob("[!.]*/")):
            folders.setdefault(folder.name, []).append(folder)
    # The paper's comes first, so that a mistake in a file is not taken for one of an overlay's.
    return {PAPER: Scale(PAPER)} | {name: _scale(name, found) for name, found in folders.items()}


def scale_of(name: str, known: Mapping[str, Scale], file: str) -> Scale:
    """The scale of that name, or of the folder of overlays at that path.

    Args:
        name: the name or path.
        known: scales by name.
        file: where the name stands, for messages.

    Raises:
        PerigeeError: there is none.
    """
    if name in known:
        return known[name]
    folder = Path(name).resolve()
    if not folder.is_dir():
        raise PerigeeError(
            f"{file}: key 'scale' is '{name}', which is neither a scale nor the path of a "
            f"folder of overlays; {suggestion(name, known)}."
        )
    if folder.name in known and folder not in (one.resolve() for one in known[folder.name].folders):
        raise PerigeeError(
            f"{file}: key 'scale' is '{name}', but there is a scale '{folder.name}' already, "
            "whose results would get mixed up with this one's; rename the folder."
        )
    return _scale(folder.name, [folder])


def _scale(name: str, folders: list[Path]) -> Scale:
    if name == PAPER:
        raise PerigeeError(
            f"{shown(folders[0])} is named as the scale without overlays; rename the folder."
        )
    scale = Scale(name, folders=tuple(folders))
    path = scale.overlay(SCALE_FILE) or folders[0] / SCALE_FILE
    read = checked(models.Scale, read_shared(path), shown(path))
    return replace(
        scale,
        tests_claims=read.tests_claims,
        most_seeds=read.seeds,
        precision=read.precision,
    )


def papers() -> dict[str, dict[str, Path]]:
    """The files of each paper, ``paper`` and its figures, by name.

    Raises:
        PerigeeError: a file is named as no figure can be.
    """
    folders = {
        folder.name
        for root in paths.config_folders()
        for folder in (root / "papers").glob("[!.]*/")
    }
    found = {paper: yaml_files("papers", paper) for paper in sorted(folders)}
    lacking = next((paper for paper, files in found.items() if PAPER not in files), None)
    if lacking is not None:
        raise PerigeeError(f"config/papers/{lacking} has no paper.yaml; write it.")
    return found
