"""Where everything of a plan lies on disk, and what each program is told: look-ups for the rules.

The products that a rule's wildcards name are looked up in the plan. A path says all about what it
holds, so what is complete is up to date, and no job waits for it: only products that are still to
be made are listed as inputs. What is there is thus no part of Snakemake's graph, and neither time
stamps, nor inputs that are missing or were made anew, nor Snakemake's own records can remake it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from perigee.errors import PerigeeError
from perigee.identity.canonical import DIGEST_LENGTH, canonical_json, digest
from perigee.identity.products import Identity
from perigee.paths import CAPTIONS, template
from perigee.plan import (
    Plan,
    PlannedClaims,
    PlannedFigure,
    PlannedPredictions,
    PlannedRun,
    PlannedTable,
)
from perigee.reporting.version import PAGES, pages_version
from perigee.store.claims import CLAIMS
from perigee.store.costs import Record, read_records
from perigee.store.datasets import DATA
from perigee.store.figures import FILES, published_figure, published_names
from perigee.store.predictions import PREDICTIONS_FILES as PREDICTED
from perigee.store.provenance import PROVENANCE
from perigee.store.publishing import Publication, outdated_notice
from perigee.store.runs import STATE, TABLES, longer_versions, planned_epochs, planned_predecessor
from perigee.store.tables import TABLE
from perigee.store.trajectories import TRAJECTORY_FILES
from perigee.store.writing import written_atomically
from perigee.submission import SHORT_RUNS, is_short, minutes

DATASET_FILES = (DATA, PROVENANCE)
RUN_FILES = (*TABLES, PROVENANCE)
TRAINED_RUN_FILES = (*TABLES, STATE, PROVENANCE)
KEEPING_RUN_FILES = (*TABLES, *TRAJECTORY_FILES, PROVENANCE)
TRAINED_KEEPING_RUN_FILES = (*TABLES, STATE, *TRAJECTORY_FILES, PROVENANCE)
PREDICTIONS_FILES = (*PREDICTED, PROVENANCE)
TABLE_FILES = (TABLE, PROVENANCE)
FIGURE_FILES = (*FILES, PROVENANCE)
CLAIMS_FILES = (CLAIMS, PROVENANCE)
"""Of a product of each kind; the provenance is written last."""

NAME = rf"[^/]+-[0-9a-f]{{{DIGEST_LENGTH}}}"
VERSION = rf"{NAME}/e[0-9]+"
KEEPING_VERSION = rf"{VERSION}-every[0-9]+"
"""What the rules' wildcards may be. Not the planned products, one by one: Snakemake would search
through all their names for each of its jobs."""

NOTHING = "(?!)"
"""A pattern that nothing matches, not even the empty string."""

LONG_SPEC = 10_000
"""Characters from which a spec is told as a file; an argument ends at 128 KiB on Linux."""

SPECS = Path(".snakemake/perigee/specs")


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
        self.logs = f"{results}/logs"
        self.published_folder = f"{results}/{plan.scale}/figures"
        self.claims_csv = f"{results}/{plan.scale}/{CLAIMS}"
        self.report = f"{results}/{plan.scale}/report.html"
        self.pages = [f"{results}/{plan.scale}/pages/{page}" for page in PAGES]
        self.reported = plan.of_figures(
            key
            for key, figure in plan.figures.items()
            if not figure.request.is_own or self._is_published(key)
        )
        """What report, claims and `everything` show: of sweeps of one's own those made before."""
        self.longer: dict[str, str] = {}
        """Runs to be read off another version of themselves -> that version's folder."""
        self._planned_epochs: dict[str, list[int]] = {}
        """Run's folder -> for how many epochs it is planned."""
        self._connect_versions()
        self._figures = {figure.identity.folder: figure for figure in plan.figures.values()}
        self._products: dict[str, Any] = {
            **plan.datasets,
            **plan.runs,
            **plan.predictions,
            **plan.tables,
            **self._figures,
            **plan.claims,
        }

    def _connect_versions(self) -> None:
        """Settle which versions of a run are made from which.

        A sweep of one's own that was not made yet may make use of what the reported figures need,
        and not the other way round: nothing is trained for it before it is asked for.
        """
        reported = list(self.reported.figures)
        others = [key for key in self.plan.figures if key not in self.reported.figures]
        settled: set[str] = set()
        for part in (self.reported, *(self.plan.of_figures([*reported, key]) for key in others)):
            longer = longer_versions(Path(self.store), part.runs)
            epochs = planned_epochs(part.runs.values())
            for folder, run in part.runs.items():
                if folder in settled:
                    continue
                self._planned_epochs[folder] = epochs[run.identity.folder]
                if folder in longer:
                    self.longer[folder.removeprefix("run/")] = longer[folder]
            settled |= part.runs.keys()

    @cached_property
    def named(self) -> dict[str, list[str]]:
        """Targets by name -> keys of the figures that they stand for."""
        papers: dict[str, list[str]] = {}
        for key, figure in self.plan.of_papers.figures.items():
            papers.setdefault(figure.request.paper, []).append(key)
        return {
            "everything": list(self.reported.figures),
            "all_figures": list(self.plan.of_papers.figures),
            **papers,
            **{key: [key] for key in self.plan.figures},
        }

    def files(self, folder: str, names: Iterable[str]) -> list[str]:
        """Paths of files of a product."""
        return [f"{self.store}/{folder}/{name}" for name in names]

    def still_to_make(self, folder: str, names: Sequence[str]) -> list[str]:
        """Paths of files of a product, or none if it is complete."""
        paths = self.files(folder, names)
        return [] if all(Path(path).exists() for path in paths) else paths

    def identity(self, kind: str, name: str) -> Identity:
        """Of a planned product."""
        identity: Identity = self._planned(f"{kind}/{name}").identity
        return identity

    def _planned(self, folder: str) -> Any:
        """A planned product by its folder below the store.

        Raises:
            PerigeeError: it is not planned.
        """
        if folder not in self._products:
            raise PerigeeError(
                f"'{self.store}/{folder}' is no product of the configuration at "
                f"{self.plan.scale} scale; 'snakemake -n' names those that are to be made."
            )
        return self._products[folder]

    def _argument(self, folder: str, spec: Mapping[str, Any]) -> str:
        """A spec as a program is told it: as JSON, or if that is long as the path of a file."""
        text = canonical_json(spec)
        if len(text) < LONG_SPEC:
            return text
        path = SPECS / f"{folder}.json"
        with written_atomically(path) as aside:
            aside.write_text(text, encoding="utf-8")
        return str(path)

    # Data sets

    def all_datasets(self) -> list[str]:
        """Files of every data set that is needed."""
        return [p for folder in self.reported.datasets for p in self.files(folder, DATASET_FILES)]

    def dataset_spec(self, name: str) -> str:
        """What build_dataset.py is told."""
        return canonical_json(self._planned(f"dataset/{name}").dataset.to_dict())

    # Runs

    def run(self, version: str) -> PlannedRun:
        """A planned run."""
        run: PlannedRun = self._planned(f"run/{version}")
        return run

    def run_spec(self, version: str) -> str:
        """What train.py is told."""
        return canonical_json(self.run(version).spec.to_dict())

    def run_dataset(self, version: str) -> str:
        """Folder of the data set that a run trains on."""
        return f"{self.store}/{self.run(version).dataset.identity.folder}"

    def run_log(self, version: str) -> str:
        """Where the program that makes a run writes its messages."""
        rule = "read_off_run" if version in self.longer else "train_run"
        return f"{self.logs}/{rule}/{version}.log"

    def run_inputs(self, version: str) -> list[str]:
        """What train_run needs: the data set, the run it forks from, a shorter version of itself.

        Training goes on from the shorter one, so that its epochs are not trained twice.
        """
        run = self.run(version)
        inputs = self.still_to_make(run.dataset.identity.folder, DATASET_FILES)
        if run.parent is not None:
            inputs += self.still_to_make(run.parent.folder, KEEPING_RUN_FILES)
        shorter = self._predecessor(run)
        if shorter:
            inputs += self.still_to_make(shorter, RUN_FILES)
        return inputs

    def run_options(self, version: str) -> str:
        """Further options of train.py: whether checkpoints are kept, and what is forked from."""
        run = self.run(version)
        fork = [] if run.parent is None else [f"--parent {self.store}/{run.parent.folder}"]
        return " ".join([self.checkpoint_option(version), *fork]).strip()

    def group(self, version: str, steps: int) -> str | None:
        """The group of runs that a run may share a submission with; None if it goes alone.

        Runs of at most so many steps that start from nothing: groups that wait for one another
        could never be submitted.
        """
        run = self.run(version)
        alone = run.parent is not None or bool(self._predecessor(run))
        return SHORT_RUNS if is_short(run, steps) and not alone else None

    def run_minutes(self, version: str, attempt: int, *, unknown: int, longest: int) -> int:
        """The time limit of a run's job (`perigee.submission.minutes`)."""
        return minutes(self.run(version), self._records, attempt, unknown=unknown, longest=longest)

    @cached_property
    def _records(self) -> list[Record]:
        return read_records(Path(self.store))

    def _predecessor(self, run: PlannedRun) -> str | None:
        """Folder of the shorter version that training goes on from."""
        return planned_predecessor(Path(self.store), self._planned_epochs[run.folder], run)

    def checkpoint_option(self, version: str) -> str:
        """Option of train.py and read_off_run.py: whether checkpoints are kept."""
        run = self.run(version)
        return "" if run.keep_every is None else f"--keep-every {run.keep_every}"

    def to_read_off(self, keeping: bool) -> str:
        """Pattern of the versions to be read off, with checkpoints or without."""
        versions = [v for v in self.longer if bool(re.fullmatch(KEEPING_VERSION, v)) == keeping]
        return "|".join(map(re.escape, versions)) or NOTHING

    def longer_run(self, version: str) -> str:
        """Folder of the version that a run is read off."""
        return f"{self.store}/{self.longer[version]}"

    def reading_off_inputs(self, version: str) -> list[str]:
        """What read_off_run needs: that version, where it is planned and still to be made."""
        longer = self.longer[version]
        if longer not in self.plan.runs:
            return []
        return self.run_still_to_make(self.plan.runs[longer])

    def run_still_to_make(self, run: PlannedRun) -> list[str]:
        """Paths of a run's files, or none if it is complete."""
        files = RUN_FILES if run.keep_every is None else KEEPING_RUN_FILES
        return self.still_to_make(run.folder, files)

    # Predictions

    def predictions(self, name: str) -> PlannedPredictions:
        """Planned predictions of a run's checkpoints."""
        predictions: PlannedPredictions = self._planned(f"predictions/{name}")
        return predictions

    def predictions_inputs(self, name: str) -> list[str]:
        """What predict_run needs: the run with its checkpoints, and the data set."""
        run = self.predictions(name).run
        dataset = self.still_to_make(run.dataset.identity.folder, DATASET_FILES)
        return [*self.run_still_to_make(run), *dataset]

    def predictions_run(self, name: str) -> str:
        """Folder of the run."""
        return f"{self.store}/{self.predictions(name).run.folder}"

    def predictions_dataset(self, name: str) -> str:
        """Folder of the run's data set."""
        return f"{self.store}/{self.predictions(name).run.dataset.identity.folder}"

    # Tables

    def table_spec(self, name: str) -> str:
        """What make_table.py is told."""
        table: PlannedTable = self._planned(f"table/{name}")
        runs = [
            {"folder": f"{self.store}/{run.folder}", "swept": dict(swept)}
            for run, swept in zip(table.runs, table.swept, strict=True)
        ]
        for run, predictions in zip(runs, table.predictions, strict=False):
            run["predictions"] = f"{self.store}/{predictions.identity.folder}"
        spec = {"name": table.identity.name, "analysis": table.analysis.to_dict(), "runs": runs}
        return self._argument(table.identity.folder, spec)

    def table_inputs(self, name: str) -> list[str]:
        """What make_table needs."""
        table: PlannedTable = self._planned(f"table/{name}")
        folders = [predictions.identity.folder for predictions in table.predictions]
        return [
            *(path for run in table.runs for path in self.run_still_to_make(run)),
            *(path for one in folders for path in self.still_to_make(one, PREDICTIONS_FILES)),
        ]

    # Figures

    def figure(self, name: str) -> PlannedFigure:
        """A planned figure, by its folder."""
        figure: PlannedFigure = self._planned(f"figure/{name}")
        return figure

    def figure_spec(self, name: str) -> str:
        """What draw_figure.py is told."""
        figure = self.figure(name)
        tables = {n: f"{self.store}/{t.identity.folder}" for n, t in figure.tables.items()}
        spec = {"key": figure.request.key, "stamp": dict(figure.stamp), "tables": tables}
        if figure.request.parameters:
            spec["parameters"] = dict(figure.request.parameters)
        return self._argument(figure.identity.folder, spec)

    def figure_inputs(self, name: str) -> list[str]:
        """What draw_figure needs."""
        folders = [table.identity.folder for table in self.figure(name).tables.values()]
        return [path for folder in folders for path in self.still_to_make(folder, TABLE_FILES)]

    def published(self, keys: Iterable[str]) -> list[str]:
        """What a target asks for: the copies of each figure under the name that outsiders use.

        The figure itself is asked for too while it is to be made. Snakemake would otherwise pass
        over a figure that cannot be made as long as older copies exist.
        """
        paths = []
        for key in keys:
            folder = self.plan.figures[key].identity.folder
            paths += [f"{self.published_folder}/{name}" for name in published_names(key)]
            paths += self.still_to_make(folder, FIGURE_FILES)
        return paths

    def _is_published(self, key: str) -> bool:
        """Whether a figure was made at this scale, of whichever version."""
        return any(p.exists() for p in published_figure(Path(self.published_folder), key).paths)

    def published_figure(self, key: str) -> str:
        """Folder of the figure that is to be published."""
        return f"{self.store}/{self.plan.figures[key].identity.folder}"

    def publication_inputs(self, key: str) -> list[str]:
        """What publish_figure needs: nothing if this version is published, unchanged."""
        identity = self.plan.figures[key].identity
        if published_figure(Path(self.published_folder), key).is_current(identity.digest):
            return []
        return [*self.still_to_make(identity.folder, FIGURE_FILES), outdated_notice()]

    def caption(self, key: str) -> str:
        """What the report says below a figure."""
        figure = self.plan.figures[key]
        title, stamp = figure.request.title, figure.stamp
        text = (CAPTIONS / f"{template(key)}.rst").read_text().strip()
        caption = f"**{title}**\n\n{text}\n\nScale: {stamp['scale']}."
        if figure.request.is_own:
            return caption
        differing = "; ".join(stamp["deviations"]) or "nothing"
        return f"{caption} Differing from the paper: {differing}."

    # Claims

    def claims_spec(self, name: str) -> str:
        """What judge_claims.py is told."""
        claims: PlannedClaims = self._planned(f"claims/{name}")
        tables = {n: f"{self.store}/{t.identity.folder}" for n, t in claims.tables.items()}
        spec = {
            "paper": claims.request.paper,
            "figure": claims.request.name,
            "claims": [claim.to_dict() for claim in claims.request.claims],
            "tables": tables,
        }
        return self._argument(claims.identity.folder, spec)

    def claims_inputs(self, name: str) -> list[str]:
        """What judge_claims needs."""
        claims: PlannedClaims = self._planned(f"claims/{name}")
        return [
            p
            for t in claims.tables.values()
            for p in self.still_to_make(t.identity.folder, TABLE_FILES)
        ]

    def claims_folders(self) -> list[str]:
        """Of the verdicts of all reported figures, in their order."""
        return [f"{self.store}/{folder}" for folder in self.reported.claims]

    def claims_version(self) -> str:
        """Digest of the verdicts of all reported figures together."""
        return digest([claims.identity.digest for claims in self.reported.claims.values()])

    def gathering_inputs(self) -> list[str]:
        """What gather_claims needs: nothing if these verdicts are published, unchanged."""
        if self._claims_are_published():
            return []
        return [*self.claims_to_judge(), outdated_notice()]

    def _claims_are_published(self) -> bool:
        published = Path(self.claims_csv)
        publication = Publication(published.parent, published.stem, [published.name])
        return publication.is_current(self.claims_version())

    def claims_to_judge(self) -> list[str]:
        """Files of the verdicts that are still to be found, asked for beside claims.csv."""
        folders = self.reported.claims
        return [path for folder in folders for path in self.still_to_make(folder, CLAIMS_FILES)]

    # Report

    def pages_inputs(self) -> list[str]:
        """What write_pages needs: nothing if the pages are up to date."""
        publication = Publication(Path(self.pages[0]).parent, "pages", PAGES)
        version = pages_version(self.reported, Path(self.store))
        if version is not None and publication.is_current(version):
            return []
        claims = [] if self._claims_are_published() else [self.claims_csv]
        return [*self._figures_to_draw(), *self.claims_to_judge(), *claims, outdated_notice()]

    def everything(self) -> list[str]:
        """What the default target asks for: figures, claims and the pages of the report."""
        figures = self.published(self.reported.figures)
        return [*figures, self.claims_csv, *self.claims_to_judge(), *self.pages]

    def _figures_to_draw(self) -> list[str]:
        folders = [figure.identity.folder for figure in self.reported.figures.values()]
        return [p for folder in folders for p in self.still_to_make(folder, FIGURE_FILES)]
