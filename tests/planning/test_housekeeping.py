"""Listing, cleaning and verifying the store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.planning.plan import references, runs_to_make
from perigee.store.checks import check_datasets, check_writable, earlier_products
from perigee.store.housekeeping import (
    EARLIER,
    FINISHED,
    NO_FIGURE,
    check_product,
    is_earlier,
    leftovers,
    products,
    remove,
    stored,
)
from perigee.store.locks import locked
from perigee.store.provenance import PROVENANCE
from perigee.store.writing import product_writer
from support.planning import RUN_01, RUN_03, Project, edit_json, name_of, put
from support.planning import make as make_planned

TABLE = Identity("table", "squares", {"n": 3}, "code", {})
RUN = Identity("run", "r", {}, "code", {})
METRICS = Identity("measure", "metrics", {"name": "metrics"}, "code", {"run": RUN.digest})


def make(store: Path, identity: Identity, version: str = "", content: str = "12345") -> Path:
    folder = store / identity.folder / version
    with product_writer(folder, identity) as aside:
        (aside / "data.txt").write_text(content)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run as training leaves it: a version, a measure, a saved state, a lock."""
    make(tmp_path, RUN, "e10")
    folder = tmp_path / RUN.folder
    put(folder / "e10" / METRICS.label, METRICS, ["rows.npy"], content="123")
    (folder / "unfinished/e20").mkdir(parents=True)
    (folder / "unfinished/e20/state").write_text("1234567")
    (folder / ".lock").touch()
    return folder


