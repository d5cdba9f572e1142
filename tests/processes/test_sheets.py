"""Every figure's notebook in both layouts, on tables made up for it: what is on the page."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from perigee.paths import NOTEBOOKS
from perigee.plotting import output
from perigee.plotting.sheet import PAPER_WIDTH, WIDE, Layout, Sheet
from support.synthetic_tables import RATE, OnSphere, Periodic, Stuck, table_of_similarity

pytestmark = pytest.mark.usefixtures("figure_style")

SEEDS = (10, 11, 12)
STAMP = {
    "source": "Lobacheva et al., NeurIPS 2021",
    "scale": "laptop",
    "deviations": ["learning rate 0.1, 0.3 (paper: 0.01, 0.03, 0.1)"] * 9,
}
PERIODIC = Periodic(levels=(3.0, 2.5, 2.2), length=40)
DENSE = Periodic(levels=(3.5,) * 8, length=15)


def runs(
    courses: Mapping[Any, Any], key: str, seeds: Sequence[int] = SEEDS, **columns: Any
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.run_metrics`, with all columns that are drawn."""
    parts: list[pd.DataFrame] = []
    for value, course in courses.items():
        rate = value if key == RATE else 0.1
        for seed in seeds:
            rows = course.rows(seed)
            elr = rate / rows["weight_norm"] ** 2
            more = {
                key: value,
                "run": len(parts),
                "seed": seed,
                "stopped": False,
                "fork_epoch": 0,
                "learning_rate": rate,
                "effective_learning_rate": elr,
                "effective_gradient_norm": 30 * rows["weight_norm"] * np.sqrt(rows["train_loss"]),
                **columns,
            }
            parts.append(rows.assign(**more))
    return pd.concat(parts, ignore_index=True)


def steps_of_period() -> pd.DataFrame:
    """A table like that of `perigee.analysis.one_period`, at steps as late as the paper's."""
    phases = np.repeat(["before", "A", "B", "C", "after"], [5, 30, 250, 10, 5])
    time = np.arange(len(phases))
    wave = 1.5 + np.cos(2 * np.pi * time / len(time))
    parts = [
        pd.DataFrame(
            {
                "run": number,
                "seed": seed,
                RATE: 0.1,
                "step": 391_000 + 40 * time,
                "phase": phases,
                "loss": 0.01 * wave**3,
                "weight_norm": 4 + wave,
                "effective_learning_rate": 0.1 / (4 + wave) ** 2,
                "effective_gradient_norm": wave**4,
                "cosine_distance": 1e-4 * wave,
                "cosine_distance_trend": 1e-4 * wave,
                "lower_bound": 5e-5 * wave,
                "upper_bound": 2e-4 * wave,
            }
        )
        for number, seed in enumerate(SEEDS)
    ]
    return pd.concat(parts, ignore_index=True)


def toy_steps() -> pd.DataFrame:
    columns = ["step", "x", "y", *(f"{s}_step_{a}" for s in ("gradient", "decay") for a in "xy")]
    rows = [(0, 0.85, 0.4, -0.12, 0.26, -0.18, -0.08), (1, 0.55, 0.57, -0.3, 0.3, -0.1, -0.1)]
    return pd.DataFrame([*rows, (2, 0.12, 0.76, 0, 0, 0, 0)], columns=columns)


def periods(table: pd.DataFrame) -> pd.DataFrame:
    """A table like that of `perigee.analysis.period_statistics`; the last run has no events."""
    rows = table.groupby("run", as_index=False)[[RATE, "seed", "stopped"]].first()
    found = np.arange(len(rows), dtype=float)
    first = np.append(20.0 + found[:-1], np.nan)
    return rows.assign(destabilisations=found, first_destabilisation=first, period_epochs=first)


