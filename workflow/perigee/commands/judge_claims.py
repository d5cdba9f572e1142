"""Judge one figure's claims: measure their quantities on its tables."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from perigee.claims.judging import judgements
from perigee.cli import Digest, LogFile, read_spec, require_digest
from perigee.identity.products import claims_identity
from perigee.spec import Claim
from perigee.store.claims import CLAIMS
from perigee.store.provenance import read_product
from perigee.store.tables import TABLE
from perigee.store.writing import product_writer


def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: paper, figure, claims, and by the tables' names their folders "
            "and the seeds of their runs."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder that gets claims.csv, provenance.json.")],
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Judge one figure's claims: measure their quantities on its tables."""
    given = read_spec(spec, "paper", "figure", "claims", "tables", "seeds")
    paper, figure = given["paper"], given["figure"]
    claims = [Claim.from_dict(claim) for claim in given["claims"]]
    folders = {name: Path(folder) for name, folder in given["tables"].items()}
    digests = {name: read_product(folder, [TABLE]).digest for name, folder in folders.items()}
    identity = claims_identity(f"{paper}_{figure}", claims, digests)
    require_digest(identity, digest)
    tables = {name: pd.read_parquet(folder / TABLE) for name, folder in folders.items()}
    with product_writer(out, identity) as aside:
        judged = judgements(paper, figure, claims, tables, given["seeds"])
        judged.to_csv(aside / CLAIMS, index=False, lineterminator="\n")
