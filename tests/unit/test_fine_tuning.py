"""perigee.analysis.fine_tuning on forks whose trajectories are planted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.analysis.fine_tuning import COLUMNS, tabulate
from perigee.analysis.inputs import RunInput
from perigee.blocks.analyses import FineTuning
from perigee.registry import load
from support.synthetic_runs import write_run

RATE = "optimiser.effective_learning_rate"
PARENT = f"parent.run.{RATE}"
LOW, HIGH, HIGHEST = 1e-3, 8e-3, 2e-2
OF_STARTS = ["is_fork", "is_converged", "late_train_loss", "spread_level", "log10_at_spread_level"]


def falling(begin: float, end: float, epochs: int = 40) -> np.ndarray:
    """Train losses that fall by equal factors; begin and end are logarithms to base 10."""
    return np.logspace(begin, end, epochs + 1)


def stuck(level: float, epochs: int = 40) -> np.ndarray:
    """Train losses that fall from 2 to a level within 5 epochs and vary by 1 % around it."""
    around = level * (1 + 0.01 * np.cos(np.arange(epochs - 4)))
    return np.append(np.geomspace(2.0, level, 6)[:-1], around)


@dataclass(frozen=True)
class Planted:
    """A run on a trajectory g~ = factor * loss^0.5.

    Attributes:
        rate: its rate.
        loss: its train losses; a fork's begin with that of its checkpoint.
        factor: that of the trajectory, or one an epoch.
        parent: the rate of its parent, None from the initialisation.
        train_error: None is that of a run that converges if its last loss is below 0.05.
        seed: its seed, None if no run has one.
    """

    rate: float
    loss: Sequence[float] | np.ndarray
    factor: Any = 1.0
    parent: float | None = None
    train_error: float | None = None
    seed: int | None = 0

    def write(self, folder: Path) -> RunInput:
        """Write its files."""
        loss = np.asarray(self.loss, float)
        error = self.train_error
        if error is None:
            error = 0.0 if loss[-1] < 0.05 else 0.3
        metrics = pd.DataFrame(
            {
                "epoch": np.arange(len(loss)),
                "train_loss": loss,
                "train_error": error,
                "test_error": 0.2,
                "effective_gradient_norm": self.factor * np.sqrt(loss),
            }
        )
        swept = {RATE: self.rate, "seed": self.seed, PARENT: self.parent}
        return write_run(
            folder,
            metrics,
            {key: value for key, value in swept.items() if value is not None},
            fork_epoch=0 if self.parent is None else 40,
        )


def table_of(folder: Path, *runs: Planted, late_fraction: float = 0.2) -> pd.DataFrame:
    written = [run.write(folder / str(number)) for number, run in enumerate(runs)]
    return tabulate(written, rate=RATE, late_fraction=late_fraction)


def first_regime(*forks: Planted) -> list[Planted]:
    """Forks, and behind them runs from the start that cross levels to 10^-2.75 and to 10^-3.75.

    At the higher rate training is faster, and the effective gradient norm lower.
    """
    return [*forks, Planted(LOW, falling(0.3, -2.8), 4.0), Planted(HIGH, falling(0.3, -3.8), 1.0)]


def test_columns(tmp_path: Path) -> None:
    table = table_of(tmp_path, *first_regime(Planted(LOW, falling(-2, -3), 4.0, HIGH)))
    assert list(table.columns) == ["run", RATE, "seed", PARENT, "fork_epoch", *COLUMNS]
    assert table["run"].tolist() == [0, 1, 2]
    assert table["fork_epoch"].tolist() == [40, 0, 0]
    assert table["is_fork"].tolist() == [True, False, False]
    assert table["is_converged"].tolist() == [True, True, True]
    np.testing.assert_array_equal(table["parent_rate"], [HIGH, math.nan, math.nan])
    starts = table[~table["is_fork"]]
    assert starts[OF_STARTS].notna().all(axis=None)
    assert starts[[name for name in COLUMNS if name not in OF_STARTS]].isna().all(axis=None)


def test_a_decreased_rate_stays_on_the_trajectory(tmp_path: Path) -> None:
    fork = Planted(LOW, falling(-2, -3), 1.0, parent=HIGH)
    row = table_of(tmp_path, *first_regime(fork)).iloc[0]
    assert row["rate_ratio"] == pytest.approx(1 / 8)
    assert row["is_lower"] == 1
    assert row["common_level"] == pytest.approx(10**-2.75)
    assert row["log10_effective_gradient_norm"] == pytest.approx(-2.75 / 2)
    assert row["pre_log10_effective_gradient_norm"] == pytest.approx(-2.75 / 2)
    assert row["base_log10_effective_gradient_norm"] == pytest.approx(math.log10(4) - 2.75 / 2)
    assert row["share"] == pytest.approx(0, abs=1e-9)
    assert row["log10_distance_to_flattest"] == pytest.approx(0, abs=1e-9)
    assert row["early_loss_ratio"] == pytest.approx(10**-0.1)
    assert row["loss_rise"] == pytest.approx(10**-0.025)
    assert row["loss_fall"] == pytest.approx(10**-0.975)


def test_an_increased_rate_jumps_to_the_other_trajectory(tmp_path: Path) -> None:
    """It follows its parent's for four epochs, and only then leaves the region of low loss."""
    loss = np.concatenate([falling(-2, -2.2, 4), falling(-0.5, -3.5, 35)])
    fork = Planted(HIGH, loss, np.where(np.arange(41) < 5, 4.0, 1.0), parent=LOW)
    row = table_of(tmp_path, *first_regime(fork)).iloc[0]
    assert row["rate_ratio"] == pytest.approx(8)
    assert row["is_lower"] == 0
    assert row["common_level"] == pytest.approx(10**-2.75)
    assert row["share"] == pytest.approx(1)
    assert row["loss_at_fork"] == pytest.approx(0.01)
    assert row["early_loss_ratio"] == pytest.approx(10**-0.2)
    assert row["loss_rise"] == pytest.approx(10**1.5)
    assert row["loss_fall"] == pytest.approx(10**-3)
    # At the lowest level that it and the flattest, which is base, have in common.
    assert row["log10_distance_to_flattest"] == pytest.approx(0, abs=1e-9)


