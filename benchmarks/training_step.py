"""The time of a training step: the library's loop against a bare loop of the same arithmetic.

Both train the scale-invariant ConvNet of periodic_fig3 on digits at laptop scale, in one process,
with one thread and the settings of `perigee.kernel.execution.prepare`; blocks of epochs are timed
in turns. The bare loop has the same network, images on the device, order and update, and nothing of
the library; one that logs what the measure `steps` does is compared with the library's loop with
that measure, one that logs nothing with the loop as runs without measures of steps have it. The
measures `layers` and `filters` are compared with the loop without. Before timing, an epoch in
float64 proves that library and bare loop compute the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import Report, Summary, Target, laptop_run, main, ratios, timed_alternately
from torch.nn import functional

from perigee import registry
from perigee.blocks.measures import Filters, Layers, Steps
from perigee.data.arrays import ArrayDataset
from perigee.data.building import build_dataset
from perigee.data.order import epoch_order
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Moment, Trainer
from perigee.measures.steps import COLUMNS
from perigee.spec import RunSpec
from perigee.training.recording import Recorder

OURS, LOGGED = "ours", "ours with steps"
LAYERS, FILTERS = "ours with layers", "ours with filters"
BARE, BARE_LOGGED = "bare loop", "bare loop, logging"
WARM_UP = 3
EPOCHS = 5
"""The number of epochs in a timed repetition."""


class Ours:
    """The library's loop, epoch by epoch, with some measures of steps.

    Args:
        spec: the run.
        dataset: the data set that the spec names.
        precision: "float32" or "float64".
        measures: configuration classes.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: ArrayDataset,
        precision: str,
        *measures: type[Steps | Layers | Filters],
    ) -> None:
        execution = prepare("cpu", precision, dataset.image_shape)
        self.trainer = Trainer(spec.model_copy(update={"precision": precision}), dataset, execution)
        live = {one.name: registry.load(one())(self.trainer) for one in measures}
        self.folder = Path(tempfile.mkdtemp())
        self.recorder = Recorder(self.trainer, self.folder, live, 10**6)
        self.recorder.position.measured = True

    def epoch(self, epoch: int) -> None:
        """Pass once over the training set, with all that belongs to a step."""
        recorder = self.recorder
        for moment in self.trainer.epoch(epoch):
            if moment is Moment.GRADIENT:
                recorder.before_update()
            else:
                recorder.after_update()
        recorder.fetch()

    def block(self, number: int) -> None:
        """Train several epochs."""
        for epoch in range(EPOCHS):
            self.epoch(EPOCHS * number + epoch)


class BareLoop:
    """SGD with weight decay on the network's weights, written by hand.

    The weights are views of one vector: with four separate ones the loop is slower, and the
    comparison would flatter the library.

    Args:
        spec: a run; whatever its update rule, the loop's is SGD without momentum, with the run's
            first learning rate, its weight decay if it has one, and free norm.
        dataset: the data set that the spec names.
        trainer: the trainer whose images on the device are borrowed, and its first learning rate.
    """

    def __init__(self, spec: RunSpec, dataset: ArrayDataset, trainer: Trainer) -> None:
        train = trainer.task.splits["train"]
        self.images, self.labels = train.images, train.labels
        self.batch_size, self.seed = spec.batch_size, spec.seed
        self.learning_rate = trainer.learning_rate(0)
        self.weight_decay = getattr(spec.optimiser, "weight_decay", 0.0)
        build_model = registry.load(spec.model)
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
        """Pass once over the training set, and return what the library logs, a row per step."""
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
        """Pass once over the training set, only training."""
        order = torch.from_numpy(epoch_order(len(self.labels), self.seed, epoch))
        self.model.train()
        for batch in order.split(self.batch_size):
            self.gradient.zero_()
            loss = functional.cross_entropy(self.model(self.images[batch]), self.labels[batch])
            loss.backward()
            self.weights.mul_(1 - self.learning_rate * self.weight_decay)
            self.weights.sub_(self.gradient, alpha=self.learning_rate)

    def block(self, number: int) -> None:
        """Train several epochs without logging."""
        for epoch in range(EPOCHS):
            self.unlogged_epoch(EPOCHS * number + epoch)

    def logged_block(self, number: int) -> None:
        """Train several epochs with logging."""
        for epoch in range(EPOCHS):
            self.epoch(EPOCHS * number + epoch)


def require_equal_arithmetic(spec: RunSpec, dataset: ArrayDataset) -> None:
    """Stop if library and bare loop do not log the same over an epoch in float64."""
    ours = Ours(spec, dataset, "float64", Steps)
    bare = BareLoop(spec, dataset, ours.trainer)
    ours.epoch(0)
    ours.recorder.close()
    rows = np.load(ours.folder / "steps.npy")
    found = np.stack([rows[name] for name in COLUMNS], axis=1)
    np.testing.assert_allclose(bare.epoch(0), found, rtol=1e-9)


def measure(repetitions: int) -> Report:
    spec = laptop_run()
    dataset = build_dataset(spec.dataset, Path("data"), download=False)
    require_equal_arithmetic(spec, dataset)
    ours, logged, layers, filters = (
        Ours(spec, dataset, spec.precision, *measures)
        for measures in ((), (Steps,), (Layers,), (Filters,))
    )
    bare, bare_logged = (BareLoop(spec, dataset, ours.trainer) for _ in range(2))
    ways = {
        OURS: ours.block,
        LOGGED: logged.block,
        LAYERS: layers.block,
        FILTERS: filters.block,
        BARE: bare.block,
        BARE_LOGGED: bare_logged.logged_block,
    }
    seconds = timed_alternately(ways, repetitions, WARM_UP)
    steps = EPOCHS * ours.trainer.task.steps_per_epoch
    ratio = f"{OURS} / {BARE}"
    return Report(
        figures={
            ratio: ratios(seconds[OURS], seconds[BARE]),
            f"{LOGGED} / {BARE_LOGGED}": ratios(seconds[LOGGED], seconds[BARE_LOGGED]),
            f"{LAYERS} / {OURS}": ratios(seconds[LAYERS], seconds[OURS]),
            f"{FILTERS} / {OURS}": ratios(seconds[FILTERS], seconds[OURS]),
            **{
                f"{way}: ms per step": Summary.of([1000 * s / steps for s in found])
                for way, found in seconds.items()
            },
        },
        target=Target(ratio, "<=", 1.05),
        further=tuple(Target(f"{way} / {OURS}", "<=", 1.05) for way in (LAYERS, FILTERS)),
        conditions={"threads": torch.get_num_threads(), "run": spec.to_dict(), "block": EPOCHS},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=30, measure=measure)
