"""The similarity of kept checkpoints to an anchor: seconds at laptop size, memory at paper size.

Two made-up runs, with their checkpoints as the measure `checkpoints` keeps them. A laptop run: 400
checkpoints of a ConvNet of width 8, with predictions of the digits' 360 test images; timed are
cosine similarities and ensembles with the anchor and with an independent checkpoint. And one of
1,000 checkpoints of 11 million weights, a ResNet-18 of width 64: 44 GB, of which only every
hundredth row takes room on the disk, the others being a hole in the file; it is compared in a
process of its own, whose largest resident set is measured.

    python benchmarks/similarity.py
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Report, Summary, Target, main
from training_memory import peak_memory

from perigee.checkpoints import PROVENANCE, ROWS, KeptCheckpoints
from perigee.dynamics.similarity import cosine_similarities, ensemble_test_error

LAPTOP_CHECKPOINTS, LAPTOP_WEIGHTS, LAPTOP_IMAGES, CLASSES = 400, 24_264, 360, 10
CHECKPOINTS, WEIGHTS = 1000, 11_000_000
SECONDS, MEMORY = "laptop run against its anchor: s", "11 million weights: peak memory, GiB"
LARGE_SECONDS = "11 million weights: s"
LIMIT_GIB = 8

WRITTEN = 100
"""The distance between the rows of the large run that are written."""

COMPARE = f"""
import sys
from pathlib import Path
import numpy as np
from perigee.checkpoints import KeptCheckpoints
from perigee.dynamics.similarity import cosine_similarities
kept = KeptCheckpoints.of_measure(Path(sys.argv[1]))
references = [kept.vector(epoch)[:kept.weights].astype(np.float64) for epoch in (0, {WRITTEN})]
found = cosine_similarities(kept, references)
assert abs(found[0, 0] - 1) < 1e-12 and abs(found[1, {WRITTEN}] - 1) < 1e-12
"""


def write_checkpoints(folder: Path, checkpoints: int, weights: int, every: int) -> None:
    """Write checkpoints as a measure's folder has them: random weights, one part.

    Args:
        folder: the folder to create.
        checkpoints: how many to write, of epochs 0, 1, 2 and so on.
        weights: how many numbers each has.
        every: the distance between rows that are written; the others are a hole of zeros.
    """
    folder.mkdir()
    row = np.dtype([("epoch", "<i4"), ("values", "<f4", (weights,))])
    rows = np.lib.format.open_memmap(folder / ROWS, "w+", row, (checkpoints,))
    rng = np.random.default_rng(0)
    for position in range(0, checkpoints, every):
        rows["values"][position] = rng.standard_normal(weights, dtype=np.float32)
    rows["epoch"] = np.arange(checkpoints)
    rows.flush()
    parts = [{"name": "model.weights", "shape": [weights], "scale_invariant": True}]
    about = {"details": {"description": {"parts": parts}}}
    (folder / PROVENANCE).write_text(json.dumps(about), encoding="utf-8")


def laptop_seconds(kept: KeptCheckpoints) -> float:
    """Both kinds of similarity with the anchor and with an independent checkpoint."""
    rng = np.random.default_rng(0)
    shape = (LAPTOP_CHECKPOINTS, LAPTOP_IMAGES, CLASSES)
    predictions = rng.random(shape, dtype=np.float32)
    labels = rng.integers(0, CLASSES, LAPTOP_IMAGES)
    start = time.perf_counter()
    references = [kept.vector(epoch)[: kept.weights].astype(np.float64) for epoch in (0, 1)]
    cosine_similarities(kept, references)
    for reference in predictions[:2]:
        for checkpoint in predictions:
            ensemble_test_error(reference, checkpoint, labels)
    return time.perf_counter() - start


def measure(repetitions: int) -> Report:
    seconds, memory, large_seconds = [], [], []
    with tempfile.TemporaryDirectory() as name:
        laptop, large = Path(name, "laptop"), Path(name, "large")
        write_checkpoints(laptop, LAPTOP_CHECKPOINTS, LAPTOP_WEIGHTS, every=1)
        write_checkpoints(large, CHECKPOINTS, WEIGHTS, every=WRITTEN)
        kept = KeptCheckpoints.of_measure(laptop)
        laptop_seconds(kept)
        for _ in range(repetitions):
            seconds.append(laptop_seconds(kept))
            start = time.perf_counter()
            memory.append(peak_memory([sys.executable, "-c", COMPARE, str(large)]))
            large_seconds.append(time.perf_counter() - start)
    return Report(
        figures={
            MEMORY: Summary.of(memory),
            LARGE_SECONDS: Summary.of(large_seconds),
            SECONDS: Summary.of(seconds),
        },
        target=Target(MEMORY, "<=", LIMIT_GIB),
        conditions={
            "large run": f"{CHECKPOINTS} checkpoints of {WEIGHTS} float32, mostly a hole",
        },
        further=(Target(SECONDS, "<=", 2),),
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=3, measure=measure)
