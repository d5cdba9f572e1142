"""Gather the verdicts of all figures in one table, with the wording of the claims."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from perigee.claims.outcomes import COLUMNS
from perigee.cli import LogFile, read_spec
from perigee.store.claims import CLAIMS, with_prose
from perigee.store.provenance import read_product
from perigee.store.publishing import Publication
from perigee.store.writing import written_atomically


def main(
    spec: Annotated[
        str,
        typer.Option(
            help="JSON, or its file: of each figure the folder of its verdicts in the store, and "
            "the prose of each of its claims."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The table, e.g. results/laptop/claims.csv.")],
    version: Annotated[str, typer.Option(help="Digest of all verdicts together.")],
    log: LogFile = None,
) -> None:
    """Gather the verdicts of all figures in one table, with the wording of the claims."""
    parts = [pd.DataFrame(columns=list(COLUMNS))]
    for figure in read_spec(spec):
        folder = Path(figure["folder"])
        read_product(folder, [CLAIMS])
        judged = pd.read_csv(folder / CLAIMS, dtype=str, keep_default_na=False)
        parts.append(with_prose(judged, figure["claims"])[list(COLUMNS)])
    publication = Publication(out.parent, out.stem, [out.name])
    publication.withdraw()
    with written_atomically(out) as aside:
        pd.concat(parts).to_csv(aside, index=False, lineterminator="\n")
    publication.confirm(version)
