"""A small configuration, and stores whose products are empty files with provenance."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from perigee.identity import code
from perigee.identity.products import Identity
from perigee.planning.layout import Layout
from perigee.planning.plan import Plan
from perigee.planning.products import Product, RunProduct
from perigee.store.provenance import FORMAT, PROVENANCE, Provenance, checksum
from perigee.store.runs import MEASURE_FILES, RUN_FILES
from support.configuration import plan_of, shipped_paper

SMALL = """
citation: Someone 2020
runs:
  base:
    dataset: {name: digits}
    model: {name: convnet, scale_invariant: true, width: 4}
    optimiser: {name: sgd, learning_rate: 0.3, weight_decay: 0.01}
    batch_size: 128
    seed: 0
  fork:
    parent: {run: base, epochs: 4, at: {name: before_destabilisation, epochs: 1}}
    constraint: {name: fixed_norm}
figures:
  fig2:
    title: A formula
    tables:
      steps: {analysis: {name: toy_gradient_identities, points: 3, factors: [2.0], seed: 0}}
  fig3:
    title: Rates
    runs:
      rates: {run: base, epochs: 4, sweep: {optimiser.learning_rate: [0.1, 0.3], seed: [0]}}
    tables:
      runs: {analysis: {name: run_metrics}, runs: [rates]}
    claims:
      falls:
        says: It falls.
        place: Section 1
        kind: rate
        unit: epoch
        table: runs
        quantity: {column: train_loss}
        within_seed: minimum
        expected: {at_most: 0.5}
  fig4:
    title: Steps
    runs:
      period: {run: base, epochs: 4, sweep: {optimiser.learning_rate: [0.1]}}
    tables:
      period: {analysis: {name: one_period, smoothing_epochs: 1}, runs: [period]}
  fig5:
    title: A fork
    runs:
      fork: {run: fork, epochs: 3}
    tables:
      forks: {analysis: {name: run_metrics}, runs: [fork]}
  fig6:
    title: Checkpoints
    runs:
      convnet:
        run: base
        epochs: 4
        checkpoint_interval: 2
        set: {optimiser.learning_rate: 0.15}
        sweep: {seed: [0, 1]}
    tables:
      convnet: {analysis: {name: similarity}, runs: [convnet]}
"""
"""A paper with five runs: of one learning rate each for figures 3 and 4 and for figure 3 alone; a
fork of the latter for figure 5; and two seeds with checkpoints for figure 6."""

DATASET = "dataset digits"
RUN_01, RUN_03, FORK = (
    "run convnet-digits-lr0.1-wd0.01-seed0/e4",
    "run convnet-digits-lr0.3-wd0.01-seed0/e4",
    "run convnet-digits-lr0.3-wd0.01-seed0-fork-before_destabilisation/e3",
)
SEEDS = tuple(f"run convnet-digits-lr0.15-wd0.01-seed{seed}/e4" for seed in (0, 1))
PREDICTIONS = tuple(
    f"evaluation predictions-convnet-digits-lr0.15-wd0.01-seed{seed}" for seed in (0, 1)
)
"""The names of the study's products, as `name_of` gives them."""

OWN: Mapping[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter?",
    "run": "periodic.base",
    "epochs": 4,
    "sweep": {"optimiser.weight_decay": [0.01, 0.02]},
}
"""A study of one's own; one of its two runs is the small study's at learning rate 0.3."""


def name_of(product: Product) -> str:
    """Kind and name of a product without its digest, and for a run its epochs."""
    version = f"/e{product.epochs}" if isinstance(product, RunProduct) else ""
    return f"{product.kind} {product.identity.name}{version}"


