"""Claims, checked against a figure's tables, with numbers for the settings that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perigee.blocks.quantities import Quantity, RowsOf, Setting, settings_of
from perigee.configuration import models
from perigee.configuration.requests import TableRequest
from perigee.configuration.runs import SweptRuns, is_number
from perigee.configuration.scales import Scale
from perigee.configuration.validation import refusal, suggestion, validated_block
from perigee.errors import PerigeeError
from perigee.registry import REGISTRY
from perigee.spec import Claim

ALL, LOWEST, HIGHEST = "all", "lowest", "highest"
"""Names that every sweep of numbers has."""


def claims_of(
    claims: Mapping[str, models.Claim],
    tables: Sequence[TableRequest],
    runs: Mapping[str, Mapping[str, SweptRuns]],
    citation: str,
    untestable: Mapping[str, str],
    scale: Scale,
    file: str,
) -> Iterator[Claim]:
    """A figure's claims, checked against its tables.

    Args:
        claims: by name.
        tables: those of the figure.
        runs: of each table the sweeps that it reads, by name.
        citation: whose claims they are, in short.
        untestable: names of claims that the scale cannot test.
        scale: the present one.
        file: where the claims stand, for messages.

    Raises:
        PerigeeError: a claim names a wrong table, quantity or setting.
    """
    known = {table.name: table for table in tables}
    for name, claim in claims.items():
        key = f"claims.{name}"
        if claim.table not in known:
            raise refusal(
                file,
                f"{key}.table",
                f"key '{key}.table' is '{claim.table}', which is not a table of the figure; known "
                f"are {', '.join(sorted(known))}.",
            )
        table = known[claim.table]
        kind = REGISTRY["quantity"].get(str(claim.quantity["name"]))
        if kind is not None and issubclass(kind, Quantity) and kind.reads_runs and not table.runs:
            raise refusal(
                file,
                f"{key}.quantity",
                f"key '{key}.quantity' is '{kind.name}', which is measured on runs, but table "
                f"'{claim.table}' is made without runs; name a table with runs.",
            )
        is_tested = (scale.tests_claims or not table.runs) and name not in untestable
        named = _NamedSettings(table, runs[claim.table], is_tested, file, f"{key}.quantity")
        quantity = validated_block(
            "quantity", named.resolved(claim.quantity), file, f"{key}.quantity"
        )
        assert isinstance(quantity, Quantity)
        ((relation, bound),) = claim.expected.model_dump(exclude_unset=True).items()
        yield Claim(
            name=name,
            says=claim.says,
            source=f"{citation}, {claim.place or file}",
            table=claim.table,
            quantity=quantity,
            relation=relation,
            bound=bound,
            testable=is_tested and not named.dropped,
        )


def require_claims(names: Iterable[str], claims: Iterable[str], file: str) -> None:
    """Refuse names under ``untestable`` that no claim has.

    Raises:
        PerigeeError: there is one.
    """
    unknown = next((name for name in names if name not in claims), None)
    if unknown is not None:
        told = f"key 'untestable' names '{unknown}', which is not a claim of the figure; "
        raise refusal(file, "untestable", f"{told}{suggestion(unknown, claims)}.")


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
            if isinstance(marked, RowsOf):
                if isinstance(value, Mapping):
                    found[parameter] = {
                        column: self._row(text, column, f"{key}.{column}")
                        for column, text in value.items()
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

    def _row(self, value: Any, column: str, key: str) -> Any:
        """The value that rows have in a column."""
        swept = {run.swept[column] for run in self.table.runs if column in run.swept}
        columns = {name for run in self.table.runs for name in run.swept}
        if "." in column and columns and not swept and self.is_tested:
            sentence = f"key '{key}' names a setting in which the runs of table "
            sentence += f"'{self.table.name}' do not differ; {suggestion(column, columns)}."
            raise refusal(self.file, key, sentence)
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
            told = f"key '{key}' is '{value}', which is {len(found)} values; name one of them."
            raise refusal(self.file, key, told)
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
        raise refusal(
            self.file,
            key,
            f"key '{key}' is '{text}', which no run of table '{self.table.name}' has; "
            f"{suggestion(name, {*every, *known, *words})}.",
        )

    def _require_no_names(self, value: Any, column: str, key: str) -> None:
        """Refuse a number where the sweep has names: it is another one at another scale."""
        names = {name for swept in self.runs.values() for name in swept.known_names.get(column, {})}
        if names:
            sentence = (
                f"key '{key}' is {value}, but the sweep gives its values of '{column}' names; "
            )
            raise refusal(self.file, key, f"{sentence}write one of {', '.join(sorted(names))}.")

    def _of_runs(self, dotted: str, key: str) -> Any:
        """The value that all runs of the table have."""
        kind, _, parameter = dotted.partition(".")
        values = {run.spec.blocks[kind].parameters.get(parameter) for run in self.table.runs}
        if len(values) > 1:
            raise refusal(
                self.file,
                key,
                f"key '{key}' is missing, and the runs of table '{self.table.name}' have several "
                f"values of {dotted}; add it.",
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
