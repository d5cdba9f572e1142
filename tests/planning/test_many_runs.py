"""Studies of many runs: nothing that Snakemake or a kernel is given grows with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import mock

import pytest
import yaml

from perigee.cli import read_spec
from perigee.configuration import validation
from perigee.configuration.validation import validated_component
from perigee.errors import PerigeeError
from perigee.layout import LONG_SPEC, NAME, VERSION, Layout
from perigee.paths import STUDIES
from perigee.plan import make_plan

LIMIT_OF_AN_ARGUMENT = 128 * 1024
"""On Linux, in bytes."""


def layout_of(folder: Path, seeds: int) -> Layout:
    """Of the third figure of the periodic study, with that many seeds of each learning rate."""
    study = yaml.safe_load((STUDIES / "periodic.yaml").read_text())
    study["figures"] = {"fig3": study["figures"]["fig3"]}
    sweep = study["figures"]["fig3"]["tables"]["runs"]["runs"][0]["sweep"]
    sweep["seed"] = list(range(seeds))
    (folder / "periodic.yaml").write_text(yaml.safe_dump(study))
    with mock.patch("perigee.plan.STUDIES", folder):
        return Layout(make_plan(["periodic"], "smoke"), "results")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """With 2,000 runs."""
    return layout_of(tmp_path_factory.mktemp("studies"), 500)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table_of(layout: Layout) -> str:
    (table,) = layout.plan.figures["periodic_fig3"].tables.values()
    return table.identity.folder.removeprefix("table/")


def test_a_long_spec_is_told_as_a_file_that_holds_it(many: Layout) -> None:
    told = many.table_spec(table_of(many))
    assert len(told) < 200
    text = Path(told).read_text()
    assert len(text.encode()) > LIMIT_OF_AN_ARGUMENT
    runs = read_spec(told, "name", "analysis", "runs")["runs"]
    assert [run["folder"] for run in runs] == [f"results/store/{f}" for f in many.plan.runs]
    assert [path.name for path in Path(told).parent.iterdir()] == [Path(told).name]


def test_a_short_spec_stays_on_the_command_line(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, 1)
    told = layout.table_spec(table_of(layout))
    assert len(json.loads(told)["runs"]) == 4
    assert not (tmp_path / ".snakemake").exists()


@pytest.mark.parametrize("length", [LONG_SPEC - 1, LONG_SPEC, LONG_SPEC + 1])
def test_where_long_begins(many: Layout, length: int) -> None:
    spec = {"a": "x" * (length - len('{"a":""}'))}
    told = many._argument("table/x", spec)
    assert (told == ".snakemake/perigee/specs/table/x.json") == (length >= LONG_SPEC)
    assert read_spec(told) == spec


def test_the_wildcards_match_what_is_planned_and_are_short(many: Layout) -> None:
    plan = many.plan
    for folder in (*plan.datasets, *plan.tables, *plan.claims):
        assert re.fullmatch(NAME, folder.partition("/")[2])
    for folder in plan.runs:
        assert re.fullmatch(VERSION, folder.partition("/")[2])
    assert max(len(NAME), len(VERSION)) < 50


@pytest.mark.parametrize(
    "ask",
    [
        lambda layout: layout.run_inputs("r-0123456789abcdef/e4"),
        lambda layout: layout.identity("run", "r-0123456789abcdef/e4"),
        lambda layout: layout.table_inputs("r-0123456789abcdef"),
        lambda layout: layout.figure_inputs("r-0123456789abcdef"),
        lambda layout: layout.claims_inputs("r-0123456789abcdef"),
        lambda layout: layout.dataset_spec("r-0123456789abcdef"),
    ],
)
def test_a_product_that_is_not_planned_is_refused(many: Layout, ask) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PerigeeError, match=r"r-0123456789abcdef.* is no product of the config"):
        ask(many)


def test_a_block_that_many_runs_share_is_checked_once(tmp_path: Path) -> None:
    with (
        mock.patch.dict(validation._CHECKED, clear=True),
        mock.patch.object(
            validation, "_checked_component", wraps=validation._checked_component
        ) as check,
    ):
        few = layout_of(tmp_path, 1)
        checked = check.call_count
        many = layout_of(tmp_path, 50)
    assert len(many.plan.runs) > 40 * len(few.plan.runs)
    assert check.call_count == checked


def test_a_wrong_block_is_told_wherever_it_stands() -> None:
    wrong = {"name": "sgd", "learning_rate": -1}
    for file in ("one.yaml", "two.yaml"):
        with pytest.raises(PerigeeError, match=rf"{file}: key 'o\.learning_rate' is -1"):
            validated_component("optimiser", wrong, file, "o")


def test_values_that_python_holds_equal_are_told_apart() -> None:
    """1 == True, but only one of them is a number."""
    validated_component("optimiser", {"name": "sgd", "learning_rate": 1}, "f", "o")
    with pytest.raises(PerigeeError, match="True"):
        validated_component("optimiser", {"name": "sgd", "learning_rate": True}, "f", "o")
