"""Products appear whole or not at all, and are read only if they are what they say."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store.figures import FILES, publish, published_figure
from perigee.store.housekeeping import leftovers
from perigee.store.provenance import PROVENANCE, read_product
from perigee.store.runs import (
    TABLES,
    kept_versions,
    longer_versions,
    planned_epochs,
    planned_predecessor,
)
from perigee.store.writing import copy_atomically, product_writer

TABLE = Identity("table", "squares", {"n": 3}, "code", {})


def make(folder: Path, identity: Identity = TABLE, content: str = "0 1 4") -> Path:
    with product_writer(folder, identity) as product:
        (product.aside / "squares.txt").write_text(content)
        if identity.kind == "run":
            for name in TABLES:
                (product.aside / name).write_text(content)
    return folder


@pytest.fixture
def product(tmp_path: Path) -> Path:
    return make(tmp_path / TABLE.folder)


def test_a_product_is_read_back_with_its_provenance(product: Path) -> None:
    provenance = read_product(product, ["squares.txt"])
    assert provenance.digest == TABLE.digest
    assert provenance.spec == {"n": 3}
    assert sorted(path.name for path in product.iterdir()) == [PROVENANCE, "squares.txt"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / TABLE.folder

    def fail() -> None:
        with product_writer(folder, TABLE) as product:
            (product.aside / "squares.txt").write_text("0 1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(folder.iterdir()) == []


def test_a_killed_renewal_leaves_no_complete_product(
    product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death between the renaming of a file and of the provenance must not pass for complete."""

    def die(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        make(product, content="other")
    monkeypatch.undo()
    with pytest.raises(PerigeeError, match=r"provenance\.json is missing or damaged"):
        read_product(product, ["squares.txt"])


def test_a_changed_file_is_refused_by_name(product: Path) -> None:
    (product / "squares.txt").write_text("0 1 5")
    with pytest.raises(PerigeeError, match=r"squares\.txt has a wrong checksum"):
        read_product(product, ["squares.txt"])


def test_a_missing_file_is_refused_by_name(product: Path) -> None:
    (product / "squares.txt").unlink()
    with pytest.raises(PerigeeError, match=r"squares\.txt cannot be read"):
        read_product(product, ["squares.txt"])


def test_a_foreign_product_is_refused(product: Path) -> None:
    other = product.with_name("squares-0123456789abcdef")
    product.rename(other)
    with pytest.raises(PerigeeError, match="belongs to another product"):
        read_product(other, ["squares.txt"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "table"}'])
def test_damaged_provenance_is_refused(product: Path, content: str) -> None:
    (product / PROVENANCE).write_text(content)
    with pytest.raises(PerigeeError, match="missing or damaged"):
        read_product(product, [])


def test_a_runs_digest_is_that_of_the_folder_above_its_epochs(tmp_path: Path) -> None:
    run = Identity("run", "r", {}, "code", {})
    version = make(tmp_path / run.folder / "e10", run)
    assert read_product(version, ["squares.txt"]).digest == run.digest


def test_a_copy_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_text("old")
    with pytest.raises(FileNotFoundError):
        copy_atomically(tmp_path / "missing", target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_published_copies_are_known_to_be_current(tmp_path: Path) -> None:
    figure = Identity("figure", "periodic_fig3", {}, "code", {})
    folder = tmp_path / figure.folder
    with product_writer(folder, figure) as product:
        for name in FILES:
            (product.aside / name).write_text(name)
    published = tmp_path / "published"
    copies = published_figure(published, "periodic_fig3")
    assert not copies.is_current(figure.digest)
    publish(folder, published, "periodic_fig3")
    assert (published / "periodic_fig3.csv").read_text() == "figure.csv"
    assert copies.is_current(figure.digest)
    assert not copies.is_current("0" * 16)
    (published / "periodic_fig3.csv").write_text("changed")
    assert not copies.is_current(figure.digest)


class Version:
    def __init__(self, identity: Identity, epochs: int) -> None:
        self.identity = identity
        self.epochs = epochs
        self.keep_every: int | None = None


@pytest.mark.parametrize(
    ("kept", "planned", "expected"),
    [
        ([], [4], {}),
        ([], [4, 10], {}),
        ([20], [4], {4: 20}),
        ([20, 30], [4, 25], {4: 20, 25: 30}),
        ([6], [4, 10], {4: 6}),
        ([2], [4], {}),
    ],
)
def test_what_is_read_off_which_longer_version(
    tmp_path: Path, kept: list[int], planned: list[int], expected: dict[int, int]
) -> None:
    run = Identity("run", "r", {}, "code", {})
    for epochs in kept:
        make(tmp_path / run.folder / f"e{epochs}", run)
    assert list(kept_versions(tmp_path / run.folder)) == sorted(kept)
    versions = {f"{run.folder}/e{epochs}": Version(run, epochs) for epochs in planned}
    found = longer_versions(tmp_path, versions)
    assert found == {
        f"{run.folder}/e{short}": f"{run.folder}/e{long}" for short, long in expected.items()
    }


@pytest.mark.parametrize(
    ("kept", "planned", "epochs", "expected"),
    [
        ([], [4], 4, None),
        ([], [4, 10], 10, 4),
        ([], [4, 10], 4, None),
        ([], [4, 7, 10], 10, 7),
        ([4], [4, 10], 10, None),
        ([8], [4, 10], 10, None),
        ([20], [4, 10], 10, 4),
        ([2], [4, 10], 10, 4),
    ],
)
def test_which_shorter_version_training_waits_for(
    tmp_path: Path, kept: list[int], planned: list[int], epochs: int, expected: int | None
) -> None:
    run, other = (Identity("run", "r", {"seed": seed}, "code", {}) for seed in (0, 1))
    of_other = [Version(other, 5)]
    for number in kept:
        make(tmp_path / run.folder / f"e{number}", run)
    of_run = planned_epochs([*of_other, *(Version(run, n) for n in planned)])[run.folder]
    found = planned_predecessor(tmp_path, of_run, Version(run, epochs))
    assert found == (None if expected is None else f"{run.folder}/e{expected}")


def test_a_version_that_lost_a_file_is_not_complete(tmp_path: Path) -> None:
    run = Identity("run", "r", {}, "code", {})
    folder = make(tmp_path / run.folder / "e4", run)
    (folder / TABLES[0]).unlink()
    assert kept_versions(tmp_path / run.folder) == {}


def test_a_new_version_with_fewer_files_replaces_the_old_one(product: Path) -> None:
    with product_writer(product, TABLE) as writer:
        for name in ("squares.txt", "more.txt"):
            (writer.aside / name).write_text("of an earlier version")
    make(product)
    assert sorted(path.name for path in product.iterdir()) == [PROVENANCE, "squares.txt"]


def test_of_two_writers_at_a_time_the_first_to_end_wins(product: Path) -> None:
    """So that files of the two are never mixed, and readers are not disturbed."""
    with product_writer(product, TABLE) as slow:
        (slow.aside / "squares.txt").write_text("slow")
        make(product, content="quick")
    assert (product / "squares.txt").read_text() == "quick"
    read_product(product, ["squares.txt"])
    make(product, content="later")
    assert (product / "squares.txt").read_text() == "later"


def test_files_that_are_no_products_are_left_alone(product: Path) -> None:
    """A program that is run by hand may be told to write into a folder with a user's own files."""
    (product / "thesis.tex").write_text("mine")
    make(product)
    assert (product / "thesis.tex").read_text() == "mine"


def test_leftovers_are_what_nothing_refers_to(tmp_path: Path) -> None:
    run = Identity("run", "r", {}, "code", {})
    used, unused = (make(tmp_path / run.folder / name, run) for name in ("e10", "e20"))
    table = make(tmp_path / TABLE.folder)
    abandoned, young = (used / f".writing-{name}" for name in ("old", "new"))
    for folder in (abandoned, young):
        folder.mkdir()
        (folder / "part").write_text("12345")
    two_days_ago = time.time() - 2 * 86400
    for path in (abandoned / "part", abandoned):
        os.utime(path, (two_days_ago, two_days_ago))
    (tmp_path / "table" / "a stray file").touch()
    in_work = make(tmp_path / run.folder / "e30", run)
    (in_work / ".writing-now").mkdir()
    found = {item.path: item for item in leftovers(tmp_path, {f"{run.folder}/e10"})}
    assert set(found) == {unused, table, abandoned}
    assert found[abandoned].bytes == 5
    assert found[abandoned].days == pytest.approx(2, abs=0.1)
    assert json.loads((used / PROVENANCE).read_text())["name"] == "r"
