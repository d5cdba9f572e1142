"""Layers of which not every step is kept: what a figure asks of its runs, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.measures import Layers, Metrics, ThinnedLayers
from perigee.errors import PerigeeError
from perigee.planning.plan import Plan, make_plan
from support.configuration import plan_of, shipped_paper

PAPER = shipped_paper("smd", ["fig3", "fig5"])
KEPT = ThinnedLayers(every=10, in_full=("layer1.0.conv2",))


def plan_with(folder: Path, **kept: Any) -> Plan:
    """The plan at paper scale where the runs of figure 5 keep these steps."""
    document = copy.deepcopy(PAPER)
    for name, layers in kept.items():
        document["figures"]["fig5"]["runs"][name]["layers"] = layers
    return plan_of(folder, {"smd": document}, "paper")


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_only_at_paper_scale_figure_5_has_fewer_steps(scale: str) -> None:
    figures = make_plan(["smd"], scale).figures
    expected = {Metrics(), KEPT if scale == "paper" else Layers()}
    for run in figures["smd_fig5"].runs:
        assert set(run.measures) == expected
    for run in figures["smd_fig3"].runs:
        assert set(run.measures) == {Metrics(), Layers()}


def test_no_run_is_another_for_it(tmp_path: Path) -> None:
    before, after = plan_with(tmp_path / "0"), plan_with(tmp_path / "1", standard={"every": 7})
    assert set(before.runs) == set(after.runs)
    changed = {one.kind for f, one in before.products.items() if f not in after.products}
    assert changed == {"table", "figure", "claims"}


def test_a_run_is_thinned_in_one_way_and_may_be_kept_in_full_beside(tmp_path: Path) -> None:
    """Two entries that are the same run: its job can take one measure of a name."""
    document = copy.deepcopy(PAPER)
    figure = document["figures"]["fig5"]
    figure["runs"]["again"] = {**figure["runs"]["standard"], "layers": {"every": 9}}
    figure["tables"]["stages"]["runs"] = ["again", "rescaled"]
    told = r"fig5\.yaml: key 'layers' of 'runs' keeps one of 10 steps, all of .* one of 9 steps of"
    with pytest.raises(PerigeeError, match=told):
        plan_of(tmp_path / "other", {"smd": document}, "paper")
    figure["runs"]["again"]["layers"] = {"every": 1}
    plan = plan_of(tmp_path / "all", {"smd": document}, "paper")
    schedule = figure["runs"]["standard"]["set"]["schedule"]
    folders = {
        run.folder
        for run in plan.figures["smd_fig5"].runs
        if list(run.spec.schedule.parameters["milestones"]) == schedule["milestones"]
        and run.spec.schedule.name == schedule["name"]
    }
    assert folders
    for folder in folders:
        assert set(plan.runs[folder].measures) == {Metrics(), Layers(), KEPT}


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({"every": 0}, r"layers\.every' is 0; it must be at least 1"),
        ({"each": 2}, "each"),
        ({"in_full": "layer1.0.conv2"}, r"layers\.in_full' .* type list"),
        ([10], "'runs.standard.layers'"),
    ],
)
def test_impossible_values_are_refused(kept: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match=told):
        plan_with(tmp_path, standard=kept)


def test_where_no_table_reads_layers_it_is_refused(tmp_path: Path) -> None:
    document = shipped_paper("periodic", ["fig3"])
    next(iter(document["figures"]["fig3"]["runs"].values()))["layers"] = {"every": 2}
    with pytest.raises(
        PerigeeError, match=r"layers' is given, but .*'destabilisations' reads no layers"
    ):
        plan_of(tmp_path, {"periodic": document}, "paper")
