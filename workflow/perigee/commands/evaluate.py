"""Evaluate the kept checkpoints of a run."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from perigee import registry
from perigee.blocks.evaluations import Evaluation
from perigee.blocks.measures import Checkpoints, Measure
from perigee.checkpoints import KeptCheckpoints
from perigee.cli import (
    ChannelsLast,
    Digest,
    LogFile,
    RunsPerGpu,
    read_spec,
    require_digest,
    spec_block,
)
from perigee.configuration.runs import resolved_run
from perigee.data.saving import load_dataset
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.evaluation.base import EvaluationInput
from perigee.gpus import own_gpu
from perigee.identity.products import evaluation_identity, measure_identity, run_identity
from perigee.interruption import stop_request
from perigee.kernel.execution import prepare
from perigee.store.provenance import read_product
from perigee.store.runs import find_version
from perigee.store.writing import product_writer

logger = logging.getLogger("perigee")


def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: evaluation, run, epochs, measures (the checkpoints among "
            "them), dataset (its folder), folder (of all versions of the run)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder that gets the evaluation's files.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto.")] = "auto",
    channels_last: ChannelsLast = "auto",
    runs_per_gpu: RunsPerGpu = 1,
    progress_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines.")
    ] = 10.0,
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Evaluate the kept checkpoints of a run."""
    told = read_spec(spec, "evaluation", "run", "epochs", "measures", "dataset", "folder")
    evaluation = spec_block(Evaluation, told["evaluation"], "evaluation")
    run = resolved_run(told["run"], "run", "--spec")
    measures = [spec_block(Measure, one, "measures") for one in told["measures"]]
    checkpoints = next((one for one in measures if isinstance(one, Checkpoints)), None)
    if checkpoints is None:
        raise PerigeeError(
            "--spec: key 'measures' lacks 'checkpoints', which are evaluated; add it."
        )
    dataset, folder, epochs = Path(told["dataset"]), Path(told["folder"]), told["epochs"]
    trained = run_identity(run, read_product(dataset).digest)
    kept = measure_identity(checkpoints, trained)
    identity = evaluation_identity(evaluation, trained, epochs, kept)
    require_digest(identity, digest)
    # All measures of a table, and with them the evaluation, are of one trajectory.
    version = find_version(folder, epochs, [measure_identity(one, trained) for one in measures])
    if version is None:
        raise PerigeeError(f"{folder} has no checkpoints of {epochs} epochs of this run; train it.")
    measured = version.verified({checkpoints.name: kept}, epochs)[checkpoints.name]
    details = {"epochs": epochs, "seed": run.seed, "weights": version.weights_digest(epochs)}
    found = KeptCheckpoints.of_measure(measured, epochs, checkpoints.interval)
    data = load_dataset(dataset)
    last_line = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last_line
        if done == len(found.epochs) or time.monotonic() - last_line >= progress_interval:
            last_line = time.monotonic()
            logger.info("%s: checkpoint %d/%d", identity.name, done, len(found.epochs))
        if stop and done < len(found.epochs):
            raise StoppedBySignalError(
                f"{identity.name} was stopped by {stop.received_or_term.name} after checkpoint "
                f"{done} of {len(found.epochs)}; start it again.",
                stop.received_or_term,
            )

    with (
        # So that a signal, too, ends it in order: the last job on a GPU ends CUDA MPS.
        stop_request("stopping after this checkpoint") as stop,
        own_gpu(
            device, runs_per_gpu, partial(stop.end_waiting_if_told, identity.name, "a GPU")
        ) as own,
        product_writer(out, identity, **details) as aside,
    ):
        execution = prepare(own, run.precision, data.image_shape, channels_last=channels_last)
        computed = registry.load(evaluation)(**evaluation.parameters)
        computed.write(EvaluationInput(run, data, execution, found, tell), aside)
