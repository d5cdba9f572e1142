"""The measure ``test_hits``: which test images the network classifies rightly, every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from perigee.measures.base import Measure

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer


class TestHits(Measure):
    """A row per epoch: ``epoch`` and ``test_hits``, booleans, (test images,).

    An image is hit if its class has the largest logit in eval mode, so the mean of a row is 1 minus
    the test error of the metrics. With the images of several runs, differences of test errors can
    be resampled over images.
    """

    __test__ = False
    """It is not a test, whatever pytest may think of its name."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self.row = np.dtype([("epoch", "<i4"), ("test_hits", "?", (trainer.task.sizes["test"],))])

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray:
        """Return the row of the present weights."""
        return np.array([(epoch, self.hits())], self.row)

    def hits(self) -> NDArray[np.bool_]:
        """The images that are classified rightly, with the statistics that the network has."""
        return hits_pass(self.trainer, self.pause)[1]


@torch.no_grad()
def hits_pass(trainer: Trainer, pause: Callable[[], None]) -> tuple[float, NDArray[np.bool_]]:
    """Compute mean loss and hits on the test set in eval mode.

    Args:
        trainer: the run.
        pause: called after every mini-batch; what it raises ends the pass.

    Returns:
        The mean loss, and whether each image is classified rightly, (images,), in stored order.
    """
    task, model, ranks = trainer.task, trainer.model, trainer.ranks
    device = trainer.execution.device
    loss = torch.zeros((), device=device, dtype=torch.float64)
    hits = torch.zeros(task.sizes["test"], device=device, dtype=torch.int32)
    done = 0
    model.eval()
    for batch in task.batches("test"):
        outputs = model(batch.inputs)
        loss += task.test_loss(outputs, batch.targets)
        own = ranks.share(hits[done : done + batch.count])
        own.copy_(outputs.argmax(dim=1) == batch.targets)
        done += batch.count
        pause()
    ranks.sum_(loss)
    ranks.sum_(hits)
    return loss.div(len(hits)).item(), hits.bool().cpu().numpy()
