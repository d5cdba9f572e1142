"""File modes, locks, refused permissions, locales and exported variables, without a workflow."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
import pytest
from safetensors.numpy import save_file

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store import checks, locks, provenance
from perigee.store.figures import publish
from perigee.store.housekeeping import products
from perigee.store.locks import locked, locked_if_free
from perigee.store.writing import product_writer, written_atomically
from perigee.surroundings import environment_of_jobs

IDENTITY = Identity("figure", "f", {}, "c", {})
FILES = ("figure.pdf", "figure_paper_width.pdf", "figure.png", "figure.csv", "figure.ipynb")


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    earlier = os.umask(request.param)
    yield request.param
    os.umask(earlier)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def product(store: Path) -> Path:
    """A product with a file that safetensors writes, and one linked to a private file."""
    folder = store / IDENTITY.folder
    with product_writer(folder, IDENTITY) as aside:
        for name in FILES:
            save_file({"x": np.zeros(2)}, aside / name)
    return folder


def test_all_files_and_folders_have_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    folder = product(tmp_path / "store")
    publish(folder, tmp_path / "published", "f")
    with written_atomically(tmp_path / "state") as aside:
        save_file({"x": np.zeros(2)}, aside)
    with locked(tmp_path / "run"):
        pass
    for path in tmp_path.rglob("*"):
        full = 0o777 if path.is_dir() else 0o666
        assert mode(path) == full & ~umask, path


def forbidden(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("what", ["checksum", "json.loads"])
def test_what_may_not_be_read_is_not_to_be_deleted(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = product(tmp_path)
    monkeypatch.setattr(provenance if what == "checksum" else json, what.split(".")[-1], forbidden)
    with pytest.raises(PerigeeError, match="may not be read by this user") as refused:
        provenance.read_product(folder)
    assert "run again" not in str(refused.value)
    assert "delete nothing" in str(refused.value)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is taken for a lock: a file that locks by being there outlives its holder."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    told = rf"run/\.lock cannot be locked \({os.strerror(number)}\).*results"
    with pytest.raises(PerigeeError, match=told), locked(tmp_path / "run"):
        pass
    with pytest.raises(PerigeeError, match=told), locked_if_free(tmp_path / "run"):
        pass
    with pytest.raises(PerigeeError, match="cannot be locked"):
        product(tmp_path)
    assert not list(tmp_path.rglob(".writing-*"))


def test_locks_are_this_systems(tmp_path: Path) -> None:
    assert issubclass(filelock.FileLock, filelock.UnixFileLock)


def test_who_may_not_lock_goes_by_the_note_of_the_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run/r-0123456789abcdef"
    (run / "e1").mkdir(parents=True)
    (run / "e1/losses.npy").touch()
    (run / locks.LOCK).touch()
    monkeypatch.setattr(filelock.FileLock, "acquire", forbidden)
    assert products(tmp_path) == [run / "e1"], "whoever verifies only reads"
    (run / locks.HOLDER).touch()
    assert products(tmp_path) == []


def test_a_results_folder_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    link = tmp_path / "results"
    link.symlink_to(tmp_path / "scratch")
    for results in (link, link / "mine"):
        with pytest.raises(PerigeeError, match=r"is a link to .*scratch, which does not exist"):
            checks.check_results(results)
    (tmp_path / "scratch").mkdir()
    checks.check_results(link)
    checks.check_results(tmp_path / "new/results")


def test_exported_git_variables_name_no_other_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@x", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "own").write_text("own")
    git("add", "own")
    git("commit", "--quiet", "--message", "own")
    own = git("rev-parse", "HEAD")
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", other], check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / "index",
    }.items():
        monkeypatch.setenv(name, str(value))
    state = provenance.git_state.__wrapped__()
    assert state == {"commit": own, "dirty": False}


def test_jobs_have_this_environments_packages_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "pyarrow.py").write_text("raise ImportError('another pyarrow')")
    library = Path(provenance.__file__).parents[2]
    environment = {**os.environ, **environment_of_jobs(library)}
    done = subprocess.run(
        ["python", "-c", "import perigee, sys, pyarrow; print(perigee.__file__, sys.executable)"],
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert str(library) in done.stdout
    assert Path(environment["PATH"].split(os.pathsep)[0]) == Path(sys.executable).parent


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert environment_of_jobs(Path("workflow"))["LOGNAME"] == f"user{os.getuid()}"


@pytest.mark.parametrize("words", ["typer.echo(text)", "rich.console.Console().print(text)"])
def test_what_a_program_prints_fits_into_any_locale(words: str) -> None:
    program = (
        "import sys, typer, rich.console; from perigee.cli import program\n"
        "def main() -> None:\n    text = '\\u03c1 \\u2500'\n    "
        + words
        + "\nprogram(main, 'perigee x', in_project=False)()\n"
    )
    narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **narrow}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u03c1" in done.stdout or "ρ".encode() in done.stdout  # typer knows of such locales
