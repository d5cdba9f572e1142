"""Code that was proven to give the same numbers as older code, and so counts as that.

workflow/equivalences.json holds the proofs that workflow/scripts/record_equivalence.py wrote. The
identity of a run or data set is taken with the oldest code that gives its numbers, so that a
refactoring moves no path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from perigee.configuration.validation import validated
from perigee.errors import PerigeeError
from perigee.paths import EQUIVALENCES, shown

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
PROPERTIES = {
    "kind": {"enum": ["dataset", "run"]},
    "components": TEXTS,
    "old": DIGEST,
    "new": DIGEST,
    "commit": {"type": "string"},
    "date": {"type": "string"},
    "versions": TEXTS,
    "compared": {"type": "array", "items": {"type": "string"}},
}
SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": list(PROPERTIES),
        "properties": PROPERTIES,
    },
}


@dataclass(frozen=True)
class Equivalence:
    """A proof that two versions of the code give the same numbers.

    Attributes:
        kind: "dataset" or "run".
        components: by kind of block the names of those that the code is for, such as
            {"dataset": "digits"}.
        old, new: code digests; what was made by the old code stays valid for the new.
        commit: git's name of the old code.
        date: of the proof, UTC.
        versions: of Python and the packages that the proof was computed with.
        compared: what came out the same bit for bit, in words.
    """

    kind: str
    components: Mapping[str, str]
    old: str
    new: str
    commit: str
    date: str
    versions: Mapping[str, str]
    compared: tuple[str, ...]


def counting_code(kind: str, code: str) -> str:
    """The digest of the oldest code that is proven to give what this code gives.

    Args:
        kind: of the product.
        code: digest of the code at hand; returned as it is if nothing is proven of it.

    Raises:
        PerigeeError: workflow/equivalences.json is malformed.
    """
    return _oldest().get((kind, code), code)


def read_equivalences(path: Path = EQUIVALENCES) -> list[Equivalence]:
    """All recorded ones, in the order of the file; none if there is no file.

    Raises:
        PerigeeError: the file is malformed, gives a code two predecessors, or goes in a circle.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise PerigeeError(
            f"{shown(path)} is no readable JSON ({error}); restore the file from git."
        ) from error
    if entries == []:
        return []
    checked = validated(entries, SCHEMA, shown(path), "entries")
    found = [Equivalence(**{**entry, "compared": tuple(entry["compared"])}) for entry in checked]
    oldest(found, shown(path))
    return found


def write_equivalences(path: Path, equivalences: Iterable[Equivalence]) -> None:
    """The whole file anew."""
    plain = [asdict(equivalence) for equivalence in equivalences]
    path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def oldest(equivalences: Iterable[Equivalence], file: str) -> dict[tuple[str, str], str]:
    """Of each proven code the oldest that it is proven equal to, through any number of steps.

    Args:
        equivalences: in any order.
        file: named in messages.

    Returns:
        (kind, code digest) -> code digest.

    Raises:
        PerigeeError: a code has two predecessors, or is its own.
    """
    older: dict[tuple[str, str], str] = {}
    for entry in equivalences:
        if older.setdefault((entry.kind, entry.new), entry.old) != entry.old:
            raise PerigeeError(
                f"{file}: {entry.kind} code {entry.new} stands for both "
                f"{older[entry.kind, entry.new]} and {entry.old}; remove one of the two entries."
            )
    found = {}
    for kind, new in older:
        passed, code = {new}, older[kind, new]
        while (kind, code) in older and code not in passed:
            passed.add(code)
            code = older[kind, code]
        if code in passed:
            raise PerigeeError(
                f"{file}: {kind} code {code} is, through other entries, older than itself; "
                "remove the entry that closes the circle."
            )
        found[kind, new] = code
    return found


@cache
def _oldest() -> Mapping[tuple[str, str], str]:
    return oldest(read_equivalences(), shown(EQUIVALENCES))
