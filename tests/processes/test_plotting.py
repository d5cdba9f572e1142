"""perigee.plotting: colours, shared panels, and what is written."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from perigee.plotting.looks import Looks, first_seed, over_seeds, seeds_in_words
from perigee.plotting.output import draw_figure, save_figure, stamp_text
from perigee.plotting.sheet import PAPER_WIDTH, WIDE, Layout, Sheet
from perigee.plotting.similarity import draw_against_anchor, draw_single_network
from perigee.plotting.style import apply_style, ordered_colours
from perigee.plotting.trajectories import draw_over_epochs, draw_phase_diagram
from support.synthetic_tables import table_of_similarity

pytestmark = pytest.mark.usefixtures("figure_style")

STAMP: dict[str, Any] = {
    "source": "Lobacheva et al., NeurIPS 2021, Figure 3",
    "scale": "laptop",
    "deviations": ["width 8 (paper: 32)", "dataset digits (paper: cifar10)"],
}


def lightness(colour: str) -> float:
    """L* of CIELAB, by the definitions of sRGB and CIE 1976."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


# Colours


@settings(max_examples=30)
@given(values=st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=8, unique=True))
def test_colours_are_distinct_and_grow_lighter_with_the_value(values: list[float]) -> None:
    colours = ordered_colours(values)
    assert list(colours) == sorted(values)
    shades = [lightness(colours[value]) for value in sorted(values)]
    # A difference of 2.3 in L* is just noticeable; grey printing leaves only L*.
    assert min(np.diff(shades)) > 2.3
    # And the lightest is still seen on white paper.
    assert shades[-1] < 90


def test_colours_do_not_depend_on_order_or_repetition() -> None:
    assert ordered_colours([3.0, 0.1, 0.1, 1.0]) == ordered_colours([0.1, 1.0, 3.0])
    assert len(ordered_colours([0.3])) == 1


# Writing


PLOTTED = pd.DataFrame({"epoch": [0, 1, 2], "loss": [2.25, 1.5, 0.125]})


def draw(sheet: Sheet) -> None:
    (group,) = sheet.groups(1)
    (axes,) = group.panels
    axes.plot(PLOTTED["epoch"], PLOTTED["loss"], label="loss")
    axes.set_xlabel("epoch")
    group.legend("line")


def save(folder: Path, stamp: dict[str, Any] = STAMP) -> Path:
    folder.mkdir()
    save_figure(draw, PLOTTED, folder, stamp)
    return folder


def text_of_pdf(path: Path) -> str:
    """The characters that the page shows, without spaces and kerning."""
    shown = b""
    for stream in re.findall(rb"stream\n(.*?)\nendstream", path.read_bytes(), re.DOTALL):
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            continue
        if b"BT" in content and b"Tf" in content:
            literals = re.findall(rb"\(((?:\\.|[^\\()])*)\)", content, re.DOTALL)
            shown += re.sub(rb"\\(.)", rb"\1", b"".join(literals), flags=re.DOTALL)
    return shown.replace(b"\0", b"").replace(b" ", b"").decode("latin-1")


def test_picture_and_numbers_are_written(tmp_path: Path) -> None:
    folder = save(tmp_path / "figure")
    assert {path.name for path in folder.iterdir()} == {
        "figure.pdf",
        "figure_paper_width.pdf",
        "figure.png",
        "figure.csv",
    }
    for pdf in ("figure.pdf", "figure_paper_width.pdf"):
        assert (folder / pdf).read_bytes().startswith(b"%PDF-")
    _, width, _ = plt.imread(folder / "figure.png").shape
    assert width == pytest.approx(200 * WIDE.narrowest)  # 200 dots an inch
    pd.testing.assert_frame_equal(pd.read_csv(folder / "figure.csv"), PLOTTED)


def test_the_stamp_is_on_the_page(tmp_path: Path) -> None:
    folder = save(tmp_path / "figure")
    for pdf in ("figure.pdf", "figure_paper_width.pdf"):
        text = text_of_pdf(folder / pdf)
        # The words without ligatures, which are single glyphs.
        for words in ("Lobacheva et al., NeurIPS 2021", "laptop scale", *STAMP["deviations"]):
            assert words.replace(" ", "") in text


