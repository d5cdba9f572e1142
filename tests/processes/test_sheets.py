"""Every figure's notebook in both layouts, on tables made up for it: what is on the page."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from perigee import registry
from perigee.analysis.fine_tuning import COLUMNS
from perigee.analysis.regimes import places_of, statistics_of
from perigee.paths import NOTEBOOKS
from perigee.planning.plan import read_requests
from perigee.plotting import output
from perigee.plotting.looks import LINES
from perigee.plotting.sheet import PAPER_WIDTH, WIDE, Layout, Sheet
from support import smd_tables
from support.synthetic_tables import (
    RATE,
    Leaving,
    OnSphere,
    Periodic,
    Stuck,
    Trajectory,
    table_of_similarity,
)

pytestmark = pytest.mark.usefixtures("figure_style")

SEEDS, TWO_SEEDS = (10, 11, 12), (10, 11)
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


ELR = "optimiser.effective_learning_rate"
BEFORE = f"parent.run.{ELR}"
LATE_FRACTION = 0.2


def on_the_sphere(
    courses: Mapping[float, Trajectory | Leaving],
    forks: Mapping[tuple[float, float], Trajectory] | None = None,
    fork_epoch: int = 100,
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.run_metrics` for runs at effective learning rates.

    Args:
        courses: runs from the initialisation, by their rates.
        forks: runs from an epoch of these, by the rates before and after.
        fork_epoch: the epoch.
    """
    settings = [((float("nan"), rate), course) for rate, course in courses.items()]
    settings += list((forks or {}).items())
    parts: list[pd.DataFrame] = []
    for (before, rate), course in settings:
        for seed in TWO_SEEDS:
            rows = course.rows(seed + len(parts)).drop(columns="full_gradient_norm")
            told = {"run": len(parts), ELR: rate, "seed": seed, "stopped": False, "fork_epoch": 0}
            if forks:
                told |= {BEFORE: before, "fork_epoch": 0 if np.isnan(before) else fork_epoch}
            norm = rows["weight_norm"]
            rates = {"learning_rate": rate * norm**2, "effective_learning_rate": rate}
            parts.append(rows.assign(**told, **rates))
    return pd.concat(parts, ignore_index=True)


def regimes_of(table: pd.DataFrame) -> pd.DataFrame:
    """A table like that of `perigee.analysis.regimes`, of 100 classes."""
    known = {"classes": 100, "late_fraction": LATE_FRACTION, "stopped": False}
    rows = [
        {"run": run, ELR: rate, "seed": seed, "stopped": False, **statistics_of(metrics, **known)}
        for (run, rate, seed), metrics in table.groupby(["run", ELR, "seed"])
    ]
    found = pd.DataFrame(rows)
    alike = [one for _, one in found.groupby("seed")]
    return found.join(pd.concat([places_of(one.sort_values(ELR)) for one in alike]))


def tuning_of(table: pd.DataFrame) -> pd.DataFrame:
    """A table like that of `perigee.analysis.fine_tuning`, with the columns that are drawn."""
    rows = []
    for (run, rate, seed), metrics in table.groupby(["run", ELR, "seed"]):
        late = metrics["train_loss"].tail(round(LATE_FRACTION * len(metrics))).median()
        is_fork = bool(metrics[BEFORE].notna().all())
        found = {"is_fork": is_fork, "late_train_loss": late}
        told = {"run": run, ELR: rate, "seed": seed, BEFORE: metrics[BEFORE].iloc[0]}
        rows.append({**told, **dict.fromkeys(COLUMNS, float("nan")), **found})
    return pd.DataFrame(rows)


