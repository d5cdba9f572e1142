"""perigee.evaluation.predictions: what the kept checkpoints answer is what training measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from perigee.store.predictions import PREDICTIONS, Predictions, write_labels_and_epochs
from perigee.training.record import RunRecord
from perigee.training.trajectory import TrajectoryWriter
from reference_training import Settings

from perigee.checkpoints import Trajectory
from perigee.data.arrays import ArrayDataset
from perigee.evaluation.predictions import checkpoint_probabilities, write_probabilities
from perigee.training.trainer import Trainer, Watch, train

MakeTrainer = Callable[..., Trainer]
EPOCHS = 5


class Observing(Watch):
    """Keeps checkpoints, and of each the probabilities at that moment."""

    def __init__(self, trainer: Trainer, writer: TrajectoryWriter) -> None:
        self.trainer, self.writer = trainer, writer
        self.probabilities: list[np.ndarray] = []

    @torch.no_grad()
    def after_epoch(self, record: RunRecord) -> None:
        self.writer.after_epoch(record)
        if record.epochs % 2 == 0 or record.epochs == EPOCHS:
            logits = self.trainer.model.eval()(self.trainer.data.test.images).double().numpy()
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            self.probabilities.append(exponentials / exponentials.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("scale_invariant", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_they_are_those_of_the_networks_as_they_were(
    scale_invariant: bool,
    precision: str,
    make_trainer: MakeTrainer,
    few_images: ArrayDataset,
    tmp_path: Path,
) -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=scale_invariant), precision)
    watch = Observing(trainer, TrajectoryWriter(tmp_path / "unfinished", trainer, EPOCHS, 2))
    record = RunRecord()
    train(trainer, EPOCHS, record, watch)
    watch.writer.finish(tmp_path)
    trajectory = Trajectory.of_run(tmp_path)
    assert trajectory.epochs == (0, 2, 4, 5)
    found = checkpoint_probabilities(trainer.spec, few_images, trainer.execution, trajectory)
    shape = (4, len(few_images.test_labels), few_images.classes)
    told: list[int] = []
    write_probabilities(tmp_path / PREDICTIONS, found, shape, told.append)
    write_labels_and_epochs(tmp_path, few_images.test_labels, trajectory.epochs)
    predictions = Predictions.load(tmp_path)
    assert told == [1, 2, 3, 4]
    assert isinstance(predictions.probabilities, np.memmap)
    assert predictions.probabilities.dtype == np.float32
    assert predictions.probabilities.shape == shape
    assert predictions.epochs == trajectory.epochs
    assert predictions.probabilities == pytest.approx(np.array(watch.probabilities), abs=1e-6)
    for epoch, rows in zip(predictions.epochs, predictions.probabilities, strict=True):
        wrong = rows.argmax(axis=1) != predictions.labels
        assert wrong.mean() == pytest.approx(record.metrics[epoch]["test_error"])
    # Networks of other epochs answer otherwise.
    assert abs(np.diff(predictions.probabilities, axis=0)).max() > 1e-3


def test_the_scale_invariant_weights_are_the_first_numbers_of_a_row(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=False), "float32")
    writer = TrajectoryWriter(tmp_path / "unfinished", trainer, 1, 1)
    train(trainer, 1, RunRecord(), Observing(trainer, writer))
    writer.finish(tmp_path)
    trajectory = Trajectory.of_run(tmp_path)
    row = np.load(trajectory.path)[-1]
    assert 0 < trajectory.weights < len(row)
    weights = trainer.parameters.weights.detach().numpy()
    assert np.array_equal(row[: trajectory.weights], weights)
