"""The plan: every product of a configuration at one scale, with its path.

The Snakemake rules look products up in it; it needs neither torch nor a store on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from perigee import registry
from perigee.blocks.datasets import Dataset
from perigee.blocks.measures import Layers, Measure, ThinnedLayers
from perigee.blocks.recomputed import TestStatistics, evaluated_with, measured_with
from perigee.configuration.papers import SharedRuns, read_paper
from perigee.configuration.reading import read_shared, yaml_files
from perigee.configuration.requests import FigureRequest, RunRequest, TableRequest
from perigee.configuration.scales import PAPER, known_scales, scale_of
from perigee.configuration.scales import papers as papers_known
from perigee.configuration.seeds import SEEDS
from perigee.configuration.settings import SETTINGS, read_settings
from perigee.configuration.studies import read_study
from perigee.configuration.validation import suggestion
from perigee.errors import PerigeeError
from perigee.paths import CAPTIONS, NOTEBOOKS, STUDY, configuration_file, shown, template
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


@dataclass(frozen=True)
class Plan:
    """All figures of a configuration at one scale, and the products they are made from.

    Attributes:
        scale: its name.
        figures: by key, in the order of the papers and of their figures; after them the studies
            of one's own.
    """

    scale: str
    figures: Mapping[str, FigureProduct] = field(default_factory=dict)

    @cached_property
    def products(self) -> dict[str, Product]:
        """All products by folder below the store; runs have all measures that are needed."""
        found: dict[str, Product] = {}
        measures: dict[str, list[Measure]] = {}
        runs: dict[str, RunProduct] = {}
        for figure in self.figures.values():
            for folder, product in figure.products.items():
                found.setdefault(folder, product)
            for run in figure.runs:
                runs.setdefault(run.folder, run)
                # All lengths of a run have the same: a longer one can then continue a shorter one.
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
        """Return the part of the plan that some of its figures need.

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
        """The part of the plan that the papers' figures need."""
        return self.of_figures(k for k, f in self.figures.items() if not f.request.is_own)


def plan_of_options(
    scale: str | None,
    papers: Sequence[str] | None,
    results: str | None,
    seeds: int | None = None,
) -> tuple[Plan, Path, dict[str, Any]]:
    """The plan, the store and the settings, for a program that is run by hand.

    Args:
        scale, papers, results, seeds: see config/config.yaml, which gives those that are None.

    Raises:
        PerigeeError: anything in the files is wrong.
    """
    given = {"scale": scale, "papers": papers, "results": results, "seeds": seeds}
    options = {key: value for key, value in given.items() if value}
    settings = read_settings([configuration_file()], "The command's options", options)
    plan = make_plan(settings["papers"], settings["scale"], settings["seeds"])
    return plan, Path(settings["results"]) / "store", settings


def make_plan(papers: Sequence[str], scale: str, seeds: int = SEEDS) -> Plan:
    """Read the files of papers and studies and name every product.

    Every study of one's own in config/studies/ is in the plan, and of the papers those named. What
    other scales change is not read, which would take as long again for each; `check_all_scales`
    does.

    Args:
        papers: names of folders in config/papers/.
        scale: the name of a scale, or the path of a folder of overlays.
        seeds: how many seeds are judged.

    Raises:
        PerigeeError: anything in the files is wrong, or a figure has no notebook.
    """
    try:
        name, requests = read_requests(papers, scale, seeds)
    except PerigeeError:
        read_requests(papers, PAPER, seeds)  # an overlay is not to blame for the paper's file
        raise
    planner = _Planner()
    return Plan(name, {request.key: planner.figure(request, name) for request in requests})


def read_requests(
    papers: Sequence[str], scale: str, seeds: int = SEEDS
) -> tuple[str, list[FigureRequest]]:
    """The name of a scale, and all figures at that scale; see `make_plan`."""
    known = known_scales()
    wanted = replace(scale_of(scale, known, SETTINGS), seeds=seeds)
    files = papers_known()
    studies = yaml_files("studies", carried=False)
    _require_papers(papers, files, studies)
    wanted.require_used(files)
    shared = {paper: SharedRuns(named[PAPER], wanted) for paper, named in files.items()}
    names = list(dict.fromkeys([*known, wanted.name]))
    requests = [r for paper in papers for r in read_paper(files[paper], shared[paper], wanted)]
    requests += [
        read_study(read_shared(path), path, wanted, names, shared) for path in studies.values()
    ]
    return wanted.name, requests


def check_all_scales(papers: Sequence[str], seeds: int = SEEDS) -> None:
    """Check the files of papers and studies at every known scale.

    Raises:
        PerigeeError: anything in them is wrong.
    """
    for scale in known_scales():
        read_requests(papers, scale, seeds)


