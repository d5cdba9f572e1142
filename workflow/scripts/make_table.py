"""Make one table: compute it from a formula, or gather it from runs."""

from pathlib import Path
from typing import Annotated

import typer

from perigee import registry
from perigee.analysis.inputs import RunInput
from perigee.cli import Digest, LogFile, program, read_spec, require_digest
from perigee.configuration.validation import validated_component
from perigee.errors import PerigeeError
from perigee.identity.products import table_identity
from perigee.store.predictions import PREDICTIONS_FILES
from perigee.store.provenance import read_product
from perigee.store.runs import TABLES
from perigee.store.tables import TABLE
from perigee.store.trajectories import TRAJECTORY_FILES
from perigee.store.writing import product_writer

KEPT = (*TABLES, *TRAJECTORY_FILES)


@program
def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: name, analysis with its parameters, and of each run its "
            "folder and swept values, and where checkpoints are read the predictions' folder."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder that gets table.parquet, provenance.json.")],
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Make one table: compute it from a formula, or gather it from runs."""
    given = read_spec(spec, "name", "analysis", "runs")
    analysis = validated_component("analysis", given["analysis"], "--spec", "analysis")
    inputs, read = [], []
    for run in given["runs"]:
        folder = Path(run["folder"])
        predictions = Path(run["predictions"]) if "predictions" in run else None
        provenance = read_product(folder, TABLES if predictions is None else KEPT)
        stopped = provenance.details["stopped_at_step"] is not None
        fork_epoch = provenance.details.get("fork_epoch", 0)
        inputs.append(
            RunInput(
                folder,
                run["swept"],
                stopped,
                fork_epoch=fork_epoch,
                predictions=predictions,
            )
        )
        epochs = provenance.details["epochs"]
        made_from = {"digest": provenance.digest, "epochs": epochs, "swept": run["swept"]}
        if predictions is not None:
            predicted = read_product(predictions, PREDICTIONS_FILES)
            version = {key: provenance.details[key] for key in ("epochs", "keep_every")}
            if (predicted.inputs["run"], predicted.spec) != (provenance.digest, version):
                raise PerigeeError(f"{predictions} holds no predictions of {folder}; give those.")
            made_from["predictions"] = predicted.digest
        read.append(made_from)
    identity = table_identity(given["name"], analysis, read)
    require_digest(identity, digest)
    table = registry.load("analysis", analysis)(inputs, **analysis.parameters)
    with product_writer(out, identity) as product:
        table.to_parquet(product.aside / TABLE, index=False)


if __name__ == "__main__":
    main()
