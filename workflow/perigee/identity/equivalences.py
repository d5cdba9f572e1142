"""Code that was proven to give the same numbers as older code, and so counts as that code.

workflow/equivalences.json holds the proofs that `perigee equivalence record` wrote. The
identity of a product is taken with the oldest code that gives its numbers, so that a refactoring
moves no path.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from perigee.errors import PerigeeError
from perigee.paths import EQUIVALENCES, shown

CodeDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class Proof(BaseModel):
    """A proof that some code gives the same numbers as older code.

    Attributes:
        counts_as: digest of the older code, whose products stay valid.
        how: what was compared, when and with what, for readers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts_as: CodeDigest
    how: dict[str, Any]


Proofs = dict[str, dict[CodeDigest, Proof]]
"""The proofs by kind of product and digest of the newer code."""


def counting_code(kind: str, code: str) -> str:
    """The digest of the oldest code that is proven to give the same numbers as this code.

    Args:
        kind: kind of the product.
        code: digest of the current code; returned unchanged if there is no proof about it.

    Raises:
        PerigeeError: workflow/equivalences.json is malformed, or goes in a circle.
    """
    proofs = read_proofs(EQUIVALENCES).get(kind, {})
    for _ in proofs:
        if code not in proofs:
            return code
        code = proofs[code].counts_as
    if code in proofs:
        raise PerigeeError(
            f"{shown(EQUIVALENCES)}: {kind} code {code} counts, through other entries, as itself; "
            "remove the entry that closes the circle."
        )
    return code


@cache
def read_proofs(path: Path) -> Proofs:
    """Read all recorded proofs, none without a file. The file is read once.

    Raises:
        PerigeeError: the file is malformed.
    """
    try:
        return TypeAdapter(Proofs).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise PerigeeError(
            f"{shown(path)}: {place} is wrong ({first['msg']}); restore the file from git."
        ) from error


def write_proofs(path: Path, proofs: Proofs) -> None:
    """Write the whole file again."""
    path.write_bytes(TypeAdapter(Proofs).dump_json(proofs, indent=1) + b"\n")
