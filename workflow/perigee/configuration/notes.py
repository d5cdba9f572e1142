"""Notes in files on their own values: our choices, and what was in view when they were set."""

from __future__ import annotations

from collections.abc import Iterator

from perigee.configuration import models
from perigee.configuration.overlays import flattened, matches
from perigee.configuration.requests import Note
from perigee.configuration.scales import NOTES, Document, document
from perigee.configuration.validation import checked, suggestion
from perigee.errors import PerigeeError


def notes_of(read: Document, runs: set[str] | None = None, under: str = "") -> Iterator[Note]:
    """The notes of a file, its overlay and its claims on values of ours and on such set in view.

    Args:
        read: the file at a scale.
        runs: entries of ``runs`` that count; None for all.
        under: a key that the document stands under, for messages.

    Raises:
        PerigeeError: a note is wrong, or about a key that is not there.
    """
    for source, file in read.notes:
        given = {kind: source[kind] for kind in NOTES if kind in source}
        noted = checked(models.Noted, given, file, under)
        ours = [("ours", path, reason, ()) for path, reason in noted.ours.items()]
        seen = [("seen", path, one.saw, one.seeds) for path, one in noted.seen.items()]
        for kind, path, told, seeds in (*ours, *seen):
            found = list(matches(read.values, path))
            if not found:
                where = f"{under}.{kind}".removeprefix(".")
                known = {key: value for key, value in read.values.items() if key not in NOTES}
                raise PerigeeError(
                    f"{file}: key '{where}' has a note on '{path}', but there is no such key; "
                    f"{suggestion(path, flattened(known))}."
                )
            if runs is None or {*runs, "*"}.issuperset(path.split(".")[1:2]):
                key = f"{under}.{path}".removeprefix(".")
                value = found[0] if len(found) == 1 else None
                yield Note(key, value, told, kind == "seen", seeds, file)
    for name, claim in read.values.get("claims", {}).items():
        yield from notes_of(document(claim, read.file), under=f"claims.{name}")
