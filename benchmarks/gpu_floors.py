"""The times of training steps on GPUs against their floors: a table, a JSON file and a picture.

    python benchmarks/gpu_floors.py

makes benchmarks/results/gpu_floors.json and docs/gpu_floors.png of all that lies in
benchmarks/results/gpu/. It needs no GPU: the operations of a step are counted on the CPU.

Of each operation that PyTorch starts in a step, the bytes of the tensors that it reads and writes,
each once, and its multiplications and additions are counted. It takes as long as moving the bytes
at the rate of the card's memory, or as its arithmetic at the peak of its precision, whichever is
longer; the rates are those of the card's data sheet. The floor of a step is the sum of these times
over its operations. It is one of steps as PyTorch starts them. The second, lower one counts
convolutions and matrix products alone, as if all else (BatchNorm, ReLU, pooling, loss, update) were
done within them. Neither is a bound for every card and algorithm: tensors that stay in the card's
cache are not moved through its memory, and there are convolutions with fewer multiplications.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from card.document import MEASURED
from card.runs import (
    CAPTURED,
    CAPTURED_CHANNELS_LAST,
    CHANNELS_LAST,
    EAGER,
    NETWORKS,
    PRECISIONS,
    Size,
    random_images,
    spec_of,
    trainer_of,
)
from common import RESULTS, ROOT
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from perigee.plotting.style import CATEGORIES, apply_style
from perigee.store.provenance import versions

CARDS = RESULTS / "gpu"
PLAIN, OWN_OLD = "h200_plain_pytorch.json", "h200_training.json"
"""Measured before benchmarks/gpu.py was there, in forms of their own."""

PICTURE = ROOT / "docs" / "gpu_floors.png"

MEMORY = "TB/s"
RATES = {
    "NVIDIA H100 80GB HBM3": {MEMORY: 3.35, "float32": 67, "tf32": 494.5, "bfloat16": 989},
    "NVIDIA H200": {MEMORY: 4.8, "float32": 67, "tf32": 494.5, "bfloat16": 989},
}
"""By a card's name its memory's terabytes a second, and TFLOP/s in each precision: NVIDIA's data
sheets of H100 SXM and H200 SXM, without sparsity, of which the rates of tensor cores there are
twice these."""

OURS = {
    EAGER: "Perigee, kernel by kernel",
    CHANNELS_LAST: "the same, channels last",
    CAPTURED: "Perigee, captured",
    CAPTURED_CHANNELS_LAST: "Perigee, captured, channels last",
}
PLAIN_EAGER = "plain PyTorch, kernel by kernel"
PLAIN_CAPTURED = "plain PyTorch, captured, channels last"
MARKERS = {
    OURS[EAGER]: "o",
    OURS[CHANNELS_LAST]: "s",
    OURS[CAPTURED]: "*",
    OURS[CAPTURED_CHANNELS_LAST]: "P",
    PLAIN_EAGER: "v",
    PLAIN_CAPTURED: "^",
}
COLOURS = dict(zip(MARKERS, CATEGORIES, strict=True))

NAMES = {
    "convnet-32": "ConvNet, width 32",
    "resnet18-16": "ResNet-18, width 16",
    "resnet18-64": "ResNet-18, width 64",
}


@dataclass(frozen=True)
class Operation:
    """An operation of a step.

    Attributes:
        size: bytes of what it reads and writes.
        arithmetic: its multiplications and additions; 0 if it is neither of the following.
        is_convolution: True for convolutions and their gradients. In TF32 matrix products are
            float32.
    """

    size: int
    arithmetic: int
    is_convolution: bool


class Counted(TorchDispatchMode):
    """Notes the operations that PyTorch starts while it is active.

    Attributes:
        operations: in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation, and note it unless it only looks at a tensor in another way."""
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if func.is_view or name.startswith(("empty", "detach")):
            return found
        count = flop_registry.get(func.overloadpacket)
        self.operations.append(
            Operation(
                _bytes((args, kwargs)) + _bytes(found),
                count(*args, **kwargs, out_val=found) if count else 0,
                "convolution" in name,
            )
        )
        return found


def _bytes(values: Any) -> int:
    """The bytes of all tensors among values, each counted once."""
    tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
    return sum({one.data_ptr(): one.numel() * one.element_size() for one in tensors}.values())


def operations(network: str, precision: str, size: Size, channels: int) -> list[Operation]:
    """The operations of a step, from the gathering of its images to the update.

    Args:
        network, precision: see `card.runs`; the operations of TF32 are those of float32.
        size: of the network and the mini-batch.
        channels: of the images, which have 32 x 32 pixels.
    """
    images = random_images(size.batch, size.batch, (channels, 32, 32))
    kind = "float32" if precision == "tf32" else precision
    trainer = trainer_of(spec_of(network, kind, size), images, "cpu", EAGER)
    with torch.random.fork_rng(), Counted() as counted:
        for _ in trainer.epoch(0):
            pass
    return counted.operations


def floor(found: Sequence[Operation], precision: str, rates: Mapping[str, float]) -> float:
    """The least milliseconds that operations take, one after the other.

    Args:
        found: the operations.
        precision: of the convolutions.
        rates: of a card, see `RATES`.
    """
    products = "float32" if precision == "tf32" else precision
    seconds = 0.0
    for one in found:
        rate = rates[precision if one.is_convolution else products]
        moving = one.size / (1e12 * rates[MEMORY])
        seconds += max(moving, one.arithmetic / (1e12 * rate))
    return 1000 * seconds


@dataclass(frozen=True)
class Measured:
    """The time of a step that was measured on a card.

    Attributes:
        card, network, precision: what was measured.
        way: how steps were computed, in words.
        milliseconds: the median.
        channels: of the images.
    """

    card: str
    network: str
    precision: str
    way: str
    milliseconds: float
    channels: int


def measured_steps(folder: Path) -> list[Measured]:
    """All steps that were measured on cards, and whose results lie in a folder."""
    found = [*_plain(_read(folder / PLAIN)), *_own_old(_read(folder / OWN_OLD))]
    for file in sorted(folder.glob("gpu_*.json")):
        told = _read(file)
        if not told["tiny"] and "card" in told:  # without a GPU the program writes such a file, too
            found += _of_program(told)
    return found


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _of_program(told: Mapping[str, Any]) -> Iterator[Measured]:
    """The steps in a file of benchmarks/gpu.py."""
    channels = told["conditions"]["shape"][0]
    for name, item in told["items"].items():
        if name.startswith("step: ") and item["status"] == MEASURED:
            network, precision, way = name.removeprefix("step: ").split(" ")
            taken = item["figures"]["ms per step"]["median"]
            yield Measured(told["card"], network, precision, OURS[way], taken, channels)


def _plain(told: Mapping[str, Any]) -> Iterator[Measured]:
    """Steps of a bare loop on 3 x 32 x 32 images."""
    ways = {"eager, contiguous": PLAIN_EAGER, "graph, channels_last": PLAIN_CAPTURED}
    precisions = {"float32": "float32", "tf32": "tf32", "bf16": "bfloat16"}
    for network, steps in told["ms per step"].items():
        for how, taken in steps.items():
            way, _, precision = how.rpartition(", ")
            if way in ways:
                yield Measured(
                    told["card"], network, precisions[precision], ways[way], taken["median"], 3
                )


def _own_old(told: Mapping[str, Any]) -> Iterator[Measured]:
    """Steps of Perigee on 3 x 32 x 32 images, before it captured any."""
    networks = {"convnet": "convnet-32", "resnet16": "resnet18-16", "resnet64": "resnet18-64"}
    for name, taken in told["ms per step (min, median, max)"].items():
        network, precision = name.split(" ")
        yield Measured(told["card"], networks[network], precision, OURS[EAGER], taken["ours"][1], 3)


def row_of(one: Measured, found: Sequence[Operation], rates: Mapping[str, float]) -> dict[str, Any]:
    """A measured step beside its floors, in milliseconds, and what they come from."""
    products = [operation for operation in found if operation.arithmetic]
    lowest = floor(found, one.precision, rates)
    return {
        "card": one.card,
        "network": one.network,
        "precision": one.precision,
        "way": one.way,
        "channels": one.channels,
        "ms per step": float(f"{one.milliseconds:.5g}"),
        "operations": len(found),
        "gigabytes": round(sum(operation.size for operation in found) / 1e9, 3),
        "gigaflops": round(sum(operation.arithmetic for operation in found) / 1e9, 2),
        "floor": float(f"{lowest:.4g}"),
        "fused floor": float(f"{floor(products, one.precision, rates):.4g}"),
        "times the floor": float(f"{one.milliseconds / lowest:.4g}"),
    }


def picture(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw each network's steps in each precision over their floors, a row of panels a card."""
    apply_style()
    cards = list(dict.fromkeys(row["card"] for row in rows))
    figure = Figure(figsize=(7.2, 1 + 2.3 * len(cards)), layout="constrained")
    panels = figure.subplots(len(cards), len(NETWORKS), squeeze=False)
    for of_card, card in zip(panels, cards, strict=True):
        for panel, network in zip(of_card, NETWORKS, strict=True):
            chosen = [row for row in rows if (row["card"], row["network"]) == (card, network)]
            _draw(panel, chosen)
            panel.set_title(NAMES[network])
        of_card[0].set_ylabel(f"milliseconds per step\n{card}")
    labelled = {
        label: handle
        for panel in panels.flat
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(labelled.values(), labelled, loc="outside lower center", ncols=2)
    return figure


def _draw(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    panel.set_xticks(range(len(PRECISIONS)), PRECISIONS)
    panel.set_xlim(-0.5, len(PRECISIONS) - 0.5)
    panel.grid(axis="x", visible=False)
    for row in rows:
        place = PRECISIONS.index(row["precision"])
        for column, grey, label in (
            ("floor", "0.87", "floor"),
            ("fused floor", "0.7", "floor if all is fused"),
        ):
            panel.bar(place, row[column], 0.7, color=grey, linewidth=0, zorder=1, label=label)
        panel.plot(
            place,
            row["ms per step"],
            MARKERS[row["way"]],
            color=COLOURS[row["way"]],
            label=row["way"],
            linestyle="",
        )
    panel.set_ylim(bottom=0)


def main() -> None:
    """Count, compare, draw."""
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    counts: dict[tuple[str, str, int], list[Operation]] = {}
    rows: list[dict[str, Any]] = []
    for one in measured_steps(CARDS):
        if one.card not in RATES:
            print(f"{one.card}: left out; RATES in {Path(__file__).name} lacks its data sheet's")
            continue
        key = one.network, one.precision, one.channels
        if key not in counts:
            counts[key] = operations(one.network, one.precision, Size(), one.channels)
        rows.append(row := row_of(one, counts[key], RATES[one.card]))
        print(
            f"{one.card}: {one.network}, {one.precision}, {one.way}: {row['ms per step']:.3g} ms, "
            f"{row['times the floor']:.2f} times the floor of {row['floor']:.3g} "
            f"({row['fused floor']:.3g} if all is fused)",
            flush=True,
        )
    document = {
        "benchmark": "gpu_floors",
        "measures": __doc__.partition("\n")[0],
        "command": "python benchmarks/gpu_floors.py",
        "rates": RATES,
        "steps": rows,
        "versions": versions(),
    }
    (RESULTS / "gpu_floors.json").write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    picture(rows).savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