def _require_papers(
    papers: Sequence[str], files: Mapping[str, Mapping[str, Path]], studies: Iterable[str]
) -> None:
    for paper in papers:
        if paper == STUDY:
            problem = "a name that is kept for studies of one's own; rename the folder"
        elif paper in files:
            continue
        elif paper in studies:
            problem = "which is not a paper but a study of one's own; it has a target of its own, "
            problem += f"'snakemake {STUDY}_{paper}', so remove it from 'papers'"
        else:
            problem = f"but there is no folder config/papers/{paper}; {suggestion(paper, files)}"
        raise PerigeeError(f"{SETTINGS}: key 'papers' names '{paper}', {problem}.")


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
    settings = read_settings([configuration or configuration_file()])
    scales = dict.fromkeys([*known_scales(), settings["scale"]])
    plans = [make_plan(settings["papers"], scale, settings["seeds"]) for scale in scales]
    return plans, (results or Path(settings["results"])) / "store"


def references(plans: Iterable[Plan], store: Path) -> dict[str, set[str]]:
    """The folders of the store that some plans need.

    Args:
        plans: any number of plans.
        store: the store's folder. A run may be read from a longer version, which is then needed; if
            a run lacks epochs or measures, everything is needed that its job can use.

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
    """The folders below the store of all runs that some plans still need to train or measure."""
    runs = (run for plan in plans for run in plan.runs.values())
    return {run.identity.folder for run in runs if not run.is_complete(store)}


class _Planner:
    """A maker of products from requests."""

    def __init__(self) -> None:
        self._datasets: dict[Dataset, DatasetProduct] = {}
        self._thinned: dict[str, tuple[ThinnedLayers, str]] = {}
        """How the layers of a run are thinned, by its folder, and the file that says so."""

    def figure(self, request: FigureRequest, scale: str) -> FigureProduct:
        """A figure with all that it is made of."""
        for kind, path in (
            ("notebook", NOTEBOOKS / f"{template(request.key)}.py"),
            ("caption", CAPTIONS / f"{template(request.key)}.rst"),
        ):
            if not path.is_file():
                raise PerigeeError(
                    f"{request.file}: figure '{request.name}' has no {kind}; "
                    f"write {shown(path)} or remove the figure."
                )
        tables = {table.name: self.table(request, table) for table in request.tables}
        stamp: dict[str, Any] = {"scale": scale, "source": request.citation}
        if request.is_own:
            stamp["source"] = f"{request.name}: {request.title}"
        else:
            stamp["deviations"] = list(request.deviations)
        return FigureProduct(request, stamp, tables, self.claims(request, tables))

    def claims(
        self, request: FigureRequest, tables: Mapping[str, TableProduct]
    ) -> ClaimsProduct | None:
        """Make the verdicts on a figure's claims, if it has any."""
        every = [one for claim in request.claims for one in (claim, claim.given) if one]
        read = {one.table: tables[one.table] for one in every}
        return ClaimsProduct(request, read) if read else None

    def table(self, figure: FigureRequest, request: TableRequest) -> TableProduct:
        """Make a table with its runs.

        Raises:
            PerigeeError: another figure thins the layers of one of them in another way.
        """
        further = [_measure(name) for name in request.analysis.further_measures()]
        statistics = figure.test_statistics
        entries = tuple(self.entry(request, run, further, statistics) for run in request.runs)
        for entry in entries:
            self._require_one_thinning(entry.run, figure.file)
        return TableProduct(f"{figure.key}-{request.name}", request.analysis, entries)

    def entry(
        self,
        request: TableRequest,
        run: RunRequest,
        further: Sequence[Measure],
        statistics: TestStatistics,
    ) -> TableEntry:
        """Make a table's entry for a run."""
        measures = (*request.analysis.measures(run.checkpoint_interval), *further)
        chosen: list[Measure] = [
            run.layers if run.layers and measure == Layers() else measured_with(statistics, measure)
            for measure in measures
        ]
        product = self.run(run.spec, run.epochs, chosen)
        evaluations = tuple(
            EvaluationProduct(evaluated_with(statistics, evaluation()), product)
            for evaluation in request.analysis.evaluates
        )
        return TableEntry(product, run.swept, evaluations)

    def run(self, spec: RunSpec, epochs: int, measures: Sequence[Measure]) -> RunProduct:
        """Make a run, and the parents that it forks from."""
        dataset = self._datasets.setdefault(spec.dataset, DatasetProduct(spec.dataset))
        parent = spec.parent
        forked = None
        if parent is not None:
            forked = self.run(parent.run, parent.epochs, parent.at.measures)
        return RunProduct(spec, dataset, epochs, parent=forked).with_measures(measures)

    def _require_one_thinning(self, run: RunProduct, file: str) -> None:
        """Refuse two ways of thinning the layers of one run, whose job could only take one."""
        asked = next((one for one in run.measures if isinstance(one, ThinnedLayers)), None)
        if asked is None:
            return
        known, where = self._thinned.setdefault(run.identity.folder, (asked, file))
        if known != asked:
            raise PerigeeError(
                f"{file}: key 'layers' of 'runs' keeps {_told(asked)} of {run.identity.name}, but "
                f"{where} keeps {_told(known)} of the same run; give both the same."
            )


def _told(thinned: ThinnedLayers) -> str:
    """Which steps of layers are kept, in words."""
    in_full = f", all of {', '.join(thinned.in_full)}" if thinned.in_full else ""
    return f"one of {thinned.every} steps{in_full}"


def _measure(name: str) -> Measure:
    """Make a measure with its defaults."""
    measure: Measure = registry.make("measure", {"name": name})
    return measure
