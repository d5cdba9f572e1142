"""perigee.plotting: colours, shared panels, and what is written."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from perigee.plotting.output import save_figure, stamp_text
from perigee.plotting.similarity import FAINT, draw_against_anchor, draw_single_network
from perigee.plotting.style import apply_style, ordered_colours
from perigee.plotting.trajectories import draw_over_epochs, draw_phase_diagram
from support.synthetic_tables import table_of_similarity

STAMP: dict[str, Any] = {
    "source": "Lobacheva et al., NeurIPS 2021, Figure 3",
    "scale": "laptop",
    "deviations": ["width 8 (paper: 32)", "dataset digits (paper: cifar10)"],
}


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    before = plt.get_backend()
    plt.switch_backend("agg")
    with mpl.rc_context():
        apply_style()
        yield
    plt.close("all")
    plt.switch_backend(before)


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


def drawn() -> tuple[Figure, pd.DataFrame]:
    plotted = pd.DataFrame({"epoch": [0, 1, 2], "loss": [2.25, 1.5, 0.125]})
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot(plotted["epoch"], plotted["loss"])
    return figure, plotted


def save(folder: Path, stamp: dict[str, Any] = STAMP) -> Path:
    folder.mkdir()
    save_figure(*drawn(), folder, stamp)
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
        "figure.png",
        "figure.csv",
    }
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF-")
    height, width, _ = plt.imread(folder / "figure.png").shape
    assert (width, height) == (800, 600)  # 4 x 3 inches at 200 dots
    pd.testing.assert_frame_equal(pd.read_csv(folder / "figure.csv"), drawn()[1])


def test_the_stamp_is_on_the_page(tmp_path: Path) -> None:
    text = text_of_pdf(save(tmp_path / "figure") / "figure.pdf")
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


@pytest.mark.parametrize("deviations", [0, 1, 12])
def test_the_stamp_fits_the_width_of_the_figure(deviations: int, tmp_path: Path) -> None:
    figure, plotted = drawn()
    stamp = STAMP | {"deviations": ["learning rate 0.123 (paper: 0.456)"] * deviations}
    save_figure(figure, plotted, tmp_path, stamp)
    (text,) = [text for text in figure.texts if "NeurIPS" in text.get_text()]
    figure.canvas.draw()  # at the screen's resolution again, not the file's
    extent = text.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.width
    assert extent.y0 >= 0
    # It stays clear of the axes and their labels.
    assert extent.y1 <= figure.axes[0].get_tightbbox().y0


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
                        "seed": seed,
                        "stopped": stopped,
                        "epoch": epoch,
                        "train_loss": np.nan if lost else rate + seed + epoch,
                        "effective_learning_rate": rate * (epoch + 1),
                        "effective_gradient_norm": np.inf if lost else seed + epoch + 1.0,
                    }
                )
    return pd.DataFrame(rows)


COLOURS = {0.1: "#000000", 3.0: "#ff0000"}


def test_a_line_for_each_rate_of_the_first_seed() -> None:
    _, axes = plt.subplots()
    draw_over_epochs(axes, metrics_table(), "train_loss", COLOURS)
    curves = {line.get_color(): line for line in axes.lines if line.get_marker() != "x"}
    assert curves["#000000"].get_xydata().tolist() == [[e, 0.1 + 4 + e] for e in range(4)]
    assert curves["#ff0000"].get_xydata()[:2].tolist() == [[e, 3.0 + 4 + e] for e in range(2)]
    assert len(axes.lines) == 3  # and the cross
    handles, labels = axes.get_legend_handles_labels()
    assert {label: handle.get_color() for handle, label in zip(handles, labels, strict=True)} == {
        "0.1": "#000000",
        "3 (× stopped)": "#ff0000",
    }


def test_a_cross_marks_the_last_finite_point_of_a_stopped_run_and_of_no_other() -> None:
    _, (phases, axes) = plt.subplots(1, 2)
    draw_phase_diagram(phases, metrics_table(), COLOURS)
    (cross,) = [line for line in phases.lines if line.get_marker() == "x"]
    assert cross.get_xydata().tolist() == [[6, 6]]
    draw_over_epochs(axes, metrics_table(), "train_loss", COLOURS)
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert (*cross.get_xdata(), *cross.get_ydata()) == (1, 3.0 + 4 + 1)
    assert cross.get_color() == "#ff0000"


def test_the_phase_diagram_shows_the_first_seed_from_a_star_on() -> None:
    _, axes = plt.subplots()
    draw_phase_diagram(axes, metrics_table(), COLOURS)
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


def test_the_first_run_is_drawn_strongly_with_its_destabilisations() -> None:
    table = table_of_similarity(seeds=(0, 1))
    axes = plt.figure().add_subplot()
    draw_against_anchor(axes, table, "cosine_similarity")
    draw_single_network(axes, table, "anchor_test_error")
    lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert set(lines) == {
        "with the anchor",
        "with the independent run",
        "destabilisation",
        "anchor alone",
    }
    first = table[table["run"] == 0]
    for label, column in (
        ("with the anchor", "cosine_similarity"),
        ("with the independent run", "independent_cosine_similarity"),
    ):
        assert list(lines[label].get_xdata()) == list(first["epoch"])
        assert list(lines[label].get_ydata()) == list(first[column])
    assert lines["with the anchor"].get_color() != lines["with the independent run"].get_color()
    assert set(lines["anchor alone"].get_ydata()) == {0.06}
    # Fifteen epochs a period, from 100 on.
    upright = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert upright == [115, 130, 145]
    faint = [line for line in axes.lines if line.get_alpha() == FAINT]
    assert [list(line.get_ydata()) for line in faint] == [
        list(table.loc[table["run"] == 1, column])
        for column in ("cosine_similarity", "independent_cosine_similarity")
    ]


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

    def drawn(folder: str, settings: dict[str, Any]) -> list[bytes]:
        (tmp_path / folder).mkdir()
        with plt.rc_context(settings):
            apply_style()
            figure, axes = plt.subplots()
            axes.plot([1, 2], [3, 4], label="$x^2$")
            axes.set_title("ρ")
            axes.legend()
            save_figure(figure, pd.DataFrame({"x": [1]}), tmp_path / folder, STAMP)
            plt.close(figure)
        return [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]

    assert drawn("theirs", theirs) == drawn("ours", {})
