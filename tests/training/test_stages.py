"""Stages of training on a process whose course after a decay is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perigee.analysis.equilibrium import tabulate as equilibrium
from perigee.analysis.inputs import RunInput
from perigee.analysis.stages import Stage, stages_of, tabulate, tabulate_metrics
from support.random_gradients import PER_EPOCH, STEPS, write_random_run

RATES, DECAY, MOMENTUM = [0.08, 0.008, 0.0008], 0.005, 0.9
ALL: dict[str, Any] = {"layers": (), "window": 50}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunInput:
    """Three stages of 2,000 steps; the corollary asks for 2,879 and 28,783 after the decays."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return write_random_run(folder, RATES, DECAY, MOMENTUM)


@pytest.fixture(scope="module")
def rescaled(tmp_path_factory: pytest.TempPathFactory) -> RunInput:
    folder = tmp_path_factory.mktemp("rescaled") / "run"
    return write_random_run(folder, RATES, DECAY, MOMENTUM, is_rescaled=True)


def test_stages_begin_where_the_rate_falls() -> None:
    rates = np.array([0.1, 0.2, 0.4, 0.4, 0.04, 0.04, 0.02])
    first, second, third = stages_of(rates)
    assert first[:3] == (1, 0, 4)
    assert math.isnan(first.factor)
    assert second == Stage(2, 4, 6, pytest.approx(10))
    assert third == Stage(3, 6, 7, pytest.approx(2))
    assert len(stages_of(np.ones(5))) == 1


def test_a_decay_leaves_the_equilibrium_and_the_course_back_is_predicted(plain: RunInput) -> None:
    table = tabulate([plain], **ALL)
    assert sorted(table["stage"]) == [1, 1, 2, 2, 3, 3]
    by_stage = table.groupby("stage")
    assert (table["steps"] == STEPS // 3).all()
    assert by_stage["factor"].first()[[2, 3]].to_numpy() == pytest.approx(10)
    start, end = by_stage["relative_at_start"].mean(), by_stage["relative_at_end"].mean()
    # the first window is a little on the way from 10^(-1/2)
    assert start[2] == pytest.approx(10**-0.5, abs=0.05)
    # [1 + 9 exp(-4 lambda eta' t / (1 - alpha))]^(-1/2) in the middle of the end, t = 1,900
    course = (1 + 9 * math.exp(-4 * DECAY * 0.008 * 1900 / 0.1)) ** -0.5
    assert end[2] == pytest.approx(course, rel=0.04)
    # the third starts from there, so from Delta* course / 10^(1/2), and hardly moves
    assert end[3] < 0.5
    assert end[1] == pytest.approx(1, abs=0.02)
    assert table.loc[table["stage"] > 1, "course_error"].max() < 0.05
    assert not by_stage["is_long_enough"].any().any()
    assert table["relative_at_corollary"].isna().all()


def test_rescaled_it_stays_in_equilibrium(rescaled: RunInput) -> None:
    table = tabulate([rescaled], layers=(), window=200)
    later = table[table["stage"] > 1]
    assert later["largest_departure"].max() < 0.1
    assert (later["relative_at_end"] - 1).abs().max() < 0.05


def test_after_the_steps_of_the_corollary_it_has_come_to_96_percent(tmp_path: Path) -> None:
    run = write_random_run(tmp_path / "run", [0.2, 0.02], DECAY, MOMENTUM)  # 1,152 of 3,000 steps
    table = tabulate([run], layers=("layer2.0.conv2",), window=100)
    assert table["is_long_enough"].tolist() == [False, True]
    expected = (1 + 9 / 100) ** -0.5
    assert table["relative_at_corollary"][1] == pytest.approx(expected, rel=0.02)
    assert table["relative_at_end"][1] == pytest.approx(1, rel=0.02)


def test_what_a_stage_loses_is_the_end_above_its_best_start(plain: RunInput) -> None:
    metrics = plain.metrics()
    metrics["test_error"] = 0.1 + 0.001 * metrics["epoch"]
    rows = metrics.to_records(index=False).view(np.ndarray)
    np.save(plain.measures["metrics"] / "rows.npy", rows)
    table = tabulate_metrics([plain], layers=()).set_index("stage")
    epochs = STEPS // 3 // PER_EPOCH
    count = round(epochs / 5)
    rise = 0.001 * (epochs - (count + 1) / 2)
    assert table["test_error_rise"].to_numpy() == pytest.approx(rise, rel=0.02)
    assert (table["train_loss_rise"] < 0).all()
    assert table["angular_update_growth"][2] > 1.5
    assert table["angular_update_growth"][3] < table["angular_update_growth"][2]


@pytest.mark.parametrize(
    "optimiser", [{"name": "adam"}, {"name": "sgd", "weight_decay": 0, "momentum": 0.9}]
)
def test_without_a_theorem_there_are_no_predictions_but_metrics(
    plain: RunInput, optimiser: dict[str, Any]
) -> None:
    run = replace(plain, optimiser=optimiser)
    table = tabulate([run], **ALL)
    assert table["course_error"].isna().all()
    assert table["relative_at_end"].isna().all()
    assert not table["is_long_enough"].any()
    assert len(tabulate_metrics([run], layers=("layer1.0.conv1",))) == 3
    assert not equilibrium([run], late_fraction=0.5, **ALL)["is_inside"].any()
