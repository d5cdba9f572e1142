"""Runs that keep checkpoints, and evaluations of these, as they are planned."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.measures import Checkpoints, Metrics
from perigee.errors import PerigeeError
from perigee.planning.products import EvaluationProduct, RunProduct, TableProduct
from support.planning import PREDICTIONS, SEEDS, Project, make, name_of

Edit = Callable[[Project], None]


def table_of(project: Project, figure: str) -> TableProduct:
    (table,) = project.plan().figures[f"periodic_{figure}"].tables.values()
    return table


def evaluations(project: Project) -> dict[str, EvaluationProduct]:
    """Those of the plan by folder."""
    found = project.plan().products.items()
    return {folder: one for folder, one in found if isinstance(one, EvaluationProduct)}


def in_sweep(figure: str, **changes: Any) -> Edit:
    return lambda project: project.sweep(figure).update(changes)


def test_an_evaluation_waits_for_its_run_and_data_and_a_table_for_both(project: Project) -> None:
    assert [name_of(one) for one in evaluations(project).values()] == list(PREDICTIONS)
    for one, run in zip(evaluations(project).values(), SEEDS, strict=True):
        assert [name_of(needed) for needed in one.inputs] == [run, "dataset digits"]
        assert one.checkpoints == Checkpoints(interval=2)
    names = [name_of(one) for one in table_of(project, "fig6").inputs]
    assert names == [SEEDS[0], PREDICTIONS[0], SEEDS[1], PREDICTIONS[1]]


def test_programs_are_told_of_checkpoints_and_evaluations(project: Project) -> None:
    layout = project.layout()
    folders = [f"{layout.store}/{folder}" for folder in evaluations(project)]
    for one in evaluations(project).values():
        told = json.loads(Path(layout.spec("evaluation", one.name)).read_text())
        assert told["evaluation"] == {"name": "predictions"}
        assert {"name": "checkpoints", "interval": 2} in told["measures"]
        assert told["folder"] == f"{layout.store}/{one.run.identity.folder}"
        assert told["epochs"] == 4
    told = json.loads(Path(layout.spec("table", table_of(project, "fig6").name)).read_text())
    assert [run["evaluations"] for run in told["runs"]] == [{"predictions": f} for f in folders]


def test_other_tables_know_nothing_of_them(project: Project) -> None:
    layout = project.layout()
    told = json.loads(Path(layout.spec("table", table_of(project, "fig3").name)).read_text())
    assert [run["evaluations"] for run in told["runs"]] == [{}, {}]
    # Though one of the runs keeps checkpoints, as the parent of a fork.
    measures = [[one["name"] for one in run["measures"]] for run in told["runs"]]
    assert measures == [["metrics"], ["metrics"]]


def test_an_evaluation_that_is_there_is_not_made_again(project: Project) -> None:
    first, second = evaluations(project).values()
    make(first, project.store)
    found = project.outstanding("periodic_fig6")
    assert PREDICTIONS[0] not in found
    assert PREDICTIONS[1] in found
    # Nor is its run, unless the table lacks it.
    assert set(SEEDS) <= set(found)
    make(second, project.store)
    for run in project.layout().runs.values():
        if name_of(run) in SEEDS:
            make(run, project.store)
    assert project.outstanding("periodic_fig6") == [
        "figure periodic_fig6",
        "table periodic_fig6-convnet",
    ]


def test_an_evaluation_is_of_certain_checkpoints(project: Project) -> None:
    seen = set(evaluations(project))
    for changes in ({"checkpoint_interval": 1}, {"checkpoint_interval": 2, "epochs": 6}):
        in_sweep("fig6", **changes)(project)
        seen |= set(evaluations(project))
    assert len(seen) == 6


def test_what_only_the_table_is_about_is_nothing_to_an_evaluation(project: Project) -> None:
    before, table = set(evaluations(project)), table_of(project, "fig6")
    in_sweep("fig6", sweep={"seed": [1, 0]})(project)
    assert set(evaluations(project)) == before
    assert table_of(project, "fig6").identity.digest != table.identity.digest


@pytest.mark.parametrize(
    ("figure", "changes", "told"),
    [
        ("fig6", {"checkpoint_interval": 0}, r"checkpoint_interval' is 0; it must be at least 1"),
        ("fig6", {"checkpoint_interval": 1.5}, "checkpoint_interval' is 1.5; .* type integer"),
        ("fig6", {"checkpoint_interval": None}, "checkpoint_interval' is None; .* type integer"),
        (
            "fig3",
            {"checkpoint_interval": 1},
            r"runs\.rates\.checkpoint_interval' is given, but .*'run_metrics' reads no "
            "checkpoints; remove it",
        ),
        ("fig6", {"keep_every": 1}, r"unknown key 'keep_every' in 'runs\.convnet'"),
        ("fig6", {"sweep": {"seed": [0]}}, r"convnet\.runs' has one seed only, but each run"),
        (
            "fig6",
            {"sweep": {"seed": [0], "optimiser.learning_rate": [0.1, 0.2]}},
            "one seed only of optimiser.learning_rate 0.1, but each run .* sweep 'seed' over",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    figure: str, changes: dict[str, Any], told: str, project: Project
) -> None:
    in_sweep(figure, **changes)(project)
    with pytest.raises(PerigeeError, match=rf"periodic/{figure}\.yaml: .*{told}"):
        project.plan()


def test_a_table_that_compares_checkpoints_needs_them(project: Project) -> None:
    del project.sweep("fig6")["checkpoint_interval"]
    told = r"checkpoint_interval' is missing, but .*'similarity' reads checkpoints; say"
    with pytest.raises(PerigeeError, match=told):
        project.plan()


@pytest.mark.parametrize("name", ["stepz", "steps", "layers", "checkpoints", "metrics"])
def test_a_measure_without_a_row_an_epoch_of_its_own_is_refused(
    name: str, project: Project
) -> None:
    """A row a step finds no place in a table with a row an epoch."""
    project.table("fig3")["analysis"]["further"] = [name]
    key = r"periodic/fig3\.yaml: key 'tables\.runs\.analysis\.further'"
    told = rf"{key} names '{name}', which is not a measure with .*known are full_gradient_norm"
    with pytest.raises(PerigeeError, match=told):
        project.plan()


# The parents of forks


def at_epoch(epoch: int) -> dict[str, Any]:
    return {"name": "at_epoch", "epoch": epoch}


BEFORE = {"name": "before_destabilisation", "epochs": 1}


def parent_of_forks(project: Project, *rules: dict[str, Any]) -> RunProduct:
    """The run that figure 5 has forks of, one by each rule, and nothing else needs."""
    runs, figure = project.periodic["runs"], project.periodic["figures"]["fig5"]
    runs["alone"] = runs["base"] | {"seed": 7}
    figure["runs"] = {}
    for number, rule in enumerate(rules):
        parent = {"run": "alone", "epochs": 8, "at": rule}
        runs[f"fork{number}"] = {"parent": parent, "constraint": {"name": "fixed_norm"}}
        figure["runs"][f"fork{number}"] = {"run": f"fork{number}", "epochs": 3}
    figure["tables"]["forks"]["runs"] = list(figure["runs"])
    plan = project.plan()
    (folder,) = {run.parent.folder for run in plan.figures["periodic_fig5"].runs if run.parent}
    found = plan.products[folder]
    assert isinstance(found, RunProduct)
    assert found.epochs == 8
    return found


@pytest.mark.parametrize("epoch", [1, 3, 8])
def test_a_fork_at_an_epoch_asks_for_few_checkpoints(epoch: int, project: Project) -> None:
    assert parent_of_forks(project, at_epoch(epoch)).measures == (Checkpoints(interval=epoch),)


def test_a_fork_at_the_initialisation_asks_for_every_one(
    project: Project,
) -> None:
    assert parent_of_forks(project, at_epoch(0)).measures == (Checkpoints(),)


def test_a_fork_at_an_epoch_still_to_be_found_asks_for_every_one(project: Project) -> None:
    assert parent_of_forks(project, BEFORE).measures == (Checkpoints(), Metrics())


@pytest.mark.parametrize(
    ("rules", "interval"),
    [
        ((at_epoch(4), at_epoch(6)), 2),
        ((at_epoch(4), at_epoch(8)), 4),
        ((at_epoch(4), at_epoch(7)), 1),
        ((at_epoch(6), BEFORE), 1),
    ],
)
def test_forks_of_one_parent_make_it_keep_what_all_of_them_ask_for(
    rules: tuple[dict[str, Any], ...], interval: int, project: Project
) -> None:
    kept = [one for one in parent_of_forks(project, *rules).measures if one.name == "checkpoints"]
    assert kept == [Checkpoints(interval=interval)]


def test_planning_needs_no_torch() -> None:
    program = (
        "import sys; from perigee.planning.plan import make_plan; "
        "from perigee.planning.layout import Layout; "
        "from perigee.planning import forecast, status, pages; "
        "plan = make_plan(['periodic'], 'paper'); layout = Layout(plan, 'nowhere'); "
        "assert layout.outstanding(plan.figures.values()); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
