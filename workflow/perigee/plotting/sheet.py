"""Sheets: the panels of a figure and their legends, laid out for a width."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import LogFormatter, MaxNLocator

from perigee.plotting.style import INK, in_words

SMALLEST_TYPE = 7
"""The size of the smallest type, in points."""

WIDEST_LINE = 24
"""The characters of the stamp, in the smallest type, that surely fill an inch."""

FIRST_DIGITS = ((2, 5), (3,), ())
"""The first digits of labels between powers of ten, fewer and fewer, where labels are crowded."""

INTERVALS = (5, 4, 3, 2)
"""The numbers of intervals between labels of other axes there."""

MARGIN = 0.01
"""The share of a figure's width that is free on either side of the stamp."""

LEGEND_ROW = 0.3
"""The height that a row of legends has at first, in inches."""

ROUNDS = 2
"""How often a sheet is laid out to find its height; its legends and its labels depend on it."""


@dataclass(frozen=True)
class Layout:
    """How large the panels of a figure are, and how many stand beside each other.

    Attributes:
        columns: the largest number of panels in a row.
        panel_width: the width of a panel with its labels, in inches.
        panel_height: the height of a panel without its labels, in inches.
        narrowest: the smallest width of a figure, in inches.
        title_size, label_size, small_size: the type of titles, labels and all else, in points.
    """

    columns: int
    panel_width: float
    panel_height: float
    narrowest: float
    title_size: float
    label_size: float
    small_size: float

    @contextmanager
    def type_sizes(self) -> Iterator[None]:
        """While the context is open, new figures have this layout's type."""
        sizes: dict[Any, float] = {
            "axes.titlesize": self.title_size,
            "axes.labelsize": self.label_size,
            "font.size": self.label_size,
            "legend.fontsize": self.small_size,
            "legend.title_fontsize": self.small_size,
            "xtick.labelsize": self.small_size,
            "ytick.labelsize": self.small_size,
        }
        with mpl.rc_context(sizes):
            yield


WIDE = Layout(
    columns=4,
    panel_width=3.5,
    panel_height=2.6,
    narrowest=5.2,
    title_size=10,
    label_size=9,
    small_size=8,
)
"""For screens and slides: up to four panels beside each other."""

PAPER_WIDTH = Layout(
    columns=2,
    panel_width=2.75,
    panel_height=1.55,
    narrowest=5.5,
    title_size=8,
    label_size=7.5,
    small_size=SMALLEST_TYPE,
)
"""The text width of a conference paper, 5.5 inches: two panels beside each other."""


@dataclass
class Group:
    """Panels that share a legend.

    Attributes:
        panels: the panels, row by row.
    """

    panels: list[Axes]
    _below: Axes
    _title: str = ""
    _handles: Sequence[Artist] = ()

    def legend(self, title: str = "", handles: Sequence[Artist] = ()) -> None:
        """Ask for a legend below the panels.

        Args:
            title: its title.
            handles: its entries; without any, whatever has a label in one of the panels.
        """
        found = [axes.get_legend_handles_labels() for axes in self.panels]
        by_label = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
        self._title, self._handles = title, handles or list(by_label.values())

    def _place_legend(self) -> float:
        """Draw the legend in as few rows as there is room for; return its height in inches."""
        room = self._below.get_window_extent().width
        for columns in range(len(self._handles), 0, -1):
            legend = self._below.legend(
                handles=self._handles,
                title=self._title,
                ncols=columns,
                loc="upper left",
                borderaxespad=0,
                alignment="left",
                frameon=False,
                handlelength=2.6,
                columnspacing=1.2,
            )
            if legend.get_window_extent().width <= room:
                break
        else:
            return 0.01
        return float(legend.get_window_extent().height / self._below.figure.dpi)


