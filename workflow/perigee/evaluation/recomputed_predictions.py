"""The evaluation ``recomputed_predictions``: predictions with recomputed BatchNorm statistics."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from perigee.checkpoints import KeptCheckpoints
from perigee.evaluation.base import EvaluationInput
from perigee.evaluation.predictions import Predictions
from perigee.kernel.mean_statistics import statistics_of_training_set
from perigee.kernel.names import MODEL
from perigee.kernel.trainer import Trainer


class RecomputedPredictions(Predictions):
    """The files of `Predictions`, of each checkpoint with the statistics of the training set.

    Our choice, as for the measure ``recomputed_metrics``, with which it belongs together.
    """

    def write(self, run: EvaluationInput, folder: Path) -> None:
        """Write the probabilities as they come, one checkpoint in memory at a time."""
        trainer = Trainer(run.spec, run.dataset, run.execution)
        kept = {
            field.name: getattr(run.checkpoints, field.name) for field in fields(KeptCheckpoints)
        }
        super().write(replace(run, checkpoints=_Recomputed(**kept, trainer=trainer)), folder)


@dataclass(frozen=True)
class _Recomputed(KeptCheckpoints):
    """Kept checkpoints whose BatchNorm statistics are those of the training set.

    Attributes:
        trainer: the network that each checkpoint is loaded into.
    """

    trainer: Trainer

    def checkpoint(self, epoch: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of an epoch's state by name, with recomputed statistics.

        Raises:
            PerigeeError: no checkpoint of that epoch was kept.
        """
        state, model = super().checkpoint(epoch), self.trainer.model
        self.trainer.load_network(state)
        with statistics_of_training_set(self.trainer).in_use():
            buffers = {MODEL + name: value for name, value in model.named_buffers()}
            return state | {name: buffers[name].cpu().numpy() for name in state if name in buffers}
