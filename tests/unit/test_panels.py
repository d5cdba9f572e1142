"""perigee.plotting.panels: what a sweep's figure shows of each run."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perigee.plotting.looks import Looks
from perigee.plotting.output import draw_figure
from perigee.plotting.panels import draw_panels, draw_statistic
from perigee.plotting.sheet import WIDE, Sheet
from perigee.plotting.style import (
    CATEGORIES,
    colours_of,
    in_words,
    key_in_words,
    labels_of,
)
from perigee.plotting.trajectories import draw_over_epochs as draw
from perigee.plotting.trajectories import draw_phase_diagram

pytestmark = pytest.mark.usefixtures("figure_style")

WIDTH, SIZE = "model.width", "batch_size"
NAN = float("nan")


def tables(**swept: list[Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics and period statistics of all combinations; the run's place is in every number."""
    combinations = pd.MultiIndex.from_product(swept.values(), names=swept.keys()).to_frame(
        index=False
    )
    periods = combinations.assign(
        run=range(len(combinations)),
        stopped=False,
        destabilisations=np.arange(len(combinations)),
        first_destabilisation=10.0 + np.arange(len(combinations)),
        period_epochs=20.0 + np.arange(len(combinations)),
    )
    metrics = pd.concat(
        [
            pd.DataFrame([row] * 3).assign(
                epoch=range(3),
                train_loss=1.0 + row["run"],
                test_error=0.01 * (1 + row["run"]),
                weight_norm=2.0 + row["run"],
                effective_learning_rate=[0.1, 0.2, 0.3],
                effective_gradient_norm=3.0 + row["run"],
            )
            for row in periods[[*swept, "run", "stopped"]].to_dict("records")
        ],
        ignore_index=True,
    )
    return metrics, periods


def lines(axes: Axes) -> dict[float, Any]:
    """The lines of a panel by their height, if they are level."""
    return {float(line.get_ydata()[0]): line for line in axes.lines}


def test_the_first_seed_is_drawn_of_what_has_events_and_the_range_of_what_has_none() -> None:
    metrics, periods = tables(**{WIDTH: [4, 8], "seed": [5, 6]})
    looks = Looks.of(periods, [WIDTH])
    _, (loss, norm) = plt.subplots(1, 2)
    draw(loss, metrics, "train_loss", looks)
    draw(norm, metrics, "weight_norm", looks)
    found = lines(loss)
    assert {height: line.get_color() for height, line in found.items()} == {
        1: looks.colours[4],
        3: looks.colours[8],
    }
    assert found[1].get_linestyle() != found[3].get_linestyle()
    assert not loss.collections
    extents = [band.get_datalim(norm.transData) for band in norm.collections]
    assert sorted((extent.ymin, extent.ymax) for extent in extents) == [(2, 3), (4, 5)]


def test_errors_are_in_percent() -> None:
    metrics, periods = tables(**{WIDTH: [4, 8], "seed": [0]})
    _, axes = plt.subplots()
    draw(axes, metrics, "test_error", Looks.of(periods, [WIDTH]))
    assert sorted(lines(axes)) == pytest.approx([1, 2])
    assert axes.get_title() == "Test error, %"


def test_further_settings_are_told_by_the_style() -> None:
    metrics, periods = tables(**{SIZE: [16, 32], WIDTH: [4, 8], "seed": [0]})
    looks = Looks.of(periods, [WIDTH, SIZE])
    _, (loss, phase) = plt.subplots(1, 2)
    draw(loss, metrics, "train_loss", looks)
    drawn = {
        height: (line.get_color(), line.get_linestyle()) for height, line in lines(loss).items()
    }
    assert drawn == {
        1: (looks.colours[4], "-"),
        2: (looks.colours[8], "-"),
        3: (looks.colours[4], "--"),
        4: (looks.colours[8], "--"),
    }
    draw_phase_diagram(phase, metrics, looks)
    curves = [line for line in phase.lines if line.get_marker() == "None"]
    assert {(line.get_color(), line.get_linestyle()) for line in curves} == set(drawn.values())
    labels = [handle.get_label() for handle in looks.legend(periods)]
    assert labels == ["4 (n = 1)", "8 (n = 1)", "batch size 16", "batch size 32"]