@dataclass
class Sheet:
    """A figure in the making.

    Attributes:
        layout: the sizes.
        figure: the figure, once there are panels.
    """

    layout: Layout
    figure: Figure = field(init=False)
    _grid: GridSpec = field(init=False)
    _rows: list[tuple[float, list[Group]]] = field(default_factory=list, init=False)

    def groups(
        self, *counts: int, height: float = 0.0, widths: Sequence[float] = ()
    ) -> list[Group]:
        """Create groups of panels, beside each other if there is room.

        Args:
            counts: the number of panels of each group.
            height: the height of a panel in inches, if not the layout's.
            widths: the relative widths of all panels where all are beside each other.
        """
        most = self.layout.columns
        beside = len(counts) == 1 or sum(counts) <= most
        strips = [list(counts)] if beside else [[count] for count in counts]
        shapes = [[_shape(count, most) for count in strip] for strip in strips]
        across = [sum(columns for _, columns in strip) for strip in shapes]
        cells = math.lcm(*across)
        for shaped in shapes:
            panels_high = max(rows for rows, _ in shaped)
            self._rows += [(height or self.layout.panel_height, [])] * panels_high + [(0.0, [])]
        inches = [high or LEGEND_ROW for high, _ in self._rows]
        width = max(self.layout.panel_width * max(across), self.layout.narrowest)
        self.figure = plt.figure(figsize=(width, 1.5 * sum(inches)))
        given = widths if len(widths) == cells else None
        self._grid = self.figure.add_gridspec(
            len(inches), cells, width_ratios=given, height_ratios=inches
        )
        made: list[Group] = []
        top = 0
        for strip, shaped, wide in zip(strips, shapes, across, strict=True):
            bottom, left, span = top + max(rows for rows, _ in shaped), 0, cells // wide
            groups = []
            for count, (rows, columns) in zip(strip, shaped, strict=True):
                cells_there = list(product(range(rows), range(columns)))[:count]
                panels = [self._axes(top + y, left + span * x, span) for y, x in cells_there]
                below = self._axes(bottom, left, span * columns)
                below.set_axis_off()
                groups.append(Group(panels, below))
                left += span * columns
            self._rows[bottom] = (0.0, groups)
            made += groups
            top = bottom + 1
        return made

    def finish(self, stamp: str) -> Figure:
        """Stamp the figure below everything, place the legends, and find the figure's height.

        Panels get the height that they are meant to have, whatever stands around them.

        Args:
            stamp: a text.
        """
        figure = self.figure
        written = figure.supxlabel(
            "", fontsize=SMALLEST_TYPE, color=INK, x=MARGIN, ha="left", linespacing=1.3
        )
        for characters in range(int(WIDEST_LINE * figure.get_figwidth()), 0, -1):
            written.set_text(textwrap.fill(stamp, characters))
            if written.get_window_extent().width <= (1 - 2 * MARGIN) * figure.bbox.width:
                break
        axis_of_figure = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        for axis in axis_of_figure:
            _label_plainly(axis)
        engine = figure.get_layout_engine()
        assert engine is not None
        panel = self._rows[0][0]
        ratios = [high or LEGEND_ROW for high, _ in self._rows]
        first = next(group for _, groups in self._rows for group in groups).panels[0]
        for _ in range(ROUNDS):
            engine.execute(figure)
            for axis in axis_of_figure:
                _thin_out(axis)
            wanted = [
                max([inches, *(group._place_legend() for group in groups)])
                for inches, groups in self._rows
            ]
            there = first.get_position(original=True).height * figure.get_figheight()
            others = figure.get_figheight() - there / panel * sum(ratios)
            ratios = wanted
            self._grid.set_height_ratios(ratios)
            figure.set_figheight(others + sum(wanted))
        engine.execute(figure)
        figure.set_layout_engine("none")  # all files show what was found here
        return figure

    def _axes(self, row: int, column: int, span: int) -> Axes:
        return self.figure.add_subplot(self._grid[row, column : column + span])


def _shape(count: int, columns: int) -> tuple[int, int]:
    """The rows and columns of a group, as evenly filled as possible."""
    rows = -(-count // columns)
    return rows, -(-count // rows)


class _PlainNumbers(LogFormatter):
    """Labels ticks of a logarithmic axis by numbers whose every digit has the size of the label.

    Attributes:
        between: the first digits of the labels between powers of ten; None leaves it to matplotlib.
    """

    between: tuple[int, ...] | None = None

    def __call__(self, x: float, pos: int | None = None) -> str:
        if self.between is None:
            shown = bool(super().__call__(x, pos))
        else:
            shown = round(x / 10 ** math.floor(math.log10(x) + 1e-9)) in (1, *self.between)
        return in_words(x).replace("e-0", "e-") if shown else ""


def _label_plainly(axis: Axis) -> None:
    if axis.get_scale() == "log":
        axis.set_major_formatter(_PlainNumbers())
        axis.set_minor_formatter(_PlainNumbers())


def _thin_out(axis: Axis) -> None:
    """Leave labels of an axis away until they are apart; where none can be, turn them."""
    minor = axis.get_minor_formatter()
    if isinstance(minor, _PlainNumbers):
        for digits in FIRST_DIGITS:
            if not _is_crowded(axis):
                return
            minor.between = digits
    elif isinstance(axis.get_major_locator(), MaxNLocator):
        for intervals in INTERVALS:
            if not _is_crowded(axis):
                return
            axis.set_major_locator(MaxNLocator(intervals))
    elif _is_crowded(axis):  # its labels name settings
        for label in axis.get_majorticklabels():
            label.set(rotation=30, horizontalalignment="right", rotation_mode="anchor")


def _is_crowded(axis: Axis) -> bool:
    labels = [*axis.get_majorticklabels(), *axis.get_minorticklabels()]
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    return any(one.padded(1).overlaps(other) for one, other in combinations(boxes, 2))
