"""Receipts: the files that tell Snakemake that a product was made.

Snakemake deletes the outputs of jobs that it takes for failed, and again before it restarts a job.
So its outputs are empty files outside the store, one each time a product is made. A receipt is
requested only while its product is still to be made, and then has a name never used before: none is
stale, and deleting all of them changes nothing.
"""

from __future__ import annotations

from pathlib import Path


class Receipts:
    """The receipts of one results folder.

    Args:
        folder: the folder that contains them.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._numbers: dict[str, int] = {}

    def of(self, product: str) -> str:
        """The path of the next receipt of a product.

        Args:
            product: the product's folder below the store.
        """
        return f"{self.folder}/{product}.{self.number(product)}"

    def number(self, product: str) -> int:
        """The number of a product's next receipt, from 1; the name of its job's log has it too."""
        if product not in self._numbers:
            path = Path(self.folder) / product
            used = [
                int(number)
                for one in path.parent.glob(f"{path.name}.*")
                if (number := one.name.rpartition(".")[2]).isdigit()
            ]
            self._numbers[product] = 1 + max(used, default=0)
        return self._numbers[product]
