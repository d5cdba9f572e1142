"""Read a run of fewer epochs or checkpoints off another version of it; nothing is trained."""

from pathlib import Path
from typing import Annotated

import typer

from perigee.checkpoints import Trajectory
from perigee.cli import LogFile, program
from perigee.identity.products import Identity
from perigee.store.provenance import read_product
from perigee.store.runs import read_tables, run_details, write_tables
from perigee.store.trajectories import TRAJECTORY_FILES, kept_at
from perigee.store.writing import product_writer
from perigee.training.record import first_epochs


@program
def main(
    longer: Annotated[Path, typer.Option(help="Folder of the longer version: .../e1000.")],
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs are wanted.")],
    out: Annotated[Path, typer.Option(help="Folder for the shorter version: .../e400.")],
    keep_every: Annotated[
        int | None, typer.Option(min=1, help="Take over the checkpoint of every so many epochs.")
    ] = None,
    log: LogFile = None,
) -> None:
    """Read a run of fewer epochs or checkpoints off another version of it; nothing is trained."""
    all_metrics, all_steps, source = read_tables(longer)
    metrics, steps = first_epochs(all_metrics, all_steps, epochs)
    # A run stops at its end, so if anything was cut off, the shorter run did not stop.
    stopped = source.details["stopped_at_step"] if len(metrics) == len(all_metrics) else None
    identity = Identity(source.kind, source.name, source.spec, source.code, source.inputs)
    details = run_details(
        epochs=epochs,
        seed=source.details["seed"],
        stopped_at_step=stopped,
        trained_epochs=0,
        fork_epoch=source.details.get("fork_epoch"),
        keep_every=keep_every,
    )
    with product_writer(out, identity, **details) as product:
        write_tables(product.aside, metrics, steps)
        if keep_every is not None:
            read_product(longer, TRAJECTORY_FILES)
            last = int(metrics["epoch"].iloc[-1])
            Trajectory.of_run(longer).copy(product.aside, kept_at(last, keep_every))


if __name__ == "__main__":
    main()
