"""Everything that a configuration has at one scale, with the path of every product.

This is what the Snakemake rules look things up in; it needs neither torch nor a store on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import SCALES
from perigee.configuration.studies import FigureRequest, TableRequest
from perigee.configuration.sweeps import figures_at, is_sweep
from perigee.configuration.validation import read_schema, validated
from perigee.errors import PerigeeError
from perigee.identity.products import (
    Identity,
    claims_identity,
    dataset_identity,
    figure_identity,
    predictions_identity,
    run_identity,
    table_identity,
)
from perigee.paths import CAPTIONS, NOTEBOOKS, ROOT, STUDIES, STUDY, shown, template
from perigee.spec import Component, RunSpec
from perigee.stamp import deviations
from perigee.store.runs import version_name

PARENT_KEEPS_EVERY = 1
"""Of how many epochs a run that others fork from keeps a checkpoint."""


@dataclass(frozen=True)
class PlannedDataset:
    """A data set to be built."""

    identity: Identity
    dataset: Component


@dataclass(frozen=True)
class PlannedRun:
    """A run up to a number of epochs."""

    identity: Identity
    spec: RunSpec
    dataset: PlannedDataset
    epochs: int
    keep_every: int | None = None
    parent: PlannedRun | None = None

    @property
    def folder(self) -> str:
        """<kind>/<name>-<digest>/e<epochs>, below the store."""
        return f"{self.identity.folder}/{version_name(self.epochs, self.keep_every)}"

    @property
    def lineage(self) -> list[PlannedRun]:
        """The run and all that it descends from."""
        return [self, *(self.parent.lineage if self.parent else [])]


@dataclass(frozen=True)
class PlannedPredictions:
    """What a run's kept checkpoints predict on its test set."""

    identity: Identity
    run: PlannedRun


@dataclass(frozen=True)
class PlannedTable:
    """A table, and what its program needs to know of the runs it reads.

    Where it reads checkpoints, also the predictions of each of its runs; else of none.
    """

    identity: Identity
    analysis: Component
    runs: tuple[PlannedRun, ...]
    swept: tuple[Mapping[str, Any], ...]
    predictions: tuple[PlannedPredictions, ...] = ()


@dataclass(frozen=True)
class PlannedClaims:
    """The verdicts on a figure's claims, and the tables they are measured on."""

    identity: Identity
    request: FigureRequest
    tables: Mapping[str, PlannedTable]


@dataclass(frozen=True)
class PlannedFigure:
    """A figure; its claims are None if it has none."""

    identity: Identity
    request: FigureRequest
    stamp: Mapping[str, Any]
    tables: Mapping[str, PlannedTable]
    claims: PlannedClaims | None

    @property
    def folders(self) -> list[str]:
        """Folders below the store of all products it is made of, itself and claims included."""
        claims = [self.claims.identity.folder] if self.claims else []
        tables = [table.identity.folder for table in self.tables.values()]
        asked = [run for table in self.tables.values() for run in table.runs]
        runs = [run for one in asked for run in one.lineage]
        predictions = [p.identity.folder for t in self.tables.values() for p in t.predictions]
        made_from = [*(r.folder for r in runs), *(r.dataset.identity.folder for r in runs)]
        made = [self.identity.folder, *claims, *tables, *predictions, *made_from]
        return list(dict.fromkeys(made))


