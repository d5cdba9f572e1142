"""A finished product under a second name, which survives that its outputs are deleted.

Snakemake deletes the outputs of a job that it takes for failed, and before it starts a job anew.
The files of a run therefore get a second name (a hard link, without cost) that is no output of any
rule; the next start puts them back instead of training again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from perigee.store.provenance import PROVENANCE, read_provenance
from perigee.store.writing import link_or_copy


def keep_spare(product: Path, spare: Path) -> None:
    """Give a complete product's files a second name in the folder ``spare``."""
    shutil.rmtree(spare, ignore_errors=True)
    spare.mkdir(parents=True)
    for name in (*read_provenance(product).files, PROVENANCE):
        link_or_copy(product / name, spare / name)


def restore_spare(spare: Path, product: Path) -> None:
    """Put a product's files back, the provenance last."""
    product.mkdir(parents=True, exist_ok=True)
    (product / PROVENANCE).unlink(missing_ok=True)
    for name in (*read_provenance(spare).files, PROVENANCE):
        link_or_copy(spare / name, product / name)
