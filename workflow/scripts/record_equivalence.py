"""Prove that a change of code alters no number, so that finished results stay valid."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from perigee.cli import program
from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import SCALES
from perigee.equivalence.golden import run_kinds
from perigee.equivalence.proving import Bench, Proof, changes, prove_dataset, prove_runs
from perigee.equivalence.trees import Tree, unpacked
from perigee.identity.equivalences import Equivalence, read_equivalences, write_equivalences
from perigee.paths import EQUIVALENCES, ROOT, shown
from perigee.planning.plan import checked_configuration, make_plan
from perigee.registry import REGISTRY
from perigee.store.provenance import versions
from perigee.store.writing import written_atomically


@program
def main(
    old: Annotated[
        str, typer.Option(help="Git revision of the code that the results were made by.")
    ] = "HEAD",
    downloads: Annotated[
        Path | None, typer.Option(help="Folder of downloaded files, if not the configuration's.")
    ] = None,
    device: Annotated[str, typer.Option(help="What to train the golden runs on.")] = "cpu",
) -> None:
    """Prove that a change of code alters no number, so that finished results stay valid.

    For each data set and each kind of run whose code differs between OLD and the working tree,
    both codes build the data set, or train short golden runs, and every bit is compared. Only if
    all are the same, workflow/equivalences.json gets an entry for each, to be committed with the
    change: the new code then counts as the old, and nothing is trained again. If anything differs,
    the first difference is named, the exit status is 1 and nothing is written.
    """
    settings = checked_configuration(read_yaml(ROOT / "config" / "config.yaml"))
    plans = [make_plan(settings["papers"], scale) for scale in SCALES]
    kinds = run_kinds(run.spec for plan in plans for run in plan.runs.values())
    with tempfile.TemporaryDirectory(prefix="perigee-equivalence-") as temporary:
        tree, commit = unpacked(old, Path(temporary) / "tree")
        found = changes(tree, kinds, REGISTRY["dataset"])
        if not found:
            typer.echo(f"No code of a run or data set differs from that of {commit[:12]}.")
            return
        bench = Bench(
            old=tree,
            new=Tree("working tree", ROOT),
            folder=Path(temporary) / "made",
            downloads=downloads or Path(settings["data"]),
            device=device,
        )
        proven: list[Proof] = []
        for change in [change for change in found if change.kind == "dataset"]:
            failure = prove_dataset(bench, change)
            if failure:
                typer.echo(f"{change}: not recorded, it cannot be built here. {failure}")
            else:
                proven.append((change, ("all arrays",)))
        proven += prove_runs(bench, [change for change in found if change.kind == "run"])
    recorded = [
        Equivalence(
            kind=change.kind,
            components=change.components,
            old=change.old,
            new=change.new,
            commit=commit,
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            versions=versions(),
            compared=(*compared, f"on {device}"),
        )
        for change, compared in proven
    ]
    if not recorded:
        return
    with written_atomically(EQUIVALENCES) as aside:
        write_equivalences(aside, [*read_equivalences(), *recorded])
    for change, compared in proven:
        runs = f", {len(compared)} golden runs" if change.kind == "run" else ""
        typer.echo(f"{change}: {change.new} counts as {change.old}{runs}; every bit is the same.")
    typer.echo(f"Recorded in {shown(EQUIVALENCES)}; commit it together with the change.")


if __name__ == "__main__":
    main()
