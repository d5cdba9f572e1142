"""One run of benchmarks/gpu_figure.py: trains until it is done or its time is over, and saves.

It keeps its whole state every half minute, and goes on from what it finds saved. The metrics of all
epochs so far are a file of their own, which is replaced, so that it can be read at any time.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from card.images import loaded
from card.runs import CAPTURED, trainer_of
from perigee import registry
from perigee.blocks.measures import Metrics
from perigee.spec import RunSpec
from perigee.training.loop import Watch, train
from perigee.training.recording import Position, Recorder

METRICS, STATE, LOGS = "metrics.npy", "state.pt", "logs"
SAVED_EVERY_S = 30


class TimeOverError(Exception):
    """The time is over; the state is saved."""


class Saving(Watch):
    """Saves now and then, and at the deadline, which ends the training.

    Args:
        folder: the run's.
        deadline: seconds since the epoch of the clock `time.time`.
        rows: the rows of the metrics so far.
    """

    def __init__(self, folder: Path, deadline: float, rows: list[np.ndarray]) -> None:
        self.folder, self.deadline, self.rows = folder, deadline, rows
        self.saved = time.monotonic()

    def after_step(self, recorder: Recorder) -> None:
        """Save at the deadline."""
        if time.time() >= self.deadline:
            self.save(recorder)
            raise TimeOverError

    def after_epoch(self, recorder: Recorder) -> None:
        """Keep the metrics, and save if it is time."""
        self.rows.append(recorder.latest[Metrics.name])
        if time.monotonic() - self.saved > SAVED_EVERY_S or recorder.is_done:
            self.save(recorder)

    def save(self, recorder: Recorder) -> None:
        """Write metrics and state, each aside first; the state is never ahead of the metrics."""
        kept = {
            "state": recorder.trainer.state(),
            "position": asdict(recorder.position),
            "logs": {name: told["rows"] for name, told in recorder.saved().items()},
            "losses": torch.from_numpy(recorder.losses_of_epoch.copy()),
        }
        aside = self.folder / "unfinished"
        with aside.open("wb") as file:
            np.save(file, np.array(self.rows, recorder.measures[Metrics.name].row))
        aside.replace(self.folder / METRICS)
        torch.save(kept, aside)
        aside.replace(self.folder / STATE)
        self.saved = time.monotonic()


def main(told: str) -> None:
    """Train one run.

    Args:
        told: JSON: spec, epochs, images (their file), folder, device, deadline.
    """
    given = json.loads(told)
    folder = Path(given["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    trainer = trainer_of(
        RunSpec.from_dict(given["spec"]), loaded(Path(given["images"])), given["device"], CAPTURED
    )
    measures = {Metrics.name: registry.load(Metrics())(trainer)}
    rows: list[np.ndarray] = []
    with Recorder(trainer, folder / LOGS, measures, given["epochs"]) as recorder:
        if (folder / STATE).exists():
            kept = torch.load(folder / STATE, weights_only=True)
            trainer.restore(kept["state"])
            position = Position(**kept["position"])
            recorder.begin(kept["logs"], position, kept["losses"].numpy(), again=False)
            found = np.load(folder / METRICS)
            rows = list(found[found["epoch"] <= position.epoch])
        else:
            recorder.begin(dict.fromkeys(recorder.logs, 0), Position(), np.empty(0), again=False)
        with suppress(TimeOverError):
            train(trainer, recorder, Saving(folder, given["deadline"], rows))


if __name__ == "__main__":
    main(sys.argv[1])