def filters_of(steps: Mapping[float, float], width: int = 16) -> pd.DataFrame:
    """A table like that of `perigee.analysis.filters` for a ConvNet.

    Args:
        steps: by rate how much the individual effective step sizes differ.
        width: filters of its first convolution.
    """
    layers = np.repeat([f"features.{n}.0.weight" for n in (0, 1, 3, 5)], width * 2 ** np.arange(4))
    parts = []
    for run, (rate, seed) in enumerate((r, s) for r in steps for s in TWO_SEEDS):
        noise = np.random.default_rng(seed).standard_normal((2, len(layers)))
        elr = np.exp(0.5 * noise[0])
        elr *= rate * (1 / elr).sum()  # eq. (4)
        total = 10 * rate
        step = total * np.exp(steps[rate] * noise[1])
        gradient = step / elr if steps[rate] < 0.2 else step / rate / len(layers)
        means = {
            "weight_norm": elr**-0.5,
            "gradient_norm": gradient * elr**0.5,
            "effective_gradient_norm": gradient,
            "effective_learning_rate": elr,
            "effective_step_size": gradient * elr,
        }
        part = pd.DataFrame({"run": run, ELR: rate, "seed": seed, "group": range(len(layers))})
        rms = {f"{name}_rms": 1.1 * value for name, value in means.items()}
        part = part.assign(layer=layers, is_filter=True, **means, **rms)
        together = {"total_effective_learning_rate": rate, "total_effective_step_size_rms": total}
        parts.append(part.assign(**together))
    return pd.concat(parts, ignore_index=True)


def by_rate(courses: Mapping[float, Trajectory], seeds: Sequence[int]) -> pd.DataFrame:
    """A table like that of `perigee.analysis.run_metrics` for learning rates in the whole space."""
    parts: list[pd.DataFrame] = []
    for rate, course in courses.items():
        for seed in seeds:
            rows = course.rows(seed + len(parts))
            told = {RATE: rate, "learning_rate": rate, "seed": seed, "fork_epoch": 0}
            stopped = course.stops_at is not None
            elr = rate / rows["weight_norm"] ** 2
            rows = rows.assign(run=len(parts), stopped=stopped, effective_learning_rate=elr, **told)
            parts.append(rows)
    return pd.concat(parts, ignore_index=True)


CONVERGENT = {
    2.5e-4: Trajectory(0.3, speed=0.03, gradient=2.5, late_test_error=0.45),
    5e-4: Trajectory(0.12, speed=0.035, gradient=2, late_test_error=0.4),
    0.001: Trajectory(0.05, speed=0.04, gradient=1.6, late_test_error=0.3),
    0.002: Trajectory(0.02, speed=0.05, gradient=1.2, late_test_error=0.25),
    0.004: Trajectory(0.01, speed=0.06, gradient=0.9, late_test_error=0.2),
    0.008: Trajectory(0.006, speed=0.07, gradient=0.6, late_test_error=0.15),
}
CHAOTIC = {
    0.012: Trajectory(0.4, speed=0.4, gradient=30, wobble=0.25, late_test_error=0.3),
    0.016: Trajectory(0.6, speed=0.4, gradient=25, wobble=0.25, late_test_error=0.35),
    0.025: Trajectory(1.1, speed=0.5, gradient=20, wobble=0.25, late_test_error=0.4),
    0.05: Trajectory(2.0, speed=0.5, gradient=17, wobble=0.2, late_test_error=0.55),
}
DIVERGENT = {
    0.1: Trajectory(5.0, speed=0.5, gradient=20, wobble=0.15, late_test_error=0.9),
    0.3: Trajectory(6.5, speed=0.5, gradient=30, wobble=0.1, late_test_error=0.98),
}
AT_RATES = CONVERGENT | CHAOTIC | DIVERGENT
"""The rates at laptop scale."""


def going_on(before: float, rate: float) -> Trajectory:
    """A course with another rate from the end of one."""
    parent = AT_RATES[before]
    return replace(AT_RATES[rate], start=parent.level, test_error=parent.late_test_error)


