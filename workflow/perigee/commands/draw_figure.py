"""Draw one figure: execute its notebook on its tables."""

from pathlib import Path
from typing import Annotated

import typer

from perigee.cli import Digest, LogFile, read_spec, require_digest
from perigee.identity.products import figure_identity
from perigee.paths import NOTEBOOKS, template
from perigee.plotting.notebook import execute_notebook
from perigee.store.provenance import read_product
from perigee.store.tables import TABLE
from perigee.store.writing import product_writer


def main(
    spec: Annotated[
        str,
        typer.Option(
            help=(
                "JSON, or its file: key, stamp, the folder of each table by name, and the "
                "notebook's further parameters, if it has any."
            )
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder that gets figure.pdf, .png, .csv and so on.")],
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Draw one figure: execute its notebook on its tables.

    If the notebook fails, it is kept as far as it came beside the log.
    """
    given = read_spec(spec, "key", "stamp", "tables")
    key, stamp, parameters = given["key"], given["stamp"], given.get("parameters")
    tables = {name: Path(folder) for name, folder in given["tables"].items()}
    digests = {name: read_product(folder, [TABLE]).digest for name, folder in tables.items()}
    identity = figure_identity(key, stamp, digests, parameters)
    require_digest(identity, digest)
    with product_writer(out, identity) as aside:
        execute_notebook(
            NOTEBOOKS / f"{template(key)}.py",
            folder=aside,
            tables={name: folder / TABLE for name, folder in tables.items()},
            stamp=stamp,
            failed_copy=(log or out / "log").with_suffix(".ipynb"),
            further=parameters,
        )
