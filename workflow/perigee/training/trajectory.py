"""Keeping checkpoints: a run's weights over its epochs, stacked in one memory-mapped file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from torch import Tensor

from perigee.training.record import RunRecord
from perigee.training.trainer import Trainer

STATISTICS = ("running_mean", "running_var")


def kept_at(epochs: int, every: int) -> list[int]:
    """Epochs whose checkpoints are kept: 0 (the initialisation), every ``every``-th, the last."""
    return sorted({*range(0, epochs + 1, every), epochs})


class TrajectoryWriter:
    """Writes a row for every kept checkpoint: trained parameters, then BatchNorm's statistics.

    ``trajectory-every<K>.npy`` holds the rows, (kept epochs, numbers), in the run's precision;
    ``trajectory-every<K>.json`` tells their epochs and, in order, the parts of a row: name, shape.

    Args:
        folder: where the two files go.
        trainer: the run.
        epochs: how many the run will have.
        every: K, at least 1.
    """

    def __init__(self, folder: Path, trainer: Trainer, epochs: int, every: int) -> None:
        self._path = folder / f"trajectory-every{every}.npy"
        self._planned = kept_at(epochs, every)
        self._written: list[int] = []
        self._parts = _parts(trainer)
        width = sum(part.numel() for _, part in self._parts)
        self._rows = open_memmap(
            self._path,
            mode="w+",
            dtype=self._parts[0][1].detach().cpu().numpy().dtype,
            shape=(len(self._planned), width),
        )

    def after_epoch(self, record: RunRecord) -> None:
        """Keep the present weights if this epoch is to be kept, or is the last of a stopped run."""
        if record.epochs in self._planned or record.stopped_at_step is not None:
            row = np.concatenate([p.detach().cpu().numpy().ravel() for _, p in self._parts])
            self._rows[len(self._written)] = row
            self._written.append(record.epochs)

    def close(self) -> None:
        """Write the description; a run that stopped early gets as many rows as it has."""
        if len(self._written) < len(self._planned):
            rows = np.array(self._rows[: len(self._written)])
            np.save(self._path, rows)
        else:
            self._rows.flush()
        layout: list[dict[str, Any]] = [
            {"name": name, "shape": list(part.shape)} for name, part in self._parts
        ]
        described = {"epochs": self._written, "parts": layout}
        self._path.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n")


def _parts(trainer: Trainer) -> list[tuple[str, Tensor]]:
    parameters = dict(trainer.model.named_parameters())
    statistics = [
        (name, buffer)
        for name, buffer in trainer.model.named_buffers()
        if name.rpartition(".")[2] in STATISTICS
    ]
    return [*((name, parameters[name]) for name in trainer.parameters.names), *statistics]
