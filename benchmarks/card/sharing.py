"""How many steps a second several runs at once get out of one card.

Run as a program it is one of these runs: it says "ready", and for every line "<work> <seconds>" how
many steps it took a second; its own time counts, since all are told to begin at once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from card.children import children
from card.runs import CAPTURED, Size, Steps, random_images, require_captured, spec_of, trainer_of
from perigee import mps

NUMBERS = (1, 2, 4, 8)
WORK = (("convnet-32", "float32"), ("resnet18-16", "tf32"), ("convnet-32", "tf32"))
BATCHES = 96
"""Mini-batches of an epoch, whose images are noise."""
AT_ONCE = 16
"""Steps between two looks at the clock."""
START_S = 120


@contextmanager
def through_mps() -> Iterator[Mapping[str, str]]:
    """While the context is active, programs with its variables share cards through CUDA MPS.

    Raises:
        MPSError: the service cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="mps-", ignore_cleanup_errors=True) as folder:
        try:
            mps.start(Path(folder))
            yield mps.environment_in(Path(folder))
        finally:
            mps.stop(Path(folder))


def steps_per_second(
    device: str, size: Size, environment: Mapping[str, str], most: int
) -> dict[str, Any]:
    """The steps per second of each run, where 1, 2, 4, ... compute at once.

    The others have been started and wait.

    Args:
        device: where they compute.
        size: of the work.
        environment: added to theirs.
        most: the largest number of runs.
    """
    numbers = [number for number in NUMBERS if number <= most]
    told = json.dumps({"device": device, "size": asdict(size)})
    with children(most, "card.sharing", told, environment=environment) as crew:
        for child in crew:
            if (heard := child.hear(START_S)) != "ready":
                raise RuntimeError(heard)
        found: dict[str, Any] = {}
        for index, (network, precision) in enumerate(WORK):
            rates = found[f"steps per second, {network}, {precision}"] = {}
            for number in numbers:
                for child in crew[:number]:
                    child.tell(f"{index} {size.seconds}")
                heard_all = [child.hear(START_S + size.seconds) for child in crew[:number]]
                rates[str(number)] = [float(heard) for heard in heard_all]
    return found


def main(told: str) -> None:
    """Be one of the runs."""
    given = json.loads(told)
    size = Size(**given["size"])
    images = random_images(BATCHES * size.batch, size.batch)
    with tempfile.TemporaryDirectory() as folder:
        ready = []
        for index, (network, precision) in enumerate(WORK):
            trainer = trainer_of(
                spec_of(network, precision, size), images, given["device"], CAPTURED
            )
            steps = Steps(trainer, Path(folder) / str(index))
            steps.take(size.warm_up)
            if trainer.execution.device.type == "cuda":
                require_captured(trainer, CAPTURED)
            ready.append(steps)
        print("ready", flush=True)
        for line in sys.stdin:
            index, seconds = line.split()
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < float(seconds):
                ready[int(index)].take(AT_ONCE)
                count += AT_ONCE
            print(f"{count / (time.perf_counter() - began):.5g}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
