"""Notes in files on their own values: our choices, and what was in view when they were set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from perigee.configuration import models
from perigee.configuration.overlays import flattened, matches
from perigee.configuration.requests import Note
from perigee.configuration.scales import NOTES, Document, document
from perigee.configuration.validation import checked, suggestion
from perigee.errors import PerigeeError


def notes_of(read: Document, runs: set[str] | None = None, under: str = "") -> Iterator[Note]:
    """The notes of a file and its overlay on values of ours, and on values set in view of results.

    Args:
        read: the file at a scale.
        runs: entries of ``runs`` that count; None for all.
        under: a key that the document stands under, for messages.

    Raises:
        PerigeeError: a note is about a key that is not there.
    """
    for source, file in read.notes:
        for kind in NOTES:
            for path, note in source.get(kind, {}).items():
                where = f"{under}.{kind}".removeprefix(".")
                found = list(matches(read.values, path))
                if not found:
                    known = {k: v for k, v in read.values.items() if k not in NOTES}
                    raise PerigeeError(
                        f"{file}: key '{where}' has a note on '{path}', but there is no such key; "
                        f"{suggestion(path, flattened(known))}."
                    )
                seen = (
                    checked(models.Seen, note, file, f"{where}.{path}") if kind == "seen" else None
                )
                parts = path.split(".")
                if runs is not None and not {*runs, "*"}.issuperset(parts[1:2]):
                    continue
                yield Note(
                    f"{under}.{path}".removeprefix("."),
                    found[0][1] if len(found) == 1 else None,
                    seen.saw if seen else str(note),
                    seen is not None,
                    seen.seeds if seen else (),
                    file,
                )


def notes_of_claims(read: Document, names: Iterable[str], path: Path) -> Iterator[Note]:
    """The notes of claims on their own values.

    Args:
        read: the document that has them under ``claims``.
        names: of the claims.
        path: its file.
    """
    for name in names:
        claim = document(read.values["claims"][name], path, None, None)
        yield from notes_of(claim, under=f"claims.{name}")
