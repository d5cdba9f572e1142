"""Receipts are requested only while products are missing, and never ones that exist."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.planning.layout import NAME, VERSION, Layout
from perigee.planning.products import Product
from perigee.planning.receipts import Receipts
from perigee.store.publishing import outdated_notice
from support.planning import Project, name_of, targets

RUN = "run/convnet-0123456789abcdef/e4"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")


def write_receipts(layout: Layout) -> list[Path]:
    """Write the receipts of all products, as Snakemake does when it has made them."""
    found = [Path(layout.receipts.of(folder)) for folder in layout.plan.products]
    for path in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return found


# Numbers


def test_the_first_receipt_has_the_number_1(tmp_path: Path) -> None:
    receipts = Receipts(str(tmp_path))
    assert receipts.number(RUN) == 1
    assert receipts.of(RUN) == f"{tmp_path}/{RUN}.1"


@given(used=st.sets(st.integers(1, 1000)), others=st.sets(st.integers(1, 1000)))
def test_the_next_receipt_was_never_used(
    used: set[int], others: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("receipts")
    (folder / RUN).parent.mkdir(parents=True)
    for number in used:
        (folder / f"{RUN}.{number}").touch()
    for number in others:  # of another product, whose name begins like this one's
        (folder / f"{RUN}0.{number}").touch()
    receipts = Receipts(str(folder))
    assert receipts.number(RUN) == max([0, *used]) + 1
    assert receipts.number(f"{RUN}0") == max([0, *others]) + 1
    assert not Path(receipts.of(RUN)).exists()


def test_a_call_of_snakemake_keeps_to_one_number(tmp_path: Path) -> None:
    """The receipt that it asked for stays the one that it waits for, when it has been written."""
    receipts = Receipts(str(tmp_path))
    path = Path(receipts.of(RUN))
    path.parent.mkdir(parents=True)
    path.touch()
    assert receipts.of(RUN) == str(path)
    assert Receipts(str(tmp_path)).of(RUN) == f"{tmp_path}/{RUN}.2"


def test_files_that_are_no_receipts_do_not_count(tmp_path: Path) -> None:
    (tmp_path / RUN).parent.mkdir(parents=True)
    for name in (f"{RUN}.notes", RUN, f"{RUN}."):
        (tmp_path / name).touch()
    assert Receipts(str(tmp_path)).number(RUN) == 1


def test_a_receipt_names_its_product_by_the_wildcards_of_the_rules(project: Project) -> None:
    layout = project.layout()
    for product in layout.plan.products.values():
        pattern = VERSION if product.kind == "run" else NAME
        receipt = layout.receipts.of(product.folder)
        found = re.fullmatch(
            rf"{layout.receipts.folder}/{product.kind}/({pattern})\.[0-9]+", receipt
        )
        assert found
        assert layout.product(product.kind, found[1]) == product
        assert not Path(receipt).is_relative_to(layout.store)


# Receipts and products


def test_a_stale_receipt_does_not_stand_for_its_product(project: Project) -> None:
    project.make()
    written = write_receipts(project.layout())
    shutil.rmtree(project.store)
    layout = project.layout()
    asked = layout.receipts_of(layout.plan.products.values())
    assert len(asked) == len(written)
    assert not any(Path(path).exists() for path in asked)


def test_only_the_deleted_product_has_a_new_receipt(project: Project) -> None:
    project.make()
    write_receipts(project.layout())
    figure = project.layout().plan.figures["periodic_fig3"]
    shutil.rmtree(project.store / figure.folder)
    layout = project.layout()
    assert layout.receipts_of(targets(layout)) == [f"{layout.receipts.folder}/{figure.folder}.2"]


@pytest.mark.parametrize("made", [False, True])
def test_products_survive_that_their_receipts_are_deleted(made: bool, project: Project) -> None:
    """Snakemake deletes the outputs of a job that it takes for failed."""
    if made:
        project.make()
    before = project.outstanding()
    layout = project.layout()
    for path in write_receipts(layout):
        path.unlink()
    assert project.outstanding() == before
    assert (layout.receipts_of(targets(layout)) == []) == made


def test_what_was_made_meanwhile_is_not_asked_for(project: Project) -> None:
    """A job reads the configuration again: by then its inputs are there."""
    layout = project.layout()
    figure = layout.plan.figures["periodic_fig3"]
    assert len(layout.inputs("figure", figure.name)) == 1
    project.make()
    assert layout.inputs("figure", figure.name) == []


def test_the_log_of_a_job_has_its_receipts_number(project: Project) -> None:
    project.make()
    layout = project.layout()
    version = next(iter(layout.runs.values())).name
    assert layout.run_log(version).endswith(f"/train_run/{version}.1.log")
    write_receipts(layout)
    assert project.layout().run_log(version).endswith(f"/train_run/{version}.2.log")


# What a program is told


def test_a_product_is_told_as_a_file_below_the_results(project: Project) -> None:
    layout = project.layout()
    for product in layout.plan.products.values():
        path = Path(layout.spec(product.kind, product.name))
        assert path.is_relative_to(f"{project.results}/specs")
        assert path.is_file()
        written = path.stat().st_mtime_ns
        assert layout.spec(product.kind, product.name) == str(path)
        assert path.stat().st_mtime_ns == written, "it is not written again"
        told = json.loads(path.read_text())
        assert told == product.told(Path(layout.store))


def test_a_program_that_is_told_something_else_gets_another_file(project: Project) -> None:
    (version,) = (run.name for run in project.layout().runs.values() if "lr0.1-" in run.name)
    before = project.layout().spec("run", version)
    assert project.layout(writes=False).spec("run", version) == before
    project.table("fig3")["analysis"]["further"] = ["full_gradient_norm"]
    after = project.layout().spec("run", version)
    assert Path(before).parent == Path(after).parent
    assert before != after


# A dry run of a user who may only read


def all_lookups(layout: Layout) -> None:
    """All receipts that the rules request."""
    for product in layout.outstanding(targets(layout)).values():
        layout.inputs(product.kind, product.name)
        layout.spec(product.kind, product.name)
        layout.out(product.kind, product.name)
    for key in layout.plan.figures:
        layout.publication_inputs(key)
        layout.caption(key)
    layout.published("everything")
    layout.gathering_inputs()
    layout.claims_spec()
    layout.claims_version()
    layout.pages_inputs()
    layout.everything()


def refuse(*args: Any, **options: Any) -> NoReturn:
    raise PermissionError(13, "Permission denied")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make every attempt to write a file or folder fail, which permissions do not for root."""

    def protect() -> None:
        for method in ("mkdir", "touch", "write_text", "write_bytes", "replace", "chmod"):
            monkeypatch.setattr(Path, method, refuse)
        monkeypatch.setattr("tempfile.mkstemp", refuse)

    return protect


