"""perigee.analysis.late_image_errors against the hits that were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perigee.analysis import late_image_errors, period_statistics
from perigee.analysis.inputs import RunInput
from perigee.blocks.analyses import LateImageErrors
from perigee.blocks.measures import Steps, TestHits
from support.signals import Planted
from support.synthetic_runs import Training, read_measure, with_hits, with_measure

IMAGES = 7
# Each phase B and its destabilisation take 33 epochs, and the last thirds begin after 20; the
# second half of 162 epochs begins at 81.
FALLS = (30.0, 30.0, 30.0, 30.0, 30.0)
LATE = [*range(86, 96), *range(119, 129), *range(152, 162)]


def run_of(folder: Path, falls: tuple[float, ...], hits: np.ndarray) -> RunInput:
    run = Training(Planted(falls)).write(folder, {"label": "free", "seed": 3}, 0.3, 0.01, 3)
    return with_hits(run, hits)


def errors_of(run: RunInput, resolution: str = "step") -> np.ndarray:
    table = late_image_errors.tabulate([run], near_zero="train_loss", resolution=resolution)
    assert list(table.columns) == ["run", "label", "seed", "image", "late_error"]
    assert table["image"].tolist() == list(range(IMAGES))
    return table["late_error"].to_numpy()


@pytest.mark.parametrize("resolution", ["epoch", "step"])
def test_images_are_counted_late_in_phase_b(tmp_path: Path, resolution: str) -> None:
    """Image i is missed in i of the late epochs of each of three phases, and always elsewhere."""
    hits = np.zeros((163, IMAGES), dtype=bool)
    for start in (86, 119, 152):
        for image in range(IMAGES):
            hits[start + image : start + 10, image] = True
    found = errors_of(run_of(tmp_path / "run", FALLS, hits), resolution)
    # Where a phase ends between two epochs the one or the other may count.
    np.testing.assert_allclose(found, np.arange(IMAGES) / 10, atol=0.12)
    assert found[0] <= 0.1


def test_their_mean_is_the_test_error(tmp_path: Path) -> None:
    """With as many hits in each of these epochs, mean and median over epochs agree."""
    hits = np.zeros((163, IMAGES), dtype=bool)
    rng = np.random.default_rng(0)
    for epoch in range(163):
        count = 5 if epoch in LATE else rng.integers(0, 8)
        hits[epoch, rng.permutation(IMAGES)[:count]] = True
    run = run_of(tmp_path / "run", FALLS, hits)
    metrics = read_measure(run, "metrics").assign(test_error=1 - hits.mean(axis=1))
    run = with_measure(run, "metrics", metrics)
    (row,) = period_statistics.tabulate([run], near_zero="train_loss", resolution="step").to_dict(
        "records"
    )
    assert row["late_phase_b_test_error"] == pytest.approx(2 / 7)
    assert errors_of(run).mean() == pytest.approx(2 / 7, abs=0.02)


def test_without_periods_the_last_tenth_counts(tmp_path: Path) -> None:
    hits = np.ones((101, IMAGES), dtype=bool)
    hits[:91, 2] = False  # before it
    hits[-4:, 3] = False
    found = errors_of(run_of(tmp_path / "run", (100.0,), hits))
    assert found.tolist() == [0, 0, 0, 0.4, 0, 0, 0]


def test_epochs_that_are_not_used_do_not_count(tmp_path: Path) -> None:
    hits = np.ones((101, IMAGES), dtype=bool)
    hits[81:] = False
    run = replace(run_of(tmp_path / "run", (100.0,), hits), epochs=80)
    assert errors_of(run, "epoch").tolist() == [0] * IMAGES


def test_runs_stand_one_below_the_other(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path / str(value), (100.0,), np.full((101, IMAGES), value))
        for value in (True, False)
    ]
    table = late_image_errors.tabulate(runs, near_zero="train_loss", resolution="step")
    assert table.groupby("run")["late_error"].unique().map(list).to_dict() == {0: [0.0], 1: [1.0]}


def test_it_reads_hits_and_steps_only_where_they_are_asked_for() -> None:
    assert TestHits() in LateImageErrors().measures(None)
    assert Steps() not in LateImageErrors().measures(None)
    assert Steps() in LateImageErrors(resolution="step").measures(None)