FINE_TUNED = {
    (0.002, 0.001): Trajectory(0.008, 0.05, 1.2, start=0.09, test_error=0.36, late_test_error=0.24),
    (0.002, 0.008): Trajectory(0.004, 0.1, 0.6, start=0.09, test_error=0.36, late_test_error=0.16),
}
LEVELS = {
    (before, rate): replace(going_on(before, rate), epochs=40)
    for before, rates in {0.016: (0.025, 0.05), 0.05: (0.016, 0.025)}.items()
    for rate in rates
}
MINIMA = {
    (before, rate): replace(going_on(before, rate), gradient=0.5)
    for before in (0.016, 0.05)
    for rate in (0.002, 0.004, 0.008)
}
STEPS_APART = {0.004: 0.4, 0.016: 0.05}
TRANSITIONS = {
    0.004: AT_RATES[0.004],
    0.01: Leaving(AT_RATES[0.012], Trajectory(0.004, speed=0.3, start=0.3), 40),
    0.016: AT_RATES[0.016],
    0.025: AT_RATES[0.025],
    0.1: DIVERGENT[0.1],
    1.0: DIVERGENT[0.3],
}
OVERFLOW = Trajectory(100.0, epochs=60, stops_at=2)
CONSTANT = {
    0.03: Trajectory(0.02, gradient=3, epochs=60),
    0.1: Trajectory(0.01, gradient=2, epochs=60),
    0.3: Trajectory(0.05, gradient=5, epochs=60, wobble=0.2),
    1.0: Trajectory(0.6, gradient=4, epochs=60, wobble=0.2),
    1000.0: OVERFLOW,
}
COSINE = {
    0.01: Trajectory(0.05, gradient=4, epochs=60),
    0.03: Trajectory(0.01, gradient=3, epochs=60),
    0.3: Trajectory(0.003, gradient=1.5, epochs=60),
    3.0: Trajectory(0.01, gradient=2, epochs=60, wobble=0.2),
}

RATES = {0.01: Stuck(epochs=150), 0.1: PERIODIC, 0.3: DENSE, 3.0: Stuck(epochs=150)}
DECAYED = {
    0.01: Stuck(0.1, 240),
    0.1: PERIODIC,
    0.3: DENSE,
    3.0: Stuck(epochs=240),
    300.0: Stuck(8.0, 240),
}
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


def smd_tables_of(number: int) -> dict[str, pd.DataFrame]:
    """The tables that a figure on equilibrium draws."""
    if number in (1, 2, 7):
        _, figures = read_requests(["smd"], "laptop")
        (figure,) = (one for one in figures if one.key == f"smd_fig{number}")
        return {
            table.name: registry.load(table.analysis)([], **table.analysis.parameters)
            for table in figure.tables
        }
    if number in (4, 6):
        planted = smd_tables.pairs() if number == 4 else smd_tables.BY_OPTIMISER
        return {name: planted.table(name, TWO_SEEDS) for name in ("runs", "courses")}
    planted = smd_tables.USUAL if number == 3 else smd_tables.DECAYED
    steps = planted.table("steps", TWO_SEEDS)
    if number == 5:
        return {"steps": steps, "coco_steps": smd_tables.COCO.table("coco_steps", TWO_SEEDS)}
    return {"steps": steps[steps["layer"] == "layer2.0.conv2"]}


