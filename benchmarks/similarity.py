"""Similarity of a trajectory against its anchor: seconds at laptop size, memory at paper size.

Two made-up trajectories. That of a laptop run: 400 checkpoints of a ConvNet of width 8, with
predictions of the digits' 360 test images; timed are cosine similarities and ensembles with the
anchor and with an independent checkpoint. And one of 1,000 checkpoints of 11 million weights, a
ResNet-18 of width 64: 44 GB, of which only every hundredth row takes room on the disk, the others
being a hole in the file; it is compared in a process of its own, whose largest resident set is
measured.

    python benchmarks/similarity.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Report, Summary, Target, main
from training_memory import peak_memory

from perigee.dynamics.similarity import cosine_similarities, ensemble_test_error

LAPTOP_CHECKPOINTS, LAPTOP_WEIGHTS, LAPTOP_IMAGES, CLASSES = 400, 24_264, 360, 10
CHECKPOINTS, WEIGHTS = 1000, 11_000_000
SECONDS, MEMORY = "laptop run against its anchor: s", "11 million weights: peak memory, GiB"
LARGE_SECONDS = "11 million weights: s"
LIMIT_GIB = 8

COMPARE = """
import sys
from pathlib import Path
import numpy as np
from perigee.dynamics.similarity import cosine_similarities
rows = np.load(sys.argv[1], mmap_mode="r")
references = [np.array(rows[i], dtype=np.float64) for i in (0, 100)]
del rows
found = cosine_similarities(Path(sys.argv[1]), len(references[0]), references)
assert abs(found[0, 0] - 1) < 1e-12 and abs(found[1, 100] - 1) < 1e-12
"""


def laptop_seconds(folder: Path) -> float:
    """Both kinds of similarity with the anchor and with an independent checkpoint."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((LAPTOP_CHECKPOINTS, LAPTOP_WEIGHTS), dtype=np.float32)
    np.save(folder / "rows.npy", rows)
    shape = (LAPTOP_CHECKPOINTS, LAPTOP_IMAGES, CLASSES)
    predictions = rng.random(shape, dtype=np.float32)
    labels = rng.integers(0, CLASSES, LAPTOP_IMAGES)
    references = [rows[i].astype(np.float64) for i in (0, 1)]
    start = time.perf_counter()
    cosine_similarities(folder / "rows.npy", LAPTOP_WEIGHTS, references)
    for reference in predictions[:2]:
        for checkpoint in predictions:
            ensemble_test_error(reference, checkpoint, labels)
    return time.perf_counter() - start


def write_large(path: Path) -> None:
    """Every hundredth row is written, so that the disk need not have room for all."""
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (CHECKPOINTS, WEIGHTS))
    rng = np.random.default_rng(0)
    for position in range(0, CHECKPOINTS, 100):
        rows[position] = rng.standard_normal(WEIGHTS, dtype=np.float32)
    rows.flush()


def measure(repetitions: int) -> Report:
    seconds, memory, large_seconds = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        laptop_seconds(folder)
        write_large(folder / "large.npy")
        for _ in range(repetitions):
            seconds.append(laptop_seconds(folder))
            start = time.perf_counter()
            memory.append(peak_memory([sys.executable, "-c", COMPARE, str(folder / "large.npy")]))
            large_seconds.append(time.perf_counter() - start)
    return Report(
        figures={
            MEMORY: Summary.of(memory),
            LARGE_SECONDS: Summary.of(large_seconds),
            SECONDS: Summary.of(seconds),
        },
        target=Target(MEMORY, "<=", LIMIT_GIB),
        conditions={
            "large trajectory": f"{CHECKPOINTS} checkpoints of {WEIGHTS} float32, mostly a hole",
            "laptop target, s": 2,
        },
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=3, measure=measure)
