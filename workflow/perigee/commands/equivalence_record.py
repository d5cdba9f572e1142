"""Prove that a change of code alters no number, so that finished results stay valid."""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from perigee.configuration.scales import known_scales
from perigee.configuration.settings import read_settings
from perigee.equivalence.golden import golden_products
from perigee.equivalence.proving import check_out, compare
from perigee.errors import PerigeeError
from perigee.identity.equivalences import Proof, read_proofs, write_proofs
from perigee.paths import EQUIVALENCES, IS_INSTALLED, ROOT, configuration_file, shown
from perigee.planning.plan import make_plan
from perigee.store.provenance import versions
from perigee.store.writing import written_atomically


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

    For all code that differs between OLD and the working tree, both build data sets and train short
    golden runs: of the combinations of blocks in all papers, studies and scales, and of each
    registered block. Every bit is compared. Where all are the same,
    workflow/equivalences.json gets an entry, to be committed with the change: the new code then
    counts as the old, and nothing is made again. Where something differs, the first difference is
    named, nothing is recorded of that code, and the exit status is 1.
    """
    if IS_INSTALLED:
        raise PerigeeError(
            "Only a clone of Perigee's repository has the older code to compare with; run it there."
        )
    settings = read_settings([configuration_file()])
    plans = [make_plan(settings["papers"], scale, settings["seeds"]) for scale in known_scales()]
    planned = [run.spec for plan in plans for run in plan.runs.values()]
    sources = (downloads or Path(settings["data"])).absolute()
    with tempfile.TemporaryDirectory(prefix="perigee-equivalence-") as folder:
        commit = check_out(old, Path(folder, "tree"))
        trees, golden = (Path(folder, "tree"), ROOT), golden_products(planned)
        found = compare(trees, golden, Path(folder), sources, device)
    proofs, unproven = read_proofs(EQUIVALENCES), []
    for (kind, before, now), products in found.items():
        blocks = ", ".join(products[0][0]["blocks"])
        name = f"{kind} {blocks}"
        problems = [f"{json.dumps(one['run'])}: {told}" for one, told in products if told]
        if problems:
            unproven.append(name)
            typer.echo(f"{name}: nothing is recorded. {problems[0]}")
            continue
        how = {
            "blocks": blocks,
            "products": len(products),
            "commit": commit,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "versions": versions(),
            "device": device,
        }
        proofs.setdefault(kind, {})[now] = Proof(counts_as=before, how=how)
        typer.echo(f"{name}: {now} counts as {before}; {len(products)} products are the same.")
    if not found:
        typer.echo(f"No code of a run, measure or data set differs from that of {commit[:12]}.")
    if len(found) > len(unproven):
        with written_atomically(EQUIVALENCES) as aside:
            write_proofs(aside, proofs)
        typer.echo(f"Recorded in {shown(EQUIVALENCES)}; commit it together with the change.")
    if unproven:
        raise PerigeeError(f"Nothing is proven of {'; '.join(unproven)}; see above.")
