"""The cost of saving a run's state: the same however long the run was, and little of its time.

A run of 450,000 steps, with the measures `metrics`, `steps` and `layers` of 53 weight tensors, is
taken up after 1 %, half and all of its length. Then 1,000 more steps are recorded, of which forward
and backward passes are left out, since no save depends on them; and the state is saved. That is
repeated, the three lengths in turns.

The share of training time is that of a ResNet-18 of width 64 with momentum (11 million weights)
at the default interval, the key `save_interval` of config/config.yaml. And an epoch of a laptop run
with the job's watch, which looks after every step whether it is time to save or stop, is timed
against one without.

    python benchmarks/saving.py
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import Report, Summary, Target, laptop_run, main, ratios, timed_alternately
from torch import Tensor, nn

from perigee import registry
from perigee.blocks.measures import Layers, Metrics, Steps
from perigee.blocks.models import Model, ResNet18
from perigee.blocks.optimisers import SGD
from perigee.configuration.reading import read_yaml
from perigee.data.arrays import ArrayDataset
from perigee.data.building import build_dataset
from perigee.interruption import StopRequest
from perigee.jobs.watching import RunWatch
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Trainer
from perigee.models.convnet import ConvBlock
from perigee.models.declaration import ScaleInvariantWeights
from perigee.paths import ROOT
from perigee.progress import RunProgress
from perigee.spec import RunSpec
from perigee.training.loop import train
from perigee.training.recording import EPOCH, Position, Recorder
from perigee.training.row_log import RowLog
from perigee.training.saved_state import read_states

STEPS, STEPS_PER_EPOCH, TENSORS = 450_000, 1000, 53
LENGTHS = {"1 %": 0.01, "50 %": 0.5, "100 %": 1.0}
"""The shares of the run that the logs hold."""
CHUNK = 10_000
"""The number of rows that are written to a log at a time."""
WARM_UP = 2
DIGEST = "0" * 16
GROWTH = "a save after 100 % / after 1 %"
SHARE = "11 million weights: % of training time"
WATCHED, ALONE = "watched", "alone"


class Deep(nn.Module):
    """A network with as many convolutions as a ResNet-50, but hardly any weights."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        blocks = [ConvBlock(channels if i == 0 else width, width, False) for i in range(TENSORS)]
        self.features = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(width, classes).requires_grad_(False)
        names = tuple(f"features.{i}.0.weight" for i in range(TENSORS))
        self.scale_invariant_weights = ScaleInvariantWeights(names, names)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (images, classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def build(
    image_shape: tuple[int, int, int], classes: int, seed: int, *, width: int, **unused: object
) -> nn.Module:
    """The network, drawn from the seed."""
    torch.manual_seed(seed)
    return Deep(image_shape[0], classes, width)


class DeepModel(Model, name="deep", code=f"{__name__}:build"):
    """The configuration of `Deep`."""


def trainer_of(dataset: ArrayDataset, spec: RunSpec, **changes: object) -> Trainer:
    """The laptop run, with other blocks."""
    execution = prepare("cpu", spec.precision, dataset.image_shape)
    return Trainer(spec.model_copy(update=changes), dataset, execution)


def watch_of(folder: Path, save_interval: float) -> RunWatch:
    """A job's watch that saves in a folder."""
    progress = RunProgress("run", STEPS, math.inf, folder, Position())
    return RunWatch(DIGEST, None, folder, save_interval, progress, StopRequest(), {})


def recorder_of(
    trainer: Trainer, folder: Path, *measures: type[Metrics | Steps | Layers]
) -> Recorder:
    """A recorder with some measures."""
    live = {one.name: registry.load(one())(trainer) for one in measures}
    return Recorder(trainer, folder, live, STEPS)


def taken_up(trainer: Trainer, folder: Path, steps: int) -> Recorder:
    """A recorder whose logs already hold a number of steps with made-up numbers."""
    recorder = recorder_of(trainer, folder, Metrics, Steps, Layers)
    epochs = steps // STEPS_PER_EPOCH
    for log in recorder.logs.values():
        at_epochs = EPOCH in (log.row.names or ())
        fill(log, epochs + 1 if at_epochs else steps)
    position = Position(epoch=epochs, measured=True, steps=steps)
    logged = {name: log.rows for name, log in recorder.logs.items()}
    recorder.begin(logged, position, np.empty(0), again=False)
    return recorder


def fill(log: RowLog, rows: int) -> None:
    """Append made-up rows."""
    rng = np.random.default_rng(0)
    while log.rows < rows:
        some = min(CHUNK, rows - log.rows)
        log.append(np.frombuffer(rng.bytes(some * log.row.itemsize), log.row))


def record_an_epoch(recorder: Recorder) -> None:
    """Record steps that move the weights a little, then measure."""
    rate = torch.tensor(1e-6)
    for _ in range(STEPS_PER_EPOCH):
        recorder.before_update()
        recorder.trainer.update(rate)
        recorder.after_update()
    recorder.finish_epoch()


def timed_save(recorder: Recorder, watch: RunWatch) -> float:
    """The seconds of a save by a callback for which a save is always due."""
    start = time.perf_counter()
    watch.after_step(recorder)
    return time.perf_counter() - start


def require_saved(recorder: Recorder, folder: Path) -> None:
    """Stop if the saved state is not the recorder's."""
    state = next(read_states(folder, DIGEST))
    rows = {name: log.rows for name, log in recorder.logs.items()}
    assert {name: told["rows"] for name, told in state.logs.items()} == rows
    assert state.steps == recorder.position.steps


def seconds_by_length(trainer: Trainer, folder: Path, repetitions: int) -> dict[str, list[float]]:
    """The seconds of saves after a share of the run."""
    folders = {name: folder / str(share) for name, share in LENGTHS.items()}
    recorders = {
        name: taken_up(trainer, folders[name], round(share * STEPS))
        for name, share in LENGTHS.items()
    }
    watches = {name: watch_of(folders[name], save_interval=0) for name in LENGTHS}
    seconds: dict[str, list[float]] = {name: [] for name in LENGTHS}
    for repetition in range(WARM_UP + repetitions):
        for name in list(LENGTHS)[:: 1 if repetition % 2 == 0 else -1]:
            record_an_epoch(recorders[name])
            seconds[name].append(timed_save(recorders[name], watches[name]))
    for name, recorder in recorders.items():
        require_saved(recorder, folders[name])
    return {name: found[WARM_UP:] for name, found in seconds.items()}


def seconds_of_large_state(trainer: Trainer, folder: Path, repetitions: int) -> list[float]:
    """The seconds of saves of a network, without steps between them."""
    recorder, watch = recorder_of(trainer, folder), watch_of(folder, save_interval=0)
    seconds = [timed_save(recorder, watch) for _ in range(WARM_UP + repetitions)]
    require_saved(recorder, folder)
    return seconds[WARM_UP:]


def an_epoch_more(trainer: Trainer, folder: Path, watched: bool) -> Callable[[int], None]:
    """A way to time: one epoch of training by the library's own loop."""
    recorder = recorder_of(trainer, folder)
    watch = watch_of(folder, save_interval=math.inf) if watched else None

    def way(repetition: int) -> None:
        recorder.epochs = repetition + 1
        train(trainer, recorder, watch)

    return way


def measure(repetitions: int) -> Report:
    interval = read_yaml(ROOT / "config/config.yaml")["save_interval"]
    spec = laptop_run()
    dataset = build_dataset(spec.dataset, Path("data"), download=False)
    momentum = SGD(learning_rate=0.1, weight_decay=1e-4, momentum=0.9)
    deep = trainer_of(
        dataset, spec, model=DeepModel(width=4, scale_invariant=True), optimiser=momentum
    )
    large = trainer_of(
        dataset, spec, model=ResNet18(width=64, scale_invariant=True), optimiser=momentum
    )
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        by_length = seconds_by_length(deep, folder, repetitions)
        of_large = seconds_of_large_state(large, folder / "large", repetitions)
        laptop = trainer_of(dataset, spec)
        ways = {
            WATCHED: an_epoch_more(laptop, folder / WATCHED, watched=True),
            ALONE: an_epoch_more(laptop, folder / ALONE, watched=False),
        }
        epochs = timed_alternately(ways, 10 * repetitions, WARM_UP)
    return Report(
        figures={
            GROWTH: ratios(by_length["100 %"], by_length["1 %"]),
            SHARE: Summary.of([100 * s / interval for s in of_large]),
            "an epoch watched / alone": ratios(epochs[WATCHED], epochs[ALONE]),
            **{
                f"a save after {name}: ms": Summary.of([1000 * s for s in found])
                for name, found in by_length.items()
            },
            "11 million weights: ms a save": Summary.of([1000 * s for s in of_large]),
        },
        target=Target(GROWTH, "<=", 1.25),
        further=(Target(SHARE, "<=", 2),),
        conditions={
            "steps": STEPS,
            "weight tensors": TENSORS,
            "steps from one save to the next": STEPS_PER_EPOCH,
            "weights of the large network": large.parameters.values.numel(),
            "save_interval, seconds": interval,
            "threads": torch.get_num_threads(),
        },
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=20, measure=measure)
