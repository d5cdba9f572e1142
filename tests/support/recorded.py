"""Training with measures, and the rows that these record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from perigee import registry
from perigee.blocks.measures import (
    Checkpoints,
    Filters,
    FullGradientNorm,
    Layers,
    Measure,
    Metrics,
    RecomputedMetrics,
    RecomputedTestHits,
    Steps,
    TestHits,
    ThinnedLayers,
)
from perigee.kernel.trainer import Trainer
from perigee.measures.base import Measure as LiveMeasure
from perigee.training.loop import Watch, train
from perigee.training.recording import Position, Recorder

EVERY_MEASURE: tuple[Measure, ...] = (
    Metrics(),
    FullGradientNorm(),
    RecomputedMetrics(),
    TestHits(),
    RecomputedTestHits(),
    Steps(),
    Layers(),
    ThinnedLayers(every=3),
    Filters(),
    Checkpoints(),
)


@dataclass(frozen=True)
class Recorded:
    """A recorded run.

    Attributes:
        rows: the rows of every log, by name: the fingerprint and the measures.
        descriptions: the descriptions of the measures.
        position: the position at the end.
    """

    rows: Mapping[str, np.ndarray]
    descriptions: Mapping[str, Mapping[str, Any]]
    position: Position

    def checkpoint(self, epoch: int) -> dict[str, np.ndarray]:
        """The tensors of a kept checkpoint, by name."""
        (vector,) = self.rows["checkpoints"]["values"][self.rows["checkpoints"]["epoch"] == epoch]
        found, start = {}, 0
        for part in self.descriptions["checkpoints"]["parts"]:
            end = start + int(np.prod(part["shape"]))
            found[part["name"]] = vector[start:end].reshape(part["shape"])
            start = end
        return found


def live(trainer: Trainer, *measures: Measure) -> dict[str, LiveMeasure]:
    """Make measures of a trainer, by name."""
    return {m.name: registry.load(m)(trainer, **m.parameters) for m in measures}


def make_recorder(trainer: Trainer, folder: Path, epochs: int, *measures: Measure) -> Recorder:
    """Make a recorder with new logs in a folder."""
    recorder = Recorder(trainer, folder, live(trainer, *measures), epochs)
    recorder.begin(dict.fromkeys(recorder.logs, 0), Position(), np.empty(0), again=False)
    return recorder


def recorded(
    trainer: Trainer, epochs: int, *measures: Measure, watch: Watch | None = None
) -> Recorded:
    """Train from the start, and return what was measured."""
    with TemporaryDirectory() as folder:
        recorder = make_recorder(trainer, Path(folder), epochs, *measures)
        train(trainer, recorder, watch)
        return finished(recorder)


def finished(recorder: Recorder) -> Recorded:
    """Close the logs of a recorder, and read them."""
    recorder.close()
    rows = {name: np.load(log.path) for name, log in recorder.logs.items()}
    descriptions = {name: measure.description for name, measure in recorder.measures.items()}
    return Recorded(rows, descriptions, recorder.position)
