"""perigee.analysis.sharpness_profiles on trajectories whose sharpness is known at every loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.analysis.inputs import RunInput
from perigee.analysis.sharpness_profiles import (
    COLUMNS,
    common_levels,
    final_slope,
    profile_of,
    tabulate,
)
from perigee.blocks.analyses import SharpnessProfiles
from perigee.registry import load
from support.synthetic_runs import write_run

RATE = "optimiser.effective_learning_rate"
FALLING = 10 ** np.linspace(0.3, -3.1, 35)  # passes 0.001, 0.01, 0.1 and 1


def metrics(
    loss: Sequence[float] | np.ndarray,
    gradient: Sequence[float] | np.ndarray,
    test_error: Sequence[float] | np.ndarray | float = 0.5,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": np.arange(len(loss)),
            "train_loss": loss,
            "effective_gradient_norm": gradient,
            "test_error": test_error,
        }
    )


def power_law(
    loss: Sequence[float] | np.ndarray, factor: float, power: float, test_error: float = 0.5
) -> pd.DataFrame:
    """The effective gradient norm is the factor times a power of the loss."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return metrics(loss, factor * np.asarray(loss, float) ** power, test_error)


def table_of(runs: list[RunInput], levels_per_decade: int = 1) -> pd.DataFrame:
    return tabulate(runs, rate=RATE, levels_per_decade=levels_per_decade)


def ladder(folder: Path, given: Sequence[tuple[dict[str, Any], float]]) -> list[RunInput]:
    """Runs on parallel trajectories of slope 0.5: swept values, and g~ at a train loss of 1."""
    return [
        write_run(folder / str(number), power_law(FALLING, factor, 0.5, factor / 100), swept)
        for number, (swept, factor) in enumerate(given)
    ]


LOSSES = st.lists(
    st.floats(1e-6, 10.0) | st.sampled_from([0.0, math.nan, math.inf, 0.01, 1.0]), max_size=30
)


@given(
    loss=LOSSES, factor=st.floats(1e-3, 1e3), power=st.floats(-1, 2), per_decade=st.integers(1, 6)
)
def test_a_power_law_is_met_at_every_level(
    loss: list[float], factor: float, power: float, per_decade: int
) -> None:
    """Along it log10 g~ is linear in log10 loss, wherever a crossing is and however losses vary."""
    profile = profile_of(power_law(loss, factor, power), per_decade)
    for k, crossing in profile.items():
        expected = math.log10(factor) + power * k / per_decade
        assert crossing.log10_effective_gradient_norm == pytest.approx(expected, abs=1e-9)
        assert crossing.test_error == pytest.approx(0.5)


@given(loss=LOSSES, per_decade=st.integers(1, 6))
def test_levels_are_those_that_the_loss_falls_through(loss: list[float], per_decade: int) -> None:
    def is_passed(level: float) -> bool:
        return any(
            before >= level > after > 0 and before < math.inf
            for before, after in itertools.pairwise(loss)
        )

    tried = range(-7 * per_decade, 2 * per_decade)
    profile = profile_of(power_law(loss, 1.0, 1.0), per_decade)
    # A loss that differs from a level in its last bit may fall on either side of it.
    near = {
        k
        for k in tried
        for one in loss
        if 0 < one < math.inf and math.isclose(one, 10 ** (k / per_decade), rel_tol=1e-12)
        if one not in (0.01, 1.0)
    }
    assert set(profile) - near == {k for k in tried if is_passed(10 ** (k / per_decade))} - near


def test_the_last_crossing_counts() -> None:
    """The loss falls twice through the levels, the second time at another sharpness."""
    loss = 10 ** np.array([0.1, -0.9, 0.1, -1.1])
    profile = profile_of(metrics(loss, [1.0, 1.0, 100.0, 1.0], [0.9, 0.8, 0.6, 0.3]), 2)
    # From log10 loss 0.1 to -1.1 log10 g~ falls from 2 to 0, and the test error from 0.6 to 0.3.
    assert {k: one.log10_effective_gradient_norm for k, one in profile.items()} == pytest.approx(
        {0: 2 * 11 / 12, -1: 2 * 6 / 12, -2: 2 * 1 / 12}
    )
    assert {k: one.test_error for k, one in profile.items()} == pytest.approx(
        {0: 0.3 + 0.3 * 11 / 12, -1: 0.3 + 0.3 * 6 / 12, -2: 0.3 + 0.3 * 1 / 12}
    )


def test_a_rise_is_not_a_crossing() -> None:
    assert profile_of(power_law([0.005, 0.05, 0.5, 5.0], 1.0, 1.0), 1) == {}


