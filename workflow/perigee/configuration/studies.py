"""A study file at one scale: its figures, their tables, and the runs these need."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from perigee.blocks.analyses import Analysis
from perigee.blocks.base import Block
from perigee.blocks.forks import AtEpoch, Fork
from perigee.blocks.measures import Measure
from perigee.blocks.quantities import Quantity
from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import at_scale
from perigee.configuration.validation import (
    read_schema,
    sentence,
    suggestion,
    validated,
    validated_block,
)
from perigee.errors import PerigeeError
from perigee.identity.canonical import canonical_json
from perigee.paths import STUDY, shown
from perigee.registry import REGISTRY
from perigee.spec import BLOCK_FIELDS, Claim, Parent, RunSpec


@dataclass(frozen=True)
class RunRequest:
    """A run that a table needs.

    Attributes:
        spec: the run.
        epochs: how many of its epochs the table needs.
        swept: the swept values by which the table tells its runs apart, and the sweep's label if
            it has one, e.g. ``{"label": "wide", "optimiser.learning_rate": 0.3, "seed": 0}``.
        checkpoint_interval: epochs from one kept checkpoint to the next; None keeps none.
    """

    spec: RunSpec
    epochs: int
    swept: Mapping[str, Any]
    checkpoint_interval: int | None = None


@dataclass(frozen=True)
class TableRequest:
    """A table that a figure needs: an analysis with its parameters, and the runs it reads."""

    name: str
    analysis: Analysis
    runs: tuple[RunRequest, ...]


@dataclass(frozen=True)
class FigureRequest:
    """A figure at one scale.

    Attributes:
        paper: e.g. "periodic".
        name: e.g. "fig3".
        title: a line for the report and messages.
        citation: the paper, shortly.
        tables: what the notebook reads.
        settings: every value in effect, by dotted key, to be compared with another scale's.
        claims: what the paper says of the figure.
        parameters: of its notebook, beside tables, folder and stamp.
    """

    paper: str
    name: str
    title: str
    citation: str
    tables: tuple[TableRequest, ...]
    settings: Mapping[str, Any]
    claims: tuple[Claim, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name outsiders use: <paper>_<figure>."""
        return f"{self.paper}_{self.name}"

    @property
    def is_own(self) -> bool:
        """Whether it shows a sweep of one's own, and so no paper's figure."""
        return self.paper == STUDY


def read_study(path: Path, scale: str) -> list[FigureRequest]:
    """All figures of a study file at one scale, in the file's order.

    Args:
        path: config/studies/<paper>.yaml.
        scale: one of `perigee.configuration.scales.SCALES`.

    Raises:
        PerigeeError: anything in the file is wrong.
    """
    return study_at(read_yaml(path), path, scale)


def study_at(document: Mapping[str, Any], path: Path, scale: str) -> list[FigureRequest]:
    """All figures of a study file that was read, at one scale; see `read_study`."""
    file = shown(path)
    whole = with_parents(at_scale(document, scale, file), file)
    study = validated(whole, read_schema("study"), file)
    if study["study"] != path.stem:
        raise PerigeeError(
            f"{file}: key 'study' is '{study['study']}', but the file is named '{path.stem}'; "
            "make the two agree."
        )
    return [_figure(study, name, scale, file) for name in study["figures"]]


def with_parents(document: dict[str, Any], file: str) -> dict[str, Any]:
    """The document with the parents of forked runs written out.

    A run with the key ``parent`` names another entry of ``runs`` there, and has all values of that
    one that it does not give itself.
    """
    runs = document.get("runs")
    if not isinstance(runs, dict):
        return document

    def written(name: str, descendants: tuple[str, ...] = ()) -> Any:
        run = runs[name]
        parent = run.get("parent") if isinstance(run, dict) else None
        if not isinstance(parent, dict) or "run" not in parent:
            return run
        key, line = parent["run"], (*descendants, name)
        if key not in runs:
            raise PerigeeError(
                f"{file}: key 'runs.{name}.parent.run' is '{key}', which is not an entry of "
                f"'runs'; known are {', '.join(sorted(runs))}."
            )
        if key in line:
            raise PerigeeError(
                f"{file}: key 'runs.{name}.parent.run' is '{key}', which descends from it: "
                f"{' from '.join((*line, key))}; let one of them start without a parent."
            )
        inherited = copy.deepcopy(written(key, line))
        return {**inherited, **run, "parent": {**parent, "run": inherited}}

    return {**document, "runs": {name: written(name) for name in runs}}