@given(share=st.floats(-0.5, 1.5), log10_gap=st.floats(0.05, 2))
def test_the_share_is_that_of_the_way(
    tmp_path_factory: pytest.TempPathFactory, share: float, log10_gap: float
) -> None:
    pre, base = 10**0.5, 10 ** (0.5 - log10_gap)
    runs = [
        Planted(HIGH, falling(-1, -3, 8), 10 ** (0.5 - share * log10_gap), LOW),
        Planted(LOW, falling(0, -3, 8), pre),
        Planted(HIGH, falling(0, -3, 8), base),
    ]
    row = table_of(tmp_path_factory.mktemp("runs"), *runs).iloc[0]
    assert row["share"] == pytest.approx(share, abs=1e-6)
    assert row["log10_distance_to_flattest"] == pytest.approx((1 - share) * log10_gap, abs=1e-9)


@pytest.mark.parametrize(("factor", "has_share"), [(1.02, False), (1.03, True)])
def test_trajectories_too_close_have_no_share(
    tmp_path: Path, factor: float, has_share: bool
) -> None:
    """Log10 of 1.02 is 0.0086, of 1.03 0.0128."""
    row = table_of(
        tmp_path,
        Planted(HIGH, falling(-1, -3), 1.0, LOW),
        Planted(LOW, falling(0, -3), factor),
        Planted(HIGH, falling(0, -3), 1.0),
    ).iloc[0]
    assert row["common_level"] == pytest.approx(10**-2.75)
    assert math.isnan(row["share"]) != has_share


