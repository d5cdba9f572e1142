"""Writing a product: aside first, then renamed, its provenance last."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store.locks import acquired
from perigee.store.provenance import (
    FORMAT,
    PROVENANCE,
    Provenance,
    checksum,
    git_state,
    hardware,
    is_intact,
    read_provenance,
    versions,
)

WRITING = ".writing-"
"""How the names of folders begin in which files are made."""


@contextmanager
def product_writer(folder: Path, identity: Identity, **details: Any) -> Iterator[Path]:
    """Yield a folder for files, which are renamed into ``folder`` at the context's end.

    The provenance with the files' checksums is renamed last, so that a product with provenance
    is complete. If the block raises, nothing appears in ``folder``. All files get the mode of any
    new file there, whatever mode a library has given them. Files of an earlier product
    there that the new one lacks are removed; files that were never a product's are left alone. If
    another process has made the same product in the meantime, its files are kept.

    Args:
        folder: of the product.
        identity: of the product.
        details: goes into the provenance: outcome, seed and the like.
    """
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=WRITING, dir=folder))
    started = time.time()
    git = git_state()
    try:
        yield aside
        files = {path.name: path for path in sorted(aside.iterdir())}
        provenance = Provenance(
            kind=identity.kind,
            name=identity.name,
            digest=identity.digest,
            spec=identity.spec,
            code=identity.code,
            inputs=dict(identity.inputs),
            files={name: checksum(path) for name, path in files.items()},
            details=details,
            versions=versions(),
            hardware=hardware(),
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            wall_time_s=round(time.time() - started, 3),
            code_at_hand=identity.code_at_hand,
            modules=dict(identity.modules),
            git=git,
            format=FORMAT,
        )
        provenance.save(aside / PROVENANCE)
        mode = _mode(aside / PROVENANCE)
        for path in aside.iterdir():
            if _mode(path) != mode:
                path.chmod(mode)
            force_to_disk(path)
        lock_file = writers_lock(folder)
        lock_file.parent.mkdir(exist_ok=True)
        lock = acquired(lock_file)
        try:
            there = folder / PROVENANCE
            made_meanwhile = there.exists() and there.stat().st_mtime >= started
            if not (made_meanwhile and is_intact(folder, identity.digest, files)):
                _move_into(folder, aside, files)
        finally:
            lock.release()
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def writers_lock(folder: Path) -> Path:
    """Held while a product's files are moved into its folder."""
    return folder.parent / ".locks" / folder.name


def remove_abandoned(folder: Path) -> None:
    """Remove what killed writers of a product left behind.

    Only for one who has made sure that nobody else is writing it.
    """
    for path in folder.glob(f"{WRITING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _move_into(folder: Path, aside: Path, names: Iterable[str]) -> None:
    earlier = _files_of(folder)
    (folder / PROVENANCE).unlink(missing_ok=True)
    for name in earlier - set(names):
        (folder / name).unlink(missing_ok=True)
    for name in (*names, PROVENANCE):
        (aside / name).replace(folder / name)
    force_to_disk(folder)


def _files_of(folder: Path) -> set[str]:
    """Names of the files that the provenance in a folder lists, none if there is none."""
    try:
        # Plain names only: what stands in the file must not lead out of the folder.
        return {name for name in read_provenance(folder).files if Path(name).name == name}
    except PerigeeError:
        return set()


@contextmanager
def written_atomically(target: Path, keep_as: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to; at the context's end that file appears as ``target``, complete.

    Args:
        target: replaced if it exists.
        keep_as: what the present target is renamed to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    aside.touch(exist_ok=False)
    mode = _mode(aside)
    try:
        yield aside
        if _mode(aside) != mode:  # a library has replaced it
            aside.chmod(mode)
        force_to_disk(aside)
        if keep_as is not None and target.exists():
            target.replace(keep_as)
        aside.replace(target)
        force_to_disk(target.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def force_to_disk(path: Path) -> None:
    """Have a file's content, or a folder's entries, survive the machine's sudden end."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(target: Path, text: str) -> None:
    """Write a file in UTF-8 that appears under its name only when it is complete."""
    with written_atomically(target) as aside:
        aside.write_text(text, encoding="utf-8")


def link_or_copy(source: Path, target: Path) -> None:
    """Another name for the same file, or a copy where the file system knows no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
