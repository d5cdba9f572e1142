"""The products of a plan, each with its identity, files, inputs, and its program's spec.

`outstanding` alone decides which products are still to be made. A complete product is up to date,
since its path identifies it fully.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from perigee.blocks.analyses import Analysis
from perigee.blocks.datasets import Dataset
from perigee.blocks.evaluations import Evaluation
from perigee.blocks.measures import Checkpoints, Measure
from perigee.configuration.requests import FigureRequest
from perigee.data.manifest import MANIFEST
from perigee.data.order import steps_per_epoch
from perigee.identity.products import (
    Identity,
    claims_identity,
    dataset_identity,
    evaluation_identity,
    figure_identity,
    measure_identity,
    run_identity,
    table_identity,
)
from perigee.paths import FIGURE_FILES
from perigee.spec import Claim, RunSpec
from perigee.store.claims import CLAIMS
from perigee.store.provenance import PROVENANCE, is_there
from perigee.store.runs import Version, find_version, version_name, versions
from perigee.store.tables import TABLE


class Product:
    """A product that the store holds, or that is to be made.

    Attributes:
        identity: the product's identity.
        inputs: the products that it is made from.
        files: names of files that a complete product has.
    """

    files: tuple[str, ...] = (PROVENANCE,)

    @property
    def identity(self) -> Identity:
        """The product's identity."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[Product, ...]:
        """The products that this one is made from."""
        return ()

    def awaited(self, store: Path) -> tuple[Product, ...]:
        """The products that must be complete before this one can be made."""
        return self.inputs

    @property
    def kind(self) -> str:
        """The product's kind."""
        return self.identity.kind

    @property
    def name(self) -> str:
        """The folder below the kind's folder; a rule's wildcard."""
        return self.identity.label

    @property
    def folder(self) -> str:
        """The folder below the store."""
        return f"{self.kind}/{self.name}"

    def is_complete(self, store: Path) -> bool:
        """Return whether the store holds the product; its files are not read."""
        return is_there(store / self.folder, self.files)

    def told(self, store: Path) -> dict[str, Any]:
        """The spec for the product's program, as JSON values."""
        raise NotImplementedError


@dataclass(frozen=True)
class DatasetProduct(Product):
    """A data set."""

    dataset: Dataset
    files = (MANIFEST, PROVENANCE)

    @cached_property
    def identity(self) -> Identity:
        """The data set's identity."""
        return dataset_identity(self.dataset)

    def told(self, store: Path) -> dict[str, Any]:
        """The data set with its parameters."""
        return self.dataset.to_dict()