def test_levels_of_the_second_regime(tmp_path: Path) -> None:
    """Losses settle at 0.2 and 0.6; one fork comes to the level of its own rate, one stays."""
    change = np.concatenate([np.linspace(0.2, 0.6, 6)[:-1], np.full(36, 0.6)])
    table = table_of(
        tmp_path,
        Planted(HIGH, stuck(0.2)),
        Planted(HIGHEST, change, parent=HIGH),
        Planted(HIGHEST, np.full(41, 0.22), parent=HIGH),
        Planted(HIGHEST, stuck(0.6)),
    )
    comes, stays = (row for _, row in table[table["is_fork"]].iterrows())
    for row in (comes, stays):
        assert row["pre_late_train_loss"] == pytest.approx(0.2, rel=0.01)
        assert row["base_late_train_loss"] == pytest.approx(0.6, rel=0.01)
    assert comes["late_train_loss"] == pytest.approx(0.6)
    assert comes["level_log_ratio"] == pytest.approx(0, abs=0.01)
    assert comes["distance_from_pre"] == pytest.approx(math.log(3), abs=0.01)
    assert comes["is_nearer_to_base"] == 1
    assert stays["level_log_ratio"] == pytest.approx(math.log(0.6 / 0.22), abs=0.01)
    assert stays["distance_from_pre"] == pytest.approx(math.log(1.1), abs=0.01)
    assert stays["is_nearer_to_base"] == 0
    assert comes["loss_rise"] == pytest.approx(3)
    assert comes["loss_fall"] == pytest.approx(1)
    assert table["log10_distance_to_flattest"].isna().all()  # none has converged


@pytest.mark.parametrize(
    ("late_fraction", "median"), [(0.01, 10.0), (0.2, 9.5), (0.5, 8.0), (1.0, 5.5)]
)
def test_the_last_part_of_the_epochs_counts(
    tmp_path: Path, late_fraction: float, median: float
) -> None:
    """The last 2 epochs are 0.2 of 10; the start is no epoch."""
    run = Planted(LOW, [100.0, *range(1, 11)])
    table = table_of(tmp_path, run, late_fraction=late_fraction)
    assert table["late_train_loss"].tolist() == [median]


def test_first_epochs_are_a_tenth(tmp_path: Path) -> None:
    """These are 2 of 20 epochs; the checkpoint itself is none of them."""
    loss = [2.0, 3.0, 2.5, *[1.0] * 17, 4.0]
    row = table_of(tmp_path, Planted(HIGH, loss, parent=LOW)).iloc[0]
    assert row["early_loss_ratio"] == pytest.approx(1.25)
    assert row["loss_rise"] == pytest.approx(2)
    assert row["loss_fall"] == pytest.approx(1)


def test_without_pre_or_base(tmp_path: Path) -> None:
    """Each is missing in turn, and what needs it alone."""
    fork = Planted(HIGH, falling(-1, -3), 2.0, LOW)
    pre, base = Planted(LOW, falling(0, -3), 4.0), Planted(HIGH, falling(0, -3), 1.0)
    lonely, with_pre, with_base = (
        table_of(tmp_path / str(number), fork, *others).iloc[0]
        for number, others in enumerate(([], [pre], [base]))
    )
    needs_both = ["is_nearer_to_base", "common_level", "log10_effective_gradient_norm", "share"]
    for row in (lonely, with_pre, with_base):
        assert row[needs_both].isna().all()
        assert row["loss_at_fork"] == pytest.approx(0.1)
        assert row["spread_level"] == pytest.approx(10**-2.75)
    for row, has_pre, has_base in (
        (lonely, False, False),
        (with_pre, True, False),
        (with_base, False, True),
    ):
        assert row[["pre_late_train_loss", "distance_from_pre"]].notna().all() == has_pre
        assert row[["base_late_train_loss", "level_log_ratio"]].notna().all() == has_base
    assert math.isnan(lonely["log10_distance_to_flattest"])
    assert with_pre["log10_distance_to_flattest"] == pytest.approx(-math.log10(2))
    assert with_base["log10_distance_to_flattest"] == pytest.approx(math.log10(2))


def test_runs_of_other_seeds_are_not_compared(tmp_path: Path) -> None:
    others = [Planted(LOW, falling(0, -3), seed=1), Planted(HIGH, falling(0, -3), seed=1)]
    table = table_of(tmp_path, Planted(HIGH, falling(-1, -2), 1.0, LOW), *others)
    needed = ["pre_late_train_loss", "base_late_train_loss", "share", "log10_distance_to_flattest"]
    assert table.loc[0, needed].isna().all()
    assert table["spread_level"].tolist() == pytest.approx([10**-1.75, 10**-2.75, 10**-2.75])


