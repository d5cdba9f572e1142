"""Measures of images with one label each are refused of a task that detects objects."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest

from perigee.blocks.measures import Measure
from perigee.errors import PerigeeError
from perigee.planning.plan import Plan
from perigee.registry import REGISTRY
from support.configuration import plan_of, shipped_paper

PAPER = shipped_paper("smd", ["fig5"])
STUDY: dict[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter for detection?",
    "run": "smd.mask_rcnn",
    "epochs": 2,
    "sweep": {"optimiser.weight_decay": [0.001], "seed": [0, 1]},
    "panels": ["train_loss"],
}
DETECTION = "some of its runs have the task 'streamed_detection'"


class Recall(Measure, name="recall", code="perigee.measures.full_gradient_norm:FullGradientNorm"):
    """A measure that a user might write, which says nothing of labels."""

    columns: ClassVar[tuple[str, ...]] = ("recall",)


class TopFive(Recall, name="top_five", code="perigee.measures.full_gradient_norm:FullGradientNorm"):
    """Another, of images with one label each."""

    needs_one_label: ClassVar[bool] = True


def plan_with_table(folder: Path, runs: str, name: str, **parameters: Any) -> Plan:
    """The plan of figure 5 with one more table of some of its runs."""
    paper = copy.deepcopy(PAPER)
    figure = paper["figures"]["fig5"]
    figure["tables"]["more"] = {"analysis": {"name": name, **parameters}, "runs": [runs]}
    if REGISTRY["analysis"][name].reads_checkpoints:  # type: ignore[attr-defined]
        figure["runs"][runs] |= {"checkpoint_interval": 1, "sweep": {"seed": [20, 21]}}
    return plan_of(folder, {"smd": paper})


ONE_LABEL = [
    (
        "late_image_errors",
        {},
        ["'tables.more.analysis.name' names 'late_image_errors'", "test_hits"],
    ),
    ("similarity", {}, ["'tables.more.analysis.name' names 'similarity'", "'predictions'"]),
    ("run_metrics", {"further": ["top_five"]}, ["'tables.more.analysis.further' names 'top_five'"]),
]


@pytest.mark.parametrize(("name", "parameters", "told"), ONE_LABEL)
def test_a_table_is_refused_of_detection_alone(
    tmp_path: Path, name: str, parameters: dict[str, Any], told: list[str]
) -> None:
    with mock.patch.dict(REGISTRY["measure"], {"top_five": TopFive}):
        plan_with_table(tmp_path / "0", "standard", name, **parameters)
        with pytest.raises(PerigeeError) as caught:
            plan_with_table(tmp_path / "1", "coco_standard", name, **parameters)
    sentence = str(caught.value)
    assert sentence.startswith("config/papers/smd/fig5.yaml: key ")
    for part in (*told, DETECTION, "choose "):
        assert part in sentence
    assert "\n" not in sentence


def test_a_measure_that_says_nothing_of_labels_is_taken(tmp_path: Path) -> None:
    with mock.patch.dict(REGISTRY["measure"], {"recall": Recall}):
        plan = plan_with_table(tmp_path, "coco_standard", "run_metrics", further=["recall"])
    asked = {run.spec.task.name for run in plan.runs.values() if "recall" in run.measure_identities}
    assert asked == {"streamed_detection"}


def test_recomputed_statistics_are_refused_and_the_overlay_named(tmp_path: Path) -> None:
    paper = copy.deepcopy(PAPER)
    paper["overlays"]["smoke"]["fig5"]["test_statistics"] = "recomputed"
    with pytest.raises(PerigeeError) as caught:
        plan_of(tmp_path, {"smd": paper})
    sentence = str(caught.value)
    assert sentence.startswith(
        "config/scales/smoke/smd/fig5.yaml: key 'test_statistics' is 'recomputed', "
    )
    assert "task 'streamed_detection'; leave it out" in sentence


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"panels": ["similarity"]}, "key 'panels' names 'similarity', which reads 'predictions'"),
        ({"test_statistics": "recomputed"}, "key 'test_statistics' is 'recomputed', "),
        ({"further": ["top_five"]}, "key 'further' names 'top_five', "),
    ],
)
def test_a_study_of_detection(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    documents = {"smd": PAPER, "mine": STUDY}
    plan_of(tmp_path, documents)
    documents["mine"] = {**STUDY, **change}
    with (
        mock.patch.dict(REGISTRY["measure"], {"top_five": TopFive}),
        pytest.raises(PerigeeError) as caught,
    ):
        plan_of(tmp_path, documents)
    assert str(caught.value).startswith(f"config/studies/mine.yaml: {told}")
