"""The provenance beside every product, and the check that every reader of a product makes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from perigee.errors import PerigeeError
from perigee.identity.canonical import DIGEST_LENGTH
from perigee.paths import ROOT
from perigee.surroundings import environment_of_git

PROVENANCE = "provenance.json"
FORMAT = 2
"""The store's format; products of a lower one were made by an earlier version of Perigee."""
GIT_PATIENCE_S = 10
"""A product is not kept waiting for longer by a file system on which git is slow."""
RECORDED_PACKAGES = (
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
)


@dataclass(frozen=True)
class Provenance:
    """How a product came to be.

    Attributes:
        kind, name, digest, spec, code, inputs: its identity.
        files: of each file its size in bytes and SHA-256.
        details: what only this kind of product has, such as the seed or how training ended.
        versions: of Python and the packages that compute.
        hardware: processor, and GPU if one was used by this process.
        started: UTC.
        wall_time_s: seconds from start to end of making it.
        code_at_hand: digest of the code that really ran, if `code` is older code that is proven to
            give the same.
        modules: digest of each module of the code that really ran; empty if made before these were
            recorded.
        format: of the store.
        git: commit of the checkout that ran, and whether its files differed from it ("dirty"); None
            if it is not a git repository.
    """

    kind: str
    name: str
    digest: str
    spec: Any
    code: str
    inputs: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    details: Mapping[str, Any]
    versions: Mapping[str, str]
    hardware: Mapping[str, str]
    started: str
    wall_time_s: float
    code_at_hand: str | None = None
    modules: Mapping[str, str] = field(default_factory=dict)
    git: Mapping[str, Any] | None = None
    format: int = 1

    def save(self, path: Path) -> None:
        """Write as JSON."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


def read_product(folder: Path, files: Iterable[str] | None = None) -> Provenance:
    """The provenance of a product whose named files are proven to be the ones it was made with.

    Args:
        folder: of the product.
        files: names of the files that the caller will read; their checksums are verified. None is
            all of them.

    Raises:
        PerigeeError: the product is not complete, is another one, or was changed since.
    """
    provenance = read_provenance(folder)
    expected = folder_digest(folder)
    if expected not in (None, provenance.digest):
        raise PerigeeError(
            f"{folder / PROVENANCE} belongs to another product ({provenance.digest} instead of "
            f"{expected}); delete the folder and run again."
        )
    for name in provenance.files if files is None else files:
        path = folder / name
        try:
            found = checksum(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        if found != provenance.files.get(name):
            raise PerigeeError(
                f"{path} has a wrong checksum: it was changed or damaged after it was made; "
                "delete its folder and run again."
            )
    return provenance


def read_provenance(folder: Path) -> Provenance:
    """The provenance of a product, its files unseen.

    Raises:
        PerigeeError: there is none that can be read.
    """
    path = folder / PROVENANCE
    try:
        document = dict(json.loads(path.read_text(encoding="utf-8")))
        known = {field.name for field in fields(Provenance)}
        return Provenance(**{key: value for key, value in document.items() if key in known})
    except PermissionError as error:
        raise _unreadable(path, error) from error
    except (OSError, TypeError, ValueError) as error:
        raise PerigeeError(
            f"{path} is missing or damaged, so {folder} is not a complete product; delete the "
            "folder and run again."
        ) from error


def _unreadable(path: Path, error: OSError) -> PerigeeError:
    """The error for a file that cannot be read; one that is only forbidden is not to be deleted."""
    if isinstance(error, PermissionError):
        return PerigeeError(
            f"{path} may not be read by this user ({error.strerror}); ask its owner for the right "
            "to (chmod a+r, and a+x for its folders). It is not damaged, so delete nothing."
        )
    return PerigeeError(
        f"{path} cannot be read ({error.strerror}); delete its folder and run again."
    )


def is_intact(folder: Path, digest: str, files: Iterable[str] = ()) -> bool:
    """True if a folder holds a product whose files are all as they were made; the files are read.

    Args:
        folder: of the product, or another that its files stand in.
        digest: of the product.
        files: that have to be among its files.
    """
    try:
        provenance = read_product(folder)
    except PerigeeError:
        return False
    return provenance.digest == digest and set(files) <= set(provenance.files)


def is_there(folder: Path, files: Iterable[str]) -> bool:
    """True if a folder has the files; their content is not read."""
    return all((folder / name).is_file() for name in files)


def folder_digest(folder: Path) -> str | None:
    """The digest in a product's path: of its folder, or of the one above for a run's e<epochs>.

    None if the folder is not named as in the store (a program that was run by hand may write
    anywhere).
    """
    names = (folder.absolute().name, folder.absolute().parent.name)
    found = (re.search(rf"-([0-9a-f]{{{DIGEST_LENGTH}}})$", name) for name in names)
    return next((match[1] for match in found if match), None)


def checksum(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


@cache
def versions() -> Mapping[str, str]:
    """The versions of Python and of the recorded packages that are installed."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str]:
    """This machine's processor and cores, and its GPU if this process has used one."""
    found = {"processor": _processor(), "cores": str(os.cpu_count())}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name()
    return found


@cache
def git_state() -> dict[str, Any] | None:
    """Commit of this checkout, and whether its tracked files differ from it.

    Returns:
        {"commit": ..., "dirty": ...}; None if this is not a git repository or there is no git.
    """
    if not (ROOT / ".git").exists():
        return None  # git would look for a repository above
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        told = subprocess.run(
            [*command, "--exclude=*"],
            cwd=ROOT,
            env=environment_of_git(),
            capture_output=True,
            encoding="utf-8",
            timeout=GIT_PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    commit, _, dirty = told.stdout.strip().partition("-")
    return {"commit": commit, "dirty": bool(dirty)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