def test_a_sweep_of_seeds_alone_shows_each() -> None:
    metrics, periods = tables(seed=[3, 4])
    looks = Looks.of(periods, [])
    _, axes = plt.subplots()
    draw(axes, metrics, "weight_norm", looks)
    assert {height: line.get_color() for height, line in lines(axes).items()} == {
        2: looks.colours[3],
        3: looks.colours[4],
    }
    assert [line.get_label() for line in looks.legend(metrics)] == ["3", "4"]


def test_a_sweep_without_seeds_shows_each_run() -> None:
    metrics, periods = tables(**{WIDTH: [4, 8, 16]})
    _, axes = plt.subplots()
    draw(axes, metrics, "train_loss", Looks.of(periods, [WIDTH]))
    assert sorted(lines(axes)) == [1, 2, 3]


def points(axes: Axes, face: str) -> list[float]:
    """Heights of all points with a filled or empty face."""
    chosen = [line for line in axes.lines if (line.get_markerfacecolor() == "none") == (face == "")]
    return sorted(float(y) for line in chosen for y in line.get_ydata())


def bars(axes: Axes) -> list[float]:
    return [float(path.vertices[0, 1]) for bar in axes.collections for path in bar.get_paths()]


@pytest.mark.parametrize(
    ("statistic", "values", "filled", "empty", "medians"),
    [
        ("destabilisations", [1, 5, 2], [1, 2, 5], 0, [2]),
        ("first_destabilisation", [30, 10, 20], [10, 20, 30], 0, [20]),
        # One that did not come is later than all others.
        ("first_destabilisation", [30, NAN, 20], [20, 30], 1, [30]),
        ("first_destabilisation", [30, NAN, NAN], [30], 2, []),
        # Without periods there is no length of one.
        ("period_epochs", [30, NAN, 20], [20, 30], 1, [25]),
        ("period_epochs", [NAN, NAN, NAN], [], 3, []),
    ],
)
def test_a_point_a_run_and_a_bar_at_the_median(
    statistic: str, values: list[float], filled: list[float], empty: int, medians: list[float]
) -> None:
    _, periods = tables(**{WIDTH: [4], "seed": [0, 1, 2]})
    periods[statistic] = values
    _, axes = plt.subplots()
    draw_statistic(axes, periods, statistic, Looks.of(periods, [WIDTH]))
    assert points(axes, "filled") == filled
    assert len(points(axes, "")) == empty
    assert bars(axes) == pytest.approx(medians)
    bottom, top = axes.get_ylim()
    assert all(bottom < value < top for value in filled)


def test_points_stand_over_their_setting_and_apart() -> None:
    _, periods = tables(**{SIZE: [16, 32], WIDTH: [8, 4], "seed": [0, 1, 2]})
    _, axes = plt.subplots()
    looks = Looks.of(periods, [WIDTH, SIZE])
    draw_statistic(axes, periods, "destabilisations", looks)
    positions = [x for line in axes.lines for x in line.get_xdata()]
    assert len(set(np.round(positions, 6))) == 12
    ticks = dict(
        zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True)
    )
    assert list(ticks) == ["4", "8"]
    for line in axes.lines:
        (width,) = (value for value, colour in looks.colours.items() if colour == line.get_color())
        assert all(abs(x - ticks[str(width)]) < 0.4 for x in line.get_xdata())


def drawn(
    metrics: pd.DataFrame,
    periods: pd.DataFrame,
    panels: list[str],
    similarity: pd.DataFrame | None = None,
) -> Figure:
    def draw(sheet: Sheet) -> None:
        draw_panels(sheet, metrics, periods, panels, [WIDTH], similarity)

    return draw_figure(draw, WIDE, {"source": "mine", "scale": "laptop"})


def titles(figure: Figure) -> list[str]:
    return [title for axes in figure.axes if (title := axes.get_title())]


def test_the_figure_has_the_panels_asked_for() -> None:
    metrics, periods = tables(**{WIDTH: [4, 8], "seed": [0, 1]})
    figure = drawn(metrics, periods, ["weight_norm", "period_statistics"])
    assert titles(figure) == [
        "SI weight norm ρ",
        "Destabilisations",
        "First destabilisation, epoch",
        "Length of a period, epochs",
    ]
    (legend,) = [legend for axes in figure.axes if (legend := axes.get_legend())]
    told = legend.get_title().get_text()
    assert told == "width (line: seed 0, band: range over n seeds)"
    assert [text.get_text() for text in legend.get_texts()] == ["4 (n = 2)", "8 (n = 2)"]
    five = ["train_loss", "test_error", "weight_norm", "phase_diagram", "period_statistics"]
    assert len(titles(drawn(metrics, periods, five))) == 7