def test_runs_need_no_seed(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        Planted(HIGH, falling(-1, -3), 1.0, LOW, seed=None),
        Planted(LOW, falling(0, -3), 4.0, seed=None),
        Planted(HIGH, falling(0, -3), 1.0, seed=None),
    )
    assert "seed" not in table
    assert table.loc[0, "share"] == pytest.approx(1)


def test_a_run_at_the_parents_rate_is_taken_in_full_length(tmp_path: Path) -> None:
    """The parent may be there in the length in which it is forked from, too."""
    short, whole = Planted(LOW, falling(0, -1, 10), 4.0), Planted(LOW, falling(0, -3, 40), 4.0)
    fork, base = Planted(HIGH, falling(-1, -3), 4.0, LOW), Planted(HIGH, falling(0, -3))
    for order in ([short, whole], [whole, short]):
        folder = tmp_path / str(len(order[0].loss))
        row = table_of(folder, fork, *order, base).iloc[0]
        assert row["pre_late_train_loss"] == pytest.approx(10**-2.75, rel=0.1)
        assert row["common_level"] == pytest.approx(10**-2.75)
        assert row["share"] == pytest.approx(0, abs=1e-9)


def test_the_flattest_has_the_largest_rate_that_converges(tmp_path: Path) -> None:
    """Train error 1 % is too much, and forks do not count; the level is that of the two alone."""
    table = table_of(
        tmp_path,
        Planted(LOW, falling(-0.5, -2.6), 3.0, parent=HIGHEST),
        Planted(1e-2, falling(-0.5, -3), 0.1, parent=HIGHEST),
        Planted(LOW, falling(0, -4), 7.0),
        Planted(5e-3, falling(0, -2.1), 2.0, train_error=0.0099),
        Planted(HIGH, falling(0, -4), 0.2, train_error=0.01),
        Planted(HIGHEST, stuck(0.3), 0.3),
    )
    assert table.loc[0, "log10_distance_to_flattest"] == pytest.approx(math.log10(1.5))
    assert table.loc[1, "log10_distance_to_flattest"] == pytest.approx(math.log10(0.05))
    assert table["is_converged"].tolist() == [True, True, True, True, False, False]


def test_spread_levels_of_forks_are_those_of_their_parents_rate(tmp_path: Path) -> None:
    """Forks from one rate end in one region, those from another in regions like the starts'."""
    table = table_of(
        tmp_path,
        Planted(1e-3, falling(-0.5, -2.1), 1.0, parent=1e-2),
        Planted(3e-3, falling(-0.5, -3.6), 1.1, parent=1e-2),
        Planted(1e-3, falling(-0.5, -1.6), 4.0, parent=2e-2),
        Planted(3e-3, falling(-0.5, -3.6), 1.0, parent=2e-2),
        Planted(1e-3, falling(0.3, -3.1), 5.0),
        Planted(3e-3, falling(0.3, -3.6), 1.0),
        Planted(1e-2, stuck(0.3), 0.2),
    )
    levels = [-2.0, -2.0, -1.5, -1.5, -1.5, -1.5, math.nan]
    factors = np.array([1.0, 1.1, 4.0, 1.0, 5.0, 1.0, 1.0])
    np.testing.assert_allclose(np.log10(table["spread_level"]), levels)
    np.testing.assert_allclose(
        table["log10_at_spread_level"], np.log10(factors) + 0.5 * np.array(levels), atol=1e-12
    )
    # As a claim takes it: the standard deviation over runs of a group.
    spreads = table.groupby(["is_fork", "parent_rate"], dropna=False)["log10_at_spread_level"].std()
    assert spreads[(True, 1e-2)] == pytest.approx(math.log10(1.1) / math.sqrt(2))
    assert spreads[(True, 2e-2)] == pytest.approx(math.log10(4) / math.sqrt(2))
    assert spreads.iloc[0] == pytest.approx(math.log10(5) / math.sqrt(2))


def test_without_a_level_of_all_forks_starts_are_compared_alone(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        Planted(LOW, stuck(0.3)[10:], parent=HIGHEST),
        Planted(LOW, falling(0.3, -3.1), 5.0),
        Planted(HIGH, falling(0.3, -2.1), 1.0),
    )
    np.testing.assert_allclose(table["spread_level"], [math.nan, 0.01, 0.01])
    assert table["log10_at_spread_level"].isna().tolist() == [True, False, False]
    np.testing.assert_allclose(table["log10_at_spread_level"][1:], [math.log10(5) - 1, -1])