@dataclass(frozen=True)
class Plan:
    """All figures of a configuration at one scale, and the products they are made from.

    Attributes:
        scale: one of `SCALES`.
        figures: by key, in the order of the papers and of their study files; after them those of
            sweeps of one's own.
    """

    scale: str
    figures: Mapping[str, PlannedFigure] = field(default_factory=dict)

    @cached_property
    def tables(self) -> dict[str, PlannedTable]:
        """By folder below the store; likewise the other products."""
        every = (table for figure in self.figures.values() for table in figure.tables.values())
        return {table.identity.folder: table for table in every}

    @cached_property
    def predictions(self) -> dict[str, PlannedPredictions]:
        """Of the runs whose checkpoints some table reads."""
        every = (one for table in self.tables.values() for one in table.predictions)
        return {one.identity.folder: one for one in every}

    @cached_property
    def runs(self) -> dict[str, PlannedRun]:
        """Equal runs of several figures and papers appear once."""
        asked = [run for table in self.tables.values() for run in table.runs]
        return {run.folder: run for one in asked for run in one.lineage}

    @cached_property
    def datasets(self) -> dict[str, PlannedDataset]:
        """Those that some run trains on."""
        return {run.dataset.identity.folder: run.dataset for run in self.runs.values()}

    @cached_property
    def claims(self) -> dict[str, PlannedClaims]:
        """Of the figures that have any."""
        every = (figure.claims for figure in self.figures.values())
        return {claims.identity.folder: claims for claims in every if claims}

    @property
    def referenced_folders(self) -> set[str]:
        """Folders below the store of all products of the plan."""
        return {folder for figure in self.figures.values() for folder in figure.folders}

    def of_figures(self, keys: Iterable[str]) -> Plan:
        """The part of the plan that some of its figures need.

        Raises:
            PerigeeError: one of them is not planned.
        """
        wanted = set(keys)
        unknown = sorted(wanted - set(self.figures))
        if unknown:
            known = ", ".join(self.figures)
            raise PerigeeError(f"'{unknown[0]}' is no figure of the plan; known are {known}.")
        return Plan(self.scale, {k: f for k, f in self.figures.items() if k in wanted})

    @property
    def of_papers(self) -> Plan:
        """The part that the papers' figures need."""
        return self.of_figures(k for k, f in self.figures.items() if not f.request.is_own)


