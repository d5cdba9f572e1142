"""Measures that a table asks for beside the metrics, and panels of their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from perigee.configuration.sweeps import PANELS, figures_at

from perigee import registry
from perigee.blocks.measures import Measure
from perigee.configuration.reading import read_yaml
from perigee.configuration.studies import FigureRequest
from perigee.errors import PerigeeError
from perigee.paths import STUDIES
from perigee.planning.plan import make_plan
from perigee.plotting.panels import OVER_EPOCHS

FURTHER = "full_gradient_norm"
SWEEP: dict[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter?",
    "base": {"study": "periodic", "run": "si_convnet"},
    "epochs": 4,
    "sweep": {"optimiser.learning_rate": [0.3], "seed": [0]},
}
PAPER = read_yaml(STUDIES / "periodic.yaml")


def request(**changes: Any) -> FigureRequest:
    documents = {"periodic": PAPER, "mine": {**SWEEP, **changes}}
    (figure,) = figures_at(STUDIES / "mine.yaml", "smoke", documents)
    return figure


def refusal(**changes: Any) -> str:
    with pytest.raises(PerigeeError) as caught:
        request(**changes)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(registry.REGISTRY["measure"]))
def test_declared_columns_are_those_of_the_rows(name: str) -> None:
    measure = registry.make("measure", {"name": name})
    assert isinstance(measure, Measure)
    if measure.columns:
        assert registry.load(measure).row.names == ("epoch", *measure.columns)
        assert measure.at_epochs


def test_a_sweep_has_them_in_its_table_and_panels() -> None:
    runs, periods = request(further=[FURTHER], panels=["train_loss", FURTHER]).tables
    assert runs.analysis.further_measures() == (FURTHER,)
    assert not periods.analysis.further_measures()
    assert request().tables[0].analysis == request(further=[]).tables[0].analysis


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
    changes: dict[str, Any], told: list[str]
) -> None:
    sentence = refusal(**changes)
    assert sentence.startswith("config/studies/mine.yaml: key ")
    for words in told:
        assert words in sentence


def test_a_papers_table_likewise() -> None:
    document = yaml.safe_load(yaml.safe_dump(PAPER))
    table = document["figures"]["fig3"]["tables"]["runs"]
    table["analysis"]["further"] = ["layers"]
    with pytest.raises(PerigeeError) as caught:
        figures_at(STUDIES / "periodic.yaml", "smoke", {"periodic": document})
    told = "key 'figures.fig3.tables.runs.analysis.further' names 'layers'"
    assert told in str(caught.value)


def test_only_who_asks_has_another_table(tmp_path: Path) -> None:
    """The run is the one of periodic_fig3; its identity, and that of its metrics, stay."""
    (tmp_path / "periodic.yaml").write_text((STUDIES / "periodic.yaml").read_text())
    plans = []
    for further in ([], [FURTHER]):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**SWEEP, "further": further}))
        with mock.patch("perigee.planning.plan.STUDIES", tmp_path):
            plans.append(make_plan(["periodic"], "smoke"))
    before, after = plans
    changed = [one.identity for f, one in before.products.items() if f not in after.products]
    assert {(one.kind, one.name) for one in changed} == {
        ("figure", "study_mine"),
        ("table", "study_mine-runs"),
    }
    (run,) = (entry.run for entry in after.figures["study_mine"].tables["runs"].entries)
    assert set(run.measure_identities) == {"metrics", FURTHER}
    others = after.of_figures(["periodic_fig3"]).runs
    assert set(others[run.folder].measure_identities) == {"metrics"}