def _figure(study: Mapping[str, Any], name: str, scale: str, file: str) -> FigureRequest:
    figure = study["figures"][name]
    settings: dict[str, Any] = {}
    tables = []
    for table_name, table in sorted(figure["tables"].items()):
        key = f"figures.{name}.tables.{table_name}"
        analysis = validated_block("analysis", table["analysis"], file, f"{key}.analysis")
        assert isinstance(analysis, Analysis)
        _require_runs_as_needed(analysis, "runs" in table, file, key)
        require_columns(analysis.further_measures(), file, f"{key}.analysis.further")
        settings |= _flattened(analysis.parameters, table_name)
        requests: list[RunRequest] = []
        for position, sweep in enumerate(table.get("runs", [])):
            where = f"{key}.runs[{position}]"
            base = _base_run(study, sweep, where, file)
            expanded = list(expanded_runs(base, sweep, where, file))
            requests.extend(expanded)
            _require_checkpoints_as_needed(analysis, "checkpoint_interval" in sweep, file, where)
            settings |= _flattened(_in_effect(expanded), f"{table_name}.runs{position}")
        if analysis.compares_seeds:
            _require_two_seeds(requests, file, key)
        tables.append(TableRequest(table_name, analysis, tuple(requests)))
    return FigureRequest(
        paper=study["study"],
        name=name,
        title=figure["title"],
        citation=study["citation"],
        tables=tuple(tables),
        settings=settings,
        claims=tuple(
            claims_of(
                figure["claims"], tables, study["citation"], f"figures.{name}.claims", scale, file
            )
        ),
    )


def claims_of(
    claims: Mapping[str, Any],
    tables: Sequence[TableRequest],
    citation: str,
    where: str,
    scale: str,
    file: str,
) -> Iterator[Claim]:
    """A figure's claims, checked against its tables.

    Args:
        claims: as in a study file, by name.
        tables: of the figure.
        citation: whose claims they are, shortly.
        where, file: where they stand, for messages.
        scale: at hand.

    Raises:
        PerigeeError: a claim names a wrong table or quantity, or rows by a text that none has.
    """
    known = {table.name: table for table in tables}
    for name, claim in claims.items():
        key = f"{where}.{name}"
        quantity = validated_block("quantity", claim["quantity"], file, f"{key}.quantity")
        assert isinstance(quantity, Quantity)
        if claim["table"] not in known:
            raise PerigeeError(
                f"{file}: key '{key}.table' is '{claim['table']}', which is not a table of the "
                f"figure; known are {', '.join(sorted(known))}."
            )
        if quantity.reads_runs and not known[claim["table"]].runs:
            raise PerigeeError(
                f"{file}: key '{key}.quantity' is '{quantity.name}', which is measured on runs, "
                f"but table '{claim['table']}' is made without runs; name a table with runs."
            )
        testable = scale in claim["scales"]
        if testable:
            _require_known_texts(quantity, known[claim["table"]], file, f"{key}.quantity")
        ((relation, bound),) = claim["expected"].items()
        yield Claim(
            name=name,
            says=claim["says"],
            source=f"{citation}, {claim['place']}",
            table=claim["table"],
            quantity=quantity,
            relation=relation,
            bound=bound,
            testable=testable,
        )