RATES = {0.01: Stuck(epochs=150), 0.1: PERIODIC, 0.3: DENSE, 3.0: Stuck(epochs=150)}
NORMS = {1.0: Stuck(5.0, 150), 2.0: Stuck(4.0, 150), 4.0: OnSphere(), 8.0: OnSphere(spikes=(3,))}
FORKS = {"free norm": PERIODIC, "fixed long before": OnSphere(), "fixed shortly before": OnSphere()}
MODIFICATIONS = {
    "none": PERIODIC,
    "all weights trained": DENSE,
    "momentum": DENSE,
    "augmentation": PERIODIC,
    "none, narrow network": PERIODIC,
}
TOY = pd.DataFrame(
    [
        {
            "effective_learning_rate": rate,
            "iteration": i,
            "value": value * 0.7 ** (i * (rate < 0.2)),
        }
        for rate, value in ((0.1, 1.0), (0.2, 1.5), (0.5, 3.0))
        for i in range(60)
    ]
)
PANELS = ["train_loss", "weight_norm", "phase_diagram", "period_statistics", "similarity"]


def tables_of(key: str) -> dict[str, pd.DataFrame]:
    similar = table_of_similarity(seeds=SEEDS)
    rates = runs(RATES, RATE)
    made: dict[str, Callable[[], dict[str, pd.DataFrame]]] = {
        "periodic_fig1": lambda: {"convnet": rates, "resnet18": runs({1.0: DENSE}, RATE, (10,))},
        "periodic_fig2": lambda: {"steps": toy_steps()},
        "periodic_fig3": lambda: {"runs": rates},
        "periodic_fig4": lambda: {"period": steps_of_period()},
        "periodic_fig5": lambda: {
            "initialisation": runs(NORMS, "constraint.norm"),
            "forks": runs(FORKS, "label"),
        },
        "periodic_fig6": lambda: {"convnet": similar, "resnet": similar},
        "periodic_fig7": lambda: {
            "single": runs(MODIFICATIONS, "label"),
            "together": runs(RATES | {0.03: PERIODIC, 1.0: DENSE}, RATE),
        },
        "regimes_fig2": lambda: {"values": TOY},
        "study": lambda: {
            "runs": rates,
            "periods": periods(rates),
            "similarity": similar.assign(**{RATE: 0.1}),
        },
    }
    return made[key]()


KEYS = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
WITHOUT_SEEDS = {"periodic_fig2", "regimes_fig2"}
LAYOUTS = {"wide": WIDE, "paper width": PAPER_WIDTH}
PDFS = {"wide": "figure.pdf", "paper width": "figure_paper_width.pdf"}


def drawn(key: str) -> tuple[dict[str, Figure], dict[str, bytes]]:
    """The figures of a notebook and its PDFs, by layout."""
    figures: dict[str, Figure] = {}
    draw_figure = output.draw_figure

    def recorded(draw: output.Drawing, layout: Layout, stamp: Mapping[str, Any]) -> Figure:
        (name,) = (name for name, one in LAYOUTS.items() if one is layout)
        figures[name] = draw_figure(draw, layout, stamp)
        return figures[name]

    _, *cells = (c for c in jupytext.read(NOTEBOOKS / f"{key}.py").cells if c.cell_type == "code")
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, mpl.rc_context():
        paths = {}
        for name, table in tables_of(key).items():
            paths[name] = f"{folder}/{name}.parquet"
            table.to_parquet(paths[name])
        patch.setattr(output, "draw_figure", recorded)
        told = {"panels": PANELS, "settings": [RATE]} if key == "study" else {}
        given = {"tables": paths, "folder": folder, "stamp": STAMP, **told}
        exec("\n".join(cell.source for cell in cells), given)
        return figures, {name: Path(folder, pdf).read_bytes() for name, pdf in PDFS.items()}


def texts(figure: Figure) -> list[Text]:
    """All texts that are seen."""
    FigureCanvasAgg(figure).draw()
    hidden = {label for axes in figure.axes for label in _not_drawn(axes)}
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    return [text for text in found if text.get_text().strip() and text not in hidden]


