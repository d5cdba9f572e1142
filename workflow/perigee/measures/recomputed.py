"""Measures on the test set with BatchNorm's statistics recomputed over the training set.

They give what `metrics` and `test_hits` give with running statistics. Our choice: the papers, whose
epochs have hundreds of small steps, use running statistics. Where an epoch has a few large steps,
these are stale, and a test error by them measures that (`perigee.kernel.mean_statistics`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perigee.kernel.mean_statistics import MeanStatistics
from perigee.measures.hits import TestHits, hits_pass
from perigee.measures.metrics import Metrics
from perigee.measures.passes import TrainPass

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer


class RecomputedMetrics(Metrics):
    """The rows of `Metrics`, with test loss and error by recomputed statistics."""

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray:
        """Return the row of the present weights."""
        found = both_passes(self.trainer, self.pause)
        errors = len(found.hits) - int(found.hits.sum())
        return self.row_of(epoch, found.train, (found.test_loss, errors / len(found.hits)))


class RecomputedTestHits(TestHits):
    """The rows of `TestHits`, by recomputed statistics."""

    def hits(self) -> NDArray[np.bool_]:
        """The images that are classified rightly with recomputed statistics."""
        return both_passes(self.trainer, self.pause).hits


@dataclass(frozen=True)
class Passes:
    """The outcome of one pass over the training set and one over the test set.

    Attributes:
        weights: a copy of all trained parameters, on which alone the rest depends.
        train: see `perigee.measures.passes.TrainPass`, of the scale-invariant weights.
        test_loss: the mean over test images.
        hits: whether each test image is classified rightly, (images,).
    """

    weights: Tensor
    train: tuple[float, float, float]
    test_loss: float
    hits: NDArray[np.bool_]


_LATEST: WeakKeyDictionary[Trainer, Passes] = WeakKeyDictionary()


def both_passes(trainer: Trainer, pause: Callable[[], None]) -> Passes:
    """Pass over the training set, collect its statistics on the way, and test with these.

    Measures of the same weights share the passes: the latest outcome is kept for each run, and
    returned again as long as no weight has changed.

    Args:
        trainer: the run; its gradient is overwritten.
        pause: called after every mini-batch; what it raises ends the passes.
    """
    weights = trainer.parameters.values
    latest = _LATEST.get(trainer)
    if latest is not None and torch.equal(latest.weights, weights):
        return latest
    statistics = MeanStatistics(trainer.model, trainer.ranks)
    with statistics.collected():
        train = TrainPass(trainer, "weights_gradient", captured=False)(pause)
    with statistics.in_use():
        test_loss, hits = hits_pass(trainer, pause)
    _LATEST[trainer] = Passes(weights.clone(), train, test_loss, hits)
    return _LATEST[trainer]
