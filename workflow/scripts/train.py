"""Train one run: write its tables, its final state and, if wanted, its trajectory."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from perigee.cli import Digest, LogFile, RunsPerGpu, program, read_spec, require_digest
from perigee.configuration.studies import resolved_run
from perigee.errors import StoppedBySignalError
from perigee.gpus import own_gpu
from perigee.identity.products import run_identity
from perigee.interruption import stop_request
from perigee.jobs.training import TrainingJob
from perigee.progress import noted_in
from perigee.store.datasets import DATA
from perigee.store.locks import locked
from perigee.store.provenance import read_product
from perigee.store.runs import unfinished_folder
from perigee.store.writing import remove_abandoned


@program
def main(
    spec: Annotated[str, typer.Option(help="The run as JSON, or a file that holds it.")],
    dataset: Annotated[Path, typer.Option(help="Folder of the data set (build_dataset.py).")],
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs in all.")],
    out: Annotated[Path, typer.Option(help="Folder for the run's files: .../<run>/e<epochs>.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto.")] = "auto",
    runs_per_gpu: RunsPerGpu = 1,
    keep_every: Annotated[
        int | None, typer.Option(min=1, help="Keep a checkpoint every so many epochs.")
    ] = None,
    progress_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines.")
    ] = 10.0,
    save_interval: Annotated[
        float, typer.Option(min=0, help="Seconds between saves of the state.")
    ] = 60.0,
    parent: Annotated[
        Path | None,
        typer.Option(help="Folder of the run to fork from, where the spec has a parent."),
    ] = None,
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Train one run: write its tables, its final state and, if wanted, its trajectory.

    Told to stop by SIGTERM or SIGINT, it saves its state and exits with 128 plus the signal's
    number. Started again, after that or any other end, it goes on from the state saved last, to the
    same bits. If beside OUT there is a shorter version of the same run (e100 beside e400), training
    goes on from its end.
    """
    run = resolved_run(read_spec(spec), "run", "--spec")
    identity = run_identity(run, read_product(dataset, [DATA]).digest)
    require_digest(identity, digest)
    job = TrainingJob(
        identity=identity,
        spec=run,
        epochs=epochs,
        dataset=dataset,
        out=out,
        device=device,
        keep_every=keep_every,
        progress_interval=progress_interval,
        save_interval=save_interval,
        parent=parent,
    )
    with stop_request() as stop:

        def end_waiting_if_told() -> None:
            if stop.received is not None:
                raise StoppedBySignalError(
                    f"{identity.name}: stopped by {stop.received.name} while waiting.",
                    stop.received,
                )

        with locked(job.run_folder, end_waiting_if_told):
            remove_abandoned(out)
            if not job.is_done():
                with (
                    own_gpu(device, runs_per_gpu, end_waiting_if_told) as own,
                    noted_in(unfinished_folder(job.run_folder, job.version), epochs),
                ):
                    replace(job, device=own).run(stop)


if __name__ == "__main__":
    main()