def shown(folder: Path) -> set[str]:
    """Names in a folder but those of locks."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


E10, E20, UNFINISHED = (f"{RUN.folder}/{name}" for name in ("e10", "e20", "unfinished"))
MEASURE = f"{E10}/{METRICS.label}"


def named(store: Path, *referenced: str, to_make: Collection[str] = ()) -> dict[str, str]:
    """Reasons of what may go, by path below the store."""
    found = leftovers(store, referenced, to_make)
    return {str(item.path.relative_to(store)): item.reason for item in found}


def test_the_state_of_a_run_that_is_finished_may_go(tmp_path: Path, run: Path) -> None:
    assert named(tmp_path, E10, MEASURE) == {UNFINISHED: FINISHED}


def test_the_state_of_a_run_that_is_still_to_be_made_stays(tmp_path: Path, run: Path) -> None:
    assert named(tmp_path, E10, MEASURE, E20, to_make=[RUN.folder]) == {}
    assert named(tmp_path, E20, to_make=[RUN.folder]) == {E10: NO_FIGURE, MEASURE: NO_FIGURE}


def test_a_measure_goes_by_itself(tmp_path: Path, run: Path) -> None:
    assert named(tmp_path, E10, to_make=[RUN.folder]) == {MEASURE: NO_FIGURE}
    (measure,) = leftovers(tmp_path, [E10], [RUN.folder])
    assert remove(measure, tmp_path)
    assert sorted(path.name for path in (run / "e10").iterdir()) == ["data.txt", PROVENANCE]


def test_a_run_that_nothing_refers_to_goes_with_all_that_it_keeps(
    tmp_path: Path, run: Path
) -> None:
    assert named(tmp_path) == dict.fromkeys((E10, MEASURE, UNFINISHED), NO_FIGURE)
    # The measure is gone with its version when its turn comes.
    assert all(remove(item, tmp_path) for item in leftovers(tmp_path, set()))
    assert not run.exists()


def test_nothing_of_a_run_goes_while_its_lock_is_held(tmp_path: Path, run: Path) -> None:
    table = make(tmp_path, TABLE)
    found = leftovers(tmp_path, set())
    with locked(run):
        assert [item.path for item in leftovers(tmp_path, set())] == [table]
        # A job takes the run up between the listing and the removal.
        gone = {item.path.name for item in found if remove(item, tmp_path)}
    assert gone == {table.name}
    assert shown(run) == {"e10", "unfinished"}
    assert (run / "unfinished/e20/state").read_text() == "1234567"
    assert len(leftovers(tmp_path, set())) == 3, "the lock is free again"


def test_long_training_is_not_taken_for_abandoned(tmp_path: Path, run: Path) -> None:
    """A job that trains for days writes its tables at the end; its lock tells that it lives."""
    writing = run / "e20" / ".writing-x"
    writing.mkdir(parents=True)
    os.utime(writing, (0, 0))
    with locked(run):
        assert named(tmp_path, E20, to_make=[RUN.folder]) == {}
    assert f"{E20}/.writing-x" in named(tmp_path, E20, to_make=[RUN.folder])


def test_a_further_trajectory_is_a_version_of_its_own(tmp_path: Path, run: Path) -> None:
    other = make(tmp_path, RUN, "e10.2")
    assert named(tmp_path, E10, MEASURE, to_make=[RUN.folder]) == {f"{E10}.2": NO_FIGURE}
    assert products(tmp_path) == [run / "e10", run / "e10" / METRICS.label, other]


def test_files_that_are_no_products_are_never_listed(tmp_path: Path, run: Path) -> None:
    (run / "notes").mkdir()
    (run / "e10.txt").touch()
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "thesis.tex").touch()
    assert set(named(tmp_path)) == {E10, MEASURE, UNFINISHED}
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
    needed = {E10: {"b", "a"}, MEASURE: {"a"}, E20: {"c"}, "table/x": {"d"}}
    found = {item.path: item for item in stored(tmp_path, needed)}
    measure = run / "e10" / METRICS.label
    assert {path: item.figures for path, item in found.items()} == {
        run / "e10": ("a", "b"),
        measure: ("a",),
        run / "unfinished": ("a", "b", "c"),
        table: (),
    }
    assert {item.kind for item in found.values()} == {"run", "table"}
    assert found[run / "unfinished"].bytes == 7
    # A version is counted without its measures.
    assert found[run / "e10"].bytes == 5 + (run / "e10" / PROVENANCE).stat().st_size
    assert found[measure].bytes == 3 + (measure / PROVENANCE).stat().st_size
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
    assert products(tmp_path) == [run / "e10", run / "e10" / METRICS.label, table]
    assert [check_product(path, tmp_path) for path in products(tmp_path)] == [5, 3, 5]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda table: (table / "data.txt").write_text("12346"), "wrong checksum"),
        (lambda table: (table / "data.txt").unlink(), "cannot be read"),
        (lambda table: (table / PROVENANCE).write_text("{"), "missing or damaged"),
        (lambda table: (table / PROVENANCE).unlink(), "missing or damaged"),
        (
            lambda table: edit_json(table / PROVENANCE, spec={"n": 4}),
            "was changed after it was made",
        ),
        (
            lambda table: edit_json(table / PROVENANCE, code="other"),
            "was changed after it was made",
        ),
        (
            lambda table: edit_json(table / PROVENANCE, digest="0" * 16),
            "belongs to another product",
        ),
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


def test_a_measure_in_the_folder_of_another_kind_is_found(tmp_path: Path) -> None:
    folder = put(tmp_path / "table" / TABLE.label, TABLE, ["data.txt"])
    edit_json(folder / PROVENANCE, kind="figure")
    with pytest.raises(PerigeeError, match="was changed after it was made"):
        check_product(folder, tmp_path)


# What figures need


@pytest.fixture
def project(made: Project) -> Project:
    return made


GRADIENT = "full_gradient_norm"
"""A measure that no figure reads."""


def may_go(project: Project) -> dict[str, str]:
    """Reasons of what may go, by path below the store."""
    plan = project.plan()
    needed = set(references([plan], project.store))
    return named(project.store, *needed, to_make=runs_to_make([plan], project.store))


def folder_of(project: Project, run: str) -> Path:
    found = next(one for one in project.layout().runs.values() if name_of(one) == run)
    return project.store / found.folder


def test_all_that_a_figure_is_made_of_is_needed_by_it(project: Project) -> None:
    assert may_go(project) == {}
    listed = stored(project.store, references([project.plan()], project.store))
    assert all(item.figures for item in listed)
    by_path = {item.path: item.figures for item in listed}
    run = folder_of(project, RUN_01)
    assert by_path[run] == ("periodic_fig3", "periodic_fig4")
    (steps,) = run.glob("steps-*")
    assert by_path[steps] == ("periodic_fig4",)
    # A fork's parent is needed with its course and checkpoints.
    (checkpoints,) = folder_of(project, RUN_03).glob("checkpoints-*")
    assert by_path[checkpoints] == ("periodic_fig5",)


def test_what_an_edit_leaves_without_a_figure_may_go(project: Project) -> None:
    del project.periodic["figures"]["fig4"]
    (steps,) = folder_of(project, RUN_01).glob("steps-*")
    gone = {path for path, reason in may_go(project).items() if reason == NO_FIGURE}
    assert str(steps.relative_to(project.store)) in gone
    assert {path.partition("/")[0] for path in gone} == {"run", "table", "figure"}
    assert len(gone) == 3


def test_what_is_there_of_a_run_that_lacks_a_measure_is_kept(project: Project) -> None:
    """Else its other measures had to be taken again, too."""
    project.table("fig4")["analysis"] = {"name": "run_metrics", "further": [GRADIENT]}
    project.sweep("fig3")["sweep"]["optimiser.learning_rate"] = [0.3]
    kept = {path.name.partition("-")[0]: path for path in folder_of(project, RUN_01).glob("*-*")}
    gone = may_go(project)
    assert str(kept["metrics"].relative_to(project.store)) not in gone
    assert str(kept["steps"].relative_to(project.store)) in gone
    assert str(folder_of(project, RUN_01).relative_to(project.store)) not in gone


def test_what_training_can_go_on_from_is_kept(project: Project) -> None:
    shorter = folder_of(project, RUN_01)
    project.sweep("fig4")["epochs"] = 9
    project.sweep("fig3")["sweep"]["optimiser.learning_rate"] = [0.3]
    expected = {str(path.relative_to(project.store)) for path in (shorter, *shorter.glob("*-*"))}
    assert not expected & set(may_go(project))
    for product in project.to_make().values():
        make_planned(product, project.store)
    assert expected <= set(may_go(project))


def test_the_state_of_a_run_that_is_read_off_a_longer_one_may_go(project: Project) -> None:
    run = next(one for one in project.layout().runs.values() if name_of(one) == RUN_01)
    state = project.store / run.identity.folder / "unfinished/e4"
    state.mkdir(parents=True)
    (project.store / run.folder).rename(project.store / run.identity.folder / "e9")
    assert list(may_go(project).values()) == [FINISHED]


def test_the_state_of_a_run_that_lacks_a_measure_stays(project: Project) -> None:
    run = next(one for one in project.layout().runs.values() if name_of(one) == RUN_01)
    (project.store / run.identity.folder / "unfinished/e4").mkdir(parents=True)
    project.table("fig4")["analysis"] = {"name": "run_metrics", "further": [GRADIENT]}
    assert not any("unfinished" in path for path in may_go(project))


# Products of an earlier version of Perigee


def earlier_store(store: Path) -> Path:
    """The folder of a run as it was, with second names of its files."""
    run = store / "run/r-fedcba9876543210"
    files = ["metrics.parquet", "steps.parquet"]
    old = Identity("run", "r", {"norm_control": "free"}, "old", {})
    for name in ("e10", "e10-every5", "spare/e10"):
        put(run / name, old, files, store_format=1)
    dataset = Identity("dataset", "digits", {}, "old", {})
    put(store / "dataset/digits-fedcba9876543210", dataset, ["data.safetensors"], store_format=1)
    return run


def test_earlier_products_are_listed_as_such_and_removed(tmp_path: Path) -> None:
    run = earlier_store(tmp_path)
    expected = [run / "e10", run / "e10-every5", run / "spare/e10"]
    dataset = tmp_path / "dataset/digits-fedcba9876543210"
    found = leftovers(tmp_path, set())
    assert {item.path: item.reason for item in found} == dict.fromkeys(
        [dataset, *expected], EARLIER
    )
    assert all(remove(item, tmp_path) for item in found)
    assert not run.exists()
    assert not dataset.exists()


def test_earlier_products_are_told_of_once(tmp_path: Path) -> None:
    earlier_store(tmp_path)
    told = earlier_products(tmp_path)
    assert told is not None
    assert f"{tmp_path} holds 3 data sets and runs of an earlier version of Perigee" in told
    assert "perigee store clean" in told
    assert "--remove" in told
    assert earlier_products(tmp_path) is None


def test_where_nothing_can_be_noted_earlier_products_are_told_of_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier_store(tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    assert earlier_products(tmp_path) == earlier_products(tmp_path) is not None


def test_nothing_is_told_of_a_store_without_earlier_products(
    project: Project, tmp_path: Path
) -> None:
    assert earlier_products(tmp_path / "nowhere") is None
    assert earlier_products(project.store) is None
    assert not any(is_earlier(path) for path in products(project.store))
    assert products(project.store)


# Before any job starts


def test_a_results_folder_that_takes_no_files_is_told(tmp_path: Path) -> None:
    check_writable(tmp_path / "results")
    assert not (tmp_path / "results").exists()
    (tmp_path / "file").touch()
    with pytest.raises(PerigeeError, match=r"key 'results' is '.*/file', but no file can be"):
        check_writable(tmp_path / "file")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_text("longer"), "has 6 bytes instead of 0"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_damaged_data_set_is_told(
    damage: Callable[[Path], object], told: str, project: Project
) -> None:
    (dataset,) = project.plan().datasets.values()
    check_datasets(project.store, [dataset.folder, "dataset/not-built"])
    put(project.store / dataset.folder, dataset.identity, [*dataset.files, "data.safetensors"])
    check_datasets(project.store, [dataset.folder])
    damage(project.store / dataset.folder / "data.safetensors")
    with pytest.raises(PerigeeError, match=rf"data\.safetensors {told}.*delete its folder"):
        check_datasets(project.store, [dataset.folder])


def test_a_changed_manifest_is_told(project: Project) -> None:
    (dataset,) = project.plan().datasets.values()
    (project.store / dataset.folder / "manifest.json").write_text("{}")
    with pytest.raises(PerigeeError, match=r"manifest\.json has a wrong checksum"):
        check_datasets(project.store, [dataset.folder])
