"""A paper's files at one scale: its figures, their tables and claims, and the runs these need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perigee.blocks.analyses import Analysis
from perigee.blocks.base import Block
from perigee.blocks.measures import Layers, Measure
from perigee.configuration import models
from perigee.configuration.claims import FigureOfClaims, claims_of, require_claims
from perigee.configuration.labels import STATISTICS, require_one_label
from perigee.configuration.locks import Locks, locks_of
from perigee.configuration.notes import notes_of
from perigee.configuration.overlays import SET, SWEEP, flattened
from perigee.configuration.reading import read_shared, yaml_files
from perigee.configuration.requests import FigureRequest, Note, RunRequest, TableRequest
from perigee.configuration.runs import (
    SweptRuns,
    resolved_run,
    swept_runs,
    told_apart,
    with_parents,
    with_precision,
)
from perigee.configuration.scales import PAPER, Document, Scale, document
from perigee.configuration.seeds import SEED, require_unexplored
from perigee.configuration.theorems import OUTSIDE, require_equilibrium
from perigee.configuration.validation import checked, refusal, suggestion, validated_block, wrong
from perigee.errors import PerigeeError
from perigee.paths import shown
from perigee.registry import REGISTRY
from perigee.spec import Claim
from perigee.stamp import deviations


class SharedRuns:
    """The runs of a paper at one scale.

    Attributes:
        citation: the paper in short.
        explored: its explored seeds.
        document: paper.yaml.
        runs: by name, parents written out.
        plain_runs: the same with the paper's values, and the scale's precision, of which no paper
            speaks.

    Raises:
        PerigeeError: something in the file or its overlay is wrong.
    """

    def __init__(self, path: Path, scale: Scale) -> None:
        self.document = scale.read(path)
        file, values = self.document.file, self.document.values
        paper = checked(models.Paper, values, file)
        self.citation, self.explored = paper.citation, paper.explored_seeds
        self.runs, self.plain_runs = (
            with_parents(with_precision(found.get("runs", {}), scale.precision), file)
            for found in (values, self.document.plain)
        )
        for name, run in self.runs.items():
            resolved_run(run, f"runs.{name}", file)

    def ancestry(self, name: str) -> set[str]:
        """A run's name, and those of the runs that it descends from."""
        parent = self.document.values["runs"][name].get("parent")
        return {name} if parent is None else {name, *self.ancestry(parent["run"])}


def read_paper(files: Mapping[str, Path], shared: SharedRuns, scale: Scale) -> list[FigureRequest]:
    """All figures of a paper at one scale.

    Args:
        files: the paper's, by name (`perigee.configuration.scales.papers`).
        shared: the runs of its ``paper.yaml``.
        scale: the present one.

    Raises:
        PerigeeError: anything in the files is wrong.
    """
    claims = yaml_files("papers", files[PAPER].parent.name, "claims")
    unknown = next((name for name in claims if name not in files), None)
    if unknown is not None:
        figures = [name for name in files if name != PAPER]
        raise PerigeeError(
            f"{shown(claims[unknown])} has claims on '{unknown}', which is not a figure of the "
            f"paper; {suggestion(unknown, figures)}."
        )
    return [
        _figure(path, claims.get(name), shared, scale)
        for name, path in files.items()
        if name != PAPER
    ]


