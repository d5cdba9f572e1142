"""Time of a training step: the library's loop against a bare loop of the same arithmetic.

Both train the scale-invariant ConvNet of periodic_fig3 on digits at laptop scale, in one process,
with one thread and the settings of `perigee.training.execution.prepare`; an epoch of each is timed
in turns. The bare loop has the same network, images on the device, order, update and logged
quantities, and nothing of the Trainer; a second one logs nothing. Before timing, an epoch in
float64 proves that library and bare loop compute the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from common import Report, Summary, Target, laptop_run, main, ratios, timed_alternately
from torch.nn import functional

from perigee import registry
from perigee.data.arrays import ArrayDataset
from perigee.data.order import epoch_order
from perigee.spec import RunSpec
from perigee.training.execution import prepare
from perigee.training.trainer import Trainer

OURS, BARE, UNLOGGED = "ours", "bare loop", "bare loop, nothing logged"
WARM_UP = 5


class BareLoop:
    """SGD with weight decay on the network's weights, written by hand.

    The weights are views of one vector: with four separate ones the loop is slower, and the
    comparison would flatter the library.

    Args:
        spec: the run; of SGD without momentum, constant learning rate, free norm.
        dataset: the data set that the spec names.
        trainer: where the images on the device are borrowed from; nothing else is.
    """

    def __init__(self, spec: RunSpec, dataset: ArrayDataset, trainer: Trainer) -> None:
        self.images, self.labels = trainer.data.train.images, trainer.data.train.labels
        self.batch_size, self.seed = spec.batch_size, spec.seed
        self.learning_rate = spec.optimiser.parameters["learning_rate"]
        self.weight_decay = spec.optimiser.parameters["weight_decay"]
        build_model = registry.load("model", spec.model)
        self.model = build_model(
            dataset.image_shape, dataset.classes, spec.seed, **spec.model.parameters
        ).to(self.images.dtype)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.weights = torch.cat([p.detach().flatten() for p in trained])
        self.gradient = torch.zeros_like(self.weights)
        start = 0
        for p in trained:
            end = start + p.numel()
            p.data = self.weights[start:end].view_as(p)
            p.grad = self.gradient[start:end].view_as(p)
            start = end

    def epoch(self, epoch: int) -> list[tuple[float, float, float, float]]:
        """One pass over the training set; returns what the library logs, a row a step."""
        logged = []
        order = torch.from_numpy(epoch_order(len(self.labels), self.seed, epoch))
        self.model.train()
        for batch in order.split(self.batch_size):
            self.gradient.zero_()
            loss = functional.cross_entropy(self.model(self.images[batch]), self.labels[batch])
            loss.backward()
            before = self.weights.clone()
            self.weights.mul_(1 - self.learning_rate * self.weight_decay)
            self.weights.sub_(self.gradient, alpha=self.learning_rate)
            norm = before.norm()
            turn = before / norm - self.weights / self.weights.norm()
            cosine_distance = 0.5 * turn.dot(turn)
            logged.append(
                (loss.item(), self.gradient.norm().item(), norm.item(), cosine_distance.item())
            )
        return logged

    def unlogged_epoch(self, epoch: int) -> None:
        """One pass over the training set, and nothing but training."""
        order = torch.from_numpy(epoch_order(len(self.labels), self.seed, epoch))
        self.model.train()
        for batch in order.split(self.batch_size):
            self.gradient.zero_()
            loss = functional.cross_entropy(self.model(self.images[batch]), self.labels[batch])
            loss.backward()
            self.weights.mul_(1 - self.learning_rate * self.weight_decay)
            self.weights.sub_(self.gradient, alpha=self.learning_rate)


def require_equal_arithmetic(spec: RunSpec, dataset: ArrayDataset) -> None:
    """Stop if library and bare loop do not log the same over an epoch in float64."""
    trainer = Trainer(spec, dataset, prepare("cpu", "float64", dataset.image_shape))
    bare = BareLoop(spec, dataset, trainer)
    np.testing.assert_allclose(bare.epoch(0), trainer.train_epoch(0), rtol=1e-9)


def measure(repetitions: int) -> Report:
    spec = laptop_run()
    dataset = registry.load("dataset", spec.dataset)(Path("data"), download=False)
    require_equal_arithmetic(spec, dataset)
    trainer = Trainer(spec, dataset, prepare("cpu", spec.precision, dataset.image_shape))
    bare, unlogged = (BareLoop(spec, dataset, trainer) for _ in range(2))
    ways = {
        OURS: trainer.train_epoch,
        BARE: bare.epoch,
        UNLOGGED: unlogged.unlogged_epoch,
    }
    seconds = timed_alternately(ways, repetitions, WARM_UP)
    ratio = f"{OURS} / {BARE}"
    return Report(
        figures={
            ratio: ratios(seconds[OURS], seconds[BARE]),
            f"{OURS} / {UNLOGGED}": ratios(seconds[OURS], seconds[UNLOGGED]),
            **{
                f"{way}: ms per step": Summary.of(
                    [1000 * s / trainer.steps_per_epoch for s in found]
                )
                for way, found in seconds.items()
            },
        },
        target=Target(ratio, "<=", 1.15),
        conditions={"threads": torch.get_num_threads(), "run": spec.to_dict()},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=200, measure=measure)
