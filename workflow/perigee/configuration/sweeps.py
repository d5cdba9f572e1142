"""A sweep of one's own: a short file in config/studies/, as a figure's tables and runs.

docs/extending.md tells how such a file is written.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from perigee.blocks.analyses import Analysis
from perigee.configuration.scales import at_scale
from perigee.configuration.studies import (
    FigureRequest,
    RunRequest,
    TableRequest,
    claims_of,
    expanded_runs,
    require_columns,
    set_value,
    study_at,
    with_defaults,
    with_parents,
)
from perigee.configuration.validation import (
    read_schema,
    suggestion,
    validated,
    validated_block,
)
from perigee.errors import PerigeeError
from perigee.paths import STUDY, shown
from perigee.spec import Claim

CITATION = "Sweeps of one's own"
"""Under which the report lists them."""

PANELS = (
    "train_loss",
    "train_error",
    "test_loss",
    "test_error",
    "weight_norm",
    "effective_learning_rate",
    "effective_gradient_norm",
    "phase_diagram",
    "period_statistics",
    "similarity",
)
"""What every sweep can show; columns of the measures under ``further`` are panels, too."""

MOST_COLOURS = 6
"""Values that are no numbers, told apart by colour."""

MOST_STYLES = 4
"""Combinations of the other swept keys, told apart by the style of the line."""

BY_EITHER = (
    "destabilisations",
    "first_destabilisation",
    "warm_up_epochs",
    "period_epochs",
    "destabilisation_norm",
)
"""Columns of table `periods` that go by the column named under ``near_zero``."""

Document = Mapping[str, Any]


def is_sweep(document: Document) -> bool:
    """Whether a file of config/studies/ holds a sweep of one's own; the others are papers'."""
    return "figures" not in document


def figures_at(path: Path, scale: str, documents: Mapping[str, Document]) -> list[FigureRequest]:
    """The figures of a study file of either kind at one scale.

    Args:
        path: config/studies/<name>.yaml.
        scale: one of `perigee.configuration.scales.SCALES`.
        documents: what the files of the folder hold, by their names without the suffix.

    Raises:
        PerigeeError: anything in the file is wrong.
    """
    document = documents[path.stem]
    if is_sweep(document):
        return [_sweep_at(document, path, scale, documents)]
    return study_at(document, path, scale)


def _sweep_at(
    document: Document, path: Path, scale: str, documents: Mapping[str, Document]
) -> FigureRequest:
    file = shown(path)
    study = validated(_with_places(at_scale(document, scale, file), file), _schema(), file)
    if study["study"] != path.stem:
        raise PerigeeError(
            f"{file}: key 'study' is '{study['study']}', but the file is named '{path.stem}'; "
            "make the two agree."
        )
    base = with_defaults(_base(study, scale, file, documents))
    for dotted, value in study["set"].items():
        set_value(base, dotted, value, "set", file)
    plain = {key: study[key] for key in ("epochs", "sweep")}
    runs = tuple(expanded_runs(base, plain, "", file))
    settings = [key for key in study["sweep"] if key != "seed"]
    _require_few_looks(runs, settings, file)
    _require_panels(study["panels"], require_columns(study["further"], file, "further"), file)
    tables = _tables(study, runs, file)
    claims = tuple(claims_of(study["claims"], tables, CITATION, "claims", scale, file))
    _require_one_signal(study["near_zero"], claims, file)
    return FigureRequest(
        paper=STUDY,
        name=study["study"],
        title=study["question"],
        citation=CITATION,
        tables=tables,
        settings={},
        claims=claims,
        parameters={"panels": study["panels"], "settings": settings},
    )


def _schema() -> dict[str, Any]:
    """Of such a file, with the definitions that it shares with a paper's."""
    return {**read_schema("sweep"), "$defs": read_schema("study")["$defs"]}


def _with_places(document: dict[str, Any], file: str) -> dict[str, Any]:
    """The document with the file itself as the place of the claims that name none."""
    claims = document.get("claims")
    if not isinstance(claims, dict):
        return document
    placed = {
        name: {"place": file, **claim} if isinstance(claim, dict) else claim
        for name, claim in claims.items()
    }
    return {**document, "claims": placed}


