"""Train one run: write its tables, its final state and, if wanted, its trajectory."""

from pathlib import Path
from typing import Annotated

import typer

from perigee.cli import Digest, LogFile, program, read_spec, require_digest
from perigee.configuration.studies import resolved_run
from perigee.data.arrays import ArrayDataset
from perigee.identity.products import run_identity
from perigee.progress import RunProgress
from perigee.store.datasets import DATA
from perigee.store.provenance import read_product
from perigee.store.runs import run_details, write_tables
from perigee.store.writing import product_writer
from perigee.training.continuation import continue_longest, save_state
from perigee.training.execution import prepare
from perigee.training.record import RunRecord
from perigee.training.trainer import Trainer, train
from perigee.training.trajectory import TrajectoryWriter


@program
def main(
    spec: Annotated[str, typer.Option(help="The run as JSON, or a file that holds it.")],
    dataset: Annotated[Path, typer.Option(help="Folder of the data set (build_dataset.py).")],
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs in all.")],
    out: Annotated[Path, typer.Option(help="Folder for the run's files: .../<run>/e<epochs>.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto.")] = "auto",
    keep_every: Annotated[
        int | None, typer.Option(min=1, help="Keep a checkpoint every so many epochs.")
    ] = None,
    progress_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines.")
    ] = 10.0,
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Train one run: write its tables, its final state and, if wanted, its trajectory.

    If beside OUT there is a shorter version of the same run (e100 beside e400), training goes on
    from its final state.
    """
    run = resolved_run(read_spec(spec), "run", "--spec")
    identity = run_identity(run, read_product(dataset, [DATA]).digest)
    require_digest(identity, digest)
    data = ArrayDataset.load(dataset / DATA)
    trainer = Trainer(run, data, prepare(device, run.precision, data.image_shape))
    progress = RunProgress(identity.name, epochs, progress_interval)
    with product_writer(out, identity) as product:
        # A trajectory has to be seen from its first epoch on.
        record = (
            RunRecord()
            if keep_every
            else continue_longest(trainer, out.parent, epochs, identity.digest)
        )
        trajectory = (
            TrajectoryWriter(product.aside, trainer, epochs, keep_every) if keep_every else None
        )

        def after_epoch(record: RunRecord) -> None:
            progress.after_epoch(record)
            if trajectory:
                trajectory.after_epoch(record)

        done_before = record.epochs
        train(trainer, epochs, record, after_epoch)
        if trajectory:
            trajectory.close()
        write_tables(product.aside, record.metrics_table(), record.steps_table())
        save_state(product.aside, trainer)
        product.details |= run_details(
            epochs, run.seed, record.stopped_at_step, record.epochs - done_before
        )


if __name__ == "__main__":
    main()
