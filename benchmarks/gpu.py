"""The times of training on a GPU, all that is of interest within eight minutes, in one JSON file.

With the kit that `gpu_kit.py` makes it needs torch and numpy alone, no installed perigee, and no
network. Items are measured in the order of `items`, each within a budget of seconds, as long as the
minutes last. The file is written again after every item, so that a program that is cut off leaves
what it has; an item that failed or was left out says why, and has no
figures. Without a GPU, items that need one are noted so, and the others are measured on the CPU.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --tiny --out /tmp/tiny.json  # to see on any machine that it works

The kinds of runs of a paper are timed, too, if they are given; the kit has them.

    python benchmarks/gpu.py --kinds gpu_kit/kinds.json
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "benchmarks")]

from card.kit import read_plan, require  # noqa: E402

require("torch", "numpy")
# What `perigee.kernel.execution.prepare` sets, here before anything that computes without it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch  # noqa: E402
from card import bits, kernels, kinds, layers, ordinary, resuming, sharing  # noqa: E402
from card.document import MEASURED, NOT_MEASURED, Document, card  # noqa: E402
from card.images import fashion_mnist_in  # noqa: E402
from card.runs import (  # noqa: E402
    CAPTURED,
    CAPTURED_CHANNELS_LAST,
    CHANNELS_LAST,
    EAGER,
    NETWORKS,
    PRECISIONS,
    SHAPE,
    TINY,
    Size,
    cut,
    random_images,
    step_and_epoch,
)

from perigee.data.arrays import ArrayDataset  # noqa: E402
from perigee.kernel.graphs import CudaGraphs  # noqa: E402
from perigee.store.provenance import git_state, hardware, versions  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "gpu"
NO_GPU = "no GPU"
GRACE, GRACE_WITH_PROCESSES = 3, 1.5
"""By how much an item may exceed its budget before it is cut off; and one that starts processes."""
START_S = 30
"""How long this program may take to start again for one item."""
ERROR_AFTER = "error afterwards"

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """Something that is measured.

    Attributes:
        name: "<group>: <what>".
        seconds: how long it may take; it is left out when less is left.
        needs_gpu: True if it means nothing on a CPU, which captures nothing and has no TF32.
        measure: returns the figures, each named with its unit.
        captures: whether it captures in this process.
        has_processes: whether it starts processes of its own, and computes in these alone.
    """

    name: str
    seconds: float
    needs_gpu: bool
    measure: Callable[[], Figures]
    captures: bool = False
    has_processes: bool = False

    @property
    def group(self) -> str:
        """The name's part before the colon."""
        return self.name.partition(":")[0]

    @property
    def most_seconds(self) -> float:
        """After how many seconds it is cut off."""
        return self.seconds * (GRACE_WITH_PROCESSES if self.has_processes else GRACE)


def items(
    dataset: ArrayDataset,
    device: str,
    size: Size,
    most: int,
    all_kinds: Sequence[kinds.Kind] = (),
) -> list[Item]:
    """All items, the more important ones first.

    Args:
        dataset: the images, but for kinds of runs.
        device: where to compute.
        size: of the work.
        most: the largest number of runs at once.
        all_kinds: the kinds of runs that are timed, see `card.kinds`.
    """

    def of_steps(
        way: str, seconds: float, precisions: Sequence[str] = PRECISIONS, with_epoch: bool = True
    ) -> Iterator[Item]:
        for network in NETWORKS:
            for precision in precisions:
                run = network, precision, way, dataset, device, size
                yield Item(
                    f"step: {network} {precision} {way}",
                    seconds,
                    way != EAGER or precision == "tf32",
                    partial(step_and_epoch, *run, with_epoch=with_epoch),
                    captures=way in (CAPTURED, CAPTURED_CHANNELS_LAST),
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
                f"bits: {network} {precision} {way}",
                8,
                True,
                partial(bits.compared, network, precision, way, other, device, size),
                captures=True,
            )
            for network in NETWORKS
            for precision, way, other in bits.COMPARED
        ),
        *of_steps(CAPTURED, 10),
        *of_ordinary("tf32"),
        Item("sharing: MPS", 60, True, through_mps, has_processes=True),
        *(
            Item(
                f"runs: {kind['name']}",
                8,
                False,
                partial(kinds.times, kind, device, size),
                captures=True,
            )
            for kind in all_kinds
        ),
        Item(
            "resume: killed twice",
            40,
            False,
            partial(resuming.killed_and_resumed, device, size),
            has_processes=True,
        ),
        *of_steps(EAGER, 15),
        Item("sharing: time slices", 60, False, in_slices, has_processes=True),
        *(
            Item(
                f"layers: resnet50 {precision} {way}",
                20,
                way != EAGER or precision == "tf32",
                partial(layers.steps_of_resnet50, precision, device, size, way),
                captures=way == CAPTURED,
            )
            for way in (CAPTURED, EAGER)
            for precision in ("float32", "tf32")
        ),
        *of_ordinary("float32"),
        *of_steps(CHANNELS_LAST, 10, ["tf32"]),
        *of_steps(CHANNELS_LAST, 5, ["float32", "bfloat16"], with_epoch=False),
        *of_steps(CAPTURED_CHANNELS_LAST, 5, ["float32"], with_epoch=False),
        *(
            Item(
                f"kernels: {network} {precision} captured",
                40,
                True,
                partial(kernels.of_a_step, network, precision, device, size),
                has_processes=True,
            )
            for network, precision in kernels.RUNS
        ),
    ]


