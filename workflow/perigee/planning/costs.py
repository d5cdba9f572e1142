"""The cost of training runs, estimated from those in the store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from perigee.errors import PerigeeError
from perigee.identity.canonical import canonical_json
from perigee.planning.products import RunProduct
from perigee.store.provenance import FORMAT, PROVENANCE, Provenance, hardware, read_provenance

STEP_BYTES = 8
"""The size of a run's fingerprint: a loss of 8 bytes per step."""

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Record:
    """The cost of a finished run.

    Attributes:
        shape: the part of its spec that determines its cost (see `shape_of`).
        seconds_per_epoch: wall time of its job over the epochs that it trained.
        bytes_per_epoch: size of its files and measures except checkpoints, over its epochs.
        bytes_per_checkpoint: size of a checkpoint; None if it keeps none.
        hardware: the hardware that it ran on, in words.
    """

    shape: str
    seconds_per_epoch: float
    bytes_per_epoch: float
    hardware: str
    bytes_per_checkpoint: float | None = None


@dataclass(frozen=True)
class Cost:
    """The estimated cost of a number of epochs.

    Attributes:
        seconds: seconds of one device; None if there is no record to estimate from.
        bytes: bytes on disk, at least.
        hardware: the hardware of the records; "" without any.
    """

    seconds: float | None
    bytes: float
    hardware: str


RATES = ("learning_rate", "effective_learning_rate", "weight_decay")
"""Parameters of update rules on which the cost of a step does not depend."""


def shape_of(spec: dict[str, Any]) -> str:
    """The part of a spec that the cost depends on: not learning rate, weight decay or seed."""
    kept = {key: value for key, value in spec.items() if key not in ("seed", "parent")}
    rule = {key: value for key, value in spec["optimiser"].items() if key not in RATES}
    return canonical_json(kept | {"optimiser": rule})


def read_records(store: Path) -> list[Record]:
    """Read records of all complete trained runs in the store, skipping what cannot be read."""
    records = []
    for path in sorted(store.glob(f"run/*/e*/{PROVENANCE}")):
        try:
            provenance = read_provenance(path.parent)
            measures = [
                read_provenance(one.parent) for one in path.parent.glob(f"[!.]*/{PROVENANCE}")
            ]
        except PerigeeError:
            continue
        details = provenance.details
        if provenance.format < FORMAT or not details.get("trained_epochs"):
            continue
        epochs = details["epochs"]
        others = [measure for measure in measures if measure.name != CHECKPOINTS]
        size = sum(_bytes(one) for one in (provenance, *others))
        # The first and the last checkpoint are kept whatever the interval is.
        each = [
            _bytes(measure) / (math.ceil(epochs / measure.spec.get("interval", 1)) + 1)
            for measure in measures
            if measure.name == CHECKPOINTS
        ]
        records.append(
            Record(
                shape=shape_of(provenance.spec),
                # Of several processes: as long as one would take, so that no limit is too short.
                seconds_per_epoch=details["seconds"]
                * details.get("ranks", 1)
                / details["trained_epochs"],
                bytes_per_epoch=size / epochs,
                hardware=_in_words(provenance.hardware),
                bytes_per_checkpoint=max(each, default=None),
            )
        )
    return records


def estimate(run: RunProduct, epochs: int, records: Sequence[Record]) -> Cost:
    """Estimate the cost of training some epochs of a run.

    The estimate is the median of the records of its shape, if possible of those on this hardware.

    Args:
        run: the run with its measures; the size of checkpoints is known only from a record that
            keeps some.
        epochs: how many epochs are still to be trained.
        records: the records of finished runs.
    """
    shape, this_hardware = shape_of(run.spec.to_dict()), _in_words(hardware())
    alike = [record for record in records if record.shape == shape]
    here = [record for record in alike if record.hardware == this_hardware]
    used = here or alike
    if not used:
        return Cost(None, STEP_BYTES * run.steps_per_epoch * epochs, "")
    sizes = [r.bytes_per_checkpoint for r in used if r.bytes_per_checkpoint is not None]
    intervals = [m.parameters["interval"] for m in run.measures if m.name == CHECKPOINTS]
    kept = epochs / intervals[0] * median(sizes) if intervals and sizes else 0
    return Cost(
        seconds=epochs * median(record.seconds_per_epoch for record in used),
        bytes=epochs * median(record.bytes_per_epoch for record in used) + kept,
        hardware=", ".join(sorted({record.hardware for record in used})),
    )


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs, without seconds if one of them has none."""
    every = list(costs)
    known = [cost.seconds for cost in every if cost.seconds is not None]
    return Cost(
        seconds=math.fsum(known) if len(known) == len(every) else None,
        bytes=math.fsum(cost.bytes for cost in every),
        hardware=", ".join(sorted({cost.hardware for cost in every if cost.hardware})),
    )


def _bytes(provenance: Provenance) -> int:
    return sum(file["bytes"] for file in provenance.files.values())


def _in_words(found: Any) -> str:
    return str(found.get("gpu") or found.get("processor") or "unknown hardware")