def test_a_loss_on_a_level_is_above_it() -> None:
    """Crossed is 0.1, which it leaves downwards, and not 0.01, which it reaches only."""
    profile = profile_of(metrics([0.1, 0.1, 0.01, 0.01], [7.0, 5.0, 3.0, 3.0]), 1)
    assert list(profile) == [-1]
    assert profile[-1].log10_effective_gradient_norm == pytest.approx(math.log10(5.0))


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf, -1.0])
@pytest.mark.parametrize("column", ["train_loss", "effective_gradient_norm"])
def test_epochs_without_a_logarithm_do_not_count(column: str, bad: float) -> None:
    told = power_law([5.0, 0.5, 0.05, 0.005, 0.0005], 2.0, 1.0)
    told.loc[2, column] = bad
    profile = profile_of(told, 1)
    assert sorted(profile) == [-3, 0]  # not 0.1 and 0.01, on both sides of the bad epoch
    assert profile[-3].log10_effective_gradient_norm == pytest.approx(math.log10(2.0) - 3)


def test_a_diverged_run_has_the_levels_before() -> None:
    told = power_law([5.0, 0.5, 0.05, math.nan], 2.0, 1.0)
    assert sorted(profile_of(told, 1)) == [-1, 0]


@pytest.mark.parametrize("epochs", [0, 1])
def test_without_two_epochs_there_is_no_level(epochs: int) -> None:
    assert profile_of(power_law([2.0] * epochs, 1.0, 1.0), 4) == {}


def test_the_slope_is_that_of_the_lowest_decade() -> None:
    """The trajectory bends at 0.01: its power is 2 above and 0.5 below."""
    gradient = np.where(FALLING > 0.01, FALLING**2, 0.01**1.5 * FALLING**0.5)
    profile = profile_of(metrics(FALLING, gradient), 4)
    assert min(profile) == -12
    assert final_slope(profile, 4) == pytest.approx(0.5)


def test_the_slope_with_noise_is_by_least_squares() -> None:
    rng = np.random.default_rng(3)
    gradient = FALLING**0.7 * np.exp(0.1 * rng.standard_normal(len(FALLING)))
    x = np.arange(-12, -7) / 4
    y = np.interp(x, np.log10(FALLING[::-1]), np.log10(gradient[::-1]))
    expected = np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2)
    found = final_slope(profile_of(metrics(FALLING, gradient), 4), 4)
    assert found == pytest.approx(expected)
    assert found == pytest.approx(0.7, abs=0.3)


def test_two_levels_have_no_slope() -> None:
    assert math.isnan(final_slope(profile_of(power_law([5.0, 0.05], 1.0, 1.0), 1), 1))
    assert final_slope(profile_of(power_law([5.0, 0.5, 0.05], 1.0, 1.0), 2), 2) == pytest.approx(1)


def test_no_runs_have_no_level_in_common() -> None:
    assert common_levels([]) == set()


