"""Train one run and take its measures."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from perigee.blocks.measures import Measure
from perigee.cli import (
    Capture,
    ChannelsLast,
    Digest,
    LogFile,
    RunsPerGpu,
    is_main_rank,
    is_one_of_several,
    read_spec,
    require_digest,
    spec_block,
)
from perigee.configuration.runs import resolved_run
from perigee.gpus import own_gpu, own_gpus
from perigee.identity.products import run_identity
from perigee.interruption import stop_request
from perigee.jobs.nodes import is_part, joined, run_on_nodes
from perigee.jobs.shared import end_with_parent, is_child, run_as_processes
from perigee.jobs.training import TrainingJob
from perigee.progress import noted_in
from perigee.store.locks import locked
from perigee.store.provenance import read_product
from perigee.store.runs import unfinished_folder
from perigee.store.writing import remove_abandoned


def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: run, epochs, measures, dataset (its folder) and, of a run "
            "that forks from another, parent (that one's folder)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the run's files: .../<run>/e<epochs>.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto.")] = "auto",
    capture: Capture = "auto",
    channels_last: ChannelsLast = "auto",
    runs_per_gpu: RunsPerGpu = 1,
    processes: Annotated[
        int,
        typer.Option(
            min=1, help="Processes that share the run, with a GPU each; torchrun's alike."
        ),
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Nodes of this SLURM job that these processes are on.")
    ] = 1,
    progress_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines.")
    ] = 10.0,
    save_interval: Annotated[
        float, typer.Option(min=0, help="Seconds between saves of the state.")
    ] = 60.0,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read images that stay files; 0: this one.")
    ] = 0,
    stage_images: Annotated[
        str,
        typer.Option(
            help="Folder on a disk of this node, such as '$TMPDIR', to which images that stay "
            "files are copied first; without it they are read where they are."
        ),
    ] = "",
    on_departure: Annotated[
        Literal["fail", "train_anew"],
        typer.Option(
            help="If a measure needs a finished run trained again and it leaves its course: fail, "
            "or train it anew, with all measures, beside the old one."
        ),
    ] = "fail",
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Train one run and take its measures.

    Told to stop by SIGTERM, SIGINT or SIGHUP, it saves its state and exits with 128 plus the
    signal's number. Several processes share the mini-batches of a run and compute the same, but for
    the order of sums. Started again, after that or any other end, it goes on from the state saved
    last, to the same bits. If beside OUT there is a shorter version of the same run (e100 beside
    e400), training goes on from its end. Of a finished run only missing measures are taken.
    """
    told = read_spec(spec, "run", "epochs", "measures", "dataset")
    dataset = Path(told["dataset"])
    run = resolved_run(told["run"], "run", "--spec")
    measures = [spec_block(Measure, one, "measures") for one in told["measures"]]
    identity = run_identity(run, read_product(dataset).digest)
    require_digest(identity, digest)
    job = TrainingJob(
        identity=identity,
        spec=run,
        epochs=told["epochs"],
        measures=tuple(measures),
        dataset=dataset,
        out=out,
        device=device,
        progress_interval=progress_interval,
        save_interval=save_interval,
        parent=Path(told["parent"]) if "parent" in told else None,
        workers=workers,
        stage_images=stage_images,
        capture=capture,
        channels_last=channels_last,
        new_trajectory=on_departure == "train_anew",
    )
    status = 0
    with stop_request() as stop:
        waits = partial(stop.end_waiting_if_told, identity.name)
        noted = partial(noted_in, unfinished_folder(job.run_folder, out.name), job.epochs)
        if is_child():
            end_with_parent()
            with noted() if is_main_rank() else nullcontext():
                job.run(stop)
        elif is_part():
            with joined(processes, nodes, stop) as part:

                def hears(awaited: str) -> None:
                    part.hear()
                    waits(awaited)

                job.stage(partial(hears, "its images"))
                with own_gpus(device, processes // nodes, partial(hears, "GPUs")) as gpus:
                    part.meet(partial(hears, "the other nodes"))
                    status = part.run(sys.argv[1:], gpus)
        elif not is_main_rank():
            job.run(stop)  # what the first process decides, which holds the lock and logs
        else:
            with locked(job.run_folder, partial(waits, "the run's lock")):
                remove_abandoned(out)
                if is_one_of_several():  # torchrun's, which numbers their GPUs
                    with noted():
                        job.run(stop)
                elif job.is_done():
                    pass
                elif nodes > 1:
                    status = run_on_nodes(sys.argv[1:], processes, nodes, stop)
                elif processes > 1:
                    job.stage(partial(waits, "its images"))
                    with own_gpus(device, processes, partial(waits, "GPUs")) as gpus:
                        status = run_as_processes(sys.argv[1:], processes, stop, gpus)
                else:
                    job.stage(partial(waits, "its images"))  # which takes long, before the GPU
                    with own_gpu(device, runs_per_gpu, partial(waits, "a GPU")) as own, noted():
                        replace(job, device=own).run(stop)
    if status:
        sys.exit(status)