@pytest.mark.parametrize("made", [False, True])
def test_nothing_needs_to_be_written_to_look_things_up(
    made: bool, project: Project, read_only: Callable[[], None]
) -> None:
    if made:
        project.make()
    layout = project.layout(writes=False)
    read_only()
    all_lookups(layout)
    assert not (project.results / "specs").exists()


@pytest.mark.parametrize("blocked", ["results", "results/specs", "working/.snakemake"])
def test_a_file_in_the_place_of_a_folder_stops_no_dry_run(
    blocked: str, project: Project, tmp_path: Path
) -> None:
    path = tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.touch()
    all_lookups(project.layout(writes=False))


def test_the_notice_is_newer_than_all_before(tmp_path: Path) -> None:
    told = Path(outdated_notice())
    first = told.read_text()
    other = tmp_path / "published"
    other.touch()
    assert outdated_notice() == str(told)
    assert told.stat().st_mtime_ns >= other.stat().st_mtime_ns
    assert told.read_text() != first


# One notion of completeness


def test_what_is_complete_is_never_outstanding_and_what_is_outstanding_is_not_complete(
    project: Project,
) -> None:
    def states() -> tuple[dict[str, Product], list[Product]]:
        layout = project.layout()
        waiting = layout.outstanding(targets(layout))
        planned = [layout.runs.get(f, one) for f, one in layout.plan.products.items()]
        return waiting, [one for one in planned if one.is_complete(project.store)]

    waiting, complete = states()
    assert complete == []
    project.make("periodic_fig3", "periodic_fig6")
    waiting, complete = states()
    assert complete
    assert not {one.folder for one in complete} & set(waiting)
    assert not any(one.is_complete(project.store) for one in waiting.values())
    assert len({name_of(one) for one in waiting.values()}) == len(waiting)
