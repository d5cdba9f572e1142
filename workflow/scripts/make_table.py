"""Make one table: compute it from a formula, or gather it from runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from perigee import registry
from perigee.analysis.inputs import RunInput
from perigee.blocks.measures import Checkpoints
from perigee.cli import Digest, LogFile, program, read_spec, require_digest
from perigee.configuration.studies import resolved_run
from perigee.configuration.validation import validated_block
from perigee.data.manifest import MANIFEST
from perigee.errors import PerigeeError
from perigee.identity.products import measure_identity, run_identity, table_identity
from perigee.store.provenance import read_product
from perigee.store.runs import ROWS, STATE, find_version
from perigee.store.tables import TABLE
from perigee.store.writing import product_writer


@program
def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: name, analysis with its parameters, and of each run its spec, "
            "epochs, measures, folder, swept values, and the folders of its evaluations."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder that gets table.parquet, provenance.json.")],
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Make one table: compute it from a formula, or gather it from runs."""
    given = read_spec(spec, "name", "analysis", "runs")
    analysis = validated_block("analysis", given["analysis"], "--spec", "analysis")
    found = [_run(told) for told in given["runs"]]
    identity = table_identity(given["name"], analysis, [part for part, _ in found])
    require_digest(identity, digest)
    tabulate = registry.load(analysis)
    runs = [run for _, run in found]
    table = tabulate(runs, **analysis.parameters)
    with product_writer(out, identity) as product:
        table.to_parquet(product.aside / TABLE, index=False)


def _run(told: dict[str, Any]) -> tuple[dict[str, Any], RunInput]:
    """A run's part of the table's identity, and its verified files."""
    run = resolved_run(told["run"], "run", "--spec")
    measures = [validated_block("measure", one, "--spec", "measures") for one in told["measures"]]
    dataset = read_product(Path(told["dataset"]), [MANIFEST]).digest
    trained = run_identity(run, dataset)
    identities = {one.name: measure_identity(one, trained) for one in measures}
    folder, epochs = Path(told["folder"]), told["epochs"]
    version = find_version(folder, epochs, list(identities.values()))
    if version is None:
        raise PerigeeError(
            f"{folder} has no version of {epochs} epochs with {', '.join(identities)}; train it."
        )
    details = read_product(version.folder, [STATE]).details
    folders = {}
    for name, identity in identities.items():
        measured = version.measure(identity, epochs)
        assert measured is not None  # `find_version` looked
        read_product(measured, [ROWS])
        folders[name] = measured
    evaluations = {name: Path(one) for name, one in told["evaluations"].items()}
    evaluated = {}
    for name, one in evaluations.items():
        provenance = read_product(one, [])
        read_product(one, provenance.files)
        if provenance.inputs["run"] != trained.digest:
            raise PerigeeError(f"{one} is not an evaluation of {folder}; give that one's folder.")
        evaluated[name] = provenance.digest
    part = {
        "digest": trained.digest,
        "epochs": epochs,
        "swept": told["swept"],
        "measures": {name: one.digest for name, one in identities.items()},
        **({"evaluations": evaluated} if evaluated else {}),
    }
    stopped = details["stopped_at_step"]
    kept = next((one for one in measures if isinstance(one, Checkpoints)), None)
    return part, RunInput(
        epochs=epochs,
        steps_per_epoch=details["steps_per_epoch"],
        measures=folders,
        swept=told["swept"],
        stopped=stopped is not None and stopped < epochs * details["steps_per_epoch"],
        fork_epoch=details.get("fork_epoch", 0),
        checkpoint_interval=1 if kept is None else kept.interval,
        evaluations=evaluations,
    )


if __name__ == "__main__":
    main()
