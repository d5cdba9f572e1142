"""Look-ups for the rules: the inputs of targets, and the specs of the programs.

The products that a rule's wildcards name are looked up in the plan. Only products that
`outstanding` returns are part of Snakemake's graph, so neither time stamps, nor inputs that are
missing or were made again, nor Snakemake's own records can cause anything to be made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from perigee.errors import PerigeeError
from perigee.identity.canonical import DIGEST_LENGTH, digest
from perigee.paths import CAPTIONS, template
from perigee.planning.absent_images import AbsentFolder, absent_images
from perigee.planning.calibrations import calibrations_file
from perigee.planning.costs import Record, calibrated_records, read_records
from perigee.planning.pages import PAGES, pages_version
from perigee.planning.plan import Plan
from perigee.planning.products import (
    DatasetProduct,
    Product,
    RunProduct,
    outstanding,
)
from perigee.planning.receipts import Receipts
from perigee.planning.submission import SHORT_RUNS, is_short, minutes
from perigee.store.claims import CLAIMS
from perigee.store.figures import published_figure, published_names
from perigee.store.publishing import Publication, outdated_notice
from perigee.store.writing import write_text_atomically

NAME = rf"[^/]+-[0-9a-f]{{{DIGEST_LENGTH}}}"
VERSION = rf"{NAME}/e[0-9]+"
"""The patterns of the rules' wildcards. They do not list the planned products, since Snakemake
would search through all their names for each of its jobs."""

SPEC_DIGEST_LENGTH = 8


class Layout:
    """Paths and program arguments for one plan.

    Products are named as in the rules' wildcards: by their folder without the kind, e.g.
    "digits-0123456789abcdef", and for runs "<name>-<digest>/e400".

    Args:
        plan: a plan at one scale.
        results: the results folder.
        data: the folder that key 'data' of the configuration names. Figures whose images are not
            there are left out of all targets but their own; of none, if it is not given.
        writes: whether the files with what programs are told are written, as a dry run does not.

    Attributes:
        absent: of these figures the folders that are missing, by key.
    """

    def __init__(
        self, plan: Plan, results: str, data: str | None = None, *, writes: bool = True
    ) -> None:
        self.plan = plan
        self._writes = writes
        self.store = f"{results}/store"
        self.absent = {} if data is None else self._absent(Path(data))
        self.logs = f"{results}/logs"
        self.specs = f"{results}/specs"
        self.calibrations = str(calibrations_file(results))
        self.receipts = Receipts(f"{results}/receipts")
        self.published_folder = f"{results}/{plan.scale}/figures"
        self.claims_csv = f"{results}/{plan.scale}/{CLAIMS}"
        self.report = f"{results}/{plan.scale}/report.html"
        self.pages = [f"{results}/{plan.scale}/{page}" for page in PAGES]
        self.reported = plan.of_figures(
            key
            for key, figure in plan.figures.items()
            if key not in self.absent
            if not figure.request.is_own or self._is_published(key)
        )
        """The figures in report, claims and `everything`; own sweeps are among them once made."""

    def _absent(self, data: Path) -> dict[str, tuple[AbsentFolder, ...]]:
        """The folders that figures lack; one that is made, or whose runs are, lacks none."""
        found = absent_images(self.plan.figures, data)
        return {
            key: folders
            for key, folders in found.items()
            if any(
                isinstance(product, RunProduct | DatasetProduct)
                for product in outstanding(
                    [self.plan.figures[key]], Path(self.store), self.plan.runs
                ).values()
            )
        }

    @cached_property
    def runs(self) -> dict[str, RunProduct]:
        """Every planned run by folder, with all its measures and the shorter one it continues.

        A run of a user's own sweep that was not made yet may continue a run that the reported
        figures need, but not the other way round: nothing is trained for it until requested.
        """
        lengths: dict[str, list[RunProduct]] = {}
        for run in self.reported.runs.values():
            planned = self.plan.runs[run.folder]
            lengths.setdefault(run.identity.folder, []).append(planned)
        found = {}
        for folder, run in self.plan.runs.items():
            shorter = [r for r in lengths.get(run.identity.folder, []) if r.epochs < run.epochs]
            longest = max(shorter, key=lambda one: one.epochs, default=None)
            found[folder] = run if longest is None else replace(run, shorter=longest)
        return found

    def outstanding(self, targets: Iterable[Product]) -> dict[str, Product]:
        """The products that are still to be made for some targets, by folder."""
        return outstanding(targets, Path(self.store), self.runs)

    @cached_property
    def named(self) -> dict[str, list[str]]:
        """The keys of the figures that each named target stands for."""
        papers: dict[str, list[str]] = {}
        of_papers = self.plan.of_papers.figures
        for key, figure in of_papers.items():
            papers.setdefault(figure.request.paper, []).append(key)
        return {
            "everything": [*self.reported.figures, *(k for k in self.absent if k in of_papers)],
            "all_figures": list(of_papers),
            **papers,
            **{key: [key] for key in self.plan.figures},
        }

    # For the rules of products

    def product(self, kind: str, name: str) -> Product:
        """Look up a planned product.

        Raises:
            PerigeeError: the product is not planned.
        """
        folder = f"{kind}/{name}"
        found = self.runs.get(folder) or self.plan.products.get(folder)
        if found is None:
            raise PerigeeError(
                f"'{self.store}/{folder}' is not a product of the configuration at "
                f"{self.plan.scale} scale; 'snakemake -n' names those that are to be made."
            )
        return found

    def receipts_of(self, products: Iterable[Product]) -> list[str]:
        """The receipts of those products that are still to be made."""
        store = Path(self.store)
        return [self.receipts.of(p.folder) for p in products if not p.is_complete(store)]

    def inputs(self, kind: str, name: str) -> list[str]:
        """The receipts that a product's job waits for."""
        return self.receipts_of(self.product(kind, name).awaited(Path(self.store)))

    def spec(self, kind: str, name: str) -> str:
        """The path of a file with the spec for a product's program."""
        product = self.product(kind, name)
        return self.told(f"{kind}/{name}", product.told(Path(self.store)))

    def out(self, kind: str, name: str) -> str:
        """The folder that a product is to be written to."""
        return f"{self.store}/{kind}/{name}"

    def told(self, name: str, told: Any) -> str:
        """The path of a file that holds what a program is told; it is named after its content.

        So a file never changes once it is written, even if another Snakemake tells the same
        program something else.
        """
        file = Path(f"{self.specs}/{name}.{digest(told)[:SPEC_DIGEST_LENGTH]}.json")
        if self._writes and not file.is_file():
            write_text_atomically(file, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return str(file)

    # Runs

    def run(self, version: str) -> RunProduct:
        """Look up a planned run."""
        run = self.product("run", version)
        assert isinstance(run, RunProduct)
        return run

    def run_log(self, version: str) -> str:
        """The path of the log of the program that trains a run, or will train it next."""
        return f"{self.logs}/train_run/{version}.{self.receipts.number(f'run/{version}')}.log"

    def group(self, version: str, steps: int) -> str | None:
        """The group of runs that may share a submission with a run; None if it goes alone.

        A group has runs of at most so many steps that depend on no other run: groups that wait for
        one another could never be submitted.
        """
        run = self.run(version)
        alone = run.parent is not None or run.shorter is not None
        return SHORT_RUNS if is_short(run, steps) and not alone else None

    def run_minutes(self, version: str, attempt: int, *, unknown: int, longest: int) -> int:
        """The time limit of a run's job (`perigee.planning.submission.minutes`)."""
        return minutes(self.run(version), self.records, attempt, unknown=unknown, longest=longest)

    @cached_property
    def records(self) -> list[Record]:
        """The costs of finished runs, and those of calibrations.

        Raises:
            PerigeeError: a record of calibrations is damaged.
        """
        return [*read_records(Path(self.store)), *calibrated_records(Path(self.calibrations))]

    # Figures

    def published(self, name: str) -> list[str]:
        """The inputs of a named target: those of its figures whose images are there."""
        return self._published(key for key in self.named[name] if key not in self.absent)

    def _published(self, keys: Iterable[str]) -> list[str]:
        """The copies of each figure under its public name.

        While the figure itself is to be made, it is an input too. Snakemake would otherwise ignore
        a figure that cannot be made as long as older copies exist.
        """
        paths = []
        for key in keys:
            paths += [f"{self.published_folder}/{name}" for name in published_names(key)]
            paths += self.receipts_of([self.plan.figures[key]])
        return paths

    def _is_published(self, key: str) -> bool:
        """Return whether some version of a figure was made at this scale."""
        return any(p.exists() for p in published_figure(Path(self.published_folder), key).paths)

    def publication_inputs(self, key: str) -> list[str]:
        """The inputs of publish_figure: none if this version is published, unchanged."""
        figure = self.plan.figures[key]
        publication = published_figure(Path(self.published_folder), key)
        if publication.is_current(figure.identity.digest):
            return []
        return [*self.receipts_of([figure]), outdated_notice()]

    def caption(self, key: str) -> str:
        """The caption of a figure in the report."""
        figure = self.plan.figures[key]
        title, stamp = figure.request.title, figure.stamp
        text = (CAPTIONS / f"{template(key)}.rst").read_text(encoding="utf-8").strip()
        caption = f"**{title}**\n\n{text}\n\nScale: {stamp['scale']}."
        if figure.request.is_own:
            return caption
        differing = "; ".join(stamp["deviations"]) or "nothing"
        return f"{caption} Differing from the paper: {differing}."

    # Claims

    def claims_spec(self) -> str:
        """The path of a file with the folders of all verdicts, and the wording of their claims."""
        return self.told(f"claims-{self.plan.scale}", self._told_of_claims())

    def claims_version(self) -> str:
        """The digest of the verdicts of all reported figures together, and of their wording."""
        return digest(self._told_of_claims())

    def _told_of_claims(self) -> list[dict[str, Any]]:
        return [
            {
                "folder": f"{self.store}/{folder}",
                "claims": {one.name: one.prose for one in claims.claims},
            }
            for folder, claims in self.reported.claims.items()
        ]

    def gathering_inputs(self) -> list[str]:
        """The inputs of gather_claims: none if these verdicts are published, unchanged."""
        if self._claims_are_published():
            return []
        return [*self.claims_to_judge(), outdated_notice()]

    def _claims_are_published(self) -> bool:
        published = Path(self.claims_csv)
        publication = Publication(published.parent, published.stem, [published.name])
        return publication.is_current(self.claims_version())

    def claims_to_judge(self) -> list[str]:
        """The receipts of the verdicts that are still to be made, requested with claims.csv."""
        return self.receipts_of(self.reported.claims.values())

    # Report

    def pages_inputs(self) -> list[str]:
        """The inputs of write_pages: none if the pages are up to date."""
        publication = Publication(Path(self.pages[0]).parent, "pages", PAGES)
        version = pages_version(self.reported, Path(self.store))
        if version is not None and publication.is_current(version):
            return []
        claims = [] if self._claims_are_published() else [self.claims_csv]
        figures = self.receipts_of(self.reported.figures.values())
        return [*figures, *self.claims_to_judge(), *claims, outdated_notice()]

    def everything(self) -> list[str]:
        """The inputs of the default target: figures, claims and the pages of the report."""
        figures = self._published(self.reported.figures)
        return [*figures, self.claims_csv, *self.claims_to_judge(), *self.pages]
