"""Measure on this device what kinds of runs cost, and keep a record."""

import gc
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from perigee.blocks.measures import Measure
from perigee.cli import (
    Capture,
    ChannelsLast,
    LogFile,
    read_spec,
    spec_block,
)
from perigee.configuration.runs import resolved_run
from perigee.data.saving import load_dataset
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.failures import reason
from perigee.gpus import own_gpu
from perigee.interruption import stop_request
from perigee.jobs.calibrating import Timing, timed
from perigee.planning.calibrations import (
    Calibration,
    device_of,
    keep,
    kind_of,
    read_calibrations,
)
from perigee.store.provenance import hardware, read_product, versions

logger = logging.getLogger("perigee")


def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: kinds, each with name, run, measures, dataset (its folder) "
            "and runs (how many are of the kind)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The record that is added to, a JSON file.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read images that stay files; 0: this one.")
    ] = 0,
    capture: Capture = "auto",
    channels_last: ChannelsLast = "auto",
    seconds: Annotated[
        float, typer.Option(min=0.1, help="How long the steps of each kind are timed.")
    ] = 5.0,
    log: LogFile = None,
) -> None:
    """Measure on this device what kinds of runs cost, and keep a record.

    One run of each kind is trained for some seconds and then dropped; nothing of it gets into the
    store. What was measured before of the same kind on the same device is replaced. A kind that
    fails is told, and the others go on; the exit status is then 1. Kinds that were never measured
    on this device come first. 'snakemake calibrate' runs this
    for all runs that are still to be trained.
    """
    told = read_spec(spec, "kinds")["kinds"]
    known = {one.kind for one in read_calibrations(out)}
    failed = []
    with (
        stop_request("stopping") as stop,
        own_gpu(device, 1, partial(stop.end_waiting_if_told, "the calibration", "a GPU")) as own,
    ):
        here = device_of(hardware())
        # Those that are not known yet come first: the job may be stopped before its last one.
        told.sort(key=lambda one: kind_of(one["run"], one["measures"], here) in known)
        measure = partial(
            timed,
            device=own,
            workers=workers,
            seconds=seconds,
            stop=stop,
            capture=capture,
            channels_last=channels_last,
        )
        for number, kind in enumerate(told, start=1):
            line = f"kind {number}/{len(told)}, {_in_words(kind)}"
            try:
                timing, found = _measured(kind, measure)
            except StoppedBySignalError:
                raise
            except Exception as error:
                logger.error("%s: failed: %s", line, reason(error, None, log))
                logging.getLogger("perigee.traceback").exception("failed")
                failed.append(kind["name"])
                continue
            finally:
                gc.collect()  # measures and what records them hold one another, and the data set
            keep(out, found)
            logger.info(
                "%s: %.3g ms per step, %.3g s of measures per epoch of %d steps, on %s",
                *(line, 1000 * timing.seconds_per_step, timing.seconds_per_pass),
                *(timing.steps_per_epoch, found.device),
            )
    if failed:
        raise PerigeeError(
            f"{len(failed)} of {len(told)} kinds could not be measured ({', '.join(failed)}); what "
            f"was measured of the others stands in {out}, and 'snakemake plan' reckons with it."
        )


def _measured(
    kind: Mapping[str, Any], measure: Callable[..., Timing]
) -> tuple[Timing, Calibration]:
    run = resolved_run(kind["run"], "run", "--spec")
    measures = [spec_block(Measure, one, "measures") for one in kind["measures"]]
    dataset = Path(kind["dataset"])
    read_product(dataset)
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    timing = measure(run, load_dataset(dataset), measures)
    found = hardware()
    return timing, Calibration(
        device=device_of(found),
        hardware=found,
        versions=versions(),
        date=date,
        run=run.to_dict(),
        measures=tuple(measure.to_dict() for measure in measures),
        **vars(timing),
    )


def _in_words(kind: Mapping[str, Any]) -> str:
    runs = f"{kind['runs']} runs such as " if kind["runs"] > 1 else ""
    measures = ", ".join(measure["name"] for measure in kind["measures"])
    return f"{runs}{kind['name']} with {measures or 'no measures'}"