def test_the_stamp_is_below_everything_else_in_the_png(tmp_path: Path) -> None:
    # Another stamp of as many lines changes the bottom of the picture and nothing above.
    other = STAMP | {"scale": "smoked"}
    first, second = (
        plt.imread(save(tmp_path / name, stamp) / "figure.png")
        for name, stamp in (("one", STAMP), ("two", other))
    )
    changed = np.flatnonzero((first != second).any(axis=(1, 2)))
    assert len(changed) > 0
    assert changed.min() > 0.85 * len(first)


def test_files_are_the_same_byte_for_byte_when_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Matplotlib takes this for the present time: the second figure is drawn a day later.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    first = save(tmp_path / "first")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000086400")
    second = save(tmp_path / "second")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_stamp_text_tells_source_scale_and_deviations_in_their_order() -> None:
    text = stamp_text(STAMP)
    expected = (STAMP["source"], "laptop scale", "paper", *STAMP["deviations"])
    places = [text.index(words) for words in expected]
    assert places == sorted(places)


def test_stamp_text_without_deviations_speaks_of_no_difference() -> None:
    text = stamp_text(STAMP | {"scale": "paper", "deviations": []})
    assert "differs" in stamp_text(STAMP)
    assert "differs" not in text
    assert "paper scale" in text


def test_the_stamp_of_no_papers_figure_compares_with_none() -> None:
    stamp = {"source": "mine: Does it?", "scale": "laptop"}
    assert stamp_text(stamp) == "mine: Does it? · laptop scale"


@pytest.mark.parametrize("layout", [WIDE, PAPER_WIDTH])
@pytest.mark.parametrize("deviations", [0, 1, 12])
def test_the_stamp_fits_the_width_of_the_figure(deviations: int, layout: Layout) -> None:
    stamp = STAMP | {"deviations": ["learning rate 0.123 (paper: 0.456)"] * deviations}
    figure = draw_figure(draw, layout, stamp)
    (text,) = [text for text in figure.texts if "NeurIPS" in text.get_text()]
    figure.canvas.draw()
    extent = text.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.width
    assert extent.y0 >= 0
    # It stays clear of the axes, their labels and the legend.
    assert extent.y1 <= min(box.y0 for axes in figure.axes if (box := axes.get_tightbbox()))


# Panels


def metrics_table() -> pd.DataFrame:
    """Two rates, two seeds; the higher rate's first seed stops in its second epoch."""
    rows = []
    for rate in (0.1, 3.0):
        for seed in (4, 5):
            stopped = rate == 3.0 and seed == 4
            for epoch in range(3 if stopped else 4):
                lost = stopped and epoch == 2
                rows.append(
                    {
                        "optimiser.learning_rate": rate,
                        "run": f"{rate} {seed}",
                        "seed": seed,
                        "stopped": stopped,
                        "epoch": epoch,
                        "train_loss": np.nan if lost else rate + seed + epoch,
                        "effective_learning_rate": rate * (epoch + 1),
                        "effective_gradient_norm": np.inf if lost else seed + epoch + 1.0,
                    }
                )
    return pd.DataFrame(rows)


RATE = "optimiser.learning_rate"
LOOKS = Looks.of(metrics_table(), [RATE], colours={0.1: "#000000", 3.0: "#ff0000"})


def test_a_line_for_each_rate_of_the_first_seed() -> None:
    _, axes = plt.subplots()
    draw_over_epochs(axes, metrics_table(), "train_loss", LOOKS)
    curves = {line.get_color(): line for line in axes.lines if line.get_marker() != "x"}
    assert curves["#000000"].get_xydata().tolist() == [[e, 0.1 + 4 + e] for e in range(4)]
    assert curves["#ff0000"].get_xydata()[:2].tolist() == [[e, 3.0 + 4 + e] for e in range(2)]
    assert len(axes.lines) == 3  # and the cross
    assert not axes.collections, "events of other seeds would fill a band"
    assert curves["#000000"].get_linestyle() != curves["#ff0000"].get_linestyle()
    assert axes.get_title() == "Train loss"


