"""Runs that keep checkpoints, and the predictions of these, as they are planned."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from perigee.forecast import predictions_to_make
from perigee.layout import KEEPING_VERSION, NAME, VERSION, Layout
from perigee.plan import PlannedRun, make_plan
from perigee.store.predictions import PREDICTIONS_FILES
from perigee.store.trajectories import TRAJECTORY_FILES

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.paths import STUDIES
from perigee.store.provenance import PROVENANCE
from perigee.store.runs import TABLES, complete_versions, kept_versions, longer_versions
from perigee.store.writing import product_writer

Sweep = dict[str, Any]


def layout_of(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Layout:
    """Of the periodic study with fig3 and fig6 alone, changed by ``edit``, at smoke scale."""
    study = yaml.safe_load((STUDIES / "periodic.yaml").read_text())
    study["figures"] = {name: study["figures"][name] for name in ("fig3", "fig6")}
    del study["figures"]["fig6"]["tables"]["resnet"]
    study["figures"]["fig6"]["claims"] = {}
    edit(study)
    (folder / "periodic.yaml").write_text(yaml.safe_dump(study))
    with mock.patch("perigee.plan.STUDIES", folder):
        return Layout(make_plan(["periodic"], "smoke"), str(folder / "results"))


def sweep_of(study: dict[str, Any], figure: str) -> Sweep:
    (table,) = study["figures"][figure]["tables"].values()
    (sweep,) = table["runs"]
    found: Sweep = sweep
    return found


def setting(figure: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda study: sweep_of(study, figure).update(values)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layout_of(tmp_path, setting("fig6", keep_every=2))


def keeping(layout: Layout) -> list[PlannedRun]:
    return [run for run in layout.plan.runs.values() if run.keep_every is not None]


def test_a_run_with_checkpoints_is_a_version_of_its_own(layout: Layout) -> None:
    runs = keeping(layout)
    assert [run.spec.seed for run in runs] == [0, 1]
    for run in runs:
        version = run.folder.removeprefix("run/")
        assert version.endswith("/e4-every2")
        assert re.fullmatch(KEEPING_VERSION, version)
        assert not re.fullmatch(VERSION, version)
        assert layout.run_options(version) == "--keep-every 2"
    plain = [f.removeprefix("run/") for f, r in layout.plan.runs.items() if r.keep_every is None]
    assert plain
    assert all(re.fullmatch(VERSION, version) for version in plain)
    assert not any(re.fullmatch(KEEPING_VERSION, version) for version in plain)
    assert len(KEEPING_VERSION) < 50


def test_predictions_wait_for_run_and_data_and_tables_for_both(layout: Layout) -> None:
    runs = keeping(layout)
    assert len(layout.plan.predictions) == 2
    for (folder, predictions), run in zip(layout.plan.predictions.items(), runs, strict=True):
        name = folder.removeprefix("predictions/")
        assert re.fullmatch(NAME, name)
        assert name.startswith(f"{run.identity.name}-")
        assert predictions.run == run
        inputs = layout.predictions_inputs(name)
        for file in (*TABLES, *TRAJECTORY_FILES, PROVENANCE):
            assert f"{layout.store}/{run.folder}/{file}" in inputs
        assert any("/dataset/digits-" in path for path in inputs)
        assert layout.predictions_run(name) == f"{layout.store}/{run.folder}"
        assert folder in layout.plan.referenced_folders
    (table,) = layout.plan.figures["periodic_fig6"].tables.values()
    name = table.identity.folder.removeprefix("table/")
    inputs = layout.table_inputs(name)
    told = json.loads(layout.table_spec(name))["runs"]
    for (folder, _), run in zip(layout.plan.predictions.items(), told, strict=True):
        assert run["predictions"] == f"{layout.store}/{folder}"
        assert {f"{layout.store}/{folder}/{file}" for file in PREDICTIONS_FILES} <= set(inputs)


def test_predictions_that_are_there_are_not_made_again(layout: Layout) -> None:
    store = Path(layout.store)
    first, second = layout.plan.predictions.values()
    assert predictions_to_make(layout.plan, store) == list(layout.plan.predictions)
    with product_writer(store / first.identity.folder, first.identity) as product:
        for file in PREDICTIONS_FILES:
            (product.aside / file).touch()
    assert predictions_to_make(layout.plan, store) == [second.identity.folder]
    (table,) = layout.plan.figures["periodic_fig6"].tables.values()
    inputs = layout.table_inputs(table.identity.folder.removeprefix("table/"))
    told = {path for path in inputs if "/predictions/" in path}
    assert {path.rpartition("/")[0] for path in told} == {f"{store}/{second.identity.folder}"}


def test_other_tables_know_nothing_of_predictions(layout: Layout) -> None:
    (table,) = layout.plan.figures["periodic_fig3"].tables.values()
    name = table.identity.folder.removeprefix("table/")
    assert not any("predictions" in path for path in layout.table_inputs(name))
    assert "predictions" not in layout.table_spec(name)


def test_predictions_are_those_of_certain_checkpoints(layout: Layout, tmp_path: Path) -> None:
    seen = {frozenset(layout.plan.predictions)}
    for changed in ({"keep_every": 1}, {"epochs": 6, "keep_every": 2}):
        seen.add(frozenset(layout_of(tmp_path, setting("fig6", **changed)).plan.predictions))
    assert len(frozenset.union(*seen)) == 6
    # What only the table is about changes none.
    other = layout_of(tmp_path, setting("fig6", keep_every=2, sweep={"seed": [1, 0]}))
    assert set(other.plan.predictions) == set(layout.plan.predictions)
    tables = [one.plan.figures["periodic_fig6"].tables["convnet"] for one in (layout, other)]
    assert tables[0].identity.digest != tables[1].identity.digest


@pytest.mark.parametrize(("epochs", "expected"), [(3, True), (4, True), (5, False)])
def test_a_plain_version_is_read_off_one_at_least_as_long_with_checkpoints(
    epochs: int, expected: bool, tmp_path: Path
) -> None:
    """fig3 asks for one of fig6's runs, whose four epochs have checkpoints."""

    def edit(study: dict[str, Any]) -> None:
        rate = sweep_of(study, "fig6")["set"]["optimiser.learning_rate"]["smoke"]
        sweep_of(study, "fig3")["sweep"] = {"optimiser.learning_rate": [rate], "seed": [1]}
        sweep_of(study, "fig3")["epochs"] = epochs
        study["figures"]["fig3"]["claims"] = {}

    layout = layout_of(tmp_path, edit)
    (plain,) = (run for run in layout.plan.runs.values() if run.keep_every is None)
    source = f"{plain.identity.folder}/e4-every1"
    assert layout.longer.get(plain.folder.removeprefix("run/")) == (source if expected else None)


