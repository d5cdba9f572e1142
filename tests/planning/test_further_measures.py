"""Measures that a table asks for beside the metrics, and panels of their columns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perigee import registry
from perigee.blocks.measures import Measure
from perigee.configuration.requests import FigureRequest
from perigee.configuration.studies import PANELS
from perigee.errors import PerigeeError
from perigee.plotting.trajectories import OVER_EPOCHS
from support.configuration import figure_of, plan_of, shipped_paper

Request = Callable[..., FigureRequest]

FURTHER = "full_gradient_norm"
SWEEP: dict[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter?",
    "run": "periodic.si_convnet",
    "epochs": 4,
    "sweep": {"optimiser.learning_rate": [0.3], "seed": [10]},
}
PAPER = shipped_paper("periodic", ["fig3"])


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    """The study's figure with some keys changed."""

    def request(**changes: Any) -> FigureRequest:
        documents = {"periodic": PAPER, "mine": {**SWEEP, **changes}}
        return figure_of(tmp_path, documents, "study_mine")

    return request


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["measure"]))
def test_declared_columns_are_those_of_the_rows(name: str) -> None:
    measure = registry.make("measure", {"name": name})
    assert isinstance(measure, Measure)
    if measure.columns:
        assert registry.load(measure).row.names == ("epoch", *measure.columns)
        assert measure.at_epochs


def test_a_sweep_has_them_in_its_table_and_panels(request_of: Request) -> None:
    runs, periods = request_of(further=[FURTHER], panels=["train_loss", FURTHER]).tables
    assert runs.analysis.further_measures() == (FURTHER,)
    assert not periods.analysis.further_measures()
    assert request_of().tables[0].analysis == request_of(further=[]).tables[0].analysis


def test_what_can_be_drawn_is_known() -> None:
    several = {"phase_diagram", "period_statistics", "similarity"}
    assert set(PANELS) == {*OVER_EPOCHS, *several}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"further": ["full_gradient"]}, ["'further'", "did you mean 'full_gradient_norm'"]),
        ({"further": ["steps"]}, ["'further' names 'steps'", "known are full_gradient_norm"]),
        ({"further": ["metrics"]}, ["'further' names 'metrics'"]),
        ({"further": [FURTHER, FURTHER]}, ["'full_gradient_norm' twice"]),
        ({"panels": ["train_loss", FURTHER]}, ["'panels[1]' is 'full_gradient_norm'", "known are"]),
        (
            {"panels": ["full_gradient_nrom"], "further": [FURTHER]},
            ["'panels[0]'", "did you mean 'full_gradient_norm'"],
        ),
    ],
)
def test_what_is_no_such_measure_or_panel_is_refused(
    changes: dict[str, Any], told: list[str], request_of: Request
) -> None:
    with pytest.raises(PerigeeError) as caught:
        request_of(**changes)
    sentence = str(caught.value)
    assert sentence.startswith("config/studies/mine.yaml: key ")
    for words in told:
        assert words in sentence


def test_a_papers_table_likewise(tmp_path: Path) -> None:
    document = copy.deepcopy(PAPER)
    table = document["figures"]["fig3"]["tables"]["runs"]
    table["analysis"]["further"] = ["layers"]
    with pytest.raises(PerigeeError) as caught:
        plan_of(tmp_path, {"periodic": document})
    told = "fig3.yaml: key 'tables.runs.analysis.further' names 'layers'"
    assert told in str(caught.value)


def test_only_who_asks_has_another_table(tmp_path: Path) -> None:
    """The run is the one of periodic_fig3; its identity, and that of its metrics, stay."""
    plans = [
        plan_of(tmp_path, {"periodic": PAPER, "mine": {**SWEEP, "further": further}})
        for further in ([], [FURTHER])
    ]
    before, after = plans
    changed = [one.identity for f, one in before.products.items() if f not in after.products]
    assert {(one.kind, one.name) for one in changed} == {
        ("figure", "study_mine"),
        ("table", "study_mine-runs"),
    }
    (run,) = (entry.run for entry in after.figures["study_mine"].tables["runs"].entries)
    assert set(run.measure_identities) == {"metrics", FURTHER}
    others = after.of_figures(["periodic_fig3"]).runs
    assert set(others[run.folder].measure_identities) == {"metrics", "steps"}