def test_a_row_a_run_and_level(tmp_path: Path) -> None:
    run = ladder(tmp_path, [({RATE: 1e-3, "seed": 5}, 4.0)])[0]
    table = table_of([replace(run, fork_epoch=30)])
    assert list(table.columns) == ["run", RATE, "seed", "fork_epoch", *COLUMNS]
    assert table["run"].tolist() == [0] * 4
    assert table["seed"].tolist() == [5] * 4
    assert table["fork_epoch"].tolist() == [30] * 4
    assert table["level"].tolist() == [1.0, 0.1, 0.01, 0.001]
    gradient = 4 * np.sqrt([1.0, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(table["effective_gradient_norm"], gradient)
    np.testing.assert_allclose(table["log10_effective_gradient_norm"], np.log10(gradient))
    np.testing.assert_allclose(table["test_error"], 0.04)
    assert table["slope"].isna().all()  # two levels only are in the lowest decade
    assert table["is_common"].tolist() == [True] * 4
    assert table["is_lowest_common"].tolist() == [False, False, False, True]
    assert not table["is_compared"].any()
    assert table[list(COLUMNS[-3:])].isna().all(axis=None)


def test_a_run_is_compared_with_that_of_the_next_lower_rate(tmp_path: Path) -> None:
    """Whatever their order, and only with one that has the same seed and label."""
    told = [(3e-3, 0, "a", 2.0), (1e-4, 0, "a", 10.0), (1e-3, 0, "a", 8.0), (1e-3, 1, "a", 6.0)]
    told += [(1e-2, 1, "a", 3.0), (2e-3, 0, "b", 5.0)]
    given = [({RATE: rate, "seed": seed, "label": label}, g) for rate, seed, label, g in told]
    table = table_of(ladder(tmp_path, given))
    ratios = table.groupby("run")["gradient_ratio_to_lower"].agg(["min", "max"])
    expected = [0.25, math.nan, 0.8, math.nan, 0.5, math.nan]
    np.testing.assert_allclose(ratios["min"], expected)
    np.testing.assert_allclose(ratios["max"], expected)
    np.testing.assert_allclose(
        10 ** table["log10_ratio_to_lower"], table["gradient_ratio_to_lower"]
    )
    changes = table.groupby("run")["test_error_change_to_lower"].mean()
    np.testing.assert_allclose(changes, [-0.06, math.nan, -0.02, math.nan, -0.03, math.nan])


def test_a_level_that_the_lower_rate_lacks_has_no_ratio(tmp_path: Path) -> None:
    runs = ladder(tmp_path, [({RATE: 1e-3}, 2.0)])
    slow = write_run(tmp_path / "slow", power_law(FALLING[:20], 4.0, 0.5), {RATE: 1e-4})
    table = table_of([*runs, slow])
    ratios = table[table["run"] == 0].set_index("level")["gradient_ratio_to_lower"]
    np.testing.assert_allclose(ratios.loc[[1.0, 0.1]], 0.5)
    assert ratios.loc[[0.01, 0.001]].isna().all()
    compared = table[table["is_compared"]]
    assert set(compared["run"]) == {0}
    assert compared["level"].tolist() == [1.0, 0.1]


def test_common_levels_are_those_of_a_seed(tmp_path: Path) -> None:
    """One run of seed 0 ends above 0.01; one of seed 1 begins below 1."""
    losses = {0: (FALLING, FALLING[:20]), 1: (FALLING, FALLING[10:])}
    runs = [
        write_run(
            tmp_path / f"{seed}-{number}",
            power_law(loss, 1.0, 1.0),
            {RATE: 10.0**-number, "seed": seed},
        )
        for seed, both in losses.items()
        for number, loss in enumerate(both)
    ]
    table = table_of(runs)
    assert {
        seed: set(rows["level"]) for seed, rows in table[table["is_common"]].groupby("seed")
    } == {0: {1.0, 0.1}, 1: {0.1, 0.01, 0.001}}
    lowest = table[table["is_lowest_common"]]
    assert lowest["run"].tolist() == [0, 1, 2, 3]
    assert lowest["level"].tolist() == [0.1, 0.1, 0.001, 0.001]


def test_a_run_without_levels_leaves_none_in_common(tmp_path: Path) -> None:
    runs = ladder(tmp_path, [({RATE: 1e-3}, 2.0)])
    stuck = write_run(tmp_path / "stuck", power_law([2.4, 2.3, 2.35, 2.3], 9.0, 1.0), {RATE: 1.0})
    table = table_of([*runs, stuck])
    assert set(table["run"]) == {0}
    assert not table["is_common"].any()
    assert not table["is_lowest_common"].any()


def test_runs_without_any_level_give_an_empty_table(tmp_path: Path) -> None:
    diverged = write_run(tmp_path / "run", power_law([math.nan] * 3, 1.0, 1.0), {RATE: 9.0})
    table = table_of([diverged])
    assert list(table.columns) == ["run", RATE, "fork_epoch", *COLUMNS]
    assert table.empty
    table.to_parquet(tmp_path / "table.parquet")


def test_forks_stand_beside_runs_from_the_start(tmp_path: Path) -> None:
    """Their parent's rate is a column of theirs alone, and keeps them apart from the others."""
    parent = f"parent.run.{RATE}"
    given = [({RATE: 1e-3}, 4.0), ({RATE: 2e-3, parent: 1e-2}, 3.0), ({RATE: 4e-3}, 2.0)]
    table = table_of(ladder(tmp_path, given))
    assert list(table.columns)[:4] == ["run", RATE, parent, "fork_epoch"]
    of_run = table.groupby("run")[[parent, "gradient_ratio_to_lower"]].mean()
    np.testing.assert_allclose(of_run[parent], [math.nan, 1e-2, math.nan])
    np.testing.assert_allclose(of_run["gradient_ratio_to_lower"], [math.nan, math.nan, 0.5])


def test_the_block_gives_its_parameters(tmp_path: Path) -> None:
    block = SharpnessProfiles()
    table = load(block)(ladder(tmp_path, [({RATE: 1e-3}, 4.0)]), **block.parameters)
    assert len(table) == 14  # from 10^0.25 down to 10^-3 in steps of 10^0.25
    np.testing.assert_allclose(table["slope"], 0.5)
