"""A new evaluation of checkpoints needs only a block: all else follows from its class."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest

from perigee.blocks.analyses import Analysis
from perigee.blocks.evaluations import Evaluation
from perigee.blocks.measures import Checkpoints, Metrics
from perigee.errors import PerigeeError
from perigee.planning.layout import Layout
from perigee.planning.plan import Plan
from perigee.planning.products import EvaluationProduct
from perigee.registry import REGISTRY
from perigee.store.provenance import PROVENANCE
from support.configuration import plan_of, shipped_paper

PAPER = shipped_paper("periodic", ["fig3"])


class Traces(Evaluation, name="traces", code="perigee.evaluation.predictions:Predictions"):
    """An evaluation that a user might write."""


class Sharpness(Analysis, name="sharpness", code="perigee.analysis.run_metrics:tabulate"):
    """An analysis that reads the evaluation."""

    reads: ClassVar = (Metrics,)
    reads_checkpoints: ClassVar[bool] = True
    evaluates: ClassVar = (Traces,)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with (
        mock.patch.dict(REGISTRY["evaluation"], {"traces": Traces}),
        mock.patch.dict(REGISTRY["analysis"], {"sharpness": Sharpness}),
    ):
        yield


def plan_with(folder: Path, analysis: str, **sweep: Any) -> Plan:
    """The plan of figure 3 with a table of this analysis in the place of its own."""
    document = copy.deepcopy(PAPER)
    figure = document["figures"]["fig3"]
    del figure["claims"]
    figure["tables"] = {"runs": {"analysis": {"name": analysis}, "runs": ["rates"]}}
    del figure["ours"]
    figure["runs"]["rates"] |= {"checkpoint_interval": 2, **sweep}
    if sweep:
        document["overlays"] = {s: {"paper": o["paper"]} for s, o in document["overlays"].items()}
    return plan_of(folder, {"periodic": document})


def test_its_products_are_planned_between_runs_and_table(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, "sharpness")
    evaluations = [p for p in plan.products.values() if isinstance(p, EvaluationProduct)]
    assert len(evaluations) == len(plan.runs) == 4
    (table,) = plan.figures["periodic_fig3"].tables.values()
    assert set(evaluations) <= set(table.inputs)
    for one in evaluations:
        assert one.kind == "evaluation"
        assert one.name.startswith("traces-convnet-digits-")
        assert one.run.measures == (Checkpoints(interval=2), Metrics())
        told = one.told(tmp_path)
        assert told["evaluation"] == {"name": "traces"}
        assert told["epochs"] == 4
    layout = Layout(plan, str(tmp_path))
    waiting = list(layout.outstanding([table]))
    assert [folder.partition("/")[0] for folder in waiting].count("evaluation") == 4
    assert waiting[-1] == table.folder


def test_it_is_there_once_it_is_written(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, "sharpness")
    one = next(p for p in plan.products.values() if isinstance(p, EvaluationProduct))
    assert not one.is_complete(tmp_path)
    (tmp_path / one.folder).mkdir(parents=True)
    (tmp_path / one.folder / PROVENANCE).touch()
    assert one.is_complete(tmp_path)


def test_only_who_compares_seeds_needs_two(tmp_path: Path) -> None:
    one_seed = {"sweep": {"optimiser.learning_rate": [0.1], "seed": [10]}}
    assert len(plan_with(tmp_path, "sharpness", **one_seed).runs) == 1
    with pytest.raises(PerigeeError, match="has one seed only"):
        plan_with(tmp_path, "similarity", **one_seed)