def _base(
    study: Document, scale: str, file: str, documents: Mapping[str, Document]
) -> dict[str, Any]:
    """The run that all others are made of."""
    if ("base" in study) == ("run" in study):
        given = "both 'base' and 'run' are given" if "run" in study else "key 'base' is missing"
        raise PerigeeError(
            f"{file}: {given}; name a run of another study file under 'base', or write one out "
            "under 'run'."
        )
    if "run" in study:
        return copy.deepcopy(dict(study["run"]))
    name, run = study["base"]["study"], study["base"]["run"]
    with_runs = [other for other, content in documents.items() if "runs" in content]
    if name not in with_runs:
        raise PerigeeError(
            f"{file}: key 'base.study' is '{name}', which is not a study file with runs; "
            f"{suggestion(name, with_runs)}."
        )
    there = f"config/studies/{name}.yaml"
    runs = with_parents({"runs": at_scale(documents[name]["runs"], scale, there, "runs")}, there)
    known = runs["runs"]
    if not isinstance(known, dict) or run not in known:
        raise PerigeeError(
            f"{file}: key 'base.run' is '{run}', which is not an entry of 'runs' in {there}; "
            f"{suggestion(run, known)}."
        )
    return copy.deepcopy(dict(known[run]))


def _tables(study: Document, runs: tuple[RunRequest, ...], file: str) -> tuple[TableRequest, ...]:
    def table(key: str, runs: tuple[RunRequest, ...], **analysis: Any) -> TableRequest:
        found = validated_block("analysis", analysis, file, key)
        assert isinstance(found, Analysis)
        return TableRequest(key, found, runs)

    near_zero = study["near_zero"]
    tables = [
        table("runs", runs, name="run_metrics", further=study["further"]),
        table("periods", runs, name="period_statistics", near_zero=near_zero),
    ]
    if "similarity" in study["panels"]:
        if len({run.spec.seed for run in runs}) < 2:
            raise PerigeeError(
                f"{file}: key 'panels' asks for 'similarity', which compares each run with one of "
                "another seed; sweep 'seed' over at least two."
            )
        keeping = tuple(
            replace(run, checkpoint_interval=study["checkpoint_interval"]) for run in runs
        )
        tables.append(table("similarity", keeping, name="similarity", near_zero=near_zero))
    return tuple(tables)


def _require_panels(panels: Sequence[str], columns: Sequence[str], file: str) -> None:
    """Refuse panels that nothing is known to be drawn in.

    Raises:
        PerigeeError: there is one.
    """
    known = (*PANELS, *columns)
    for position, panel in enumerate(panels):
        if panel not in known:
            raise PerigeeError(
                f"{file}: key 'panels[{position}]' is '{panel}'; {suggestion(panel, known)}."
            )


def _require_one_signal(near_zero: str, claims: Sequence[Claim], file: str) -> None:
    """Refuse claims on periods by the train loss where another column tells phase B.

    Raises:
        PerigeeError: there is one.
    """
    for claim in claims:
        if claim.quantity.finds_periods and near_zero != "train_loss":
            raise PerigeeError(
                f"{file}: key 'claims.{claim.name}.quantity' is '{claim.quantity.name}', which "
                f"finds periods by the train loss, but key 'near_zero' is '{near_zero}'; take "
                "'column_statistic' or 'column_ratio' of table 'periods' and one of its columns, "
                f"{', '.join(BY_EITHER)}."
            )


def _require_few_looks(runs: Sequence[RunRequest], settings: Sequence[str], file: str) -> None:
    """Refuse more settings than a picture can tell apart, and such as a table cannot hold.

    Raises:
        PerigeeError: there are such.
    """
    if not settings:
        return
    for key in settings:
        if len({_is_number(run.swept[key]) for run in runs}) > 1:
            raise PerigeeError(
                f"{file}: key 'sweep.{key}' mixes numbers with other values, which one column of a "
                "table cannot hold; make several studies of it."
            )
    first, *others = settings
    values = list(dict.fromkeys(run.swept[first] for run in runs))
    if not _is_number(values[0]) and len(values) > MOST_COLOURS:
        raise PerigeeError(
            f"{file}: key 'sweep.{first}' has {len(values)} values that are no numbers, and a "
            f"picture tells only {MOST_COLOURS} apart; make several studies of it."
        )
    combinations = {tuple(run.swept[key] for key in others) for run in runs}
    if len(combinations) > MOST_STYLES:
        raise PerigeeError(
            f"{file}: key 'sweep' has {len(combinations)} combinations of {', '.join(others)}, and "
            f"a picture tells only {MOST_STYLES} apart beside {first}; make several studies of it."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
