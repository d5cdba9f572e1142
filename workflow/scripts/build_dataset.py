"""Build a data set's array file: from the installed packages, or from downloaded files."""

from pathlib import Path
from typing import Annotated

import typer

from perigee import registry
from perigee.cli import Digest, LogFile, program, read_spec, require_digest
from perigee.configuration.validation import validated_component
from perigee.data.arrays import ArrayDataset
from perigee.identity.products import dataset_identity
from perigee.store.datasets import DATA
from perigee.store.writing import product_writer


@program
def main(
    spec: Annotated[str, typer.Option(help="""JSON, e.g. '{"name": "digits"}', or its file.""")],
    out: Annotated[Path, typer.Option(help="Folder that gets data.safetensors, provenance.json.")],
    downloads: Annotated[Path, typer.Option(help="Folder of downloaded files.")] = Path("data"),
    download: Annotated[
        bool, typer.Option(help="Fetch what that folder lacks, or only use what it holds.")
    ] = True,
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Build a data set's array file: from the installed packages, or from downloaded files."""
    dataset = validated_component("dataset", read_spec(spec), "--spec", "dataset")
    identity = dataset_identity(dataset)
    require_digest(identity, digest)
    build = registry.load("dataset", dataset)
    built: ArrayDataset = build(downloads, download, **dataset.parameters)
    with product_writer(out, identity, origin=built.origin) as product:
        built.save(product.aside / DATA)


if __name__ == "__main__":
    main()
