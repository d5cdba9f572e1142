"""Products appear whole or not at all, and are read only if they are what they claim to be."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.paths import FIGURE_FILES
from perigee.store.figures import publish, published_figure
from perigee.store.housekeeping import leftovers
from perigee.store.provenance import FORMAT, PROVENANCE, read_product
from perigee.store.publishing import Publication
from perigee.store.runs import (
    MEASURE_FILES,
    RUN_FILES,
    find_version,
    unfinished_folder,
    unfinished_folders,
    version_name,
    versions,
)
from perigee.store.writing import product_writer, written_atomically
from support.planning import put

TABLE = Identity("table", "squares", {"n": 3}, "code", {})


def make(folder: Path, identity: Identity = TABLE, content: str = "0 1 4") -> Path:
    with product_writer(folder, identity) as aside:
        (aside / "squares.txt").write_text(content)
    return folder


@pytest.fixture
def product(tmp_path: Path) -> Path:
    return make(tmp_path / TABLE.folder)


def test_a_product_is_read_back_with_its_provenance(product: Path) -> None:
    provenance = read_product(product, ["squares.txt"])
    assert provenance.digest == TABLE.digest
    assert provenance.spec == {"n": 3}
    assert provenance.format == FORMAT == 2
    assert sorted(path.name for path in product.iterdir()) == [PROVENANCE, "squares.txt"]


def test_provenance_without_a_format_is_of_an_earlier_version(product: Path) -> None:
    document = json.loads((product / PROVENANCE).read_text())
    del document["format"]
    (product / PROVENANCE).write_text(json.dumps(document))
    assert read_product(product, ["squares.txt"]).format == 1


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / TABLE.folder

    def fail() -> None:
        with product_writer(folder, TABLE) as aside:
            (aside / "squares.txt").write_text("0 1")
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
    for name in ("e10", "e10.2"):
        version = make(tmp_path / run.folder / name, run)
        assert read_product(version, ["squares.txt"]).digest == run.digest
    measure = Identity("measure", "metrics", {}, "code", {})
    with pytest.raises(PerigeeError, match="belongs to another product"):
        read_product(make(tmp_path / run.folder / "e10" / "metrics-0123456789abcdef", measure), [])


def test_a_copy_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), written_atomically(target) as aside:
        shutil.copyfile(tmp_path / "missing", aside)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_published_copies_are_known_to_be_current(tmp_path: Path) -> None:
    figure = Identity("figure", "periodic_fig3", {}, "code", {})
    folder = tmp_path / figure.folder
    with product_writer(folder, figure) as aside:
        for name in FIGURE_FILES:
            (aside / name).write_text(name)
    published = tmp_path / "published"
    copies = published_figure(published, "periodic_fig3")
    assert not copies.is_current(figure.digest)
    publish(folder, published, "periodic_fig3")
    assert (published / "periodic_fig3.csv").read_text() == "figure.csv"
    assert copies.is_current(figure.digest)
    assert not copies.is_current("0" * 16)
    (published / "periodic_fig3.csv").write_text("changed")
    assert not copies.is_current(figure.digest)


def test_copies_that_another_snakemake_removes_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = Identity("figure", "periodic_fig3", {}, "code", {})
    folder, published = tmp_path / figure.folder, tmp_path / "published"
    with product_writer(folder, figure) as aside:
        for name in FIGURE_FILES:
            (aside / name).write_text(name)
    confirm, removed = Publication.confirm, []

    def confirm_after_a_removal(publication: Publication, digest: str) -> None:
        if len(removed) < times:
            removed.append(publication.paths[0])
            publication.paths[0].unlink()
        confirm(publication, digest)

    monkeypatch.setattr(Publication, "confirm", confirm_after_a_removal)
    times = 2
    publish(folder, published, "periodic_fig3")
    assert published_figure(published, "periodic_fig3").is_current(figure.digest)
    assert len(removed) == 2
    times = 9  # then something else is wrong
    with pytest.raises(FileNotFoundError):
        publish(folder, published, "periodic_fig3")


# Versions of a run and its measures

RUN = Identity("run", "r", {}, "code", {})
METRICS, STEPS = (
    Identity("measure", name, {"name": name}, "code", {"run": RUN.digest})
    for name in ("metrics", "steps")
)


def checkpoints(interval: int, code: str = "code") -> Identity:
    """The identity of the measure, whose spec leaves the default interval out."""
    spec = {"name": "checkpoints", "interval": interval}
    if interval == 1:
        del spec["interval"]
    return Identity("measure", "checkpoints", spec, code, {"run": RUN.digest})


def keep(store: Path, version: str, *measures: Identity) -> Path:
    """A version of the run with some measures."""
    folder = put(store / RUN.folder / version, RUN, RUN_FILES)
    for measure in measures:
        put(folder / measure.label, measure, MEASURE_FILES)
    return folder


def found(store: Path, epochs: int, *measures: Identity) -> str | None:
    version = find_version(store / RUN.folder, epochs, measures)
    return version and version.folder.name


def test_versions_are_listed_by_epochs_and_trajectory(tmp_path: Path) -> None:
    for name in ("e10", "e4", "e4.2", "e40"):
        keep(tmp_path, name)
    for name in ("e4-every2", "e4.", "e.1", "ex", "unfinished", "spare"):
        keep(tmp_path, name)
    (tmp_path / RUN.folder / "e7").touch()
    listed = versions(tmp_path / RUN.folder)
    assert [(one.epochs, one.trajectory) for one in listed] == [(4, 1), (4, 2), (10, 1), (40, 1)]
    assert [one.folder.name for one in listed] == ["e4", "e4.2", "e10", "e40"]
    assert [version_name(one.epochs, one.trajectory) for one in listed] == [
        "e4",
        "e4.2",
        "e10",
        "e40",
    ]


def test_a_run_that_was_never_trained_has_no_versions(tmp_path: Path) -> None:
    assert versions(tmp_path / RUN.folder) == []
    assert found(tmp_path, 1) is None


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_version_that_lost_a_file_is_not_complete(name: str, tmp_path: Path) -> None:
    (keep(tmp_path, "e4") / name).unlink()
    assert versions(tmp_path / RUN.folder) == []


@pytest.mark.parametrize(
    ("kept", "epochs", "expected"),
    [
        ([], 4, None),
        (["e4"], 4, "e4"),
        (["e6"], 4, "e6"),
        (["e20", "e6", "e10"], 4, "e6"),
        (["e20", "e6", "e10"], 7, "e10"),
        (["e2"], 4, None),
        (["e4", "e4.2"], 4, "e4"),
        (["e4.2"], 4, "e4.2"),
    ],
)
def test_a_run_is_read_off_the_shortest_version_that_is_long_enough(
    kept: list[str], epochs: int, expected: str | None, tmp_path: Path
) -> None:
    for name in kept:
        keep(tmp_path, name)
    assert found(tmp_path, epochs) == expected


def test_measures_that_are_read_together_come_from_one_trajectory(tmp_path: Path) -> None:
    keep(tmp_path, "e4", METRICS)
    keep(tmp_path, "e4.2", STEPS)
    assert found(tmp_path, 4, METRICS) == "e4"
    assert found(tmp_path, 4, STEPS) == "e4.2"
    assert found(tmp_path, 4, METRICS, STEPS) is None
    keep(tmp_path, "e4.3", METRICS, STEPS)
    assert found(tmp_path, 4, METRICS, STEPS) == "e4.3"


def test_a_measure_is_read_off_a_longer_version_that_has_it(tmp_path: Path) -> None:
    keep(tmp_path, "e4", METRICS)
    keep(tmp_path, "e9", METRICS, STEPS)
    assert found(tmp_path, 4, METRICS, STEPS) == "e9"
    assert found(tmp_path, 5, METRICS) == "e9"


@pytest.mark.parametrize("name", MEASURE_FILES)
def test_a_measure_that_lost_a_file_is_not_complete(name: str, tmp_path: Path) -> None:
    folder = keep(tmp_path, "e4", METRICS)
    (folder / METRICS.label / name).unlink()
    assert found(tmp_path, 4, METRICS) is None
    assert found(tmp_path, 4) == "e4"


def test_a_measure_by_other_code_is_another(tmp_path: Path) -> None:
    keep(tmp_path, "e4", METRICS)
    other = Identity("measure", "metrics", METRICS.spec, "other", METRICS.inputs)
    assert found(tmp_path, 4, other) is None


@pytest.mark.parametrize(
    ("there", "kept", "epochs", "asked", "expected"),
    [
        ("e300", 1, 100, 1, True),
        ("e300", 1, 100, 2, True),
        ("e300", 1, 300, 7, True),
        ("e300", 1, 299, 2, True),
        ("e300", 2, 100, 4, True),
        ("e300", 2, 300, 2, True),
        ("e300", 2, 100, 3, False),  # epoch 3 was not kept
        ("e300", 2, 99, 2, False),  # nor the last one
        ("e300", 2, 99, 4, False),
        ("e99", 2, 99, 4, True),  # the last one always is
        ("e300", 2, 300, 1, False),
        ("e300", 1, 301, 1, False),
        ("e300.2", 1, 300, 3, True),
    ],
)
def test_checkpoints_are_read_off_others_that_have_them_all(
    there: str, kept: int, epochs: int, asked: int, expected: bool, tmp_path: Path
) -> None:
    folder = keep(tmp_path, there, checkpoints(kept))
    assert found(tmp_path, epochs, checkpoints(asked)) == (there if expected else None)
    if expected:
        (version,) = versions(tmp_path / RUN.folder)
        assert version.measure(checkpoints(asked), epochs) == folder / checkpoints(kept).label


def test_checkpoints_kept_by_other_code_are_not_read_off(tmp_path: Path) -> None:
    keep(tmp_path, "e4", checkpoints(1, "other"))
    assert found(tmp_path, 4, checkpoints(2)) is None


def test_checkpoints_that_were_deleted_are_not_read_off(tmp_path: Path) -> None:
    folder = keep(tmp_path, "e4", checkpoints(1), METRICS)
    (folder / checkpoints(1).label / MEASURE_FILES[0]).unlink()
    assert found(tmp_path, 4, checkpoints(2)) is None
    assert found(tmp_path, 4, METRICS) == "e4"


def test_checkpoints_with_damaged_provenance_are_passed_over(tmp_path: Path) -> None:
    folder = keep(tmp_path, "e4", checkpoints(1), checkpoints(2))
    (folder / checkpoints(1).label / PROVENANCE).write_text("{")
    assert found(tmp_path, 4, checkpoints(4)) == "e4"
    (folder / checkpoints(2).label / PROVENANCE).write_text("")
    assert found(tmp_path, 4, checkpoints(4)) is None


def test_the_states_of_interrupted_jobs_lie_beside_the_versions(tmp_path: Path) -> None:
    run = tmp_path / RUN.folder
    assert unfinished_folders(run) == []
    folders = [unfinished_folder(run, name) for name in ("e10", "e4.2")]
    for folder in folders:
        folder.mkdir(parents=True)
    (run / "unfinished" / "notes").touch()
    assert unfinished_folders(run) == folders
    assert versions(run) == []


# Writers


def test_a_new_version_with_fewer_files_replaces_the_old_one(product: Path) -> None:
    with product_writer(product, TABLE) as aside:
        for name in ("squares.txt", "more.txt"):
            (aside / name).write_text("of an earlier version")
    make(product)
    assert sorted(path.name for path in product.iterdir()) == [PROVENANCE, "squares.txt"]


def test_of_two_writers_at_a_time_the_first_to_end_wins(product: Path) -> None:
    """So that files of the two are never mixed, and readers are not disturbed."""
    with product_writer(product, TABLE) as slow:
        (slow / "squares.txt").write_text("slow")
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