@dataclass(frozen=True)
class RunProduct(Product):
    """A run up to a number of epochs, with the measures that are asked of it.

    Attributes:
        spec: the run's spec.
        dataset: the data set that it trains on.
        epochs: how many epochs it has.
        measures: the measures that products need from it.
        parent: the run that it forks from.
        shorter: a shorter version of the same run that is planned too: it is trained first, and
            training continues from it.
    """

    spec: RunSpec
    dataset: DatasetProduct
    epochs: int
    measures: tuple[Measure, ...] = ()
    parent: RunProduct | None = None
    shorter: RunProduct | None = field(default=None, compare=False)

    @cached_property
    def identity(self) -> Identity:
        """The run's identity, independent of its epochs and measures."""
        return run_identity(self.spec, self.dataset.identity.digest)

    @property
    def name(self) -> str:
        """The version's folder below that of the kind, <name>-<digest>/e<epochs>."""
        return f"{self.identity.label}/{version_name(self.epochs)}"

    @property
    def inputs(self) -> tuple[Product, ...]:
        """The data set, and the run that this one forks from."""
        return (self.dataset,) if self.parent is None else (self.dataset, self.parent)

    def awaited(self, store: Path) -> tuple[Product, ...]:
        """The inputs, and the shorter version that training would continue."""
        if self.shorter is None or self.is_trained(store):
            return self.inputs
        return (*self.inputs, self.shorter)

    @cached_property
    def measure_identities(self) -> dict[str, Identity]:
        """The identities of the run's measures, by name."""
        return {one.name: measure_identity(one, self.identity) for one in self.measures}

    @property
    def steps_per_epoch(self) -> int:
        """The number of updates of the weights in an epoch."""
        images = self.spec.dataset.train_images
        return steps_per_epoch(images, self.spec.batch_size, self.spec.gradient)

    @property
    def lineage(self) -> list[RunProduct]:
        """The run, and all runs that it descends from."""
        return [self, *(self.parent.lineage if self.parent else [])]

    def version(self, store: Path) -> Version | None:
        """Find a version that has all the epochs and measures; None if there is none."""
        wanted = list(self.measure_identities.values())
        return find_version(store / self.identity.folder, self.epochs, wanted)

    def is_complete(self, store: Path) -> bool:
        """Return whether some version in the store has all the epochs and measures."""
        return self.version(store) is not None

    def folders_in(self, store: Path) -> set[str]:
        """The folders below the store that the run is read from: a version and its measures."""
        version = self.version(store)
        return set() if version is None else self._folders_of(version, store)

    def folders_to_keep(self, store: Path) -> set[str]:
        """The folders it is read from; while it is incomplete, all that its job can use."""
        found = self.folders_in(store)
        if not found:
            for version in versions(store / self.identity.folder):
                found |= self._folders_of(version, store)
        return found

    def _folders_of(self, version: Version, store: Path) -> set[str]:
        epochs = min(self.epochs, version.epochs)
        measures = (version.measure(one, epochs) for one in self.measure_identities.values())
        paths = [version.folder, *(path for path in measures if path is not None)]
        return {str(path.relative_to(store)) for path in paths}

    def is_trained(self, store: Path) -> bool:
        """Return whether some version has all the epochs, whatever its measures."""
        return find_version(store / self.identity.folder, self.epochs) is not None

    def with_measures(self, measures: Collection[Measure]) -> RunProduct:
        """Return the same version with these measures together.

        Of checkpoints at several intervals, every one is kept that some interval keeps.
        """
        found = {measure.name: measure for measure in measures}
        intervals = [one.interval for one in measures if isinstance(one, Checkpoints)]
        if intervals:
            found[Checkpoints.name] = Checkpoints(interval=math.gcd(*intervals))
        wanted = tuple(found[name] for name in sorted(found))
        return self if wanted == self.measures else replace(self, measures=wanted)

    def told(self, store: Path) -> dict[str, Any]:
        """The run, its epochs and measures, and the folders of the run and of its inputs."""
        told: dict[str, Any] = {
            "run": self.spec.to_dict(),
            "epochs": self.epochs,
            "measures": [measure.to_dict() for measure in self.measures],
            "dataset": str(store / self.dataset.folder),
            "folder": str(store / self.identity.folder),
        }
        if self.parent is not None:
            told["parent"] = str(store / self.parent.identity.folder)
        return told


@dataclass(frozen=True)
class EvaluationProduct(Product):
    """An evaluation of a run's checkpoints.

    Attributes:
        evaluation: the evaluation's block.
        run: the run, with the checkpoints among its measures.
    """

    evaluation: Evaluation
    run: RunProduct

    @property
    def checkpoints(self) -> Checkpoints:
        """The measure that keeps the checkpoints."""
        return next(m for m in self.run.measures if isinstance(m, Checkpoints))

    @cached_property
    def identity(self) -> Identity:
        """The evaluation's identity."""
        kept = measure_identity(self.checkpoints, self.run.identity)
        return evaluation_identity(self.evaluation, self.run.identity, self.run.epochs, kept)

    @property
    def inputs(self) -> tuple[Product, ...]:
        """The run, and its data set."""
        return (self.run, self.run.dataset)

    def told(self, store: Path) -> dict[str, Any]:
        """The evaluation, and the run."""
        return {"evaluation": self.evaluation.to_dict(), **self.run.told(store)}


@dataclass(frozen=True)
class TableEntry:
    """A run that a table reads.

    Attributes:
        run: the run, with the measures that the table reads.
        swept: the values that distinguish it from the others.
        evaluations: the evaluations of its checkpoints that the table reads.
    """

    run: RunProduct
    swept: Mapping[str, Any]
    evaluations: tuple[EvaluationProduct, ...] = ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The run's part of the table's identity."""
        measures = {name: one.digest for name, one in self.run.measure_identities.items()}
        found = {
            "digest": self.run.identity.digest,
            "epochs": self.run.epochs,
            "swept": dict(self.swept),
            "measures": measures,
        }
        evaluations = {one.evaluation.name: one.identity.digest for one in self.evaluations}
        return {**found, "evaluations": evaluations} if evaluations else found


@dataclass(frozen=True)
class TableProduct(Product):
    """A table."""

    label: str
    analysis: Analysis
    entries: tuple[TableEntry, ...] = ()
    files = (TABLE, PROVENANCE)

    @cached_property
    def identity(self) -> Identity:
        """The table's identity."""
        return table_identity(self.label, self.analysis, [one.identity for one in self.entries])

    @property
    def seeds(self) -> list[int]:
        """The seeds by which it tells its runs apart."""
        return sorted({one.swept["seed"] for one in self.entries if "seed" in one.swept})

    @property
    def inputs(self) -> tuple[Product, ...]:
        """The runs, and the evaluations of their checkpoints."""
        return tuple(
            product for entry in self.entries for product in (entry.run, *entry.evaluations)
        )

    def told(self, store: Path) -> dict[str, Any]:
        """The analysis, and each run with the folders of its evaluations."""
        runs = [
            {
                **entry.run.told(store),
                "swept": dict(entry.swept),
                "evaluations": {
                    one.evaluation.name: str(store / one.folder) for one in entry.evaluations
                },
            }
            for entry in self.entries
        ]
        return {"name": self.label, "analysis": self.analysis.to_dict(), "runs": runs}


