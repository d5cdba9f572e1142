"""Everything that a configuration has at one scale, with the path of every product.

This is what the Snakemake rules look things up in; it needs neither torch nor a store on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from perigee import registry
from perigee.blocks.datasets import Dataset
from perigee.blocks.measures import Checkpoints, Measure
from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import SCALES
from perigee.configuration.studies import FigureRequest, RunRequest, TableRequest
from perigee.configuration.sweeps import figures_at, is_sweep
from perigee.configuration.validation import read_schema, validated
from perigee.configuration.version import require_version
from perigee.errors import PerigeeError
from perigee.paths import (
    CAPTIONS,
    CARRIED,
    NOTEBOOKS,
    STUDIES,
    STUDY,
    configuration_file,
    project,
    shown,
    template,
)
from perigee.planning.products import (
    ClaimsProduct,
    DatasetProduct,
    EvaluationProduct,
    FigureProduct,
    Product,
    RunProduct,
    TableEntry,
    TableProduct,
)
from perigee.spec import RunSpec
from perigee.stamp import deviations


@dataclass(frozen=True)
class Plan:
    """All figures of a configuration at one scale, and the products they are made from.

    Attributes:
        scale: one of `SCALES`.
        figures: by key, in the order of the papers and of their study files; after them those of
            sweeps of one's own.
    """

    scale: str
    figures: Mapping[str, FigureProduct] = field(default_factory=dict)

    @cached_property
    def products(self) -> dict[str, Product]:
        """All products by folder below the store; runs with all measures asked of them."""
        found: dict[str, Product] = {}
        measures: dict[str, list[Measure]] = {}
        runs: dict[str, RunProduct] = {}
        for figure in self.figures.values():
            for folder, product in figure.products.items():
                found.setdefault(folder, product)
            for run in figure.runs:
                runs.setdefault(run.folder, run)
                # Of all lengths of a run alike, so that a longer one can go on from a shorter one.
                measures.setdefault(run.identity.folder, []).extend(run.measures)
        together = {
            folder: run.with_measures(measures[run.identity.folder]) for folder, run in runs.items()
        }
        return {**found, **together}

    @cached_property
    def runs(self) -> dict[str, RunProduct]:
        """The runs; equal ones of several figures and papers appear once."""
        return {f: p for f, p in self.products.items() if isinstance(p, RunProduct)}

    @property
    def datasets(self) -> dict[str, DatasetProduct]:
        """The data sets that some run trains on."""
        return {f: p for f, p in self.products.items() if isinstance(p, DatasetProduct)}

    @property
    def claims(self) -> dict[str, ClaimsProduct]:
        """The verdicts of the figures that have claims."""
        every = (figure.claims for figure in self.figures.values())
        return {claims.folder: claims for claims in every if claims}

    def of_figures(self, keys: Iterable[str]) -> Plan:
        """The part of the plan that some of its figures need.

        Raises:
            PerigeeError: one of them is not planned.
        """
        wanted = set(keys)
        unknown = sorted(wanted - set(self.figures))
        if unknown:
            known = ", ".join(self.figures)
            raise PerigeeError(f"'{unknown[0]}' is not a figure of the plan; known are {known}.")
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
        PerigeeError: a key or value is wrong, or another version of Perigee made the project.
    """
    settings = dict(validated(dict(configuration), read_schema("config"), "config/config.yaml"))
    require_version(settings.get("perigee"))
    return settings | {key: _expanded(settings[key], key) for key in ("results", "data")}


def _expanded(path: str, key: str) -> str:
    """A path of the configuration with the user's home folder and environment variables put in."""
    with suppress(RuntimeError):  # no such user
        path = str(Path(path).expanduser())
    expanded = os.path.expandvars(path)
    if "$" in expanded or expanded.startswith("~"):
        raise PerigeeError(
            f"config/config.yaml: key '{key}' is '{path}', with an environment variable or a user "
            "that there is not; set it or write the path out."
        )
    return expanded


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
    configuration = read_yaml(configuration_file())
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
    files = _study_files()
    documents = {study: read_yaml(path) for study, path in files.items()}
    sweeps = [study for study, document in documents.items() if is_sweep(document)]
    _require_papers(papers, documents, sweeps)
    for study in (*papers, *sweeps):
        for name in SCALES:
            found = figures_at(files[study], name, documents)
            requests[name] |= {figure.key: figure for figure in found}
    planner = _Planner()
    return Plan(
        scale,
        {
            key: planner.figure(request, scale, requests["paper"][key])
            for key, request in requests[scale].items()
        },
    )


def _study_files() -> dict[str, Path]:
    """The study files by name without the suffix; one of the project's hides a carried one."""
    own = [] if project() == CARRIED else [project() / "config" / "studies"]
    return {path.stem: path for folder in (STUDIES, *own) for path in sorted(folder.glob("*.yaml"))}


