"""A question of one's own: a short file in config/studies/, as a figure's tables and runs.

docs/extending.md tells how such a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perigee.configuration import models
from perigee.configuration.claims import FigureOfClaims, claims_of, require_claims
from perigee.configuration.labels import require_one_label
from perigee.configuration.notes import notes_of
from perigee.configuration.overlays import SWEEP
from perigee.configuration.papers import SharedRuns, require_columns
from perigee.configuration.requests import FigureRequest, RunRequest, TableRequest
from perigee.configuration.runs import (
    is_number,
    resolved_run,
    swept_runs,
    told_apart,
    with_defaults,
    with_precision,
)
from perigee.configuration.scales import Document, Scale, document
from perigee.configuration.seeds import require_unexplored
from perigee.configuration.validation import (
    checked,
    suggestion,
    validated_block,
    wrong,
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
"""The panels of every study; columns of the measures under ``further`` are panels, too."""

MOST_COLOURS = 6
"""The most values other than numbers that colours tell apart."""

MOST_STYLES = 4
"""Combinations of the other swept keys, told apart by the style of the line."""

BY_EITHER = (
    "destabilisations",
    "destabilises",
    "first_destabilisation",
    "warm_up_epochs",
    "period_epochs",
    "destabilisation_norm",
    "warm_up_destabilisations",
    "median_period_epochs",
    "period_decay_units",
    "interval_variation",
    "onset_norm_spread",
    "phase_a_epochs",
    "phase_b_epochs",
    "phase_b_train_loss",
    "phase_b_effective_gradient_norm",
    "late_phase_b_test_error",
)
"""Columns of table `periods` that go by the column named under ``near_zero``."""


def read_study(
    plain: Mapping[str, Any],
    path: Path,
    scale: Scale,
    scales: Sequence[str],
    papers: Mapping[str, SharedRuns],
) -> FigureRequest:
    """The figure of a study at one scale.

    Args:
        plain: what the file holds.
        path: config/studies/<name>.yaml.
        scale: the present one.
        scales: names of all that are known.
        papers: the shared runs of every paper at the scale.

    Raises:
        PerigeeError: anything in the file is wrong.
    """
    read = _at_scale(plain, path, scale, scales)
    file = read.file
    study = checked(models.Study, read.values, file)
    if study.study != path.stem:
        raise PerigeeError(
            f"{file}: key 'study' is '{study.study}', but the file is named '{path.stem}'; make "
            "the two agree."
        )
    base = with_defaults(_base(study, file, papers, scale))
    runs = swept_runs(base, study, read.plain.get(SWEEP, {}), "", file)
    require_unexplored(runs.requests, {file: study.explored_seeds}, "sweep.seed", file)
    settings = [key for key in study.sweep if key != "seed"]
    _require_few_looks(runs.requests, settings, file)
    _require_panels(study.panels, require_columns(study.further, file, "further"), file)
    tables = _tables(study, told_apart(runs.requests), file)
    require_claims(study.untestable, study.claims, file)
    notes = tuple(notes_of(read))
    about = FigureOfClaims(
        tables=tables,
        runs={table.name: {"": runs} for table in tables},
        citation=CITATION,
        untestable=study.untestable,
        scale=scale,
        notes=notes,
        locks=None,
    )
    claims = tuple(claims_of(study.claims, about, file))
    _require_one_signal(study.near_zero, claims, file)
    return FigureRequest(
        paper=STUDY,
        name=study.study,
        title=study.question,
        citation=CITATION,
        tables=tables,
        deviations=(),
        claims=claims,
        test_statistics=study.test_statistics,
        parameters={"panels": list(study.panels), "settings": settings},
        notes=notes,
        file=str(file),
    )


def _at_scale(
    plain: Mapping[str, Any], path: Path, scale: Scale, scales: Sequence[str]
) -> Document:
    """The study with what stands under ``scales`` for the scale laid over it."""
    file = shown(path)
    rest = {key: value for key, value in plain.items() if key != "scales"}
    overlays = checked(models.Overlays, {"scales": plain.get("scales", {})}, file).scales
    unknown = next((name for name in overlays if name not in scales), None)
    if unknown is not None:
        raise PerigeeError(
            f"{file}: key 'scales.{unknown}' is not a scale; {suggestion(unknown, scales)}."
        )
    if scale.name in overlays:
        # A mistake of its own is not one of the overlay's.
        checked(models.Study, scale.seeded(document(rest, file)).values, file)
    over = f"{file}, scale {scale.name}"
    return scale.seeded(document(rest, file, overlays.get(scale.name), over))


def _base(
    study: models.Study, file: str, papers: Mapping[str, SharedRuns], scale: Scale
) -> dict[str, Any]:
    """The run that all else is taken from."""
    if isinstance(study.run, Mapping):
        checked(models.Run, study.run, file, "run")
        resolved_run(study.run, "run", file)
        return dict(with_precision({"run": study.run}, scale.precision)["run"])
    paper, _, run = study.run.partition(".")
    if paper not in papers:
        raise wrong(
            file,
            "run",
            f"is '{study.run}', but '{paper}' is not a paper; write <paper>.<run>; "
            f"{suggestion(paper, papers)}.",
        )
    known = papers[paper].runs
    if run not in known:
        raise wrong(
            file,
            "run",
            f"is '{study.run}', but '{run}' is not an entry of 'runs' in "
            f"{papers[paper].document.file}; {suggestion(run, known)}.",
        )
    return dict(known[run])


def _tables(
    study: models.Study, runs: tuple[RunRequest, ...], file: str
) -> tuple[TableRequest, ...]:
    def table(key: str, runs: tuple[RunRequest, ...], **analysis: Any) -> TableRequest:
        made = TableRequest(key, validated_block("analysis", analysis, file, key), runs)
        require_one_label(made, study.test_statistics, file, "panels", "further")
        return made

    near_zero = study.near_zero
    tables = [
        table("runs", runs, name="run_metrics", further=list(study.further)),
        table("periods", runs, name="period_statistics", near_zero=near_zero),
    ]
    if "similarity" in study.panels:
        if len({run.spec.seed for run in runs}) < 2:
            raise PerigeeError(
                f"{file}: key 'panels' asks for 'similarity', which compares each run with one of "
                "another seed; sweep 'seed' over at least two."
            )
        tables.append(table("similarity", runs, name="similarity", near_zero=near_zero))
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
    for key, quantity in [
        (f"claims.{claim.name}{place}.quantity", one.quantity)
        for claim in claims
        for place, one in (("", claim), (".given", claim.given))
        if one is not None
    ]:
        if quantity.finds_periods and near_zero != "train_loss":
            raise PerigeeError(
                f"{file}: key '{key}' is '{quantity.name}', which "
                f"finds periods by the train loss, but key 'near_zero' is '{near_zero}'; take a "
                f"column of table 'periods': {', '.join(BY_EITHER)}."
            )


def _require_few_looks(runs: Sequence[RunRequest], settings: Sequence[str], file: str) -> None:
    """Refuse more settings than a picture can tell apart, and such as a table cannot hold.

    Raises:
        PerigeeError: there are such.
    """
    if not settings:
        return
    for key in settings:
        if len({is_number(run.swept[key]) for run in runs}) > 1:
            raise PerigeeError(
                f"{file}: key 'sweep.{key}' mixes numbers with other values, which one column of a "
                "table cannot hold; make several studies of it."
            )
    first, *others = settings
    values = list(dict.fromkeys(run.swept[first] for run in runs))
    if not is_number(values[0]) and len(values) > MOST_COLOURS:
        raise PerigeeError(
            f"{file}: key 'sweep.{first}' has {len(values)} values that are not numbers, and a "
            f"picture tells only {MOST_COLOURS} apart; make several studies of it."
        )
    combinations = {tuple(run.swept[key] for key in others) for run in runs}
    if len(combinations) > MOST_STYLES:
        raise PerigeeError(
            f"{file}: key 'sweep' has {len(combinations)} combinations of {', '.join(others)}, and "
            f"a picture tells only {MOST_STYLES} apart beside {first}; make several studies of it."
        )
