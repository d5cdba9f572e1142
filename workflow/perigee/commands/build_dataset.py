"""Build a data set: from the installed packages, or from downloaded or named files."""

from pathlib import Path
from typing import Annotated

import typer

from perigee.blocks.datasets import Dataset, ImageFolder
from perigee.cli import Digest, LogFile, read_spec, require_digest, spec_block
from perigee.data.building import build_dataset
from perigee.data.downloading import mirrored
from perigee.data.file_datasets import FileDataset
from perigee.data.folder_inventory import in_full
from perigee.data.saving import save_dataset
from perigee.errors import PerigeeError
from perigee.identity.products import dataset_identity
from perigee.store.writing import product_writer


def main(
    spec: Annotated[str, typer.Option(help="""JSON, e.g. '{"name": "digits"}', or its file.""")],
    out: Annotated[Path, typer.Option(help="Folder that gets the data set and provenance.json.")],
    downloads: Annotated[Path, typer.Option(help="Folder of downloaded files.")] = Path("data"),
    download: Annotated[
        bool, typer.Option(help="Fetch what that folder lacks, or only use what it holds.")
    ] = True,
    mirror: Annotated[
        str, typer.Option(help="Address of a folder that holds what is to be fetched.")
    ] = "",
    contents: Annotated[
        bool, typer.Option("--contents", help="Note the SHA-256 of the contents of listed files.")
    ] = False,
    digest: Digest = None,
    log: LogFile = None,
) -> None:
    """Build a data set: from the installed packages, or from downloaded or named files.

    Of a folder of images it looks at splits, classes, the number of training images, and whether 32
    images per split, chosen at random, can be read; all that is wrong is told at once.
    """
    dataset = spec_block(Dataset, read_spec(spec), "dataset")
    identity = dataset_identity(dataset)
    require_digest(identity, digest)
    try:
        with mirrored(mirror):
            built = build_dataset(dataset, downloads, download)
    except PerigeeError as error:
        if isinstance(dataset, ImageFolder):
            raise in_full(error, dataset, downloads) from error
        raise
    if contents and isinstance(built, FileDataset):
        built = built.with_contents()
    with product_writer(out, identity, origin=built.origin) as aside:
        save_dataset(built, aside)
