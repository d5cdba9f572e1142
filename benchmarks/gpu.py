"""The times of training on a GPU, all that is of interest within eight minutes, in one JSON file.

It needs torch, numpy, pandas, pyarrow, matplotlib and pydantic alone, no installed perigee, and no
network. Items are measured in the order of `items`, each within a budget of seconds, as long as the
minutes last. The file is written again after every item, so that a program that is cut off leaves
what it has; an item that failed or was left out says why, and has no figures. Without a GPU, items
that need one are noted so, and the others are measured on the CPU.

    python benchmarks/gpu.py --fashion-mnist data/fashion_mnist
    python benchmarks/gpu.py --tiny --out /tmp/tiny.json  # to see on any machine that it works
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "benchmarks")]

import torch  # noqa: E402
from card import bits, layers, ordinary, resuming, sharing  # noqa: E402
from card.document import MEASURED, NOT_MEASURED, Document, card  # noqa: E402
from card.images import fashion_mnist_in  # noqa: E402
from card.runs import (  # noqa: E402
    CAPTURED,
    CHANNELS_LAST,
    EAGER,
    NETWORKS,
    PRECISIONS,
    TINY,
    Size,
    cut,
    random_images,
    step_and_epoch,
)

from perigee.data.arrays import ArrayDataset  # noqa: E402
from perigee.store.provenance import git_state, hardware, versions  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "gpu"
NO_GPU = "no GPU"
GRACE = 3
"""By how much an item may exceed its budget before it is cut off."""

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """Something that is measured.

    Attributes:
        name: "<group>: <what>".
        seconds: how long it may take; it is left out when less is left.
        needs_gpu: True if it means nothing on a CPU, which captures nothing and has no TF32.
        measure: returns the figures, each named with its unit.
    """

    name: str
    seconds: float
    needs_gpu: bool
    measure: Callable[[], Figures]

    @property
    def group(self) -> str:
        """The name's part before the colon."""
        return self.name.partition(":")[0]


def items(dataset: ArrayDataset, device: str, size: Size, most: int) -> list[Item]:
    """All items, the more important ones first."""

    def of_steps(way: str, seconds: float) -> Iterator[Item]:
        for network in NETWORKS:
            for precision in PRECISIONS:
                yield Item(
                    f"step: {network} {precision} {way}",
                    seconds,
                    way != EAGER or precision == "tf32",
                    partial(step_and_epoch, network, precision, way, dataset, device, size),
                )

    def of_ordinary(precision: str) -> Iterator[Item]:
        for network in NETWORKS:
            measure = partial(ordinary.epoch, network, precision, dataset, device, size)
            yield Item(f"ordinary: {network} {precision}", 15, precision == "tf32", measure)

    def through_mps() -> Figures:
        with sharing.through_mps() as environment:
            return sharing.steps_per_second(device, size, environment, most)

    # Where MPS runs already, programs find it by this variable or its default.
    without_mps = {"CUDA_MPS_PIPE_DIRECTORY": os.devnull}
    in_slices = partial(sharing.steps_per_second, device, size, without_mps, most)
    return [
        *(
            Item(
                f"bits: {network} captured against eager",
                10,
                True,
                partial(bits.compared, network, device, size, CHANNELS_LAST),
            )
            for network in NETWORKS
        ),
        *of_steps(CAPTURED, 10),
        *of_steps(EAGER, 15),
        *of_ordinary("float32"),
        Item("sharing: time slices", 60, False, in_slices),
        Item("sharing: MPS", 60, True, through_mps),
        Item("resume: killed twice", 40, False, partial(resuming.killed_and_resumed, device, size)),
        *(
            Item(
                f"layers: resnet50 {precision} {way}",
                20,
                way != EAGER or precision == "tf32",
                partial(layers.steps_of_resnet50, precision, device, size, way),
            )
            for way in (CAPTURED, EAGER)
            for precision in ("float32", "tf32")
        ),
        *of_ordinary("tf32"),
        *of_steps(CHANNELS_LAST, 15),
    ]