def test_what_the_store_holds_is_read_before_what_is_planned(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, setting("fig6", keep_every=1))
    (run, _) = keeping(layout)
    plain = PlannedRun(run.identity, run.spec, run.dataset, 3)
    runs = {run.folder: run, plain.folder: plain}
    assert longer_versions(tmp_path, runs) == {plain.folder: run.folder}
    make(tmp_path / run.identity.folder / "e9", run.identity)
    expected = {plain.folder: f"{run.identity.folder}/e9"}
    assert longer_versions(tmp_path, runs) == expected


@pytest.mark.parametrize(
    ("there", "asked", "expected"),
    [
        (["e300-every1"], "e100-every1", "e300-every1"),
        (["e300-every1"], "e100-every2", "e300-every1"),
        (["e300-every1"], "e300-every7", "e300-every1"),
        (["e300-every1"], "e299-every2", "e300-every1"),
        (["e300-every2"], "e100-every4", "e300-every2"),
        (["e300-every2", "e200-every1"], "e100-every2", "e200-every1"),
        (["e300-every2"], "e100-every3", None),  # epoch 3 was not kept
        (["e300-every2"], "e99-every2", None),  # nor the last one
        (["e99-every2"], "e99-every4", "e99-every2"),  # the last one always is
        (["e300-every2"], "e300-every1", None),
        (["e300-every1"], "e301-every1", None),
        (["e300-every1"], "e300-every1", None),
        (["e300"], "e100-every1", None),
    ],
)
@pytest.mark.parametrize("planned", [True, False])
def test_checkpoints_are_read_off_a_version_that_has_them_all(
    there: list[str],
    asked: str,
    expected: str | None,
    planned: bool,
    layout: Layout,
    tmp_path: Path,
) -> None:
    (run, _) = keeping(layout)
    wanted = version(run, asked)
    others = [version(run, name) for name in there]
    runs = {one.folder: one for one in (wanted, *(others if planned else ()))}
    if not planned:
        for one in others:
            make(tmp_path / one.folder, run.identity)
    found = longer_versions(tmp_path, runs).get(wanted.folder)
    assert found == (expected and f"{run.identity.folder}/{expected}")


def version(run: PlannedRun, name: str) -> PlannedRun:
    epochs, _, every = name.removeprefix("e").partition("-every")
    return PlannedRun(
        run.identity, run.spec, run.dataset, int(epochs), int(every) if every else None
    )


