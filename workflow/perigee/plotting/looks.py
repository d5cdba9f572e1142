"""The looks of a sweep's runs, and the words of their legend."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from perigee.plotting.style import INK, colours_of, in_words, is_ordered, key_in_words, labels_of

LINES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.2)),
    (0, (1.2, 1.2)),
    (0, (6, 1.2, 1.2, 1.2)),
    (0, (9, 2)),
    (0, (4, 1.2, 1.2, 1.2, 1.2, 1.2)),
)
"""The styles of lines: solid, dashed, dotted, dash-dotted, long dashes, dashes with two dots."""

MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Looks:
    """The colours, line styles and markers that distinguish the runs of a sweep.

    Attributes:
        by: the swept key that colours show, and line styles too if there is no other key.
        colours: a colour for each of its values.
        labels: words for each of its values.
        others: the swept keys that line styles and markers show.
        combinations: the combinations of their values, in the order of `LINES` and `MARKERS`.
    """

    by: str
    colours: Mapping[Hashable, str]
    labels: Mapping[Hashable, str]
    others: Sequence[str] = ()
    combinations: Sequence[tuple[Any, ...]] = ((),)

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        settings: Sequence[str],
        colours: Mapping[Hashable, str] | None = None,
        labels: Mapping[Hashable, str] | None = None,
    ) -> Looks:
        """Choose the looks for a table.

        Args:
            table: a table with the swept values in columns.
            settings: the swept keys except the seed, beginning with the one that colours show; if
                there are none, colours show the seed.
            colours, labels: of the first key's values, if they are not chosen here.
        """
        by, *others = settings or ["seed"]
        # Without columns pandas before 3.1 gives no tuples, where later versions give empty ones.
        rows = table[others].itertuples(index=False, name=None) if others else [()]
        found, given = colours_of(table[by].tolist()), colours or {}
        chosen = {value: given.get(value, colour) for value, colour in found.items()}
        words = {**labels_of(chosen), **(labels or {})}
        return cls(by, chosen, words, others, list(dict.fromkeys(rows)))

    def line(self, value: Hashable, place: int) -> Any:
        """The line style of a value of the first key and a combination of the others.

        The highest of ordered values has the solid line, which shows best what moves fastest.
        """
        if not self.others:
            place = list(self.colours).index(value)
            if is_ordered(self.colours):
                place = len(self.colours) - 1 - place
        return LINES[place % len(LINES)]

    def parts(self, table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
        """Return the rows of each combination, with its position."""
        for place, combination in enumerate(self.combinations):
            part = table
            for key, value in zip(self.others, combination, strict=True):
                part = part[part[key] == value]
            yield place, part

    def settings(self, table: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
        """Yield the rows of each setting that has any, and the looks of its lines.

        They come in the reverse order of the colours: of ordered values, the busiest lines are
        drawn first, below the others.
        """
        for place, part in self.parts(table):
            for value, colour in reversed(list(self.colours.items())):
                rows = part[part[self.by] == value]
                if len(rows):
                    yield rows, {"color": colour, "linestyle": self.line(value, place)}

    def legend(self, table: pd.DataFrame) -> list[Line2D]:
        """Make a line for each colour, and for each style if there are several.

        Args:
            table: the rows whose seeds, and runs that stopped, each label counts.
        """
        lines = []
        for value, colour in self.colours.items():
            label = self.labels[value] + self._counted(table[table[self.by] == value])
            style: Any = "-" if self.others else self.line(value, 0)
            lines.append(Line2D([], [], color=colour, linestyle=style, label=label))
        others = [labels_of(values) for values in zip(*self.combinations, strict=True)]
        for place, combination in enumerate(self.combinations if self.others else ()):
            words = (
                f"{key_in_words(key)} {words[value]}"
                for key, words, value in zip(self.others, others, combination, strict=True)
            )
            look: dict[str, Any] = {
                "linestyle": LINES[place % len(LINES)],
                "marker": MARKERS[place % len(MARKERS)],
                "markersize": 4,
            }
            lines.append(Line2D([], [], color=INK, label=", ".join(words), **look))
        return lines

    def _counted(self, rows: pd.DataFrame) -> str:
        """The number of seeds, and of runs that stopped, in brackets."""
        seeds = rows["seed"].nunique() if "seed" in rows and self.by != "seed" else 0
        told = [f"n = {seeds}"] if seeds else []
        if "stopped" in rows and (stopped := rows.loc[rows["stopped"], "run"].nunique()):
            told.append(f"{stopped} × stopped" if seeds > 1 else "× stopped")
        return f" ({', '.join(told)})" if told else ""


def first_seed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first seed, or all rows of a table without seeds."""
    return table[table["seed"] == table["seed"].min()] if "seed" in table else table


def of_one_seed(table: pd.DataFrame) -> str:
    """For a legend: which seed is drawn, and of how many; nothing where there is one alone."""
    seeds = table["seed"].nunique() if "seed" in table else 0
    return f" (seed {in_words(table['seed'].min())}, one of n = {seeds})" if seeds > 1 else ""


def over_seeds(rows: pd.DataFrame, column: str, along: str = "epoch") -> pd.DataFrame:
    """The median, the mean and the range over the runs of one setting, at each epoch.

    Args:
        rows: a row per run and epoch; a run that stopped counts up to its last finite value.
        column: the column that is summarised.
        along: the column that tells epochs, or steps, apart.

    Returns:
        Columns ``median``, ``mean``, ``lowest`` and ``highest``, by epoch.
    """
    finite = rows.loc[np.isfinite(rows[column].astype(float))]
    grouped = finite.groupby(along)[column]
    return pd.DataFrame(
        {
            "median": grouped.median(),
            "mean": grouped.mean(),
            "lowest": grouped.min(),
            "highest": grouped.max(),
        }
    )


def seeds_in_words(table: pd.DataFrame, drawn: str, band: str = "") -> str:
    """Say for a legend's title what lines and bands are; nothing if there is one seed.

    Args:
        table: the drawn rows.
        drawn: "median", "mean" or "first seed".
        band: what the legend calls the range over seeds, if it is drawn.
    """
    if "seed" not in table or table["seed"].nunique() < 2:
        return ""
    line = f"seed {in_words(table['seed'].min())}" if drawn == "first seed" else drawn
    return f" (line: {line}, {band}: range over n seeds)" if band else f" (line: {line}, one of n)"