@dataclass(frozen=True)
class ClaimsProduct(Product):
    """The verdicts on a figure's claims."""

    request: FigureRequest
    tables: Mapping[str, TableProduct]
    files = (CLAIMS, PROVENANCE)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims with their wording."""
        return self.request.claims

    @cached_property
    def identity(self) -> Identity:
        """The verdicts' identity."""
        digests = {name: table.identity.digest for name, table in self.tables.items()}
        return claims_identity(self.request.key, self.claims, digests)

    @property
    def inputs(self) -> tuple[Product, ...]:
        """The tables that the claims are measured on."""
        return tuple(self.tables.values())

    def told(self, store: Path) -> dict[str, Any]:
        """The rules, and the folders of the tables."""
        return {
            "paper": self.request.paper,
            "figure": self.request.name,
            "claims": [claim.rule for claim in self.claims],
            "tables": {name: str(store / table.folder) for name, table in self.tables.items()},
            "seeds": {name: table.seeds for name, table in self.tables.items()},
        }


@dataclass(frozen=True)
class FigureProduct(Product):
    """A figure; ``claims`` is None if it has none."""

    request: FigureRequest
    stamp: Mapping[str, Any]
    tables: Mapping[str, TableProduct]
    claims: ClaimsProduct | None
    files = (*FIGURE_FILES, PROVENANCE)

    @cached_property
    def identity(self) -> Identity:
        """The figure's identity."""
        digests = {name: table.identity.digest for name, table in self.tables.items()}
        request = self.request
        return figure_identity(request.key, self.stamp, digests, request.parameters)

    @property
    def inputs(self) -> tuple[Product, ...]:
        """The tables that the figure draws."""
        return tuple(self.tables.values())

    @cached_property
    def products(self) -> dict[str, Product]:
        """All products that the figure is made of, itself and its claims included, by folder.

        Runs come in the order of the configuration.
        """
        found: dict[str, Product] = {}
        waiting: deque[Product] = deque([self, *([self.claims] if self.claims else [])])
        while waiting:
            product = waiting.popleft()
            if product.folder not in found:
                found[product.folder] = product
                waiting += product.inputs
        return found

    @property
    def runs(self) -> list[RunProduct]:
        """The runs that its tables read, and all that these descend from, as they are needed."""
        entries = (entry for table in self.tables.values() for entry in table.entries)
        return [run for entry in entries for run in entry.run.lineage]

    def told(self, store: Path) -> dict[str, Any]:
        """The key, the stamp, the folders of the tables, and the notebook's parameters."""
        tables = {name: str(store / table.folder) for name, table in self.tables.items()}
        told = {"key": self.request.key, "stamp": dict(self.stamp), "tables": tables}
        if self.request.parameters:
            told["parameters"] = dict(self.request.parameters)
        return told


def outstanding(
    targets: Iterable[Product], store: Path, runs: Mapping[str, RunProduct]
) -> dict[str, Product]:
    """The products that are still to be made for some targets, each after its inputs.

    Args:
        targets: any products.
        store: the store's folder.
        runs: every planned run by folder, with all measures that the plan needs from it. If one of
            them is needed, all are taken, so that the run need not be trained again for another.

    Returns:
        The products by folder below the store. Inputs of complete products are ignored.
    """
    found: dict[str, Product] = {}

    def visit(product: Product) -> None:
        if product.folder in found or product.is_complete(store):
            return
        product = runs.get(product.folder, product)
        for needed in product.awaited(store):
            visit(needed)
        found[product.folder] = product

    for target in targets:
        visit(target)
    return found