def test_a_fork_that_diverges_has_no_numbers_of_its_end(tmp_path: Path) -> None:
    for number, end in enumerate((math.nan, math.inf)):
        fork = Planted(HIGH, [0.01, 0.009, 0.5, end], 4.0, LOW)
        row = table_of(tmp_path / str(number), *first_regime(fork)).iloc[0]
        ends = ["late_train_loss", "level_log_ratio", "is_nearer_to_base", "loss_rise", "loss_fall"]
        # The last of three epochs counts as late.
        assert row[ends].isna().all()
        assert row["early_loss_ratio"] == pytest.approx(0.9)
        assert row["base_late_train_loss"] < 1e-3
        assert row["common_level"] == pytest.approx(0.01)
        assert row["share"] == pytest.approx(0, abs=1e-9)


def test_a_base_that_diverges_is_no_level(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        Planted(HIGHEST, falling(-1, -2), parent=LOW),
        Planted(LOW, falling(0, -3)),
        Planted(HIGHEST, [2.0, 30.0, math.nan], train_error=0.0),
    )
    row = table.iloc[0]
    assert table["late_train_loss"].isna().tolist() == [False, False, True]
    assert row[["base_late_train_loss", "level_log_ratio", "share"]].isna().all()
    # The middle of the last 8 of 40 epochs is at 36.5 of 40: at 10^-1.9125 and at 10^-2.7375.
    assert row["distance_from_pre"] == pytest.approx(0.825 * math.log(10), rel=0.01)


@pytest.mark.parametrize("parent", [None, LOW])
@pytest.mark.parametrize("loss", [[0.5], [0.0, 0.0], [math.nan, math.nan], [0.3, 0.3, 0.3]])
def test_one_run_alone(tmp_path: Path, parent: float | None, loss: list[float]) -> None:
    table = table_of(tmp_path, Planted(HIGH, loss, parent=parent))
    assert table["is_fork"].tolist() == [parent is not None]
    assert table[["share", "spread_level", "log10_at_spread_level"]].isna().all(axis=None)
    expected = math.nan if parent is None else loss[0]
    np.testing.assert_array_equal(table["loss_at_fork"], [expected])


def test_a_fork_at_epoch_0_is_known_by_its_parents_rate(tmp_path: Path) -> None:
    metrics = pd.DataFrame(
        {
            "epoch": [0, 1],
            "train_loss": [2.0, 1.0],
            "train_error": 0.5,
            "test_error": 0.5,
            "effective_gradient_norm": 1.0,
        }
    )
    told: list[tuple[dict[str, Any], int]] = [
        ({RATE: HIGH, PARENT: LOW}, 0),
        ({RATE: HIGH, PARENT: None}, 0),
        ({RATE: HIGH}, 3),
    ]
    runs = [
        write_run(tmp_path / str(number), metrics, swept, fork_epoch=epoch)
        for number, (swept, epoch) in enumerate(told)
    ]
    table = tabulate(runs, rate=RATE, late_fraction=0.2)
    assert table["is_fork"].tolist() == [True, False, True]
    np.testing.assert_array_equal(table["parent_rate"], [LOW, math.nan, math.nan])


def test_a_table_can_be_written_and_read(tmp_path: Path) -> None:
    table = table_of(tmp_path, *first_regime(Planted(LOW, falling(-2, -3), 4.0, HIGH)))
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)
    assert {table[name].dtype.kind for name in ("is_fork", "is_converged")} == {"b"}
    assert {table[name].dtype.kind for name in COLUMNS[2:]} == {"f"}


def test_the_block_gives_its_parameters(tmp_path: Path) -> None:
    block = FineTuning()
    runs = first_regime(Planted(LOW, falling(-2, -3), 4.0, HIGH))
    written = [run.write(tmp_path / str(number)) for number, run in enumerate(runs)]
    table = load(block)(written, **block.parameters)
    assert table.loc[0, "share"] == pytest.approx(1)
