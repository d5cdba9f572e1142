"""The record of calibrations: what a step of each kind of run takes on a device.

It is a file beside the store, part of no identity: it says how long runs take, and no product
depends on it. One of the same form ships with Perigee, with what was measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, ValidationError

from perigee.errors import PerigeeError
from perigee.planning.shapes import canonical, shape_of
from perigee.store.locks import locked
from perigee.store.writing import write_text_atomically

ABOUT = "Written by 'snakemake calibrate'. Deleting it loses estimates of time, and nothing else."


class Calibration(BaseModel):
    """The measured cost of one kind of run on one device.

    Attributes:
        device: the device, in words.
        hardware, versions: of the machine that measured it, see `perigee.store.provenance`.
        date: when it was measured, UTC; None if that was not noted.
        run: the spec of the run that was trained for it.
        measures: the measures that were taken, names and parameters.
        steps_per_epoch: the steps of an epoch.
        steps: how many steps were timed.
        seconds_per_step: the median over stretches of these, with what measures do in a step.
        seconds_per_pass: seconds that measuring takes at an epoch's end; None if not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    device: str
    hardware: Mapping[str, str]
    versions: Mapping[str, str]
    date: str | None
    run: Mapping[str, Any]
    measures: tuple[Mapping[str, Any], ...]
    steps_per_epoch: Annotated[int, Ge(1)]
    steps: Annotated[int, Ge(1)]
    seconds_per_step: Annotated[float, Gt(0)]
    seconds_per_pass: Annotated[float, Ge(0)] | None

    @property
    def seconds_per_epoch(self) -> float:
        """Seconds per epoch: those of its steps, and of measuring where that is known."""
        return self.steps_per_epoch * self.seconds_per_step + (self.seconds_per_pass or 0.0)

    @property
    def kind(self) -> tuple[str, tuple[str, ...], str]:
        """The kind of run and the device: a calibration replaces an earlier one of the same."""
        return kind_of(self.run, self.measures, self.device)


class Calibrations(BaseModel):
    """The file's content.

    Attributes:
        about: what the file is, for those who open it.
        calibrations: the calibrations; what was measured last stands last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    calibrations: tuple[Calibration, ...]


def kind_of(
    run: Mapping[str, Any], measures: Iterable[Mapping[str, Any]], device: str
) -> tuple[str, tuple[str, ...], str]:
    """The kind of a run, with its measures, on a device, in words that can be compared."""
    return shape_of(run), canonical(measures), device


def calibrations_file(results: str) -> Path:
    """The path of the record of calibrations of a results folder."""
    return Path(results) / "records" / "calibrations.json"


def device_of(hardware: Mapping[str, str]) -> str:
    """The device that a machine computes on, in words: its GPU, or without one its processor."""
    return str(hardware.get("gpu") or hardware.get("processor") or "unknown hardware")


def read_calibrations(file: Path) -> tuple[Calibration, ...]:
    """Read a record of calibrations; empty if there is none.

    Raises:
        PerigeeError: the file is damaged, or cannot be read.
    """
    try:
        found = Calibrations.model_validate_json(file.read_bytes())
        for one in found.calibrations:
            _ = one.kind
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise PerigeeError(
            f"{file} cannot be read ({error.strerror}); make it readable, or delete it."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in first["loc"])
        raise _damaged(file, f"{where.lstrip('.')}: {first['msg']}".lstrip(": ")) from error
    except KeyError as error:
        raise _damaged(file, f"a run or a measure lacks {error}") from error
    except (TypeError, AttributeError) as error:
        raise _damaged(file, f"a run or a measure has a wrong form: {error}") from error
    return found.calibrations


def keep(file: Path, calibration: Calibration) -> None:
    """Add a calibration to a record, in the place of an earlier one of its kind and device.

    Raises:
        PerigeeError: the file is damaged, or its file system has no locks.
        OSError: it cannot be written.
    """
    with locked(file.parent):
        others = [one for one in read_calibrations(file) if one.kind != calibration.kind]
        write_calibrations(file, Calibrations(about=ABOUT, calibrations=(*others, calibration)))


def write_calibrations(file: Path, content: Calibrations) -> None:
    """Write a record as JSON, in the place of what is there."""
    write_text_atomically(file, content.model_dump_json(indent=1) + "\n")


def _damaged(file: Path, why: str) -> PerigeeError:
    return PerigeeError(
        f"{file} is damaged ({why}); delete it, and run 'snakemake calibrate' to measure again."
    )