def checked_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The merged configuration, validated.

    Args:
        configuration: of config/config.yaml and all that is laid over it.

    Raises:
        PerigeeError: a key or value is wrong.
    """
    return dict(validated(dict(configuration), read_schema("config"), "config/config.yaml"))


def plan_of_options(
    scale: str | None, papers: Sequence[str] | None, results: str | None
) -> tuple[Plan, Path]:
    """The plan and the store for a program that is run by hand.

    Args:
        scale, papers, results: as in config/config.yaml, which is asked for those that are None.

    Raises:
        PerigeeError: anything in the files is wrong.
    """
    given = {"scale": scale, "papers": papers, "results": results}
    configuration = read_yaml(ROOT / "config" / "config.yaml")
    settings = checked_configuration(configuration | {k: v for k, v in given.items() if v})
    plan = make_plan(settings["papers"], settings["scale"])
    return plan, Path(settings["results"]) / "store"


def make_plan(papers: Sequence[str], scale: str) -> Plan:
    """Read the study files and name every product.

    Every sweep of one's own in config/studies/ is in the plan, and of the papers those named. Each
    file is checked at all three scales, whichever is planned.

    Args:
        papers: names of files in config/studies/.
        scale: one of `SCALES`.

    Raises:
        PerigeeError: anything in the files is wrong, or a figure has no notebook.
    """
    requests: dict[str, dict[str, FigureRequest]] = {name: {} for name in SCALES}
    documents = {path.stem: read_yaml(path) for path in sorted(STUDIES.glob("*.yaml"))}
    sweeps = [study for study, document in documents.items() if is_sweep(document)]
    _require_papers(papers, documents, sweeps)
    for study in (*papers, *sweeps):
        path = STUDIES / f"{study}.yaml"
        for name in SCALES:
            found = figures_at(path, name, documents)
            requests[name] |= {figure.key: figure for figure in found}
    planner = _Planner()
    return Plan(
        scale,
        {
            key: planner.figure(request, scale, requests["paper"][key])
            for key, request in requests[scale].items()
        },
    )


def _require_papers(papers: Sequence[str], documents: Iterable[str], sweeps: Sequence[str]) -> None:
    known = ", ".join(study for study in documents if study not in sweeps)
    for paper in papers:
        if paper in sweeps:
            problem = "which is no paper but a sweep of one's own; it has a target of its own, "
            problem += f"'snakemake {STUDY}_{paper}', so remove it from 'papers'"
        elif paper == STUDY:
            problem = "a name that is kept for sweeps of one's own; rename the file"
        elif paper not in documents:
            problem = f"but there is no config/studies/{paper}.yaml; known are {known}"
        else:
            continue
        raise PerigeeError(f"config/config.yaml: key 'papers' names '{paper}', {problem}.")


def plans_at_all_scales(configuration: Path, results: Path | None) -> tuple[list[Plan], Path]:
    """The plan at every scale, and the store, for a program that keeps house.

    Args:
        configuration: a file such as config/config.yaml.
        results: the results folder; None for the configuration's.

    Raises:
        PerigeeError: anything in the files is wrong.
    """
    settings = checked_configuration(read_yaml(configuration))
    plans = [make_plan(settings["papers"], scale) for scale in SCALES]
    return plans, (results or Path(settings["results"])) / "store"


def references(plans: Iterable[Plan]) -> dict[str, set[str]]:
    """Which products some plans need.

    Returns:
        Folder below the store -> keys of the figures that are made of it, itself included.
    """
    found: dict[str, set[str]] = {}
    for plan in plans:
        for key, figure in plan.figures.items():
            for folder in figure.folders:
                found.setdefault(folder, set()).add(key)
    return found


class _Planner:
    """Names products; equal runs are named once."""

    def __init__(self) -> None:
        self._datasets: dict[str, PlannedDataset] = {}

    def figure(self, request: FigureRequest, scale: str, at_paper: FigureRequest) -> PlannedFigure:
        notebook = NOTEBOOKS / f"{template(request.key)}.py"
        if not notebook.is_file():
            raise PerigeeError(
                f"config/studies/{request.paper}.yaml: figure '{request.name}' has no notebook; "
                f"write {shown(notebook)} or remove the figure."
            )
        caption = CAPTIONS / f"{template(request.key)}.rst"
        if not caption.is_file():
            raise PerigeeError(
                f"config/studies/{request.paper}.yaml: figure '{request.name}' has no caption; "
                f"write {shown(caption)} or remove the figure."
            )
        tables = {table.name: self.table(request.key, table) for table in request.tables}
        stamp: dict[str, Any] = {"scale": scale, "source": request.citation}
        if request.is_own:
            stamp["source"] = f"{request.name}: {request.title}"
        else:
            stamp["deviations"] = deviations(request.settings, at_paper.settings)
        digests = {name: table.identity.digest for name, table in tables.items()}
        identity = figure_identity(request.key, stamp, digests, request.parameters)
        return PlannedFigure(identity, request, stamp, tables, self.claims(request, tables))

    def claims(
        self, request: FigureRequest, tables: Mapping[str, PlannedTable]
    ) -> PlannedClaims | None:
        if not request.claims:
            return None
        read = {claim.table: tables[claim.table] for claim in request.claims}
        digests = {name: table.identity.digest for name, table in read.items()}
        identity = claims_identity(request.key, request.claims, digests)
        return PlannedClaims(identity, request, read)

    def table(self, key: str, request: TableRequest) -> PlannedTable:
        runs = tuple(self.run(run.spec, run.epochs, run.keep_every) for run in request.runs)
        swept = tuple(run.swept for run in request.runs)
        read: list[dict[str, Any]] = [
            {"digest": run.identity.digest, "epochs": run.epochs, "swept": dict(values)}
            for run, values in zip(runs, swept, strict=True)
        ]
        predictions = tuple(self.predictions(run) for run in runs if run.keep_every is not None)
        for one, made in zip(read, predictions, strict=False):
            one["predictions"] = made.identity.digest
        identity = table_identity(f"{key}-{request.name}", request.analysis, read)
        return PlannedTable(identity, request.analysis, runs, swept, predictions)

    def predictions(self, run: PlannedRun) -> PlannedPredictions:
        assert run.keep_every is not None
        identity = predictions_identity(
            run.identity.name, run.identity.digest, run.spec.model, run.epochs, run.keep_every
        )
        return PlannedPredictions(identity, run)

    def run(self, spec: RunSpec, epochs: int, keep_every: int | None = None) -> PlannedRun:
        dataset = self.dataset(spec.dataset)
        identity = run_identity(spec, dataset.identity.digest)
        # Where a fork starts is known only when its parent has been trained: every epoch is kept.
        parent = None
        if spec.parent is not None:
            parent = self.run(spec.parent.run, spec.parent.epochs, PARENT_KEEPS_EVERY)
        return PlannedRun(identity, spec, dataset, epochs, keep_every, parent)

    def dataset(self, dataset: Component) -> PlannedDataset:
        identity = dataset_identity(dataset)
        return self._datasets.setdefault(identity.folder, PlannedDataset(identity, dataset))