def _figure(path: Path, of_claims: Path | None, shared: SharedRuns, scale: Scale) -> FigureRequest:
    _require_figure_name(path)
    read = scale.read(path)
    file = read.file
    figure = checked(models.Figure, read.values, file)
    groups = {
        name: _runs_of(name, group, read, shared, file) for name, group in figure.runs.items()
    }
    runs_of = {
        name: {run: _known(groups, run, f"tables.{name}.runs", file) for run in table.runs}
        for name, table in sorted(figure.tables.items())
    }
    tables = [_table(name, figure, runs, file) for name, runs in runs_of.items()]
    _require_use(figure, tables, file)
    explored = {shared.document.file: shared.explored, file: figure.explored_seeds}
    for name, swept in groups.items():
        place = f".{SWEEP}.{SEED}" * (SEED in figure.runs[name].sweep)
        require_unexplored(swept.requests, explored, f"runs.{name}{place}", file)
    used = {name for group in figure.runs.values() for name in shared.ancestry(group.run)}
    notes = [*notes_of(read), *notes_of(shared.document, used)]
    if figure.outside_theorems:
        (*_, where) = (name for source, name in read.notes if OUTSIDE in source)
        notes.append(Note(OUTSIDE, None, figure.outside_theorems, False, (), where))
    claims: tuple[Claim, ...] = ()
    if of_claims is not None:
        told = document(read_shared(of_claims), shown(of_claims))
        given = checked(models.Claims, told.values, told.file).claims
        require_claims(figure.untestable, given, file)
        notes_on_claims = tuple(notes_of(told))
        about = FigureOfClaims(
            tables=tables,
            runs=runs_of,
            citation=shared.citation,
            untestable=figure.untestable,
            scale=scale,
            notes=notes_on_claims,
            locks=Locks(path.stem, read.plain, locks_of(path.parent.name)),
        )
        claims = tuple(claims_of(given, about, told.file))
        notes += notes_on_claims
    here = _in_effect(read.values, shared.runs)
    there = _in_effect(read.plain, shared.plain_runs)
    return FigureRequest(
        paper=path.parent.name,
        name=path.stem,
        title=figure.title,
        citation=shared.citation,
        tables=tuple(tables),
        deviations=tuple(deviations(here, there)),
        claims=claims,
        test_statistics=figure.test_statistics,
        outside_theorems=figure.outside_theorems,
        notes=tuple(notes),
        file=str(file),
    )


def _table(
    name: str, figure: models.Figure, runs: Mapping[str, SweptRuns], file: str
) -> TableRequest:
    """A table of a figure, and the runs that it reads."""
    key = f"tables.{name}"
    written = figure.tables[name].analysis
    analysis: Analysis = validated_block("analysis", written, file, f"{key}.analysis")
    _require_runs_as_needed(analysis, bool(runs), file, key)
    require_columns(analysis.further_measures(), file, f"{key}.analysis.further")
    requests = told_apart(request for one in runs.values() for request in one.requests)
    if analysis.compares_seeds:
        _require_two_seeds(requests, file, f"{key}.runs")
    if analysis.reads_checkpoints:
        _require_checkpoints(analysis, figure, runs, file)
    table = TableRequest(name, analysis, requests)
    named, further = f"{key}.analysis.name", f"{key}.analysis.further"
    require_one_label(table, figure.test_statistics, file, named, further)
    if not figure.outside_theorems:
        require_equilibrium(table, file, named)
    return table


def _runs_of(
    name: str, group: models.Runs, read: Document, shared: SharedRuns, file: str
) -> SweptRuns:
    """An entry of a figure's runs."""
    base = _known(shared.runs, group.run, f"runs.{name}.run", file)
    plain = read.plain["runs"][name].get(SWEEP, {})
    return swept_runs(base, group, plain, f"runs.{name}", file)


def _known(known: Mapping[str, Any], name: str, key: str, file: str) -> Any:
    if name not in known:
        told = f"is '{name}', which is not an entry of 'runs'; known are "
        raise wrong(file, key, f"{told}{', '.join(sorted(known)) or 'none'}.")
    return known[name]


def _in_effect(values: Mapping[str, Any], runs: Mapping[str, Any]) -> dict[str, Any]:
    """A figure's settings by dotted key, swept ones as lists; how many seeds is not one."""
    found: dict[str, Any] = {}
    for name, group in values.get("runs", {}).items():
        swept = {
            key: list(value.values()) if isinstance(value, Mapping) else value
            for key, value in group.get(SWEEP, {}).items()
        }
        settings = {
            "epochs": group["epochs"],
            **flattened(runs[group["run"]]),
            **flattened(group.get(SET, {})),
            **swept,
        }
        found |= {f"{name}.{key}": value for key, value in settings.items() if key != SEED}
    tables = {name: table["analysis"] for name, table in values["tables"].items()}
    tested = {STATISTICS: values.get(STATISTICS, "running")}
    return found | flattened(tables) | tested


