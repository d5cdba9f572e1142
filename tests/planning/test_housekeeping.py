"""What the store holds, what of it may go, and whether it is as it was made."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store.housekeeping import (
    FINISHED,
    NO_FIGURE,
    check_product,
    leftovers,
    products,
    remove,
    stored,
)
from perigee.store.locks import locked
from perigee.store.provenance import PROVENANCE
from perigee.store.spares import keep_spare
from perigee.store.writing import product_writer

TABLE = Identity("table", "squares", {"n": 3}, "code", {})
RUN = Identity("run", "r", {}, "code", {})


def make(store: Path, identity: Identity, version: str = "", content: str = "12345") -> Path:
    folder = store / identity.folder / version
    with product_writer(folder, identity) as product:
        (product.aside / "data.txt").write_text(content)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run as training leaves it: a version, its spare, a saved state, a lock."""
    version = make(tmp_path, RUN, "e10")
    folder = tmp_path / RUN.folder
    keep_spare(version, folder / "spare/e10")
    (folder / "unfinished/e20").mkdir(parents=True)
    (folder / "unfinished/e20/state").write_text("1234567")
    (folder / ".lock").touch()
    return folder


def shown(folder: Path) -> set[str]:
    """Names in a folder but those of locks."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def named(store: Path, *referenced: str) -> dict[str, str]:
    """Reasons of what may go, by path below the store."""
    return {str(item.path.relative_to(store)): item.reason for item in leftovers(store, referenced)}


def test_the_state_of_a_run_that_is_finished_may_go(tmp_path: Path, run: Path) -> None:
    assert named(tmp_path, f"{RUN.folder}/e10") == {f"{RUN.folder}/unfinished": FINISHED}


def test_what_a_run_needs_to_get_longer_stays(tmp_path: Path, run: Path) -> None:
    assert named(tmp_path, f"{RUN.folder}/e10", f"{RUN.folder}/e20") == {}
    assert named(tmp_path, f"{RUN.folder}/e20") == {
        f"{RUN.folder}/e10": NO_FIGURE,
        f"{RUN.folder}/spare/e10": NO_FIGURE,
    }


def test_a_spare_stays_while_its_version_is_needed_and_lost(tmp_path: Path, run: Path) -> None:
    for path in (run / "e10").iterdir():
        path.unlink()
    assert named(tmp_path, f"{RUN.folder}/e10") == {}


def test_a_run_that_nothing_refers_to_goes_with_all_that_it_keeps(
    tmp_path: Path, run: Path
) -> None:
    found = leftovers(tmp_path, set())
    assert {str(item.path.relative_to(run)): item.reason for item in found} == {
        "e10": NO_FIGURE,
        "unfinished": NO_FIGURE,
        "spare/e10": NO_FIGURE,
    }
    assert all(remove(item, tmp_path) for item in found)
    assert not run.exists()


def test_nothing_of_a_run_goes_while_its_lock_is_held(tmp_path: Path, run: Path) -> None:
    table = make(tmp_path, TABLE)
    found = leftovers(tmp_path, set())
    with locked(run):
        assert [item.path for item in leftovers(tmp_path, set())] == [table]
        # A job takes the run up between the listing and the removal.
        gone = {item.path.name for item in found if remove(item, tmp_path)}
    assert gone == {table.name}
    assert shown(run) == {"e10", "unfinished", "spare"}
    assert (run / "unfinished/e20/state").read_text() == "1234567"
    assert len(leftovers(tmp_path, set())) == 3, "the lock is free again"


def test_long_training_is_not_taken_for_abandoned(tmp_path: Path, run: Path) -> None:
    """A job that trains for days writes its tables at the end; its lock tells that it lives."""
    writing = run / "e20" / ".writing-x"
    writing.mkdir(parents=True)
    os.utime(writing, (0, 0))
    with locked(run):
        assert named(tmp_path, f"{RUN.folder}/e20") == {}
    assert f"{RUN.folder}/e20/.writing-x" in named(tmp_path, f"{RUN.folder}/e20")


def test_a_version_that_keeps_checkpoints_is_one_of_its_own(tmp_path: Path, run: Path) -> None:
    keeping = make(tmp_path, RUN, "e10-every5")
    keep_spare(keeping, run / "spare/e10-every5")
    assert named(tmp_path, f"{RUN.folder}/e10") == {
        f"{RUN.folder}/e10-every5": NO_FIGURE,
        f"{RUN.folder}/spare/e10-every5": NO_FIGURE,
        f"{RUN.folder}/unfinished": FINISHED,
    }
    assert products(tmp_path) == [run / "e10", keeping]


def test_files_that_are_no_products_are_never_listed(tmp_path: Path, run: Path) -> None:
    (run / "notes").mkdir()
    (run / "e10.txt").touch()
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "thesis.tex").touch()
    assert set(named(tmp_path)) == {
        f"{RUN.folder}/{name}" for name in ("e10", "unfinished", "spare/e10")
    }
    for item in leftovers(tmp_path, set()):
        remove(item, tmp_path)
    assert shown(run) == {"notes", "e10.txt"}


def test_a_product_taken_up_again_since_it_was_listed_is_left(tmp_path: Path) -> None:
    table = make(tmp_path, TABLE)
    (item,) = leftovers(tmp_path, set())
    (table / ".writing-now").mkdir()
    assert not remove(item, tmp_path)
    assert (table / "data.txt").exists()


def test_all_that_is_stored_is_listed_with_size_and_figures(tmp_path: Path, run: Path) -> None:
    table = make(tmp_path, TABLE)
    references = {f"{RUN.folder}/e10": {"b", "a"}, f"{RUN.folder}/e20": {"c"}, "table/x": {"d"}}
    found = {item.path: item for item in stored(tmp_path, references)}
    assert {path: item.figures for path, item in found.items()} == {
        run / "e10": ("a", "b"),
        run / "spare/e10": ("a", "b"),
        run / "unfinished": ("a", "b", "c"),
        table: (),
    }
    assert {item.kind for item in found.values()} == {"run", "table"}
    assert found[run / "unfinished"].bytes == 7
    # The spare is a second name of the same files.
    both = found[run / "e10"].bytes + found[run / "spare/e10"].bytes
    assert both == pytest.approx(5 + (run / "e10" / PROVENANCE).stat().st_size, abs=2)
    assert found[table].bytes == 5 + (table / PROVENANCE).stat().st_size


@pytest.mark.parametrize(("read", "changed"), [(3000, 1000), (1000, 3000)])
def test_the_last_use_is_the_latest_reading_or_change(
    tmp_path: Path, read: int, changed: int
) -> None:
    table = make(tmp_path, TABLE)
    for path in table.iterdir():
        os.utime(path, (500, 500))
    os.utime(table / "data.txt", (read, changed))
    (item,) = stored(tmp_path, {})
    assert item.last_used == 3000


def test_sound_products_are_found_sound(tmp_path: Path, run: Path) -> None:
    table = make(tmp_path, TABLE)
    assert products(tmp_path) == [run / "e10", table]
    assert [check_product(path, tmp_path) for path in products(tmp_path)] == [5, 5]


def edit_provenance(path: Path, **changes: object) -> None:
    document = json.loads((path / PROVENANCE).read_text())
    (path / PROVENANCE).write_text(json.dumps(document | changes))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda table: (table / "data.txt").write_text("12346"), "wrong checksum"),
        (lambda table: (table / "data.txt").unlink(), "cannot be read"),
        (lambda table: (table / PROVENANCE).write_text("{"), "missing or damaged"),
        (lambda table: (table / PROVENANCE).unlink(), "missing or damaged"),
        (lambda table: edit_provenance(table, spec={"n": 4}), "was changed after it was made"),
        (lambda table: edit_provenance(table, code="other"), "was changed after it was made"),
        (lambda table: edit_provenance(table, digest="0" * 16), "belongs to another product"),
    ],
)
def test_a_damaged_product_is_found(
    tmp_path: Path, damage: Callable[[Path], object], told: str
) -> None:
    table = make(tmp_path, TABLE)
    damage(table)
    assert products(tmp_path) == [table]
    with pytest.raises(PerigeeError, match=told):
        check_product(table, tmp_path)


def test_what_is_being_made_is_not_verified(tmp_path: Path) -> None:
    table = make(tmp_path, TABLE)
    (table / ".writing-now").mkdir()
    (tmp_path / "table" / "empty-0123456789abcdef").mkdir()
    assert products(tmp_path) == []
    two_days_ago = time.time() - 2 * 86400
    os.utime(table / ".writing-now", (two_days_ago, two_days_ago))
    assert products(tmp_path) == [table]