def _not_drawn(axes: Axes) -> set[Text]:
    """The labels of ticks outside the limits, and of an axis that is off or another's."""
    hidden: set[Text] = set()
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not (low <= tick.get_loc() <= high and axes.axison and axis.get_visible()):
                hidden |= {tick.label1, tick.label2}
    return hidden


def sizes_of_type(pdf: bytes) -> set[float]:
    """The sizes of all fonts on the page, those of exponents and indices included."""
    found: set[float] = set()
    for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL):
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            continue
        found |= {float(size) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", content)}
    return found


@pytest.mark.parametrize("key", KEYS)
def test_a_figure_can_be_read_in_both_layouts(key: str) -> None:
    figures, pdfs = drawn(key)
    require_paper_width(pdfs["paper width"])
    for name, figure in figures.items():
        seen = texts(figure)
        require_type_of_7_points(seen, pdfs[name])
        require_texts_apart(figure, seen)
        require_legends(figure, with_seeds=key not in WITHOUT_SEEDS)
        if key == "periodic_fig4":  # its lines are parts of one, and have letters
            assert {"A", "B", "C"} <= {text.get_text() for text in seen}
        else:
            require_styles(figure)


def require_paper_width(pdf: bytes) -> None:
    ((width, _),) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert float(width) == 5.5 * 72


def require_type_of_7_points(seen: list[Text], pdf: bytes) -> None:
    assert min(text.get_fontsize() for text in seen) >= 7
    sizes = sizes_of_type(pdf)
    assert len(sizes) > 1
    assert min(sizes) >= 7


def require_texts_apart(figure: Figure, seen: list[Text]) -> None:
    boxes = [(text.get_text(), text.get_window_extent()) for text in seen]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width, text
        assert box.y1 <= figure.bbox.height, text
    assert not [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


def require_legends(figure: Figure, with_seeds: bool) -> None:
    """They name the number of seeds, and lie over no panel."""
    legends = [legend for axes in figure.axes if (legend := axes.get_legend())]
    assert legends
    for legend in legends:
        told = " ".join(text.get_text() for text in legend.findobj(Text))
        assert bool(re.search(rf"n = ({len(SEEDS)}|1)\b", told)) == with_seeds
        box = legend.get_window_extent()
        panels = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
        assert not [panel for panel in panels if panel and panel.overlaps(box)]


def require_styles(figure: Figure) -> None:
    """Lines of a panel that differ in colour differ in style, for print in grey."""
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) > 20]
        looks = {(line.get_color(), repr(line._dash_pattern)) for line in curves}
        assert len({style for _, style in looks}) == len({colour for colour, _ in looks})


@pytest.mark.parametrize(
    ("layout", "counts", "rows"),
    [
        (WIDE, (4,), [4]),
        (WIDE, (2, 2), [4]),
        (WIDE, (6,), [3, 3]),
        (WIDE, (7,), [4, 3]),
        (PAPER_WIDTH, (4,), [2, 2]),
        (PAPER_WIDTH, (1, 2), [1, 2]),
        (PAPER_WIDTH, (3,), [2, 1]),
    ],
)
def test_panels_wrap_and_have_the_height_they_are_meant_to_have(
    layout: Layout, counts: tuple[int, ...], rows: list[int]
) -> None:
    sheet = Sheet(layout)
    groups = sheet.groups(*counts)
    assert tuple(len(group.panels) for group in groups) == counts
    for group in groups:
        for number, axes in enumerate(group.panels):
            axes.plot([1, 2], [3, 4], label=f"a line with a long label, number {number}")
            axes.set(title="title", xlabel="epoch")
        group.legend("lines")
    figure = sheet.finish("a stamp " * 60)
    FigureCanvasAgg(figure).draw()
    boxes = [axes.get_window_extent() for group in groups for axes in group.panels]
    edges = sorted({round(box.y0) for box in boxes}, reverse=True)
    assert [sum(round(box.y0) == edge for box in boxes) for edge in edges] == rows
    for box in boxes:
        assert box.height / figure.dpi == pytest.approx(layout.panel_height, rel=0.02)
