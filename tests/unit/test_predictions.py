"""perigee.evaluation.predictions: what the kept checkpoints answer is what training measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perigee.blocks.measures import Checkpoints, Metrics
from perigee.checkpoints import KeptCheckpoints
from perigee.evaluation.base import EvaluationInput
from perigee.evaluation.files import Predictions
from perigee.evaluation.predictions import Predictions as Evaluation
from perigee.training.execution import DTYPES, Execution
from perigee.training.loop import Watch
from perigee.training.recording import Recorder
from support.recorded import recorded
from support.reference_training import Settings
from support.runs import few_images, make_spec, make_trainer
from support.stores import Store

EPOCHS = 3
CPU = torch.device("cpu")


class Observing(Watch):
    """The probabilities after every second epoch and the last."""

    def __init__(self) -> None:
        self.probabilities: list[np.ndarray] = []

    @torch.no_grad()
    def after_epoch(self, recorder: Recorder) -> None:
        if recorder.position.epoch % 2 == 0 or recorder.position.epoch == EPOCHS:
            trainer = recorder.trainer
            images = trainer.task.splits["test"].images  # type: ignore[attr-defined]
            logits = trainer.model.eval()(images).double().numpy()
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            self.probabilities.append(exponentials / exponentials.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("scale_invariant", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_they_are_those_of_the_networks_as_they_were(
    scale_invariant: bool, precision: str, tmp_path: Path
) -> None:
    settings = Settings(width=1, batch_size=40, momentum=0.9, scale_invariant=scale_invariant)
    spec, measure, store = make_spec(settings, precision), Checkpoints(interval=2), Store(tmp_path)
    version = store.train(spec, EPOCHS, measure, Metrics())
    watch = Observing()
    recorded(make_trainer(spec, memory_format=torch.channels_last), EPOCHS, watch=watch)

    told: list[int] = []
    folder = tmp_path / "predictions"
    folder.mkdir()
    execution = Execution(CPU, DTYPES[precision], torch.channels_last)
    kept = KeptCheckpoints.of_measure(store.measure_folder(spec, version, measure))
    Evaluation().write(EvaluationInput(spec, few_images(), execution, kept, told.append), folder)
    assert {path.name for path in folder.iterdir()} == set(Evaluation.files)
    predictions = Predictions.load(folder)
    assert told == [1, 2, 3]
    assert predictions.epochs == (0, 2, 3)
    assert isinstance(predictions.probabilities, np.memmap)
    assert predictions.probabilities.dtype == np.float32
    assert predictions.probabilities.shape == (3, 30, 10)
    assert predictions.labels.tolist() == few_images().splits["test"].labels.tolist()
    assert predictions.probabilities == pytest.approx(np.array(watch.probabilities), abs=1e-6)
    metrics = store.rows(spec, version, Metrics())
    for epoch, rows in zip(predictions.epochs, predictions.probabilities, strict=True):
        wrong = rows.argmax(axis=1) != predictions.labels
        assert wrong.mean() == pytest.approx(metrics["test_error"][epoch])
    # Networks of other epochs answer otherwise.
    assert abs(np.diff(predictions.probabilities, axis=0)).max() > 1e-3