def _require_papers(papers: Sequence[str], documents: Iterable[str], sweeps: Sequence[str]) -> None:
    known = ", ".join(study for study in documents if study not in sweeps)
    for paper in papers:
        if paper in sweeps:
            problem = "which is not a paper but a sweep of one's own; it has a target of its own, "
            problem += f"'snakemake {STUDY}_{paper}', so remove it from 'papers'"
        elif paper == STUDY:
            problem = "a name that is kept for sweeps of one's own; rename the file"
        elif paper not in documents:
            problem = f"but there is no config/studies/{paper}.yaml; known are {known}"
        else:
            continue
        raise PerigeeError(f"config/config.yaml: key 'papers' names '{paper}', {problem}.")


def plans_at_all_scales(
    configuration: Path | None, results: Path | None
) -> tuple[list[Plan], Path]:
    """The plan at every scale, and the store, for a program that keeps house.

    Args:
        configuration: a file such as config/config.yaml; None for the project's.
        results: the results folder; None for the configuration's.

    Raises:
        PerigeeError: anything in the files is wrong.
    """
    settings = checked_configuration(read_yaml(configuration or configuration_file()))
    plans = [make_plan(settings["papers"], scale) for scale in SCALES]
    return plans, (results or Path(settings["results"])) / "store"


def references(plans: Iterable[Plan], store: Path) -> dict[str, set[str]]:
    """The folders of the store that some plans need.

    Args:
        plans: any number.
        store: the store's folder. A run may be read off a longer version, which is then needed; of
            one that lacks epochs or measures all is needed that a job can make use of.

    Returns:
        Folder below the store -> keys of the figures that are made of it, itself included.
    """
    found: dict[str, set[str]] = {}
    for plan in plans:
        for key, figure in plan.figures.items():
            folders = set(figure.products)
            for run in figure.runs:
                folders |= run.folders_to_keep(store)
            for folder in folders:
                found.setdefault(folder, set()).add(key)
    return found


def runs_to_make(plans: Iterable[Plan], store: Path) -> set[str]:
    """The folders below the store of all runs that some plans still have trained or measured."""
    runs = (run for plan in plans for run in plan.runs.values())
    return {run.identity.folder for run in runs if not run.is_complete(store)}


class _Planner:
    """Makes products of requests."""

    def __init__(self) -> None:
        self._datasets: dict[Dataset, DatasetProduct] = {}

    def figure(self, request: FigureRequest, scale: str, at_paper: FigureRequest) -> FigureProduct:
        """A figure with all that it is made of."""
        for kind, path in (
            ("notebook", NOTEBOOKS / f"{template(request.key)}.py"),
            ("caption", CAPTIONS / f"{template(request.key)}.rst"),
        ):
            if not path.is_file():
                raise PerigeeError(
                    f"config/studies/{request.paper}.yaml: figure '{request.name}' has no {kind}; "
                    f"write {shown(path)} or remove the figure."
                )
        tables = {table.name: self.table(request, table) for table in request.tables}
        stamp: dict[str, Any] = {"scale": scale, "source": request.citation}
        if request.is_own:
            stamp["source"] = f"{request.name}: {request.title}"
        else:
            stamp["deviations"] = deviations(request.settings, at_paper.settings)
        return FigureProduct(request, stamp, tables, self.claims(request, tables))

    def claims(
        self, request: FigureRequest, tables: Mapping[str, TableProduct]
    ) -> ClaimsProduct | None:
        """The verdicts on a figure's claims, if it has any."""
        read = {claim.table: tables[claim.table] for claim in request.claims}
        return ClaimsProduct(request, read) if read else None

    def table(self, figure: FigureRequest, request: TableRequest) -> TableProduct:
        """A table with its runs."""
        further = [_measure(name) for name in request.analysis.further_measures()]
        entries = tuple(self.entry(request, run, further) for run in request.runs)
        return TableProduct(f"{figure.key}-{request.name}", request.analysis, entries)

    def entry(
        self, request: TableRequest, run: RunRequest, further: Sequence[Measure]
    ) -> TableEntry:
        """A run as a table reads it."""
        measures = request.analysis.measures(run.checkpoint_interval)
        product = self.run(run.spec, run.epochs, (*measures, *further))
        evaluations = tuple(
            EvaluationProduct(evaluation(), product) for evaluation in request.analysis.evaluates
        )
        return TableEntry(product, run.swept, evaluations)

    def run(self, spec: RunSpec, epochs: int, measures: Sequence[Measure]) -> RunProduct:
        """A run, and what it forks from."""
        dataset = self._datasets.setdefault(spec.dataset, DatasetProduct(spec.dataset))
        parent = spec.parent
        forked = None
        if parent is not None:
            # Where a fork starts is known only when its parent has been trained: every epoch's
            # checkpoint is kept.
            needed = (*(read() for read in parent.at.reads), Checkpoints())
            forked = self.run(parent.run, parent.epochs, needed)
        return RunProduct(spec, dataset, epochs, parent=forked).with_measures(measures)


def _measure(name: str) -> Measure:
    """A measure with its defaults."""
    measure = registry.make("measure", {"name": name})
    assert isinstance(measure, Measure)
    return measure
