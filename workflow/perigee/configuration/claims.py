"""Claims, checked against a figure's tables, with numbers for the settings that they name."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perigee.blocks.quantities import (
    TRENDS,
    Column,
    ColumnOf,
    Quantity,
    RowsOf,
    Setting,
    settings_of,
)
from perigee.configuration import models
from perigee.configuration.locks import Locks
from perigee.configuration.requests import Note, TableRequest
from perigee.configuration.runs import SweptRuns, is_number
from perigee.configuration.scales import Scale
from perigee.configuration.validation import suggestion, validated_block, wrong
from perigee.errors import PerigeeError
from perigee.registry import REGISTRY
from perigee.spec import Claim, Expectation

ALL, LOWEST, HIGHEST = "all", "lowest", "highest"
"""Names that every sweep of numbers has."""

WITH_MARGIN = {"equivalent": "equal_to", "different": "different_from"}
"""The kinds that need a margin, each with the relation that it is about."""


@dataclass(frozen=True)
class FigureOfClaims:
    """The figure that claims are about.

    Attributes:
        tables: its tables.
        runs: of each table the sweeps that it reads, by name.
        citation: whose claims they are, in short.
        untestable: names of claims that the scale cannot test.
        scale: the present one.
        notes: the notes of the claims' file.
        locks: its locked rules; None where claims need no lock.
    """

    tables: Sequence[TableRequest]
    runs: Mapping[str, Mapping[str, SweptRuns]]
    citation: str
    untestable: Container[str]
    scale: Scale
    notes: Sequence[Note]
    locks: Locks | None


def claims_of(
    claims: Mapping[str, models.Claim], figure: FigureOfClaims, file: str
) -> Iterator[Claim]:
    """A figure's claims, checked against its tables.

    Args:
        claims: by name.
        figure: the figure.
        file: where the claims stand, for messages.

    Raises:
        PerigeeError: a claim names a wrong table, quantity or setting, or its kind does not fit
            what is measured or expected.
    """
    for name, claim in claims.items():
        key = f"claims.{name}"
        is_tested = name not in figure.untestable
        values, testable = _resolved(claim, figure, is_tested, file, key)
        premise = None
        if claim.given is not None:
            given, tests_given = _resolved(claim.given, figure, is_tested, file, f"{key}.given")
            premise, testable = Expectation(**given), testable and tests_given
        rule = Claim(
            **values,
            name=name,
            kind=claim.kind,
            unit=claim.unit,
            margin=claim.margin,
            pooled=claim.pooled,
            draws=claim.draws,
            shared=claim.shared,
            given=premise,
            testable=testable,
            says=claim.says,
            source=f"{figure.citation}, {claim.place or file}",
            seen=_seen(name, figure.notes),
            locked="" if figure.locks is None else figure.locks.told(name, claim),
        )
        _require_kind(rule, file, key)
        yield rule


def _resolved(
    given: models.Expectation, figure: FigureOfClaims, is_tested: bool, file: str, key: str
) -> tuple[dict[str, Any], bool]:
    """A claim's expectation, or its premise's, with numbers for the settings that it names.

    Returns:
        The expectation's values, and whether it can be tested.

    Raises:
        PerigeeError: see `claims_of`.
    """
    known = {table.name: table for table in figure.tables}
    if given.table not in known:
        raise wrong(
            file,
            f"{key}.table",
            f"is '{given.table}', which is not a table of the figure; known are "
            f"{', '.join(sorted(known))}.",
        )
    table = known[given.table]
    written = {"name": Column.name, **given.quantity}
    kind = REGISTRY["quantity"].get(str(written["name"]))
    if kind is not None and issubclass(kind, Quantity) and kind.reads_runs and not table.runs:
        raise wrong(
            file,
            f"{key}.quantity",
            f"is '{kind.name}', which is measured on runs, but table '{given.table}' is made "
            "without runs; name a table with runs.",
        )
    is_tested = is_tested and (figure.scale.tests_claims or not table.runs)
    named = _NamedSettings(table, figure.runs[given.table], is_tested, file, f"{key}.quantity")
    quantity: Quantity = validated_block(
        "quantity", named.resolved(written), file, f"{key}.quantity"
    )
    _require_statistic(quantity, given.within_seed, file, key)
    ((relation, bound),) = given.expected.model_dump(exclude_unset=True).items()
    values = {
        "table": given.table,
        "quantity": quantity,
        "within_seed": given.within_seed,
        "relation": relation,
        "bound": bound,
    }
    return values, is_tested and not named.dropped


def _require_statistic(quantity: Quantity, statistic: str | None, file: str, key: str) -> None:
    """Refuse a statistic where the quantity gives one number, and a column without one."""
    place = f"{key}.within_seed"
    if not isinstance(quantity, Column):
        if statistic is not None:
            raise wrong(
                file,
                place,
                f"is '{statistic}', but the quantity '{quantity.name}' gives one number a seed "
                "itself; remove it.",
            )
        return
    if statistic is None:
        raise wrong(
            file,
            place,
            "is missing; name the statistic that makes one number a seed of column "
            f"'{quantity.column}', such as median.",
        )
    if (statistic in TRENDS) != quantity.is_trend:
        lacking = "needs the column that the trend is taken against; add"
        if quantity.border is not None:
            raise wrong(
                file,
                place,
                f"is '{statistic}', which is that of a trend, but '{key}.quantity' has a border; "
                "take another one, such as median.",
            )
        if statistic not in TRENDS:
            lacking = f"is not that of a trend; take one of {', '.join(TRENDS)}, or remove"
        raise wrong(file, place, f"is '{statistic}', which {lacking} '{key}.quantity.against'.")


def _require_kind(claim: Claim, file: str, key: str) -> None:
    """Refuse a kind that does not fit what is measured or expected."""
    kind, quantity = claim.kind, claim.quantity
    relation = WITH_MARGIN.get(kind)
    other = {relation: kind for kind, relation in WITH_MARGIN.items()}.get(claim.relation)
    averages = kind == "mean" or (kind == "trend" and claim.within_seed == "log_slope")
    is_mean = kind == "mean" and isinstance(quantity, Column) and claim.within_seed == "mean"
    has_ratio = not isinstance(quantity, Column) or quantity.over is not None
    for is_wrong, place, told in (
        (
            relation is not None and claim.margin is None,
            "margin",
            f"is missing, but the kind is '{kind}'; say how far from the bound still counts as "
            "equal.",
        ),
        (
            relation is None and claim.margin is not None,
            "margin",
            f"is given, but the kind is '{kind}'; remove it or make the kind equivalent or "
            "different.",
        ),
        (
            relation not in (None, claim.relation),
            "expected",
            f"is '{claim.relation}', but the kind is '{kind}'; take {relation}.",
        ),
        (
            averages and other is not None,
            "expected",
            f"is '{claim.relation}', which no mean over seeds can show; make the kind {other}, "
            "with a margin.",
        ),
        (
            kind == "trend" and claim.within_seed not in TRENDS,
            "kind",
            f"is 'trend', but the quantity is not one; take one of {', '.join(TRENDS)} within each "
            "seed, against a column.",
        ),
        (
            claim.pooled and not (kind == "mean" and has_ratio),
            "pooled",
            "is true, but only the mean of a ratio can be pooled; remove it, or give the quantity "
            "'over' and 'under' and the kind mean.",
        ),
        (
            claim.shared is not None
            and not (is_mean and quantity.averages_logarithm <= claim.pooled),
            "shared",
            f"is '{claim.shared}', but only means of a column, within each seed and over seeds, "
            "can be resampled over it, and pooled ratios of them; remove it, or make both a mean.",
        ),
        (
            claim.margin is not None and claim.margin <= 1 and quantity.averages_logarithm,
            "margin",
            f"is {claim.margin}, but of a ratio the margin is a factor; it must be greater than 1.",
        ),
    ):
        if is_wrong:
            raise wrong(file, f"{key}.{place}", told)


def _seen(name: str, notes: Iterable[Note]) -> str:
    """The seeds that were in view when something about a claim was set."""
    about = [
        note
        for note in notes
        if note.was_seen and note.key.split(".")[:1] == ["claims"]
        if note.key.split(".")[1:2] in ([name], ["*"])
    ]
    seeds = sorted({seed for note in about for seed in note.seeds})
    return f"seeds {', '.join(map(str, seeds))}" if seeds else "yes" * bool(about)


def require_claims(names: Iterable[str], claims: Iterable[str], file: str) -> None:
    """Refuse names under ``untestable`` that no claim has.

    Raises:
        PerigeeError: there is one.
    """
    unknown = next((name for name in names if name not in claims), None)
    if unknown is not None:
        told = f"names '{unknown}', which is not a claim of the figure; "
        raise wrong(file, "untestable", f"{told}{suggestion(unknown, claims)}.")


@dataclass
class _NamedSettings:
    """The settings that a claim may name: values of the sweeps that its table reads.

    Attributes:
        is_tested: whether the claim is tested; if not, its rows need not be there.
        dropped: whether a name was asked for that the scale's overlay drops.
    """

    table: TableRequest
    runs: Mapping[str, SweptRuns]
    is_tested: bool
    file: str
    key: str
    dropped: bool = False

    def resolved(self, quantity: Mapping[str, Any]) -> dict[str, Any]:
        """The quantity with numbers for the names of settings."""
        found = dict(quantity)
        settings = settings_of(REGISTRY["quantity"].get(str(found.get("name"))))
        for parameter, marked in settings.items():
            key = f"{self.key}.{parameter}"
            value = found.get(parameter)
            if isinstance(marked, ColumnOf):
                if isinstance(value, str):
                    self._require_column(value, f"is '{value}', a setting", key)
            elif isinstance(marked, RowsOf):
                if isinstance(value, Mapping):
                    found[parameter] = {
                        column: self._condition(condition, column, f"{key}.{column}")
                        for column, condition in value.items()
                    }
            elif value is not None:
                found[parameter] = self._values(value, marked, key)
            elif marked.of_runs and self.table.runs:
                found[parameter] = self._of_runs(marked.column, key)
        return found

    def _values(self, value: Any, marked: Setting, key: str) -> Any:
        """Settings as numbers."""
        several = isinstance(value, list | tuple)
        numbers: list[Any] = []
        for text in value if several else [value]:
            if _is_name(text):
                numbers += self._numbers(text, marked.column, key)
            else:
                self._require_no_names(text, marked.column, key)
                numbers.append(text)
        return numbers if several or len(numbers) != 1 or marked.several else numbers[0]

    def _condition(self, condition: Any, column: str, key: str) -> Any:
        """A condition on a column: a value, or relations to bounds."""
        if not isinstance(condition, Mapping):
            return self._row(condition, column, key)
        return {
            relation: self._row(bound, column, f"{key}.{relation}")
            for relation, bound in condition.items()
        }

    def _require_column(self, column: str, told: str, key: str) -> None:
        """Refuse the column of a setting that all runs of the table have in common."""
        columns = {name for run in self.table.runs for name in run.swept}
        if "." in column and columns and column not in columns and self.is_tested:
            told += f" by which table '{self.table.name}' does not tell its runs apart; "
            raise wrong(self.file, key, f"{told}{suggestion(column, columns)}.")

    def _row(self, value: Any, column: str, key: str) -> Any:
        """The value that rows have in a column."""
        swept = {run.swept[column] for run in self.table.runs if column in run.swept}
        self._require_column(column, "names a value", key)
        if is_number(value):
            self._require_no_names(value, column, key)
        is_column = swept or (column == "label" and self.table.runs)
        if not _is_name(value) or value in swept or not is_column:
            return value
        try:
            found = self._numbers(value, column, key)
        except PerigeeError:
            if self.is_tested:
                raise
            return value
        if len(found) != 1:
            told = f"is '{value}', which is {len(found)} values; name one of them."
            raise wrong(self.file, key, told)
        return found[0]

    def _numbers(self, text: str, column: str, key: str) -> list[Any]:
        """The values that a name stands for, perhaps of one of the sweeps: "<sweep>.<name>"."""
        first, _, last = text.partition(".")
        runs = {first: self.runs[first]} if last and first in self.runs else dict(self.runs)
        name = last if last and first in self.runs else text
        for dropped in (False, True):
            for swept in runs.values():
                names = (swept.known_names if dropped else swept.names).get(column, {})
                if name in names:
                    self.dropped |= dropped
                    return [names[name]]
        requests = [request for swept in runs.values() for request in swept.requests]
        values = list(dict.fromkeys(r.swept[column] for r in requests if column in r.swept))
        numeric = sorted(value for value in values if is_number(value))
        known = {ALL: numeric, LOWEST: numeric[:1], HIGHEST: numeric[-1:]} if numeric else {}
        if name in known:
            return known[name]
        every = {name for s in runs.values() for name in s.known_names.get(column, {})}
        words = {str(value) for value in values if not is_number(value)}
        raise wrong(
            self.file,
            key,
            f"is '{text}', which no run of table '{self.table.name}' has; "
            f"{suggestion(name, {*every, *known, *words})}.",
        )

    def _require_no_names(self, value: Any, column: str, key: str) -> None:
        """Refuse a number where the sweep has names: it is another one at another scale."""
        names = {name for swept in self.runs.values() for name in swept.known_names.get(column, {})}
        if names:
            told = f"is {value}, but the sweep gives its values of '{column}' names; "
            raise wrong(self.file, key, f"{told}write one of {', '.join(sorted(names))}.")

    def _of_runs(self, dotted: str, key: str) -> Any:
        """The value that all runs of the table have."""
        kind, _, parameter = dotted.partition(".")
        values = {run.spec.blocks[kind].parameters.get(parameter) for run in self.table.runs}
        if len(values) > 1:
            raise wrong(
                self.file,
                key,
                f"is missing, and the runs of table '{self.table.name}' have several values of "
                f"{dotted}; add it.",
            )
        return values.pop()


def _is_name(value: Any) -> bool:
    """True for a word, False for a number and for text that spells one."""
    if not isinstance(value, str) or value in ("true", "false"):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False