# What is refused


def _require_figure_name(path: Path) -> None:
    if not re.fullmatch("(fig|app)[A-Z]*[0-9]*", path.stem):
        raise PerigeeError(
            f"{shown(path)}: '{path.stem}' is not a possible name of a figure; it must be named as "
            "fig3 or appA2 are."
        )


def require_columns(measures: Sequence[str], file: str, key: str) -> list[str]:
    """The columns that measures have beside the metrics.

    Args:
        measures: names.
        file, key: where they stand, for messages.

    Raises:
        PerigeeError: one is not a measure with such columns, or stands there twice.
    """
    known = {name: one for name, one in REGISTRY["measure"].items() if _columns(one)}
    for position, name in enumerate(measures):
        if name not in known:
            raise wrong(
                file,
                key,
                f"names '{name}', which is not a measure with columns beside the metrics; "
                f"{suggestion(name, known)}.",
            )
        if name in measures[:position]:
            raise wrong(file, key, f"names '{name}' twice; remove one of them.")
    return [column for name in measures for column in _columns(known[name])]


def _columns(measure: type[Block]) -> tuple[str, ...]:
    return measure.columns if issubclass(measure, Measure) else ()


def _require_runs_as_needed(analysis: Analysis, given: bool, file: str, key: str) -> None:
    needed = analysis.reads_runs
    if needed and not given:
        raise refusal(
            file,
            key,
            f"key '{key}.runs' is missing, but the analysis '{analysis.name}' reads runs; add it.",
        )
    if given and not needed:
        raise wrong(
            file,
            f"{key}.runs",
            f"is given, but the analysis '{analysis.name}' computes from a formula; remove it.",
        )


def _require_checkpoints(
    analysis: Analysis, figure: models.Figure, runs: Iterable[str], file: str
) -> None:
    for name in runs:
        if not figure.runs[name].checkpoint_interval:
            raise refusal(
                file,
                f"runs.{name}",
                f"key 'runs.{name}.checkpoint_interval' is missing, but the analysis "
                f"'{analysis.name}' reads checkpoints; say after how many epochs each is kept.",
            )


def _require_use(figure: models.Figure, tables: Sequence[TableRequest], file: str) -> None:
    """Refuse runs that no table reads, and kept checkpoints and layers that none does."""
    for name, group in figure.runs.items():
        reading = [t.analysis for t in tables if name in figure.tables[t.name].runs]
        key = f"runs.{name}"
        if not reading:
            raise wrong(file, key, "is read by no table; name it in one or remove it.")
        if group.checkpoint_interval and not any(one.reads_checkpoints for one in reading):
            key = f"{key}.checkpoint_interval"
            raise wrong(
                file,
                key,
                f"is given, but the analysis '{reading[0].name}' reads no checkpoints; remove it.",
            )
        if "layers" in group.model_fields_set and not any(Layers in one.reads for one in reading):
            key = f"{key}.layers"
            raise wrong(
                file,
                key,
                f"is given, but the analysis '{reading[0].name}' reads no layers; remove it.",
            )


def _require_two_seeds(requests: Sequence[RunRequest], file: str, key: str) -> None:
    """Every run has to have one to be compared with: the same but for the seed."""
    settings = [{k: v for k, v in run.swept.items() if k != "seed"} for run in requests]
    alone = next((one for one in settings if settings.count(one) < 2), None)
    if alone is not None:
        values = ", ".join(f"{name} {value}" for name, value in alone.items())
        raise wrong(
            file,
            key,
            f"has one seed only{f' of {values}' if values else ''}, but each run is compared with "
            "one of another seed; sweep 'seed' over at least two, or, if it sweeps the judged "
            "ones, set 'seeds' to at least 2.",
        )
