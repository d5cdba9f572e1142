"""The proof that a change of code alters no number: old and new products agree bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from perigee.errors import PerigeeError
from perigee.identity.equivalences import counting_code
from perigee.paths import ROOT
from perigee.surroundings import environment_of_git

Golden = Mapping[str, Any]


def compare(
    trees: Sequence[Path], golden: Sequence[Golden], folder: Path, downloads: Path, device: str
) -> dict[tuple[str, str, str], list[tuple[Golden, str | None]]]:
    """Make golden products with old and new code, and compare all files.

    Products for which the old code lacks a block or a parameter are left out: it cannot have made
    them.

    Args:
        trees: the checkouts of old and new code.
        golden: see `perigee.equivalence.golden.golden_products`.
        folder: where the products are made.
        downloads: folder of downloaded data sets.
        device: where runs are trained.

    Returns:
        For each kind of product, old code and new code that differ: the products, each with the
        reason against a proof, such as where its files first differ; None if they are the same.

    Raises:
        PerigeeError: one of the libraries does not work.
    """
    places = [folder / "old", folder / "new"]
    codes = _answers(trees, golden, ["", ""], downloads, device)
    changed = [
        product
        for product, old, new in zip(golden, *codes, strict=True)
        if old is not None and counting_code(product["kind"], old[0]) != new[0]
    ]
    answers = _answers(trees, changed, places, downloads, device) if changed else ([], [])
    found: dict[tuple[str, str, str], list[tuple[Golden, str | None]]] = {}
    for number, (product, old, new) in enumerate(zip(changed, *answers, strict=True)):
        made = (place / str(number) for place in places)
        problem = old[1] or new[1] or first_difference(*made)
        found.setdefault((product["kind"], old[0], new[0]), []).append((product, problem))
    return found


def first_difference(old: Path, new: Path) -> str | None:
    """Say where the files in two folders first differ; None if they are the same."""
    names, others = (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for folder in (old, new)
    )
    if names != others:
        return f"files {', '.join(names)} by the old code, {', '.join(others)} by the new"
    for name in names:
        if (old / name).read_bytes() != (new / name).read_bytes():
            return f"{name}, {_first_row(old / name, new / name)}"
    return None


def check_out(revision: str, folder: Path) -> str:
    """Write the files of a git revision of this checkout into a new folder.

    Returns:
        The commit.

    Raises:
        PerigeeError: the revision does not exist, or git is missing.
    """
    commit = _run(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], ROOT).strip()
    _run(["git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(folder)], ROOT)
    _run(["git", "checkout", "--quiet", commit], folder)
    return commit


def _first_row(old: Path, new: Path) -> str:
    """The first row in which two files differ, or the first byte for files without rows."""
    one, other = (
        np.atleast_1d(np.load(path)) if path.suffix == ".npy" else np.fromfile(path, np.uint8)
        for path in (old, new)
    )
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f"{one.dtype} {one.shape} by the old code, {other.dtype} {other.shape} by the new"
    rows = enumerate(zip(one, other, strict=True))
    row = next(number for number, (a, b) in rows if a.tobytes() != b.tobytes())
    return f"row {row}: {one[row]} by the old code, {other[row]} by the new"


def _answers(
    trees: Sequence[Path],
    golden: Sequence[Golden],
    places: Sequence[Path | str],
    downloads: Path,
    device: str,
) -> list[Any]:
    """Each checkout's answers (`perigee.equivalence.making.answer`), side by side."""
    program = [sys.executable, "-m", "perigee.equivalence.making"]
    told = [json.dumps([golden, str(place), str(downloads), device]) for place in places]
    with ThreadPoolExecutor(max_workers=len(trees)) as pool:
        return list(map(json.loads, pool.map(_run, [program] * len(trees), trees, told)))


def _run(command: Sequence[str], folder: Path, told: str = "") -> str:
    """Return what a command prints in a checkout.

    Raises:
        PerigeeError: the command fails; the message has its last line.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**environment_of_git(), "PYTHONPATH": str(folder / "workflow")},
            input=told,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        last = (getattr(error, "stderr", "") or str(error)).strip().rpartition("\n")[2]
        raise PerigeeError(f"'{' '.join(command[:3])}' fails in {folder}: {last}") from error
    return done.stdout
