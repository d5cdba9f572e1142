"""Studies of many runs: nothing that Snakemake or a kernel is given grows with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from perigee.blocks.measures import Measure
from perigee.cli import read_spec
from perigee.configuration import validation
from perigee.configuration.runs import resolved_run
from perigee.configuration.validation import validated_block
from perigee.errors import PerigeeError
from perigee.identity.products import measure_identity, run_identity
from perigee.planning.layout import NAME, VERSION, Layout
from perigee.planning.products import RunProduct
from support.planning import Project


def layout_of(folder: Path, seeds: int) -> Layout:
    """The layout of figure 3 with that many seeds for each of two learning rates."""
    project = Project(folder)
    project.periodic["figures"] = {"fig3": project.periodic["figures"]["fig3"]}
    project.sweep("fig3")["sweep"]["seed"] = list(range(seeds))
    return project.layout()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The layout of a figure with 500 runs."""
    return layout_of(tmp_path_factory.mktemp("many"), 250)


def test_a_program_is_told_by_a_file_whose_path_is_short(many: Layout) -> None:
    (table,) = many.plan.figures["periodic_fig3"].tables.values()
    told = many.spec("table", table.name)
    assert re.fullmatch(rf"{many.specs}/table/{table.name}\.[0-9a-f]{{8}}\.json", told)
    runs = read_spec(told, "name", "analysis", "runs")["runs"]
    assert len(runs) == 500
    expected = [f"{many.store}/{run.identity.folder}" for run in many.plan.runs.values()]
    assert [run["folder"] for run in runs] == expected
    assert [path.name for path in Path(told).parent.iterdir()] == [Path(told).name]


def test_what_a_program_is_told_gives_the_digest_that_the_plan_has(project: Project) -> None:
    """The programs compute the digest from the file alone."""
    layout = project.layout()
    for version, run in ((run.name, run) for run in layout.runs.values()):
        told = read_spec(layout.spec("run", version), "run", "epochs", "measures", "dataset")
        identity = run_identity(
            resolved_run(told["run"], "run", "file"), run.dataset.identity.digest
        )
        assert identity == run.identity
        assert told["epochs"] == run.epochs
        assert told["folder"] == f"{layout.store}/{run.identity.folder}"
        assert ("parent" in told) == (run.parent is not None)
        for value in told["measures"]:
            measure = validated_block("measure", value, "file", "measures")
            assert isinstance(measure, Measure)
            expected = run.measure_identities[measure.name]
            assert measure_identity(measure, identity) == expected


def test_the_wildcards_match_what_is_planned_and_are_short(many: Layout) -> None:
    for folder, product in many.plan.products.items():
        pattern = VERSION if isinstance(product, RunProduct) else NAME
        assert re.fullmatch(pattern, folder.partition("/")[2])
    assert max(len(NAME), len(VERSION)) < 50


@pytest.mark.parametrize(
    "ask",
    [
        lambda layout: layout.inputs("run", "r-0123456789abcdef/e4"),
        lambda layout: layout.run("r-0123456789abcdef/e4"),
        lambda layout: layout.product("run", "r-0123456789abcdef/e4"),
        lambda layout: layout.spec("run", "r-0123456789abcdef/e4"),
        lambda layout: layout.group("r-0123456789abcdef/e4", 9),
        lambda layout: layout.inputs("table", "r-0123456789abcdef"),
        lambda layout: layout.inputs("evaluation", "r-0123456789abcdef"),
        lambda layout: layout.inputs("figure", "r-0123456789abcdef"),
        lambda layout: layout.inputs("claims", "r-0123456789abcdef"),
        lambda layout: layout.spec("dataset", "r-0123456789abcdef"),
    ],
)
def test_a_product_that_is_not_planned_is_refused(
    many: Layout, ask: Callable[[Layout], object]
) -> None:
    with pytest.raises(PerigeeError, match=r"r-0123456789abcdef.* is not a product of the conf"):
        ask(many)


def test_a_block_that_many_runs_share_is_checked_once(tmp_path: Path) -> None:
    with (
        mock.patch.dict(validation._CHECKED, clear=True),
        mock.patch.object(validation, "_checked_block", wraps=validation._checked_block) as check,
    ):
        few = layout_of(tmp_path / "few", 1)
        checked = check.call_count
        more = layout_of(tmp_path / "more", 50)
    assert len(more.plan.runs) == 50 * len(few.plan.runs)
    assert check.call_count == checked


def test_a_wrong_block_is_told_wherever_it_stands() -> None:
    wrong = {"name": "sgd", "learning_rate": -1}
    for file in ("one.yaml", "two.yaml"):
        with pytest.raises(PerigeeError, match=rf"{file}: key 'o\.learning_rate' is -1"):
            validated_block("optimiser", wrong, file, "o")


def test_values_that_python_holds_equal_are_told_apart() -> None:
    """1 == True, but only one of them is a number."""
    validated_block("optimiser", {"name": "sgd", "learning_rate": 1}, "f", "o")
    with pytest.raises(PerigeeError, match="True"):
        validated_block("optimiser", {"name": "sgd", "learning_rate": True}, "f", "o")