def test_the_legend_names_colour_style_and_the_number_of_seeds() -> None:
    _, axes = plt.subplots()
    table = metrics_table()
    draw_over_epochs(axes, table, "train_loss", LOOKS)
    drawn = {line.get_color(): line.get_linestyle() for line in axes.lines if not has_cross(line)}
    legend = {line.get_label(): line for line in LOOKS.legend(table)}
    assert list(legend) == ["0.1 (n = 2)", "3 (n = 2, 1 × stopped)"]
    assert drawn == {line.get_color(): line.get_linestyle() for line in legend.values()}
    alone = LOOKS.legend(first_seed(table))
    assert [line.get_label() for line in alone] == ["0.1 (n = 1)", "3 (n = 1, × stopped)"]
    without = LOOKS.legend(first_seed(table).drop(columns="seed"))
    assert [line.get_label() for line in without] == ["0.1", "3 (× stopped)"]


def has_cross(line: Line2D) -> bool:
    return line.get_marker() == "x"


def test_the_legend_says_what_lines_and_bands_are() -> None:
    table = metrics_table()
    assert seeds_in_words(table, "first seed") == " (line: seed 4, one of n)"
    told = seeds_in_words(table, "first seed", "band of ρ")
    assert told == " (line: seed 4, band of ρ: range over n seeds)"
    assert "line: median, band: range" in seeds_in_words(table, "median", "band")
    assert seeds_in_words(first_seed(table), "median", "band") == ""


def test_a_median_over_seeds_with_its_range() -> None:
    table = pd.concat([metrics_table(), metrics_table().assign(seed=9, train_loss=100.0)])
    _, axes = plt.subplots()
    draw_over_epochs(axes, table[table[RATE] == 0.1], "train_loss", LOOKS, "median")
    (line,) = axes.lines
    # Of seeds 4 and 5, and twice a third: the values at an epoch are 4, 5, 100 and 100, and more.
    assert line.get_xydata().tolist() == [[e, (0.1 + 5 + e + 100) / 2] for e in range(4)]
    (band,) = axes.collections
    extent = band.get_datalim(axes.transData)
    assert (extent.ymin, extent.ymax) == (pytest.approx(4.1), 100)
    assert band.get_alpha() < 0.3
    assert band.get_zorder() < line.get_zorder()


def test_a_stopped_run_counts_up_to_its_last_finite_value() -> None:
    rows = metrics_table()
    summary = over_seeds(rows[rows[RATE] == 3.0], "train_loss")
    assert summary["lowest"].tolist() == [7, 8, 10, 11]
    assert summary["highest"].tolist() == [8, 9, 10, 11]
    assert summary["median"].tolist() == [7.5, 8.5, 10, 11]


def test_the_range_of_a_steady_quantity_lies_behind_the_first_seed() -> None:
    table = metrics_table().assign(weight_norm=lambda rows: rows["seed"] + rows["epoch"])
    _, axes = plt.subplots()
    draw_over_epochs(axes, table, "weight_norm", LOOKS)
    assert {tuple(line.get_ydata()[:2]) for line in axes.lines if not has_cross(line)} == {(4, 5)}
    extents = [band.get_datalim(axes.transData) for band in axes.collections]
    assert [(extent.ymin, extent.ymax) for extent in extents] == [(4, 8), (4, 8)]


def test_a_cross_marks_the_last_finite_point_of_a_stopped_run_and_of_no_other() -> None:
    _, (phases, axes) = plt.subplots(1, 2)
    draw_phase_diagram(phases, metrics_table(), LOOKS)
    (cross,) = [line for line in phases.lines if line.get_marker() == "x"]
    assert cross.get_xydata().tolist() == [[6, 6]]
    draw_over_epochs(axes, metrics_table(), "train_loss", LOOKS)
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert (*cross.get_xdata(), *cross.get_ydata()) == (1, 3.0 + 4 + 1)
    assert cross.get_color() == "#ff0000"


