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
from perigee.evaluation.predictions import Predictions as PredictionsEvaluation
from perigee.kernel.trainer import Trainer
from perigee.training.loop import Watch
from perigee.training.recording import Recorder
from support.recorded import recorded
from support.reference_training import Settings
from support.runs import few_images, make_trainer
from support.synthetic_runs import write_measure

EPOCHS = 5


class Observing(Watch):
    """Computes the probabilities of every second epoch, and of the last, at that moment."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.probabilities: list[np.ndarray] = []

    @torch.no_grad()
    def after_epoch(self, recorder: Recorder) -> None:
        epoch = recorder.position.epoch
        if epoch % 2 == 0 or epoch == EPOCHS:
            images = torch.cat([batch.inputs for batch in self.trainer.task.batches("test")])
            logits = self.trainer.model.eval()(images).double().numpy()
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            self.probabilities.append(exponentials / exponentials.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("scale_invariant", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_they_are_those_of_the_networks_as_they_were(
    scale_invariant: bool, precision: str, tmp_path: Path
) -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=scale_invariant), precision)
    watch = Observing(trainer)
    found = recorded(trainer, EPOCHS, Metrics(), Checkpoints(interval=2), watch=watch)
    kept = tmp_path / "checkpoints"
    write_measure(kept, found.rows["checkpoints"], **found.descriptions["checkpoints"])
    checkpoints = KeptCheckpoints.of_measure(kept)
    assert checkpoints.epochs == (0, 2, 4, 5)
    told: list[int] = []
    run = EvaluationInput(trainer.spec, few_images(), trainer.execution, checkpoints, told.append)
    PredictionsEvaluation().write(run, tmp_path)
    assert {name for name in PredictionsEvaluation.files if (tmp_path / name).is_file()} == set(
        PredictionsEvaluation.files
    )
    predictions = Predictions.load(tmp_path)
    assert told == [1, 2, 3, 4]
    assert isinstance(predictions.probabilities, np.memmap)
    assert predictions.probabilities.dtype == np.float32
    assert predictions.epochs == checkpoints.epochs
    assert predictions.probabilities == pytest.approx(np.array(watch.probabilities), abs=1e-6)
    measured = {int(row["epoch"]): float(row["test_error"]) for row in found.rows["metrics"]}
    for epoch, rows in zip(predictions.epochs, predictions.probabilities, strict=True):
        wrong = rows.argmax(axis=1) != predictions.labels
        assert wrong.mean() == pytest.approx(measured[epoch])
    # Networks of other epochs answer otherwise.
    assert abs(np.diff(predictions.probabilities, axis=0)).max() > 1e-3


def test_the_scale_invariant_weights_are_the_first_numbers_of_a_vector(tmp_path: Path) -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=False), "float32")
    found = recorded(trainer, 1, Checkpoints())
    kept = tmp_path / "checkpoints"
    write_measure(kept, found.rows["checkpoints"], **found.descriptions["checkpoints"])
    checkpoints = KeptCheckpoints.of_measure(kept)
    vector = checkpoints.vector(1)
    assert 0 < checkpoints.weights < len(vector)
    parameters = dict(trainer.model.named_parameters())
    names = trainer.parameters.weight_names
    weights = np.concatenate([parameters[name].detach().numpy().ravel() for name in names])
    assert np.array_equal(vector[: checkpoints.weights], weights)