def test_of_two_planned_versions_one_is_read_off_the_other(layout: Layout, tmp_path: Path) -> None:
    (run, _) = keeping(layout)
    asked = [version(run, name) for name in ("e4", "e4-every8", "e4-every4", "e8-every2")]
    found = longer_versions(tmp_path, {one.folder: one for one in asked})
    trained = [one.folder for one in asked if one.folder not in found]
    assert trained == [f"{run.identity.folder}/e8-every2"]
    for source in found.values():
        while source in found:  # ends: no two wait for each other
            source = found[source]
        assert source in trained


def test_checkpoints_that_were_deleted_are_not_read_off(layout: Layout, tmp_path: Path) -> None:
    (run, _) = keeping(layout)
    wanted, longer = version(run, "e2-every2"), version(run, "e4-every2")
    make(tmp_path / longer.folder, run.identity)
    (tmp_path / longer.folder / TRAJECTORY_FILES[0]).unlink()
    assert longer_versions(tmp_path, {wanted.folder: wanted}) == {}
    plain = version(run, "e2")
    expected = {plain.folder: longer.folder}
    assert longer_versions(tmp_path, {plain.folder: plain}) == expected


def test_the_rules_know_what_is_read_off_with_checkpoints_and_without(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, setting("fig6", keep_every=2))
    nothing = [layout.to_read_off(keeping) for keeping in (True, False)]
    asked = [one.folder.removeprefix("run/") for one in keeping(layout)]
    assert not any(re.fullmatch(pattern, one) for pattern in nothing for one in (*asked, ""))
    for run in keeping(layout):
        make(tmp_path / "results/store" / run.identity.folder / "e9-every1", run.identity)
    layout = layout_of(tmp_path, setting("fig6", keep_every=2))
    with_checkpoints, without = layout.to_read_off(True), layout.to_read_off(False)
    for one in asked:
        assert re.fullmatch(with_checkpoints, one)
        assert not re.fullmatch(without, one)
        assert layout.longer_run(one).endswith("/e9-every1")
        assert layout.checkpoint_option(one) == "--keep-every 2"


def make(folder: Path, identity: Identity) -> None:
    with product_writer(folder, identity) as product:
        for name in (*TABLES, *(TRAJECTORY_FILES if "-every" in folder.name else ())):
            (product.aside / name).touch()


def test_every_version_of_a_length_is_listed_and_the_plain_one_stands_for_it(
    tmp_path: Path,
) -> None:
    run = Identity("run", "r", {}, "code", {})
    for name in ("e4", "e4-every2", "e4-every10", "e6-every1", "e10"):
        make(tmp_path / name, run)
    (tmp_path / "e10" / TABLES[0]).unlink()
    found = {(epochs, every, path.name) for epochs, every, path in complete_versions(tmp_path)}
    assert found == {
        (4, None, "e4"),
        (4, 2, "e4-every2"),
        (4, 10, "e4-every10"),
        (6, 1, "e6-every1"),
    }
    assert {n: path.name for n, path in kept_versions(tmp_path).items()} == {
        4: "e4",
        6: "e6-every1",
    }
    assert list(kept_versions(tmp_path)) == [4, 6]


@pytest.mark.parametrize(
    ("figure", "changed", "told"),
    [
        ("fig6", {"keep_every": 0}, "keep_every' is 0"),
        ("fig6", {"keep_every": 1.5}, "keep_every' is 1.5"),
        ("fig3", {"keep_every": 1}, r"runs\[0\]\.keep_every' is given, but .*'run_metrics' reads"),
        ("fig6", {"sweep": {"seed": [0]}}, r"convnet\.runs' has one seed only, but each run"),
        (
            "fig6",
            {"sweep": {"seed": [0], "optimiser.learning_rate": [0.1, 0.2]}},
            "one seed only of optimiser.learning_rate 0.1, but each run",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    figure: str, changed: Sweep, told: str, tmp_path: Path
) -> None:
    with pytest.raises(PerigeeError, match=told):
        layout_of(tmp_path, setting(figure, **changed))


def test_a_table_that_compares_checkpoints_needs_them(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match=r"keep_every' is missing, but .*'similarity' reads"):
        layout_of(tmp_path, lambda study: sweep_of(study, "fig6").pop("keep_every"))


def test_planning_them_needs_no_torch() -> None:
    program = (
        "import sys; from perigee.plan import make_plan; from perigee.layout import Layout; "
        "plan = make_plan(['periodic'], 'paper'); assert plan.predictions; Layout(plan, 'r'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
