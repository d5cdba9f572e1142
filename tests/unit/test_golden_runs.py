"""Code that ignores a parameter of a run's loss or augmentation trains a golden run otherwise."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from reference_training import HEAD_NORM

from perigee.data.arrays import ArrayDataset
from perigee.equivalence.golden import BASE, GoldenRun, RunKind, golden_runs
from perigee.registry import REGISTRY
from perigee.spec import COMPONENT_FIELDS, RunSpec
from perigee.training.execution import Execution
from perigee.training.record import RunRecord
from perigee.training.trainer import Trainer, Watch, train

EPOCHS = 2


def trained(run: GoldenRun, images: ArrayDataset) -> pd.DataFrame:
    """The steps of a golden run, on the unit tests' few images."""
    spec = RunSpec.from_dict({**run.spec, "model": {**run.spec["model"], "head_norm": HEAD_NORM}})
    spec = replace(spec, batch_size=32)
    precision = {"float32": torch.float32, "float64": torch.float64}[spec.precision]
    execution = Execution(torch.device("cpu"), precision, torch.contiguous_format)
    record = RunRecord()
    train(Trainer(spec, images, execution), EPOCHS, record, Watch())
    return record.steps_table()


@pytest.mark.parametrize(
    ("kind", "name", "parameter", "ignored"),
    [
        ("loss", "cross_entropy", "label_smoothing", 0),
        ("augmentation", "crop_and_flip", "flip", True),
        ("augmentation", "crop_and_flip", "flip", False),
        ("augmentation", "crop_and_flip", "padding", 0),
    ],
)
def test_a_parameter_that_is_ignored_alters_a_golden_run(
    kind: str,
    name: str,
    parameter: str,
    ignored: Any,
    few_images: ArrayDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = golden_runs(RunKind(**BASE | {kind: name}))
    before = [trained(run, few_images) for run in runs]
    module, _, attribute = REGISTRY[kind][name].target.partition(":")
    block = getattr(importlib.import_module(module), attribute)

    def ignoring(*arguments: Any, **parameters: Any) -> Any:
        return block(*arguments, **{**parameters, parameter: ignored})

    monkeypatch.setattr(importlib.import_module(module), attribute, ignoring)
    altered = [
        not trained(run, few_images).equals(steps) for run, steps in zip(runs, before, strict=True)
    ]
    expected = [run.spec[kind][parameter] != ignored for run in runs]
    assert altered == expected
    assert any(altered)


def test_a_loss_or_augmentation_more_is_a_run_more() -> None:
    """They are not multiplied with the settings of model and optimiser."""
    kinds = [RunKind(**BASE), RunKind(**BASE | {"augmentation": "crop_and_flip"})]
    runs = [golden_runs(kind) for kind in kinds]
    # Large images, the full batch, smoothed labels, two models by two optimisers; not flipped.
    assert [len(found) for found in runs] == [3 + 4, 3 + 4 + 1]
    for found in runs:
        for block in COMPONENT_FIELDS:
            assert len({run.spec[block]["name"] for run in found}) == 1 + (block == "dataset")
