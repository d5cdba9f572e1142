"""Where everything of a plan lies on disk, and what each program is told: look-ups for the rules.

The products that a rule's wildcards name are looked up in the plan. A path says all about what it
holds, so what exists is up to date: a product that is there has no inputs for Snakemake to compare
it with. Neither time stamps nor missing or remade inputs can then make it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perigee.identity.canonical import canonical_json
from perigee.identity.products import Identity
from perigee.plan import Plan, PlannedFigure, PlannedRun
from perigee.store.datasets import DATA
from perigee.store.figures import FILES, is_published, outdated_notice
from perigee.store.provenance import PROVENANCE
from perigee.store.runs import STATE, TABLES, longer_versions
from perigee.store.tables import TABLE

DATASET_FILES = (DATA, PROVENANCE)
RUN_FILES = (*TABLES, PROVENANCE)
TRAINED_RUN_FILES = (*TABLES, STATE, PROVENANCE)
TABLE_FILES = (TABLE, PROVENANCE)
FIGURE_FILES = (*FILES, PROVENANCE)
"""Of a product of each kind; the provenance is written last."""


class Layout:
    """Paths and program arguments for one plan.

    Products are named as in the rules' wildcards: by their folder without the kind, e.g.
    "digits-0123456789abcdef", and for runs "<name>-<digest>/e400".

    Args:
        plan: at one scale.
        results: the results folder.
    """

    def __init__(self, plan: Plan, results: str) -> None:
        self.plan = plan
        self.store = f"{results}/store"
        self.published_folder = f"{results}/{plan.scale}/figures"
        self.longer = {
            run.removeprefix("run/"): longer
            for run, longer in longer_versions(Path(self.store), plan.runs).items()
        }
        """Runs to be read off a longer version of themselves -> that version's folder."""

    def files(self, folder: str, names: Iterable[str]) -> list[str]:
        """Paths of files of a product."""
        return [f"{self.store}/{folder}/{name}" for name in names]

    def identity(self, kind: str, name: str) -> Identity:
        """Of a planned product."""
        products: dict[str, Mapping[str, Any]] = {
            "dataset": self.plan.datasets,
            "run": self.plan.runs,
            "table": self.plan.tables,
            "figure": {f.identity.folder: f for f in self.plan.figures.values()},
        }
        identity: Identity = products[kind][f"{kind}/{name}"].identity
        return identity

    # Data sets

    def all_datasets(self) -> list[str]:
        """Files of every data set of the plan."""
        return [p for folder in self.plan.datasets for p in self.files(folder, DATASET_FILES)]

    def dataset_spec(self, name: str) -> str:
        """What build_dataset.py is told."""
        return canonical_json(self.plan.datasets[f"dataset/{name}"].dataset.to_dict())

    # Runs

    def run(self, version: str) -> PlannedRun:
        """A planned run."""
        return self.plan.runs[f"run/{version}"]

    def run_spec(self, version: str) -> str:
        """What train.py is told."""
        return canonical_json(self.run(version).spec.to_dict())

    def run_dataset(self, version: str) -> str:
        """Folder of the data set that a run trains on."""
        return f"{self.store}/{self.run(version).dataset.identity.folder}"

    def run_inputs(self, version: str) -> list[str]:
        """What train_run needs."""
        inputs = self.files(self.run(version).dataset.identity.folder, DATASET_FILES)
        return self._unless_made(f"run/{version}", RUN_FILES, inputs)

    def longer_run(self, version: str) -> str:
        """Folder of the version that a shorter run is read off."""
        return f"{self.store}/{self.longer[version]}"

    def longer_run_inputs(self, version: str) -> list[str]:
        """What read_off_run needs."""
        inputs = self.files(self.longer[version], RUN_FILES)
        return self._unless_made(f"run/{version}", RUN_FILES, inputs)

    # Tables

    def table_spec(self, name: str) -> str:
        """What make_table.py is told."""
        table = self.plan.tables[f"table/{name}"]
        runs = [
            {"folder": f"{self.store}/{run.folder}", "swept": dict(swept)}
            for run, swept in zip(table.runs, table.swept, strict=True)
        ]
        spec = {"name": table.identity.name, "analysis": table.analysis.to_dict(), "runs": runs}
        return canonical_json(spec)

    def table_inputs(self, name: str) -> list[str]:
        """What make_table needs."""
        runs = self.plan.tables[f"table/{name}"].runs
        inputs = [path for run in runs for path in self.files(run.folder, RUN_FILES)]
        return self._unless_made(f"table/{name}", TABLE_FILES, inputs)

    # Figures

    def figure(self, name: str) -> PlannedFigure:
        """A planned figure, by its folder."""
        folder = f"figure/{name}"
        return next(f for f in self.plan.figures.values() if f.identity.folder == folder)

    def figure_spec(self, name: str) -> str:
        """What draw_figure.py is told."""
        figure = self.figure(name)
        tables = {n: f"{self.store}/{t.identity.folder}" for n, t in figure.tables.items()}
        spec = {"key": figure.request.key, "stamp": dict(figure.stamp), "tables": tables}
        return canonical_json(spec)

    def figure_inputs(self, name: str) -> list[str]:
        """What draw_figure needs."""
        tables = self.figure(name).tables.values()
        inputs = [p for table in tables for p in self.files(table.identity.folder, TABLE_FILES)]
        return self._unless_made(f"figure/{name}", FIGURE_FILES, inputs)

    def published(self, keys: Iterable[str]) -> list[str]:
        """The copies of each figure under the name that outsiders use."""
        return [f"{self.published_folder}/{key}{Path(f).suffix}" for key in keys for f in FILES]

    def published_figure(self, key: str) -> str:
        """Folder of the figure that is to be published."""
        return f"{self.store}/{self.plan.figures[key].identity.folder}"

    def publication_inputs(self, key: str) -> list[str]:
        """What publish_figure needs: nothing if this version is published, unchanged."""
        identity = self.plan.figures[key].identity
        if is_published(Path(self.published_folder), key, identity.digest):
            return []
        return [*self.files(identity.folder, FIGURE_FILES), outdated_notice()]

    def _unless_made(self, folder: str, outputs: Sequence[str], inputs: list[str]) -> list[str]:
        made = all(Path(path).exists() for path in self.files(folder, outputs))
        return [] if made else inputs