def _require_known_texts(quantity: Block, table: TableRequest, file: str, key: str) -> None:
    """Refuse rows that are told by a label or swept text of no run: it is misspelt.

    A number of no run is left to judging, which says that the claim is not testable.
    """
    for parameter, rows in quantity.parameters.items():
        for column, value in rows.items() if isinstance(rows, Mapping) else ():
            values = {run.swept[column] for run in table.runs if column in run.swept}
            told_by_runs = values or (table.runs and column == "label")
            if told_by_runs and isinstance(value, str) and value not in values:
                raise PerigeeError(
                    f"{file}: key '{key}.{parameter}.{column}' is '{value}', which no run of "
                    f"table '{table.name}' has; {suggestion(value, map(str, values))}."
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
            raise PerigeeError(
                f"{file}: key '{key}' names '{name}', which is not a measure with columns beside "
                f"the metrics; {suggestion(name, known)}."
            )
        if name in measures[:position]:
            raise PerigeeError(f"{file}: key '{key}' names '{name}' twice; remove one of them.")
    return [column for name in measures for column in _columns(known[name])]


def _columns(measure: type[Block]) -> tuple[str, ...]:
    return measure.columns if issubclass(measure, Measure) else ()


def _require_runs_as_needed(analysis: Analysis, given: bool, file: str, key: str) -> None:
    needed = analysis.reads_runs
    if needed and not given:
        raise PerigeeError(
            f"{file}: key '{key}.runs' is missing, but the analysis '{analysis.name}' reads runs; "
            "add it."
        )
    if given and not needed:
        raise PerigeeError(
            f"{file}: key '{key}.runs' is given, but the analysis '{analysis.name}' computes from "
            "a formula; remove it."
        )


def _require_checkpoints_as_needed(analysis: Analysis, kept: bool, file: str, where: str) -> None:
    needed = analysis.reads_checkpoints
    if needed and not kept:
        raise PerigeeError(
            f"{file}: key '{where}.checkpoint_interval' is missing, but the analysis "
            f"'{analysis.name}' reads checkpoints; say after how many epochs each is kept."
        )
    if kept and not needed:
        raise PerigeeError(
            f"{file}: key '{where}.checkpoint_interval' is given, but the analysis "
            f"'{analysis.name}' reads no checkpoints; remove it."
        )


def _require_two_seeds(requests: Sequence[RunRequest], file: str, key: str) -> None:
    """Every run has to have one to be compared with: the same but for the seed."""
    settings = [{k: v for k, v in run.swept.items() if k != "seed"} for run in requests]
    alone = next((one for one in settings if settings.count(one) < 2), None)
    if alone is not None:
        values = ", ".join(f"{name} {value}" for name, value in alone.items())
        raise PerigeeError(
            f"{file}: key '{key}.runs' has one seed only{f' of {values}' if values else ''}, but "
            "each run is compared with one of another seed; sweep 'seed' over at least two."
        )


def _in_effect(requests: Sequence[RunRequest]) -> dict[str, Any]:
    """Settings of a sweep's runs: the shared ones, and the distinct values of the swept ones."""
    shared = _flattened(requests[0].spec.full_dict(), "")
    swept = {
        key: list(dict.fromkeys(request.swept[key] for request in requests))
        for key in requests[0].swept
    }
    return {**shared, **swept, "epochs": requests[0].epochs}


def _base_run(
    study: Mapping[str, Any], sweep: Mapping[str, Any], where: str, file: str
) -> dict[str, Any]:
    known = study.get("runs", {})
    if sweep["base"] not in known:
        raise PerigeeError(
            f"{file}: key '{where}.base' is '{sweep['base']}', which is not an entry of 'runs'; "
            f"known are {', '.join(sorted(known)) or 'none'}."
        )
    base: dict[str, Any] = copy.deepcopy(known[sweep["base"]])
    for dotted, value in sweep.get("set", {}).items():
        set_value(base, dotted, value, f"{where}.set", file)
    return base


def expanded_runs(
    base: Mapping[str, Any], sweep: Mapping[str, Any], where: str, file: str
) -> Iterator[RunRequest]:
    """One request for every combination of the swept values; equal ones are given once.

    A sweep's label stands beside the swept values. The first key in the alphabet varies slowest, in
    whichever order the file has them.
    """
    swept = dict(sorted(sweep.get("sweep", {}).items()))
    label = {"label": sweep["label"]} if "label" in sweep else {}
    seen: set[str] = set()
    for values in itertools.product(*swept.values()):
        run = copy.deepcopy(dict(base))
        for dotted, value in zip(swept, values, strict=True):
            set_value(run, dotted, value, f"{where}.sweep".removeprefix("."), file)
        spec = resolved_run(run, where, file)
        plain = {"parent": None, **spec.full_dict()}
        meaning = canonical_json(spec.to_dict())
        if meaning not in seen:
            seen.add(meaning)
            values_of = {key: _get(plain, key) for key in swept}
            interval = sweep.get("checkpoint_interval")
            yield RunRequest(spec, sweep["epochs"], label | values_of, interval)


def with_defaults(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run with the blocks that it leaves out, so that a sweep can reach into them."""
    fields = RunSpec.model_fields
    left_out = {
        kind: fields[kind].default.to_dict()
        for kind in BLOCK_FIELDS
        if not fields[kind].is_required()
    }
    return {**left_out, **run}


def resolved_run(run: Mapping[str, Any], where: str, file: str) -> RunSpec:
    """A run's spec with everything checked.

    Args:
        run: as under ``runs`` of a study file, at one scale.
        where, file: where the run stands, for messages.

    Raises:
        PerigeeError: a key or value is wrong.
    """
    run = dict(run)
    parent = run.pop("parent", None)
    blocks = {}
    for kind in BLOCK_FIELDS:
        if kind not in run:
            continue
        key = f"{where}.{kind}".removeprefix(".")
        if not isinstance(run[kind], Mapping):
            raise PerigeeError(f"{file}: key '{key}' is {run[kind]!r}; it must be of type mapping.")
        if "name" not in run[kind]:
            raise PerigeeError(f"{file}: key 'name' in '{key}' is missing; add it.")
        blocks[kind] = validated_block(kind, run[kind], file, key)
    resolved = None if parent is None else _resolved_parent(parent, run, where, file)
    try:
        return RunSpec.model_validate({**run, **blocks, "parent": resolved})
    except ValidationError as error:
        raise PerigeeError(f"{file}: {sentence(error, RunSpec, where)}") from error
    except PerigeeError as error:  # on two blocks that do not fit
        raise PerigeeError(f"{file}: {f'{where}: ' if where else ''}{error}") from error


def _resolved_parent(
    parent: Mapping[str, Any], run: Mapping[str, Any], where: str, file: str
) -> Parent:
    """The key ``parent`` of a forked run, checked.

    A checkpoint fits only a network of the same shape with the same frozen head on the same data,
    so a sweep over those sweeps the parent too.
    """
    key = f"{where}.parent".removeprefix(".")
    parent = validated(parent, PARENT_SCHEMA, file, key)
    shared = {name: run[name] for name in ("dataset", "model", "seed") if name in run}
    at = validated_block("fork", parent["at"], file, f"{key}.at")
    assert isinstance(at, Fork)
    if isinstance(at, AtEpoch) and at.epoch > parent["epochs"]:
        raise PerigeeError(
            f"{file}: key '{key}.at.epoch' is {at.epoch}, but of the parent only "
            f"{parent['epochs']} epochs are trained; raise '{key}.epochs' or fork earlier."
        )
    spec = resolved_run({**parent["run"], **shared}, f"{key}.run", file)
    return Parent(spec, parent["epochs"], at)


PARENT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["run", "epochs", "at"],
    "properties": {
        "run": {"type": "object"},
        "epochs": {"type": "integer", "minimum": 1},
        "at": {"type": "object", "required": ["name"]},
    },
}


def set_value(run: dict[str, Any], dotted: str, value: Any, where: str, file: str) -> None:
    """Put a value in its place in a run, by dotted key.

    Raises:
        PerigeeError: the key leads nowhere; the message says that it stands in ``where``.
    """
    *parents, last = dotted.split(".")
    for parent in parents:
        if not isinstance(run.get(parent), dict):
            raise PerigeeError(
                f"{file}: key '{where}.{dotted}' leads nowhere: a run has no '{parent}' with keys "
                "of its own; name a key such as 'optimiser.learning_rate'."
            )
        run = run[parent]
    run[last] = value


def _get(run: Mapping[str, Any], dotted: str) -> Any:
    value: Any = run
    for part in dotted.split("."):
        value = value[part]
    return value if isinstance(value, bool | int | float | str) else canonical_json(value)


def _flattened(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; parameters come in the alphabet's order."""
    flat: dict[str, Any] = {}
    for name, item in value.items() if not prefix else sorted(value.items()):
        key = f"{prefix}.{name}".removeprefix(".")
        flat |= _flattened(item, key) if isinstance(item, Mapping) else {key: item}
    return flat
