"""`test_statistics: recomputed` changes what is measured, and no run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.recomputed import EVALUATIONS, MEASURES
from perigee.errors import PerigeeError
from perigee.planning.plan import Plan
from perigee.registry import REGISTRY
from support.configuration import figure_of, plan_of, shipped_paper

FIGURES = ("fig3", "fig5", "fig6")
PAPER = shipped_paper("periodic", FIGURES)
OPTION = {"test_statistics": "recomputed"}
STUDY: dict[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter?",
    "run": "periodic.si_convnet",
    "epochs": 4,
    "sweep": {"optimiser.learning_rate": [0.3], "seed": [0]},
}


def plan_with(folder: Path, *figures: str) -> Plan:
    """The plan of the shipped paper with the option in the overlays of some figures."""
    document = copy.deepcopy(PAPER)
    for figure in figures:
        document["overlays"]["smoke"].setdefault(figure, {}).update(OPTION)
    return plan_of(folder, {"periodic": document})


def measures_of(plan: Plan, figure: str) -> set[str]:
    runs = plan.figures[f"periodic_{figure}"].runs
    return {name for run in runs for name in run.measure_identities}


def test_what_stands_in_is_told_by_both_sides() -> None:
    for kind, pairs in (("measure", MEASURES), ("evaluation", EVALUATIONS)):
        standing_in = {one for one in REGISTRY[kind].values() if one.stands_for is not None}  # type: ignore[attr-defined]
        assert standing_in == set(pairs.values())
        for plain, other in pairs.items():
            assert other.stands_for is plain
            assert other().role == plain().role == plain.name
            assert not other.model_fields


def test_no_run_is_another_and_tables_read_other_measures(tmp_path: Path) -> None:
    before, after = plan_with(tmp_path / "0"), plan_with(tmp_path / "1", *FIGURES)
    assert set(before.runs) == set(after.runs)
    changed = {one.kind for f, one in before.products.items() if f not in after.products}
    assert changed == {"table", "evaluation", "figure", "claims"}
    assert measures_of(before, "fig3") == {"metrics", "steps"}
    assert measures_of(after, "fig3") == {"recomputed_metrics", "steps"}
    names = {
        one.evaluation.name
        for entry in after.figures["periodic_fig6"].tables["convnet"].entries
        for one in entry.evaluations
    }
    assert names == {"recomputed_predictions"}


def test_a_forks_rule_reads_what_it_read_before(tmp_path: Path) -> None:
    """So a parent, which is tested with recomputed statistics too, has both measures."""
    document = copy.deepcopy(PAPER)
    document["overlays"]["laptop"]["fig5"].update(OPTION)
    plan = plan_of(tmp_path, {"periodic": document}, "laptop")
    runs = plan.runs.values()
    parents = {run.parent.identity.folder for run in runs if run.parent is not None}
    assert parents
    for run in runs:
        if run.identity.folder in parents:
            assert {"metrics", "recomputed_metrics"} <= set(run.measure_identities)


def test_figures_may_differ_in_it(tmp_path: Path) -> None:
    """A run that both read has both measures; each table keeps its own."""
    plan = plan_with(tmp_path, "fig5")
    assert measures_of(plan, "fig3") == {"metrics", "steps"}
    assert "recomputed_metrics" in measures_of(plan, "fig5")
    table = plan.figures["periodic_fig3"].tables["runs"]
    assert {name for entry in table.entries for name in entry.identity["measures"]} == {"metrics"}


def test_the_stamp_and_the_report_tell_of_it(tmp_path: Path) -> None:
    document = copy.deepcopy(PAPER)
    reason = "With so few steps an epoch running statistics are stale."
    document["overlays"]["smoke"]["fig3"].update(OPTION, ours={"test_statistics": reason})
    figure = figure_of(tmp_path, {"periodic": document}, "periodic_fig3")
    assert "test statistics recomputed (paper: running)" in figure.deviations
    assert reason in [note.told for note in figure.notes]
    plain = figure_of(tmp_path, {"periodic": PAPER}, "periodic_fig3")
    assert not [words for words in plain.deviations if "statistics" in words]


def test_a_study_may_have_it(tmp_path: Path) -> None:
    documents = {"periodic": PAPER, "mine": STUDY | OPTION}
    plan = plan_of(tmp_path, documents)
    (entry,) = plan.figures["study_mine"].tables["runs"].entries
    assert set(entry.run.measure_identities) == {"recomputed_metrics"}


@pytest.mark.parametrize("value", ["exact", True, None])
def test_other_values_are_refused(value: Any, tmp_path: Path) -> None:
    documents = {"periodic": PAPER, "mine": STUDY | {"test_statistics": value}}
    with pytest.raises(PerigeeError, match=r"mine\.yaml: key 'test_statistics'"):
        plan_of(tmp_path, documents)
