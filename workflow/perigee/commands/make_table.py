"""Make one table: compute it from a formula, or gather it from runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from perigee import registry
from perigee.analysis.inputs import RunInput
from perigee.blocks.analyses import Analysis
from perigee.blocks.evaluations import Evaluation
from perigee.blocks.measures import Checkpoints, Measure
from perigee.cli import Digest, LogFile, read_spec, require_digest, spec_block
from perigee.configuration.overlays import flattened
from perigee.configuration.runs import column_value, resolved_run
from perigee.data.manifest import MANIFEST, Manifest
from perigee.errors import PerigeeError
from perigee.identity.products import (
    evaluation_identity,
    measure_identity,
    run_identity,
    table_identity,
)
from perigee.spec import RunSpec
from perigee.store.provenance import read_product
from perigee.store.runs import STATE, find_version
from perigee.store.tables import TABLE
from perigee.store.writing import product_writer


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
    analysis = spec_block(Analysis, given["analysis"], "analysis")
    found = [_run(told) for told in given["runs"]]
    identity = table_identity(given["name"], analysis, [part for part, _ in found])
    require_digest(identity, digest)
    tabulate = registry.load(analysis)
    table = tabulate([run for _, run in found], **analysis.parameters)
    specs = [_settings(resolved_run(told["run"], "run", "--spec")) for told in given["runs"]]
    table = _with_settings(table, specs)
    with product_writer(out, identity) as aside:
        table.to_parquet(aside / TABLE, index=False)


def _settings(run: RunSpec) -> dict[str, Any]:
    """All values in effect by dotted key, as a column can hold them; a fork's own alone."""
    values = flattened({k: v for k, v in run.full_dict().items() if k != "parent"})
    return {key: column_value(value) for key, value in values.items()}


def _with_settings(table: pd.DataFrame, specs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table with every value of its runs' specs, behind the columns that it has itself."""
    if "run" not in table:  # computed from a formula, or over all runs
        return table
    names = dict.fromkeys(name for spec in specs for name in spec if name not in table)
    columns = {
        name: table["run"].map({number: spec.get(name) for number, spec in enumerate(specs)})
        for name in names
    }
    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis="columns")


def _run(told: dict[str, Any]) -> tuple[dict[str, Any], RunInput]:
    """A run's part of the table's identity, and its verified files."""
    run = resolved_run(told["run"], "run", "--spec")
    measures = [spec_block(Measure, one, "measures") for one in told["measures"]]
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
    folders = version.verified(identities, epochs)
    kept = next((one for one in measures if isinstance(one, Checkpoints)), None)
    evaluations, evaluated = {}, {}
    for name, place in ((name, Path(path)) for name, path in told.get("evaluations", {}).items()):
        evaluation = spec_block(Evaluation, {"name": name}, "evaluations")
        checkpoints = identities[Checkpoints.name]
        identity = evaluation_identity(evaluation, trained, epochs, checkpoints)
        provenance = read_product(place, [])
        if provenance.digest != identity.digest:
            raise PerigeeError(
                f"{place} is not the evaluation {identity.digest} of the checkpoints of {folder}; "
                "give that one's folder."
            )
        if provenance.details["weights"] != version.weights_digest(epochs):
            raise PerigeeError(
                f"{place} was computed of another trajectory of the run than {version.folder}; "
                "delete its folder and run again."
            )
        read_product(place, provenance.files)
        evaluations[evaluation.role], evaluated[name] = place, provenance.digest
    part = {
        "digest": trained.digest,
        "epochs": epochs,
        "swept": told["swept"],
        "measures": {name: one.digest for name, one in identities.items()},
        **({"evaluations": evaluated} if evaluated else {}),
    }
    stopped = details["stopped_at_step"]
    return part, RunInput(
        epochs=epochs,
        steps_per_epoch=details["steps_per_epoch"],
        measures={one.role: folders[one.name] for one in measures},
        swept=told["swept"],
        stopped=stopped is not None and stopped < epochs * details["steps_per_epoch"],
        fork_epoch=details.get("fork_epoch", 0),
        checkpoint_interval=1 if kept is None else kept.interval,
        evaluations=evaluations,
        optimiser=run.optimiser.full_dict(),
        classes=Manifest.load(Path(told["dataset"])).classes,
    )
