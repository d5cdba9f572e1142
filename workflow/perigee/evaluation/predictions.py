"""The evaluation ``predictions``: class probabilities of kept checkpoints on the test set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from perigee.evaluation.base import Evaluation, EvaluationInput
from perigee.evaluation.files import (
    LABELS,
    PREDICTED_EPOCHS,
    PREDICTIONS,
    write_labels_and_epochs,
)
from perigee.kernel.trainer import Trainer


class Predictions(Evaluation):
    """The softmax of the logits in eval mode, with the BatchNorm statistics of each checkpoint.

    ``predictions.npy``: float32, (checkpoints, images, classes); ``labels.npy``: (images,);
    ``predictions.json``: the epochs of the checkpoints.
    """

    files = (PREDICTIONS, LABELS, PREDICTED_EPOCHS)

    def write(self, run: EvaluationInput, folder: Path) -> None:
        """Write the probabilities as they come, one checkpoint in memory at a time."""
        epochs, test = run.checkpoints.epochs, run.dataset.splits["test"]
        header = {
            "descr": "<f4",
            "fortran_order": False,
            "shape": (len(epochs), len(test), run.dataset.classes),
        }
        with (folder / PREDICTIONS).open("wb") as stream:
            npy.write_array_header_1_0(stream, header)
            for number, rows in enumerate(checkpoint_probabilities(run), start=1):
                stream.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
                run.told(number)
        write_labels_and_epochs(folder, test.labels, epochs)  # type: ignore[union-attr]


@torch.no_grad()
def checkpoint_probabilities(run: EvaluationInput) -> Iterator[NDArray[np.float32]]:
    """Yield the class probabilities of each checkpoint in turn, (test images, classes)."""
    trainer = Trainer(run.spec, run.dataset, run.execution)
    for epoch in run.checkpoints.epochs:
        trainer.load_network(run.checkpoints.checkpoint(epoch))
        trainer.model.eval()
        logits = [trainer.model(batch.inputs) for batch in trainer.task.batches("test")]
        yield torch.cat(logits).softmax(dim=1).to("cpu", torch.float32).numpy()