def test_similarity_is_drawn_of_its_own_table() -> None:
    metrics, periods = tables(**{WIDTH: [4, 8], "seed": [0, 1]})
    compared = metrics.assign(
        cosine_similarity=0.1 * (1 + metrics["run"]),
        ensemble_test_error=0.02 * (1 + metrics["run"]),
    ).drop(columns="stopped")
    weights, ensemble, _ = drawn(metrics, periods, ["similarity"], compared).axes
    assert sorted(lines(weights)) == pytest.approx([0.1, 0.3])
    assert sorted(lines(ensemble)) == pytest.approx([2, 6])
    extents = [band.get_datalim(weights.transData) for band in weights.collections]
    ranges = sorted((extent.ymin, extent.ymax) for extent in extents)
    assert ranges == [pytest.approx((0.1, 0.2)), pytest.approx((0.3, 0.4))]
    assert (weights.get_yscale(), ensemble.get_yscale()) == ("linear", "log")


def test_a_further_column_is_drawn_under_its_name() -> None:
    metrics, periods = tables(**{WIDTH: [4, 8], "seed": [0]})
    metrics = metrics.assign(full_gradient_norm=3.0 + metrics["run"])
    axes, _ = drawn(metrics, periods, ["full_gradient_norm"]).axes
    assert axes.get_title() == "Full gradient norm"
    assert axes.get_yscale() == "linear"
    assert sorted(lines(axes)) == pytest.approx([3, 4])


def test_text_is_told_apart_by_colours_without_an_order() -> None:
    colours = colours_of(["sgd", "adam", "sgd"])
    assert colours == {"sgd": CATEGORIES[0], "adam": CATEGORIES[1]}
    assert len(set(CATEGORIES)) == len(CATEGORIES)
    assert colours_of([True, False]) == {True: CATEGORIES[0], False: CATEGORIES[1]}
    assert colours_of([2, 1]).keys() == colours_of(np.array([1.0, 2.0])).keys()
    _, axes = plt.subplots()
    metrics, _ = tables(optimiser=["sgd", "adam"], seed=[0])
    looks = Looks.of(metrics, ["optimiser"])
    draw(axes, metrics, "train_loss", looks)
    assert looks.colours == colours
    assert {line.get_color() for line in axes.lines} == set(colours.values())
    assert len({line.get_linestyle() for line in axes.lines}) == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.1, "0.1"),
        (3.0, "3"),
        (np.int64(7), "7"),
        (True, "True"),
        ("digit_pairs", "digit pairs"),
        ('{"learning_rate":0.1,"name":"sign_sgd"}', "sign sgd, learning rate 0.1"),
        ("null", "null"),
    ],
)
def test_values_in_words(value: Any, words: str) -> None:
    assert in_words(value) == words


def test_blocks_are_told_apart_by_what_differs() -> None:
    sgd = '{"learning_rate":0.1,"momentum":0,"name":"sgd"}'
    fast = '{"learning_rate":0.3,"momentum":0,"name":"sgd"}'
    adam = '{"beta_1":0.9,"learning_rate":0.1,"name":"sign_sgd"}'
    assert labels_of([sgd, adam]) == {sgd: "sgd", adam: "sign sgd"}
    assert labels_of([sgd, fast]) == {sgd: "learning rate 0.1", fast: "learning rate 0.3"}
    three = labels_of([sgd, fast, adam])
    assert len(set(three.values())) == 3
    assert three[fast] == "sgd, learning rate 0.3, momentum 0"
    assert labels_of([3.0, "free"]) == {3.0: "3", "free": "free"}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("optimiser.learning_rate", "learning rate"),
        ("dataset.name", "dataset"),
        ("batch_size", "batch size"),
        ("optimiser", "optimiser"),
    ],
)
def test_keys_in_words(key: str, words: str) -> None:
    assert key_in_words(key) == words