def tables_of(key: str) -> dict[str, pd.DataFrame]:
    similar = table_of_similarity(seeds=SEEDS)
    rates = runs(RATES, RATE)
    at_rates = on_the_sphere(AT_RATES)
    transitions = on_the_sphere(TRANSITIONS)
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
        "regimes_fig1": lambda: {"runs": at_rates, "regimes": regimes_of(at_rates)},
        "regimes_fig2": lambda: {"values": TOY},
        "regimes_fig3": lambda: {"runs": on_the_sphere(CONVERGENT, FINE_TUNED, 25)},
        "regimes_fig4": lambda: {
            "filters": filters_of(STEPS_APART),
            "regimes": regimes_of(at_rates[at_rates[ELR].isin(STEPS_APART)]),
        },
        "regimes_fig5": lambda: {
            "levels": (levels := on_the_sphere(CHAOTIC, LEVELS)),
            "minima": on_the_sphere({r: CONVERGENT[r] for r in (0.002, 0.004, 0.008)}, MINIMA),
            "level_tuning": tuning_of(levels),
        },
        "regimes_fig6": lambda: {"runs": transitions, "regimes": regimes_of(transitions)},
        "regimes_fig7": lambda: {
            "decayed": runs(DECAYED, RATE),
            "constant": by_rate(CONSTANT, TWO_SEEDS),
            "cosine": by_rate(COSINE, TWO_SEEDS),
        },
        **{f"smd_fig{number}": partial(smd_tables_of, number) for number in range(1, 8)},
        "study": lambda: {
            "runs": rates,
            "periods": periods(rates),
            "similarity": similar.assign(**{RATE: 0.1}),
        },
    }
    return made[key]()


KEYS = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
WITHOUT_SEEDS = {"periodic_fig2", "regimes_fig2", "smd_fig1", "smd_fig2", "smd_fig7"}
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

    def without_png(figure: Figure, path: Path, **others: Any) -> None:
        if path.suffix != ".png":  # nobody looks at it here, and it takes the longest
            save(figure, path, **others)

    save = Figure.savefig
    _, *cells = (c for c in jupytext.read(NOTEBOOKS / f"{key}.py").cells if c.cell_type == "code")
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, mpl.rc_context():
        paths = {}
        for name, table in tables_of(key).items():
            paths[name] = f"{folder}/{name}.parquet"
            table.to_parquet(paths[name])
        patch.setattr(output, "draw_figure", recorded)
        patch.setattr(Figure, "savefig", without_png)
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


def test_of_the_whole_grid_of_rates_the_papers_eight_are_drawn_and_late_points_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, figures = read_requests(["regimes"], "paper")
    (figure,) = (one for one in figures if one.key == "regimes_fig1")
    grid = sorted({run.spec.optimiser.effective_learning_rate for run in figure.tables[0].runs})
    assert len(grid) == 26
    of_one = on_the_sphere({0.01: AT_RATES[min(AT_RATES)]})
    runs_of_all = pd.concat([of_one.assign(**{ELR: rate}) for rate in grid])
    tables = {"runs": runs_of_all, "regimes": regimes_of(runs_of_all)}
    monkeypatch.setitem(globals(), "tables_of", lambda key: tables)
    sheets, _ = drawn("regimes_fig1")
    (legend,) = (one for axes in sheets["wide"].axes if (one := axes.get_legend()))
    labels = [text.get_text().partition(" (")[0] for text in legend.get_texts()]
    assert sorted(map(float, labels)) == [1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.05, 0.1]
    losses, sharpness = sheets["wide"].axes[0], sheets["wide"].axes[3]
    assert len([line for line in losses.lines if len(line.get_xdata()) > 20]) == 8
    late = [line for line in sharpness.lines if line.get_marker() == "o"]
    assert len(late) == 26


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
        assert bool(re.search(rf"n = [1-{len(SEEDS)}]\b", told)) == with_seeds
        box = legend.get_window_extent()
        panels = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
        assert not [panel for panel in panels if panel and panel.overlaps(box)]


def require_styles(figure: Figure) -> None:
    """Lines of a panel differ in style, for print in grey; if they are too many, in lightness."""
    for axes in figure.axes:
        drawn = [line for line in axes.lines if line.get_linestyle() != "None"]
        curves = [line for line in drawn if len(line.get_xdata()) > 20]
        looks = {(str(line.get_color()), repr(line._dash_pattern)) for line in curves}
        styles = {style for _, style in looks}
        assert len(styles) == min(len(looks), len(LINES))
        for style in styles:
            shades = sorted(lightness(colour) for colour, one in looks if one == style)
            assert all(np.diff(shades) > 25)


def lightness(colour: str) -> float:
    """L* of CIELAB: from 0 for black to 100 for white."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


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