def test_the_phase_diagram_shows_the_first_seed_from_a_star_on() -> None:
    _, axes = plt.subplots()
    draw_phase_diagram(axes, metrics_table(), LOOKS)
    assert axes.get_xscale() == axes.get_yscale() == "log"
    curves = {line.get_color(): line for line in axes.lines if line.get_marker() == "None"}
    stars = {line.get_color(): line for line in axes.lines if line.get_marker() == "*"}
    assert curves["#000000"].get_xdata().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert curves["#000000"].get_ydata().tolist() == [5, 6, 7, 8]
    assert curves["#ff0000"].get_xydata()[:2].tolist() == [[3, 5], [6, 6]]
    assert stars.keys() == curves.keys()
    for colour, star in stars.items():
        assert star.get_xydata().tolist() == [curves[colour].get_xydata()[0].tolist()]


# Similarity


def test_the_first_seed_is_drawn_with_its_destabilisations_before_the_range_of_all() -> None:
    table = table_of_similarity(seeds=(0, 1))
    table.loc[table["run"] == 1, "cosine_similarity"] -= 0.1
    weights, ensemble = plt.figure().subplots(1, 2)
    draw_against_anchor(weights, table, "cosine_similarity")
    draw_against_anchor(ensemble, table, "ensemble_test_error")
    draw_single_network(ensemble, table, "anchor_test_error")
    first = table[table["run"] == 0]
    for axes, quantity, factor in (
        (weights, "cosine_similarity", 1),
        (ensemble, "ensemble_test_error", 100),
    ):
        lines = {str(line.get_label()): line for line in axes.lines}
        for label, column in (
            ("with the anchor (n = 2)", quantity),
            ("with the independent run (n = 2)", f"independent_{quantity}"),
        ):
            assert list(lines[label].get_xdata()) == list(first["epoch"])
            assert list(lines[label].get_ydata()) == pytest.approx(list(factor * first[column]))
        looks = {(line.get_color(), line.get_linestyle()) for line in lines.values()}
        assert len(looks) == len({label for label in lines if label[0] != "_"})
        # Fifteen epochs a period, from 100 on.
        upright = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
        assert upright == [115, 130, 145]
        assert "destabilisation" in lines
    alone = {str(line.get_label()): line for line in ensemble.lines}["anchor alone"]
    assert set(alone.get_ydata()) == {6}
    with_anchor, _ = (band.get_datalim(weights.transData) for band in weights.collections)
    assert with_anchor.ymin == pytest.approx(table["cosine_similarity"].min())
    assert with_anchor.ymax == pytest.approx(table["cosine_similarity"].max())
    assert not ensemble.collections


@pytest.mark.parametrize(
    "theirs",
    [
        {"savefig.transparent": True},
        {"text.usetex": True},
        {"font.family": ["monospace"], "axes.facecolor": "red", "lines.linestyle": "--"},
        {"axes.prop_cycle": plt.cycler(color=["red"]), "image.cmap": "hot", "pdf.compression": 0},
        {"savefig.bbox": "tight", "savefig.facecolor": "black", "mathtext.fontset": "cm"},
    ],
)
def test_a_users_matplotlibrc_changes_no_byte(theirs: dict[str, Any], tmp_path: Path) -> None:
    """The same figure is drawn with the user's settings and without."""

    def draw_square(sheet: Sheet) -> None:
        (group,) = sheet.groups(1)
        (axes,) = group.panels
        axes.plot([1, 2], [3, 4], label="$x^2$")
        axes.set_title("ρ")
        group.legend()

    def drawn(folder: str, settings: dict[str, Any]) -> list[bytes]:
        (tmp_path / folder).mkdir()
        with plt.rc_context(settings):
            apply_style()
            save_figure(draw_square, pd.DataFrame({"x": [1]}), tmp_path / folder, STAMP)
            plt.close("all")
        return [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]

    assert drawn("theirs", theirs) == drawn("ours", {})
