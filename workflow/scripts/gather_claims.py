"""Gather the verdicts of all figures in one table."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from perigee.claims.judging import COLUMNS
from perigee.cli import LogFile, program
from perigee.store.claims import CLAIMS
from perigee.store.provenance import read_product
from perigee.store.publishing import Publication
from perigee.store.writing import written_atomically


@program
def main(
    out: Annotated[Path, typer.Option(help="The table, e.g. results/laptop/claims.csv.")],
    version: Annotated[str, typer.Option(help="Digest of all verdicts together.")],
    claims: Annotated[
        list[Path] | None, typer.Option(help="A figure's claims in the store; may be repeated.")
    ] = None,
    log: LogFile = None,
) -> None:
    """Gather the verdicts of all figures in one table."""
    parts = [pd.DataFrame(columns=list(COLUMNS))]
    for folder in claims or []:
        read_product(folder, [CLAIMS])
        parts.append(pd.read_csv(folder / CLAIMS, dtype=str, keep_default_na=False))
    publication = Publication(out.parent, out.stem, [out.name])
    publication.withdraw()
    with written_atomically(out) as aside:
        pd.concat(parts).to_csv(aside, index=False)
    publication.confirm(version)


if __name__ == "__main__":
    main()