class NotMeasuredError(Exception):
    """A process that was started for an item has no figures, and says why."""


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
        with at_most(min(item.most_seconds, left)):
            entry = {"status": MEASURED, "figures": dict(item.measure())}
    except NotMeasuredError as error:
        entry = {"status": NOT_MEASURED, "reason": str(error)}
    except Exception as error:  # one item that fails must not cost the others
        traceback.print_exc()
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        entry = {"status": NOT_MEASURED, "reason": told[:300]}
    logging.getLogger("perigee").removeHandler(warnings)
    gc.collect()  # a run and its captured functions hold one another
    told_of: dict[str, Any] = {"warnings": warnings.messages} if warnings.messages else {}
    try:
        free_memory(device)
    except RuntimeError as error:  # one that stays with the process; others are not lost
        told_of[ERROR_AFTER] = str(error).partition("\n")[0][:300]
    return {**entry, "took s": round(time.monotonic() - began, 2), **told_of}


def free_memory(device: str) -> None:
    """Give back the GPU's memory that nothing uses any more.

    Raises:
        RuntimeError: an earlier call has broken this process's use of the GPU.
    """
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def warm_up(device: str) -> None:
    """Have the libraries load themselves, which no item is to pay for."""
    images = torch.ones(2, 3, 8, 8, device=device, requires_grad=True)
    weight = torch.ones(4, 3, 3, 3, device=device, requires_grad=True)
    torch.nn.functional.conv2d(images, weight).sum().backward()
    (torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)).sum().item()


def in_turn(
    wanted: Sequence[Item],
    device: str,
    deadline: float,
    alone: Callable[[Item, float], Figures],
) -> Iterator[tuple[Item, dict[str, Any]]]:
    """Measure items, each with its entry in the file.

    After a capture that failed, later ones are not tried in this process, and after an error on
    the GPU nothing is: a process of its own then measures such an item.

    Args:
        wanted: the items.
        device: where.
        deadline: when everything has to end, by `time.monotonic`.
        alone: measures an item within so many seconds in a process of its own.
    """
    is_broken = False
    for item in wanted:
        left = deadline - time.monotonic()
        cannot = is_broken and not item.has_processes
        if cannot or (item.captures and CudaGraphs.has_failed):
            started = replace(
                item,
                seconds=item.seconds + START_S,
                measure=partial(alone, item, left),
                has_processes=True,
            )
            entry = {**measured(started, device, left), "process": "its own"}
        else:
            entry = measured(item, device, left)
        if is_broken:
            entry.pop(ERROR_AFTER, None)  # it is noted where it first came up
        is_broken = is_broken or ERROR_AFTER in entry
        yield item, entry


def by_another_process(options: Sequence[str], item: Item, left: float) -> Figures:
    """The figures that this program finds when it is started for one item.

    Args:
        options: its command line, but for the item, the file and the minutes.
        item: the item.
        left: how many seconds it may take.

    Raises:
        NotMeasuredError: there are none.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "item.json"
        told = ["--items", item.name, "--out", str(out), "--minutes", str(left / 60)]
        done = subprocess.run(
            [sys.executable, __file__, *options, *told],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
        if not out.exists() or not (entry := json.loads(out.read_bytes())["items"].get(item.name)):
            last = done.stderr.strip().rpartition("\n")[2]
            raise NotMeasuredError(f"a process of its own ended with {done.returncode}: {last}")
    for message in entry.get("warnings", ()):
        logging.getLogger("perigee").warning("%s", message)
    if entry["status"] != MEASURED:
        raise NotMeasuredError(entry["reason"])
    figures: Figures = entry["figures"]
    return figures


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
    parser.add_argument(
        "--out", type=Path, help="JSON file; default: benchmarks/results/gpu/gpu_<card>.json"
    )
    parser.add_argument("--minutes", type=float, default=8, help="default: %(default)s")
    parser.add_argument("--items", default="", help="groups or names: step,sharing")
    parser.add_argument(
        "--fashion-mnist",
        type=Path,
        help="folder of its files, for step and ordinary; default: noise",
    )
    parser.add_argument("--kinds", type=Path, help="the kit's kinds.json; default: none")
    parser.add_argument("--tiny", action="store_true", help="see that it works; no figure counts")
    given = parser.parse_args()
    all_kinds = [] if given.kinds is None else read_plan(given.kinds)["kinds"]
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # all that is open ends
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = TINY if given.tiny else Size()
    if given.fashion_mnist is None:
        dataset = random_images(size.train, size.test)
    else:
        dataset = cut(fashion_mnist_in(given.fashion_mnist), size)
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
                "shape of bits, sharing, resume, kernels": list(SHAPE),
                "batch": size.batch,
                "layout": "eager: contiguous; captured: contiguous in float32, else channels last; "
                "channels_last and captured_channels_last: channels last",
                "sharing": "steps per second of each run, for the number of runs at once",
            },
        },
    )
    deadline = began + 60 * given.minutes
    most = 2 if given.tiny else sharing.NUMBERS[-1]
    options = ["--tiny"] if given.tiny else []
    if given.fashion_mnist is not None:
        options += ["--fashion-mnist", str(given.fashion_mnist)]
    if given.kinds is not None:
        options += ["--kinds", str(given.kinds)]
    wanted = chosen(items(dataset, device, size, most, all_kinds), given.items)
    warm_up(device)
    for item, entry in in_turn(wanted, device, deadline, partial(by_another_process, options)):
        document.add(item.name, entry)
        told = entry.get("figures", entry.get("reason"))
        print(f"{item.name}: {entry['status']}: {told}", flush=True)


if __name__ == "__main__":
    main()
