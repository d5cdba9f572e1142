"""The runs that are timed: the papers' networks on images of 32x32, by the library's own kernel."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from card.document import summary
from perigee import registry
from perigee.blocks.measures import Metrics
from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Moment, Trainer
from perigee.measures.base import Measure
from perigee.spec import RunSpec
from perigee.training.loop import Watch, train
from perigee.training.recording import Recorder

NETWORKS = {
    "convnet-32": {"name": "convnet", "width": 32},
    "resnet18-16": {"name": "resnet18", "width": 16},
    "resnet18-64": {"name": "resnet18", "width": 64},
}
PRECISIONS = ("float32", "tf32", "bfloat16")
EAGER, CHANNELS_LAST, CAPTURED = "eager", "channels_last", "captured"
CAPTURED_CHANNELS_LAST = "captured_channels_last"
WAYS: Mapping[str, Mapping[str, str]] = {
    EAGER: {"capture": "never", "channels_last": "never"},
    CHANNELS_LAST: {"capture": "never", "channels_last": "always"},
    CAPTURED: {"capture": "auto", "channels_last": "auto"},
    CAPTURED_CHANNELS_LAST: {"capture": "auto", "channels_last": "always"},
}
"""How steps are computed: kernel by kernel, images contiguous or channels last; captured as graphs,
as a run is by default, which lays images out channels last in TF32 and bfloat16; and captured with
channels last in float32, too."""

PLACEHOLDER = {"name": "fashion_mnist"}
"""The data set in specs whose images are given as arrays."""

SHAPE, CLASSES = (3, 32, 32), 10


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
        batch: images in a mini-batch.
        train, test: images of the splits.
        divisor: by which the widths of networks are divided; 1 for those of the papers.
        warm_up, blocks, steps: untimed steps, timed blocks, and the steps of each.
        seconds: for how long each number of runs that share a card is timed, and each kind of
            run.
        resnet_side, resnet_batch: the images of ResNet-50.
    """

    batch: int = 128
    train: int = 60000
    test: int = 10000
    divisor: int = 1
    warm_up: int = 20
    blocks: int = 5
    steps: int = 40
    seconds: float = 3.0
    resnet_side: int = 224
    resnet_batch: int = 32


TINY = Size(
    batch=8,
    train=44,
    test=12,
    divisor=8,
    warm_up=1,
    blocks=2,
    steps=1,
    seconds=0.05,
    resnet_side=32,
    resnet_batch=2,
)
"""Enough to see on a CPU that everything works; its figures mean nothing."""


