"""Files under the names that outsiders use, and the note that says which version they are."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from perigee.store.provenance import checksum


class Publication:
    """Files in one folder that are published together.

    Args:
        folder: that they lie in.
        name: of the publication, unique in the folder.
        files: their names.
    """

    def __init__(self, folder: Path, name: str, files: Iterable[str]) -> None:
        self.paths = [folder / file for file in files]
        self._note = folder / ".version" / f"{name}.json"

    def is_current(self, digest: str) -> bool:
        """True if the files are those of the version with this digest, unchanged."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return bool(note == {"digest": digest, "files": self._checksums()})
        except (OSError, ValueError):
            return False

    def withdraw(self) -> None:
        """Forget which version the files are; to be called before they are changed."""
        self._note.unlink(missing_ok=True)

    def confirm(self, digest: str) -> None:
        """Note that the files are those of the version with this digest."""
        self._note.parent.mkdir(exist_ok=True)
        note = {"digest": digest, "files": self._checksums()}
        self._note.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")

    def _checksums(self) -> dict[str, object]:
        return {path.name: checksum(path) for path in self.paths}


def outdated_notice() -> str:
    """The path of a temporary file, newer than anything published.

    Snakemake remakes an existing file only if one of its inputs is newer and has new content. The
    version that is to replace published files may be an old one (a value was changed and changed
    back), so this file stands in for it. It ends with the process.
    """
    notice = _notice()
    notice.seek(0)
    notice.write(f"{time.time_ns()}\n".encode())
    notice.flush()
    return str(notice.name)


@cache
def _notice() -> Any:
    return tempfile.NamedTemporaryFile(prefix="perigee-outdated-")