class Project:
    """A configuration that can be edited, and the store that belongs to it.

    Args:
        folder: an empty one.
        papers: names of shipped papers that are used instead of the small one.

    Attributes:
        documents: papers and studies (`support.configuration`); edit them freely.
    """

    def __init__(self, folder: Path, papers: Collection[str] = ()) -> None:
        self.results = folder / "results"
        self.store = self.results / "store"
        self.folder = folder
        self.papers = list(papers or ["periodic"])
        self.documents: dict[str, Any] = (
            {paper: shipped_paper(paper) for paper in papers}
            if papers
            else {"periodic": yaml.safe_load(SMALL)}
        )

    @property
    def periodic(self) -> dict[str, Any]:
        """The document of the periodic paper."""
        document: dict[str, Any] = self.documents["periodic"]
        return document

    def table(self, figure: str) -> dict[str, Any]:
        """The only table of a figure of the periodic paper."""
        return dict_of(next(iter(self.periodic["figures"][figure]["tables"].values())))

    def sweep(self, figure: str) -> dict[str, Any]:
        """The first runs of a figure."""
        return dict_of(next(iter(self.periodic["figures"][figure]["runs"].values())))

    def plan(self, scale: str = "smoke") -> Plan:
        """The plan of the documents as they are now.

        Raises:
            PerigeeError: they are wrong.
        """
        return plan_of(self.folder, self.documents, scale, self.papers)

    def copied(self) -> dict[str, Any]:
        """A copy of the documents."""
        return copy.deepcopy(self.documents)

    def layout(self, scale: str = "smoke", *, writes: bool = True) -> Layout:
        """A fresh look-up, as each call of Snakemake has it; with ``writes`` no dry run."""
        return Layout(self.plan(scale), str(self.results), writes=writes)

    def outstanding(self, *keys: str) -> list[str]:
        """The names of the products still to be made for figures, by default all reported ones."""
        return sorted(name_of(one) for one in self.to_make(*keys).values())

    def to_make(self, *keys: str) -> dict[str, Product]:
        """The products still to be made, by folder."""
        layout = self.layout()
        return layout.outstanding(targets(layout, *keys))

    def make(self, *keys: str) -> None:
        """Make all products still to be made, as a call of Snakemake would."""
        for product in self.to_make(*keys).values():
            make(product, self.store)


def targets(layout: Layout, *keys: str) -> list[Product]:
    """The targets of figures, their claims included; without keys, of all reported figures."""
    plan = layout.plan.of_figures(keys) if keys else layout.reported
    return [*plan.figures.values(), *plan.claims.values()]


def make(product: Product, store: Path) -> Path:
    """Make a product as its program would; for a run, make the parts that the store lacks."""
    if not isinstance(product, RunProduct):
        return put(store / product.folder, product.identity, product.files)
    version = store / product.folder
    if not (version / PROVENANCE).exists():
        put(version, product.identity, RUN_FILES, **trained(product.epochs))
    for identity in product.measure_identities.values():
        if not (version / identity.label / PROVENANCE).exists():
            put(version / identity.label, identity, MEASURE_FILES)
    return version


def trained(epochs: int, seconds_per_epoch: float = 1.0) -> dict[str, Any]:
    """Details of a version of a run that was trained without interruption."""
    return {
        "epochs": epochs,
        "trained_epochs": epochs,
        "trained_to": epochs,
        "seconds": seconds_per_epoch * epochs,
    }


def put(
    folder: Path,
    identity: Identity,
    files: Collection[str],
    *,
    store_format: int = FORMAT,
    content: str = "",
    **details: Any,
) -> Path:
    """Write a product's files, all with the same content, and its provenance.

    `perigee.store.writing.product_writer` does this safely, and therefore slowly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in files if name != PROVENANCE]
    for path in paths:
        path.write_text(content)
    Provenance(
        kind=identity.kind,
        name=identity.name,
        digest=identity.digest,
        spec=identity.spec,
        code=identity.code,
        inputs=dict(identity.inputs),
        files={path.name: checksum(path) for path in paths},
        details=details,
        versions={},
        hardware={"processor": "a test's"},
        started="2026-01-01T00:00:00Z",
        wall_time_s=1.0,
        modules=dict(identity.modules),
        format=store_format,
    ).save(folder / PROVENANCE)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Replace values of a JSON file's mapping."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@contextmanager
def edited(*paths: Path, addition: str = "EDITED = 1") -> Iterator[None]:
    """While the context is active, source files count as if each had one more line.

    Cached digests of the unchanged sources are restored afterwards.
    """
    changed = {path.resolve() for path in paths}
    original = code.read_source

    def read(file: Path) -> str:
        text = original(file)
        return f"{text}\n{addition}\n" if file.resolve() in changed else text

    with ExitStack() as stack:
        for name, value in list(vars(code).items()):
            if hasattr(value, "cache_clear") and name != "_import_graph":
                stack.enter_context(mock.patch.object(code, name, cache(value.__wrapped__)))
        stack.enter_context(mock.patch.object(code, "read_source", read))
        yield


def dict_of(value: Any) -> dict[str, Any]:
    """The value, which is a mapping."""
    assert isinstance(value, dict)
    return value
