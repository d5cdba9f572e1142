"""The cost of training runs, estimated from those in the store and from calibrations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from statistics import median

from perigee.errors import PerigeeError
from perigee.paths import CALIBRATIONS
from perigee.planning.calibrations import Calibration, device_of, read_calibrations
from perigee.planning.products import RunProduct
from perigee.planning.shapes import canonical, of_steps, shape_of
from perigee.store.provenance import FORMAT, PROVENANCE, Provenance, hardware, read_provenance

STEP_BYTES = 8
"""The size of a run's fingerprint: a loss of 8 bytes per step."""

CHECKPOINTS = "checkpoints"


class Source(Enum):
    """Where a record comes from, the most trustworthy first."""

    RUN = auto()
    """A finished run."""
    CALIBRATION = auto()
    """A calibration in this results folder."""
    GUESS = auto()
    """A calibration of another machine that ships with Perigee; of steps alone where the passes of
    measures were not timed."""


@dataclass(frozen=True)
class Record:
    """The cost of a finished run, or of a kind of run that was calibrated.

    Attributes:
        shape: the part of its spec that determines its cost (see `perigee.planning.shapes`).
        seconds_per_epoch: wall time of its job over the epochs that it trained.
        bytes_per_epoch: size of its files and measures except checkpoints, over its epochs; None
            if it was not measured.
        bytes_per_checkpoint: size of a checkpoint; None if it keeps none.
        hardware: the hardware that it ran on, in words; "" of a run in progress, where it is not
            known.
        source: where it comes from.
        measures: of a calibration, all measures that were taken, and those of steps.
        processor: of a calibration, the processor of its machine.
    """

    shape: str
    seconds_per_epoch: float
    bytes_per_epoch: float | None
    hardware: str
    bytes_per_checkpoint: float | None = None
    source: Source = Source.RUN
    measures: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    processor: str = ""


@dataclass(frozen=True)
class Cost:
    """The estimated cost of a number of epochs.

    Attributes:
        seconds: seconds of one device; None if there is no record to estimate from.
        bytes: bytes on disk, at least.
        hardware: the hardware of the records; "" without any.
        source: where the records come from.
    """

    seconds: float | None
    bytes: float
    hardware: str
    source: Source = Source.RUN


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
                hardware=device_of(provenance.hardware),
                bytes_per_checkpoint=max(each, default=None),
            )
        )
    return records


def calibrated_records(file: Path) -> list[Record]:
    """Read the records of this results folder's calibrations, and those that ship with Perigee.

    Args:
        file: the results folder's record of calibrations.

    Raises:
        PerigeeError: a file is damaged.
    """
    own = [_record(one, Source.CALIBRATION) for one in read_calibrations(file)]
    return [*own, *(_record(one, Source.GUESS) for one in read_calibrations(CALIBRATIONS))]


def _record(one: Calibration, source: Source) -> Record:
    shape, measures, device = one.kind
    return Record(
        shape=shape,
        seconds_per_epoch=one.seconds_per_epoch,
        bytes_per_epoch=None,
        hardware=device,
        source=source,
        measures=(measures, of_steps(one.measures)),
        processor=one.hardware.get("processor", ""),
    )


def estimate(run: RunProduct, epochs: int, records: Sequence[Record]) -> Cost:
    """Estimate the cost of training some epochs of a run.

    The time is the median of the records of its shape that `_used` chooses; the sizes are those of
    finished runs, whichever device they had.

    Args:
        run: the run with its measures; the size of checkpoints is known only from a record that
            keeps some.
        epochs: how many epochs are still to be trained.
        records: the records of finished runs and of calibrations.
    """
    used = _used(run, records)
    losses = STEP_BYTES * run.steps_per_epoch * epochs
    if not used:
        return Cost(None, losses, "")
    alike = [record for record in records if record.shape == used[0].shape]
    each_epoch = [r.bytes_per_epoch for r in alike if r.bytes_per_epoch is not None]
    sizes = [r.bytes_per_checkpoint for r in alike if r.bytes_per_checkpoint is not None]
    intervals = [m.parameters["interval"] for m in run.measures if m.name == CHECKPOINTS]
    kept = epochs / intervals[0] * median(sizes) if intervals and sizes else 0
    return Cost(
        seconds=epochs * median(record.seconds_per_epoch for record in used),
        bytes=(epochs * median(each_epoch) if each_epoch else losses) + kept,
        hardware=", ".join(sorted({record.hardware for record in used})),
        source=used[0].source,
    )


def _used(run: RunProduct, records: Sequence[Record]) -> list[Record]:
    """The records from which a run's cost is estimated, all of one source.

    The first of these that there are: finished runs on this device, runs in progress, the latest
    calibration, finished runs on other devices, calibrations that ship. This device is that of the
    latest calibration, or else this machine's as far as it is known without PyTorch.
    """
    shape, found = shape_of(run.spec.to_dict()), hardware()
    alike = [record for record in records if record.shape == shape]
    runs = [record for record in alike if record.source is Source.RUN]
    calibrations = _measured_alike(run, alike, Source.CALIBRATION)
    of_machine = [one for one in calibrations if one.processor == found.get("processor")]
    latest = (of_machine or calibrations)[-1:]
    device = latest[0].hardware if latest else device_of(found)
    return (
        [one for one in runs if one.hardware == device]
        or [one for one in runs if not one.hardware]
        or latest
        or runs
        or _measured_alike(run, alike, Source.GUESS)
    )


def _measured_alike(run: RunProduct, alike: Iterable[Record], source: Source) -> list[Record]:
    """The calibrations that took a run's measures; or else the same measures of steps."""
    told = [measure.to_dict() for measure in run.measures]
    every, steps = canonical(told), of_steps(told)
    found = [one for one in alike if one.source is source and one.measures[1] == steps]
    return [one for one in found if one.measures[0] == every] or found


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
