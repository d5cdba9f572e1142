"""Tables on the equilibrium of layers, from steps of a process whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perigee.analysis.equilibrium import (
    tabulate,
    tabulate_courses,
    tabulate_runs,
    tabulate_steps,
)
from perigee.analysis.inputs import RunInput
from perigee.analysis.layer_steps import means, running_means
from perigee.errors import PerigeeError
from support.random_gradients import PER_EPOCH, STEPS, write_random_run

ALL: dict[str, Any] = {"layers": (), "window": 200}
LATE: dict[str, Any] = {**ALL, "late_fraction": 0.5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunInput]:
    """SGD and SGD with momentum, both with relaxation times of 250 steps or fewer."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_random_run(folder / "sgd", 0.05, 0.02, 0.0),
        write_random_run(folder / "sgdm", 0.02, 0.005, 0.9, seed=1),
    ]


def test_both_are_in_equilibrium(runs: list[RunInput]) -> None:
    table = tabulate(runs, **LATE)
    assert list(table["layer"]) == ["layer1.0.conv1", "layer2.0.conv2"] * 2
    assert (table["relative_angular_update"] - 1).abs().max() < 0.02
    assert table["norm_deviation"].max() < 0.02
    assert table["angular_update_deviation"].max() < 0.05
    assert table["initial_deviation"].min() > 0.2
    assert table["momentum_share"].to_numpy() == pytest.approx([0, 0, 0, 0], abs=0.1)
    assert table.loc[:1, "momentum_share"].max() == 0


def test_they_are_inside_the_theorems_by_their_own_numbers(runs: list[RunInput]) -> None:
    table = tabulate(runs, **LATE)
    assert table["decay"].to_numpy() == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert table["is_decay_small"].all()
    sgd, momentum = table[:2], table[2:]
    # 2 [2e-3 / (1 - 2e-3)]^2, and 2 (6e-4 / 0.00182)^2
    assert sgd["least_allowed"].to_numpy() == pytest.approx(8.032e-6, rel=1e-3)
    assert momentum["least_allowed"].to_numpy() == pytest.approx(0.21737, rel=1e-4)
    # a chi square over its 59 degrees of freedom: of 3,000 the least is near 0.45
    assert sgd["least_unit_gradient"].between(0.3, 0.6).all()
    assert sgd["is_inside"].all()
    # <v, g> fluctuates by more than its mean, so that some ~h_t are below what is allowed
    assert not momentum["is_gradient_bounded"].any()
    assert not momentum["is_inside"].any()
    # its variance is 2 L^2 / 59; 4 sqrt(V) (1e-3)^(3/2)
    largest = 4 * math.sqrt(2 * 9 / 59) * 1e-3**1.5
    assert sgd["largest_drift"].to_numpy() == pytest.approx(largest, rel=0.25)


def test_a_gradient_that_grows_is_seen_to_drift(tmp_path: Path) -> None:
    run = write_random_run(tmp_path / "run", 0.05, 0.02, 0.0)
    rows = np.load(run.measures["layers"] / "rows.npy")
    rows["gradient_norm"] *= np.linspace(1, 3, STEPS)[:, None]
    np.save(run.measures["layers"] / "rows.npy", rows)
    table = tabulate([run], **LATE)
    assert not table["is_drift_small"].any()
    assert (table["drift"] > 0).all()


def test_arrival_takes_as_long_as_the_closed_form_says(tmp_path: Path) -> None:
    """From far above the norm falls as exp(-eta lambda t); Delta / Delta* is (w* / w)^2."""
    rate, decay, window = 0.05, 0.02, 50
    norm = (3.0 * rate / (2 * decay)) ** 0.25
    run = write_random_run(tmp_path / "run", rate, decay, 0.0, start=4 * norm)
    # (w / w*)^4 = 1 + 255 exp(-4 lambda eta t) is 1 / 0.9^2
    expected = math.log(255 / (1 / 0.81 - 1)) / (4 * rate * decay)
    arrived = tabulate([run], layers=(), window=window, late_fraction=0.5)["arrival_step"]
    assert arrived.to_numpy() == pytest.approx(expected, rel=0.15)