class TooLongError(Exception):
    """An item takes so long that others would be lost."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Cut off what takes longer.

    Raises:
        TooLongError: it does.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLongError(f"cut off after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Warnings(logging.Handler):
    """The warnings of the library, which are part of how a figure came to be."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.messages.append(record.getMessage())


def measured(item: Item, device: str, left: float) -> dict[str, Any]:
    """The item's entry in the file.

    Args:
        item: what to measure.
        device: where.
        left: seconds until everything has to end.
    """
    if item.needs_gpu and device == "cpu":
        return {"status": NOT_MEASURED, "reason": NO_GPU}
    if left < item.seconds:
        told = f"{max(left, 0):.0f} s were left, and it may take {item.seconds:.0f}"
        return {"status": NOT_MEASURED, "reason": told}
    warnings = Warnings()
    logging.getLogger("perigee").addHandler(warnings)
    began = time.monotonic()
    entry: dict[str, Any]
    try:
        with at_most(min(GRACE * item.seconds, left)):
            entry = {"status": MEASURED, "figures": dict(item.measure())}
    except Exception as error:  # one item that fails must not cost the others
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        entry = {"status": NOT_MEASURED, "reason": told[:300]}
    logging.getLogger("perigee").removeHandler(warnings)
    gc.collect()  # a run and its captured functions hold one another
    if device != "cpu":
        torch.cuda.empty_cache()
    told_of = {"warnings": warnings.messages} if warnings.messages else {}
    return {**entry, "took s": round(time.monotonic() - began, 2), **told_of}


def chosen(everything: Sequence[Item], wanted: str) -> list[Item]:
    """The items of some groups, or of some names.

    Raises:
        SystemExit: there is none of a name.
    """
    if not wanted:
        return list(everything)
    names = [name.strip() for name in wanted.split(",")]
    known = {one.group for one in everything} | {one.name for one in everything}
    if unknown := [name for name in names if name not in known]:
        groups = dict.fromkeys(one.group for one in everything)
        sys.exit(f"There is no item {', '.join(unknown)}; groups are {', '.join(groups)}.")
    return [one for one in everything if one.group in names or one.name in names]


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file; default: results/gpu/<card>.json")
    parser.add_argument("--minutes", type=float, default=8, help="default: %(default)s")
    parser.add_argument("--items", default="", help="groups or names: step,sharing")
    parser.add_argument("--fashion-mnist", type=Path, help="folder of its files; default: noise")
    parser.add_argument("--tiny", action="store_true", help="see that it works; no figure counts")
    given = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # all that is open ends
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = TINY if given.tiny else Size()
    if given.fashion_mnist is None:
        dataset = random_images(size.train, size.test)
    else:
        try:
            dataset = cut(fashion_mnist_in(given.fashion_mnist), size)
        except FileNotFoundError as error:
            sys.exit(f"Fashion-MNIST is not complete: {error}")
    found = card()
    name = found.get("card", "cpu").replace(" ", "_").lower()
    document = Document(
        given.out or RESULTS / f"gpu_{name}.json",
        {
            "benchmark": "gpu",
            "command": " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "minutes": given.minutes,
            "tiny": given.tiny,
            "device": device,
            **found,
            "hardware": hardware(),
            "cores": len(os.sched_getaffinity(0)),
            "versions": versions(),
            "git": git_state(),
            "conditions": {
                "images": dataset.origin,
                "images sha256": dataset.sha256,
                "train": len(dataset.splits["train"]),
                "test": len(dataset.splits["test"]),
                "shape": list(dataset.image_shape),
                "batch": size.batch,
                "layout": "captured and channels_last: channels last; eager: contiguous",
                "sharing": "steps per second of each run, for the number of runs at once",
            },
        },
    )
    deadline = began + 60 * given.minutes
    most = 2 if given.tiny else sharing.NUMBERS[-1]
    for item in chosen(items(dataset, device, size, most), given.items):
        entry = measured(item, device, deadline - time.monotonic())
        document.add(item.name, entry)
        told = entry.get("figures", entry.get("reason"))
        print(f"{item.name}: {entry['status']}: {told}", flush=True)


if __name__ == "__main__":
    main()
