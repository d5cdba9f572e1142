"""The store, read from Python: figures with their tables, runs, measures and checkpoints.

Nothing here writes, trains or needs PyTorch. All that is read is verified: a product against the
digest in its path, and a file against its checksum. docs/python.md shows how to use it.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee import registry
from perigee.analysis.inputs import RunInput, is_table, table_of
from perigee.blocks.measures import Checkpoints, Measure, Metrics
from perigee.checkpoints import KeptCheckpoints
from perigee.configuration.own_blocks import register_own_blocks
from perigee.configuration.settings import read_settings
from perigee.configuration.validation import suggestion
from perigee.errors import PerigeeError
from perigee.identity.canonical import canonical_json
from perigee.identity.products import measure_identity
from perigee.paths import settings_file
from perigee.planning.plan import make_plan
from perigee.planning.products import FigureProduct, RunProduct, TableProduct
from perigee.store.provenance import Provenance, read_product
from perigee.store.runs import ROWS, Version, find_version
from perigee.store.tables import TABLE


def open(
    name: str,
    *,
    scale: str | None = None,
    results: str | Path | None = None,
    configuration: str | Path | None = None,
) -> Figure:
    """Open a figure of the configuration, to read its products from the store.

    Args:
        name: its target, such as "periodic_fig3" or "study_label_smoothing".
        scale: such as "laptop"; None takes the configuration's.
        results: the results folder; None takes the configuration's, below the
            project around the current folder, or else below this checkout.
        configuration: a file that is laid over config/config.yaml, as by Snakemake's --configfile.

    Raises:
        PerigeeError: the figure does not exist, or the configuration is wrong.
    """
    given = {"scale": scale, "results": None if results is None else str(results)}
    overrides = {key: value for key, value in given.items() if value is not None}
    file = settings_file()
    register_own_blocks(file)
    files = [file, *([] if configuration is None else [Path(configuration)])]
    settings = read_settings(files, "perigee.open", overrides)
    folder = Path() if results is not None else file.parents[1]
    store = folder / settings["results"] / "store"
    plan = make_plan(settings["papers"], settings["scale"], settings["seeds"]).of_figures([name])
    command = _command(name, configuration, overrides)
    return Figure(plan.figures[name], plan.runs, store, command)


@dataclass(frozen=True, repr=False)
class Figure:
    """A figure: the tables that it draws, and the runs that these are made of.

    Attributes:
        product: the figure in the plan.
        planned: its runs by folder, with all measures that the figure needs.
        store: the store's folder.
        command: the command that makes the figure.
    """

    product: FigureProduct
    planned: Mapping[str, RunProduct]
    store: Path
    command: str

    def __repr__(self) -> str:
        return f"<{self.key}: tables {', '.join(self.tables)}; {len(self.runs)} runs>"

    @property
    def key(self) -> str:
        """The figure's target."""
        return self.product.request.key

    @property
    def title(self) -> str:
        """The figure's title."""
        return self.product.request.title

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the figure's tables."""
        return tuple(self.product.tables)

    def table(self, name: str | None = None) -> pd.DataFrame:
        """Read a table that the figure draws.

        Args:
            name: one of `tables`; may be left out if there is only one.

        Raises:
            PerigeeError: the table does not exist, is not made yet or was changed.
        """
        table = self._table(name)
        if not table.is_complete(self.store):
            raise PerigeeError(
                f"Table '{table.label}' is not made yet in {self.store}; '{self.command}' makes it."
            )
        folder = self.store / table.folder
        read_product(folder, [TABLE])
        return pd.read_parquet(folder / TABLE)

    def _table(self, name: str | None) -> TableProduct:
        tables = self.product.tables
        if name is None and len(tables) == 1:
            return next(iter(tables.values()))
        if name is None:
            raise PerigeeError(f"{self.key} has several tables; name one of {', '.join(tables)}.")
        if name not in tables:
            raise PerigeeError(f"{self.key} has no table '{name}'; {suggestion(name, tables)}.")
        return tables[name]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs that the tables are made of, in the order of tables and sweeps.

        A run that several tables identify by different swept values appears once for each.
        """
        found: dict[tuple[str, str], Run] = {}
        for name, table in self.product.tables.items():
            for entry in table.entries:
                key = (entry.run.folder, canonical_json(dict(entry.swept)))
                earlier = found[key].tables if key in found else ()
                found[key] = Run(
                    swept=MappingProxyType(dict(entry.swept)),
                    tables=tuple(dict.fromkeys((*earlier, name))),
                    product=self.planned[entry.run.folder],
                    store=self.store,
                    command=self.command,
                )
        return tuple(found.values())

    def run(self, table: str | None = None, /, **swept: Any) -> Run:
        """Return the run with these swept values.

        Args:
            table: one of `tables` that it is in; needed only where the values are ambiguous.
            swept: the values by key, of which the last part is enough: ``learning_rate`` means
                ``optimiser.learning_rate``. A key with dots is given as ``**{"a.b": 1}``.

        Raises:
            PerigeeError: no run has these values, or several have; the message lists the runs.
        """
        if table is not None:
            self._table(table)
        runs = [run for run in self.runs if table is None or table in run.tables]
        if not runs:
            what = self.key if table is None else f"Table '{table}' of {self.key}"
            raise PerigeeError(f"{what} is computed from formulas and has no runs.")
        keys = list(dict.fromkeys(key for run in runs for key in run.swept))
        wanted = {self._full_key(key, keys): _plain(value) for key, value in swept.items()}
        fitting: dict[str, Run] = {}
        for run in runs:
            if wanted.items() <= run.swept.items():
                fitting.setdefault(run.product.folder, run)
        if len(fitting) == 1:
            return next(iter(fitting.values()))
        asked = " and ".join(f"{key} {value}" for key, value in wanted.items())
        of = f"{self.key} has {len(fitting) or 'no'} run{'s' if fitting else ''}"
        raise PerigeeError(
            f"{of}{f' with {asked}' if asked else ''}; "
            f"{'say which' if fitting else 'known are'}: {_told(fitting.values() or runs, keys)}."
        )

    def _full_key(self, given: str, keys: Iterable[str]) -> str:
        found = [key for key in keys if key == given or key.endswith(f".{given}")]
        if given in found or len(found) == 1:
            return given if given in found else found[0]
        if found:
            raise PerigeeError(
                f"'{given}' may mean {' or '.join(found)} in {self.key}; give more of the key."
            )
        raise PerigeeError(f"{self.key} has no swept value '{given}'; {suggestion(given, keys)}.")


@dataclass(frozen=True, repr=False)
class Run:
    """A run of a figure, up to the epochs that the figure needs.

    Attributes:
        swept: the values that distinguish it from the figure's other runs, by dotted key.
        tables: the figure's tables that it is in.
        product: the run in the plan, with all measures that the figure needs.
        store: the store's folder.
        command: the command that makes the figure.
    """

    swept: Mapping[str, Any]
    tables: tuple[str, ...]
    product: RunProduct
    store: Path
    command: str
    _verified: set[Path] = field(default_factory=set, compare=False)

    def __repr__(self) -> str:
        swept = ", ".join(f"{key} {value}" for key, value in self.swept.items())
        return f"<run {self.product.name}{f': {swept}' if swept else ''}>"

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that determines its numbers, defaults included, as for `perigee.train`."""
        return self.product.spec.full_dict()

    @property
    def epochs(self) -> int:
        """The number of epochs that the figure uses."""
        return self.product.epochs

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures that the figure needs."""
        return tuple(self.product.measure_identities)

    @property
    def folder(self) -> Path:
        """The folder of the version in the store that is read, which may be a longer one.

        Raises:
            PerigeeError: the run is not made yet.
        """
        return self._version().folder

    @property
    def provenance(self) -> Provenance:
        """The origin of that version: code, versions, hardware, times, how training ended.

        Raises:
            PerigeeError: the run is not made yet, or its folder holds another one.
        """
        return read_product(self.folder, [])

    def metrics(self) -> pd.DataFrame:
        """The measure ``metrics``, a row per epoch (docs/store.md lists its columns).

        If the figure's tables have test errors with recomputed statistics instead, so has this.

        Raises:
            PerigeeError: it is not made yet or was changed, as with the methods below.
        """
        asked = [one for one in self.product.measures if one.role == Metrics.name]
        # Both are asked of a run from which others fork: the fork's rule reads its own.
        asked.sort(key=lambda measure: measure.stands_for is not None)
        return self._input(asked[-1].name if asked else Metrics.name).metrics()

    def steps(self) -> pd.DataFrame:
        """The measure ``steps``, a row per step; ``step`` counts from 0, ``epoch`` from 1."""
        return self._input("steps").steps()

    def measure(self, name: str) -> pd.DataFrame | NDArray[Any]:
        """Read a measure of the run.

        Args:
            name: the measure's name, such as "full_gradient_norm". One that the figure does not
                need is found if the store has it.

        Returns:
            A table with a row per epoch or step; for a measure with arrays in its rows, such as
            "layers", a memory-mapped structured array.
        """
        run = self._input(name)
        rows = run.rows(name)
        return table_of(rows, run.steps_per_epoch) if is_table(rows) else rows

    def description(self, measure: str) -> dict[str, Any]:
        """Return the description of a measure's rows, such as the tensor names of ``layers``."""
        return dict(read_product(self._folder(measure), []).details["description"])

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The epochs whose checkpoints are kept."""
        return self._kept().epochs

    def checkpoint(self, epoch: int) -> dict[str, NDArray[Any]]:
        """Return the state after an epoch by name: weights, BatchNorm's statistics, optimiser.

        Raises:
            PerigeeError: no checkpoint of that epoch is kept.
        """
        return self._kept().checkpoint(epoch)

    def _kept(self) -> KeptCheckpoints:
        return self._input(Checkpoints.name).checkpoints()

    def _input(self, name: str) -> RunInput:
        """The run as an analysis would get it, with one measure, whose file is verified."""
        measure = self._measure(name)
        folder = self._folder(name)
        if folder not in self._verified:
            read_product(folder, [ROWS])
            self._verified.add(folder)
        return RunInput(
            epochs=self.epochs,
            steps_per_epoch=self._version(measure).provenance.details["steps_per_epoch"],
            measures={name: folder, measure.role: folder},
            swept=self.swept,
            stopped=False,
            checkpoint_interval=measure.interval if isinstance(measure, Checkpoints) else 1,
        )

    def _folder(self, name: str) -> Path:
        measure = self._measure(name)
        found = self._version(measure).measure(
            measure_identity(measure, self.product.identity), self.epochs
        )
        assert found is not None  # `_version` looked
        return found

    def _measure(self, name: str) -> Measure:
        """Return a measure as the figure needs it, or else with its defaults."""
        asked = next((one for one in self.product.measures if one.name == name), None)
        if asked is not None:
            return asked
        known = registry.REGISTRY["measure"]
        if name not in known:
            raise PerigeeError(f"'{name}' is not a measure; {suggestion(name, known)}.")
        measure: Measure = registry.make("measure", {"name": name})
        return measure

    def _version(self, measure: Measure | None = None) -> Version:
        """Find the version with all that the figure needs, or else with the measure.

        Everything read from a run thus comes from one trajectory if one has it all.
        """
        run = self.product
        folder, every = self.store / run.identity.folder, list(run.measure_identities.values())
        wanted = [] if measure is None else [measure_identity(measure, run.identity)]
        version = find_version(folder, run.epochs, [*every, *wanted]) or find_version(
            folder, run.epochs, wanted
        )
        if version is not None:
            return version
        if measure is not None and measure.name not in self.measures:
            raise PerigeeError(
                f"{run.name} has no measure '{measure.name}' in {self.store}, and the figure asks "
                f"only for {', '.join(self.measures)}; have a table read it (docs/extending.md)."
            )
        what = run.name if measure is None else f"The measure '{measure.name}' of {run.name}"
        raise PerigeeError(f"{what} is not made yet in {self.store}; '{self.command}' makes it.")


def _command(name: str, configuration: str | Path | None, overrides: Mapping[str, str]) -> str:
    """The command that makes a figure as it was opened."""
    words = ["snakemake", name]
    if configuration is not None:
        words += ["--configfile", str(configuration)]
    if overrides:
        words += ["--config", *(f"{key}={value}" for key, value in overrides.items())]
    return shlex.join(words)


def _plain(value: Any) -> Any:
    """A value in the form in which swept values are kept: numbers as Python's, blocks as text."""
    if isinstance(value, np.generic):
        return value.item()
    return canonical_json(value) if isinstance(value, Mapping | list) else value


def _told(runs: Collection[Run], keys: Iterable[str]) -> str:
    """The values that distinguish runs, and the runs' tables where there are several."""
    words = []
    for key in keys:
        values = dict.fromkeys(run.swept[key] for run in runs if key in run.swept)
        words.append(f"{key} {', '.join(map(str, values))}")
    tables = dict.fromkeys(table for run in runs for table in run.tables)
    if len(tables) > 1:
        words.append(f"table {', '.join(tables)}")
    return "; ".join(words)
