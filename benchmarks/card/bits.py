"""Captured steps against other ways to compute the same run, to the bit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from card.runs import (
    CAPTURED,
    CAPTURED_CHANNELS_LAST,
    CHANNELS_LAST,
    EAGER,
    Size,
    random_images,
    require_captured,
    spec_of,
    trainer_of,
)
from perigee import registry
from perigee.blocks.measures import Metrics, Steps
from perigee.training.loop import train
from perigee.training.recording import Recorder

EPOCHS, BATCHES = 2, 8
"""The length of the runs, each epoch with a last, smaller mini-batch besides."""

COMPARED = (
    ("float32", CAPTURED, EAGER),
    ("tf32", CAPTURED, CHANNELS_LAST),
    ("bfloat16", CAPTURED, CHANNELS_LAST),
    ("float32", CAPTURED_CHANNELS_LAST, CHANNELS_LAST),
)
"""A precision, a way to capture, and the way to compute in that layout kernel by kernel."""


def logs(network: str, precision: str, device: str, way: str, size: Size) -> dict[str, bytes]:
    """All numbers that a short run logs, its weights by their digests."""
    images = random_images(BATCHES * size.batch + size.batch // 2, 2 * size.batch)
    trainer = trainer_of(spec_of(network, precision, size), images, device, way)
    measures = {one.name: registry.load(one())(trainer) for one in (Metrics, Steps)}
    with tempfile.TemporaryDirectory() as folder:
        with Recorder(trainer, Path(folder), measures, EPOCHS) as recorder:
            train(trainer, recorder)
        require_captured(trainer, way)
        return {path.stem: np.load(path).tobytes() for path in Path(folder).glob("*.npy")}


def compared(
    network: str, precision: str, way: str, other: str, device: str, size: Size
) -> dict[str, Any]:
    """Compare captured steps with the same kernels started one by one, to the bit."""
    ours, others = (logs(network, precision, device, one, size) for one in (way, other))
    return {
        "same bits": {name: ours[name] == others[name] for name in ours},
        "against": other,
        "epochs": EPOCHS,
        "steps per epoch": BATCHES + 1,
    }