def test_windows_are_means_of_the_steps(runs: list[RunInput]) -> None:
    table = tabulate_courses(runs, layers=("layer2.0.conv2",), window=100)
    assert len(table) == 2 * STEPS // 100
    rows = np.load(runs[1].measures["layers"] / "rows.npy")[300:400]
    row = table[(table["run"] == 1) & (table["step"] == 300)].iloc[0]
    norm, gradient = rows["norm"][:, 1], rows["gradient_norm"][:, 1]
    mean = np.mean((gradient**2 + 1.8 * rows["velocity_gradient"][:, 1]) * norm**2)
    assert row["norm"] == pytest.approx(norm.mean())
    assert row["unit_gradient"] == pytest.approx(mean)
    theory = (mean * 0.02 / (0.005 * 0.1 * (2 - 1e-4 / 1.9))) ** 0.25
    assert row["equilibrium_norm"] == pytest.approx(theory)
    assert row["equilibrium_angular_update"] == pytest.approx(math.sqrt(2e-4 / 1.9))
    assert row["relative_norm"] == pytest.approx(norm.mean() / theory)


def test_single_steps_are_evenly_spaced_and_hold_the_ends(runs: list[RunInput]) -> None:
    table = tabulate_steps(runs, layers=("layer1.0.conv1",), window=200, rows=601)
    first = table[table["run"] == 0]
    assert len(first) == 601
    assert first["step"].iloc[0] == 0
    assert first["step"].iloc[-1] == STEPS - 1
    assert first["step"].diff().iloc[1:].between(9, 11).all()
    rows = np.load(runs[0].measures["layers"] / "rows.npy")
    assert first["angular_update"].to_numpy() == pytest.approx(
        rows["angular_update"][first["step"], 0]
    )


def test_layers_and_arrivals_of_a_run(runs: list[RunInput]) -> None:
    table = tabulate_runs(runs, window=200, late_fraction=0.5)
    assert (table["layer_spread"] < 0.02).all()
    assert (table["layers_near"] == 1).all()
    # the median loss of epochs 121 to 240 is 1 + 3 exp(-180.5 / 60) = 1.1481; the first epoch
    # within a tenth of it is that after 60 ln(3 / (1.1 * 1.1481 - 1)) = 146.1
    assert (table["loss_arrival_step"] == 147 * PER_EPOCH).all()
    assert (table["arrival_to_loss_arrival"] < 0.5).all()
    assert table["late_train_loss"].to_numpy() == pytest.approx(1.1481, rel=1e-3)


def test_of_adam_there_is_no_theory(tmp_path: Path) -> None:
    run = write_random_run(tmp_path / "run", 0.05, 0.02, 0.0, optimiser="adam")
    table = tabulate([run], **LATE)
    assert table["relative_angular_update"].isna().all()
    assert table["arrival_step"].isna().all()
    assert not table["is_inside"].any()
    assert tabulate_courses([run], **ALL)["angular_update"].notna().all()
    assert math.isnan(tabulate_runs([run], window=200, late_fraction=0.5)["arrival_step"][0])


def test_a_layer_that_is_not_there_is_told(runs: list[RunInput]) -> None:
    with pytest.raises(PerigeeError, match=r"no scale-invariant layer 'conv7'; it has layer1\.0"):
        tabulate(runs, layers=("conv7",), window=200, late_fraction=0.5)


def test_a_run_shorter_than_a_window_is_one() -> None:
    values = np.arange(6.0)[:, None]
    assert means(values, 10).tolist() == [[2.5]]
    assert means(values, 4).tolist() == [[1.5]]
    assert running_means(values, 3)[:, 0].tolist() == [0.5, 1, 2, 3, 4, 4.5]
    assert running_means(values, 2)[:, 0].tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5]