def spec_of(network: str, precision: str, size: Size) -> RunSpec:
    """The scale-invariant network, trained by SGD with the paper's weight decay."""
    model = NETWORKS[network]
    return RunSpec.from_dict(
        {
            "dataset": PLACEHOLDER,
            "model": {**model, "width": model["width"] // size.divisor, "scale_invariant": True},
            "optimiser": {"name": "sgd", "learning_rate": 0.01, "weight_decay": 0.001},
            "batch_size": size.batch,
            "seed": 0,
            "precision": precision,
        }
    )


def trainer_of(spec: RunSpec, dataset: ArrayDataset, device: str, way: str) -> Trainer:
    """A run at its initialisation, with PyTorch set up for it."""
    return Trainer(spec, dataset, prepare(device, spec.precision, dataset.image_shape, **WAYS[way]))


def random_images(
    train: int, test: int, shape: tuple[int, int, int] = SHAPE, classes: int = CLASSES
) -> ArrayDataset:
    """Images of noise."""
    draws = np.random.default_rng(0)

    def split(count: int) -> ArraySplit:
        pixels = draws.integers(0, 256, (count, *shape), dtype=np.uint8)
        return ArraySplit(pixels, draws.integers(0, classes, count))

    splits = {"train": split(train), "test": split(test)}
    return ArrayDataset(splits, classes, (127.5,) * shape[0], (74.0,) * shape[0], "random images")


def cut(dataset: ArrayDataset, size: Size) -> ArrayDataset:
    """The first images of each split."""
    counts = {"train": size.train, "test": size.test}
    splits = {
        name: ArraySplit(split.images[: counts[name]], split.labels[: counts[name]])
        for name, split in dataset.splits.items()
    }
    return ArrayDataset(
        splits, dataset.classes, dataset.channel_means, dataset.channel_stds, dataset.origin
    )


def wait_for(trainer: Trainer) -> None:
    """Wait until the device has done all that it was told."""
    if trainer.execution.device.type == "cuda":
        torch.cuda.synchronize(trainer.execution.device)


class Steps:
    """Steps of one run as its training takes them, one after the other, over epochs.

    Args:
        trainer: the run.
        folder: for its logs.
        measures: by name.
    """

    def __init__(
        self, trainer: Trainer, folder: Path, measures: Mapping[str, Measure] | None = None
    ) -> None:
        self.trainer = trainer
        self._recorder = Recorder(trainer, folder, measures or {}, 10**6)
        self._recorder.position.measured = True
        self._moments = self._forever()

    def take(self, count: int) -> None:
        """Take so many steps, and wait for the device."""
        for _ in range(count):
            next(self._moments)
        wait_for(self.trainer)

    def _forever(self) -> Iterator[None]:
        epoch = 0
        while True:
            for moment in self.trainer.epoch(epoch):
                if moment is Moment.GRADIENT:
                    self._recorder.before_update()
                elif moment is Moment.STEP:
                    self._recorder.after_update()
                    yield
            self._recorder.fetch()
            epoch += 1


def milliseconds_per_step(steps: Steps, size: Size) -> list[float]:
    """The time of a step, one figure a block."""
    steps.take(size.warm_up)
    found = []
    for _ in range(size.blocks):
        began = time.perf_counter()
        steps.take(size.steps)
        found.append(1000 * (time.perf_counter() - began) / size.steps)
    return found


class _Clock(Watch):
    """The moments at which epochs end, the initial measures being the first."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_epoch(self, recorder: Recorder) -> None:
        wait_for(recorder.trainer)
        self.ends.append(time.perf_counter())


def seconds_per_epoch(trainer: Trainer, folder: Path) -> float:
    """The time of an epoch with its metrics, the initial ones having been taken before."""
    # The last mini-batch is smaller, and captured before what is timed.
    for _ in trainer.epoch(0, taken=trainer.task.steps_per_epoch - 1):
        pass
    clock = _Clock()
    measures = {Metrics.name: registry.load(Metrics())(trainer)}
    with Recorder(trainer, folder, measures, 1) as recorder:
        train(trainer, recorder, clock)
    before, after = clock.ends
    return after - before


def require_captured(trainer: Trainer, way: str) -> None:
    """Refuse a figure that would stand for captured steps, and is none.

    Raises:
        RuntimeError: the run's steps were not captured.
    """
    is_captured = trainer.is_captured and trainer.may_capture
    if WAYS[way]["capture"] == "auto" and not is_captured:
        raise RuntimeError("its steps could not be captured")


def step_and_epoch(
    network: str,
    precision: str,
    way: str,
    dataset: ArrayDataset,
    device: str,
    size: Size,
    with_epoch: bool = True,
) -> dict[str, Any]:
    """The times of a step, and of an epoch with metrics, with the run that has them.

    Args:
        network, precision, size: see `spec_of`.
        way: a key of `WAYS`.
        dataset: the images.
        device: where to compute.
        with_epoch: False for the step alone.
    """
    spec = spec_of(network, precision, size)
    trainer = trainer_of(spec, dataset, device, way)
    with tempfile.TemporaryDirectory() as folder:
        found = milliseconds_per_step(Steps(trainer, Path(folder) / "steps"), size)
        require_captured(trainer, way)
        of_epoch = {}
        if with_epoch:
            epoch = seconds_per_epoch(trainer, Path(folder) / "epoch")
            require_captured(trainer, way)  # the last, smaller mini-batch and the passes, too
            of_epoch = {"s per epoch with metrics": float(f"{epoch:.5g}")}
    return {
        "ms per step": summary(found),
        **of_epoch,
        "steps per epoch": trainer.task.steps_per_epoch,
        "timed steps": size.blocks * size.steps,
        "run": spec.to_dict(),
    }
