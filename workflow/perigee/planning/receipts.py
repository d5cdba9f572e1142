"""Receipts: the files by which Snakemake is told that a product was made.

Snakemake deletes the outputs of jobs that it takes for failed, and before it starts a job anew. So
its outputs are empty files outside the store, one for each making of a product. A receipt is asked
for only while its product is still to be made, and then has a name that was never used before: none
is stale, and deleting all of them changes nothing.
"""

from __future__ import annotations

from pathlib import Path


class Receipts:
    """The receipts of one results folder.

    Args:
        folder: that they lie in.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._numbers: dict[str, int] = {}

    def of(self, product: str) -> str:
        """The path of the next receipt of a product.

        Args:
            product: its folder below the store.
        """
        return f"{self.folder}/{product}.{self.number(product)}"

    def number(self, product: str) -> int:
        """The number of the next receipt of a product, from 1; its job's log has it in its name."""
        if product not in self._numbers:
            path = Path(self.folder) / product
            used = [
                int(number)
                for one in path.parent.glob(f"{path.name}.*")
                if (number := one.name.rpartition(".")[2]).isdigit()
            ]
            self._numbers[product] = 1 + max(used, default=0)
        return self._numbers[product]
