"""The drawings of a basin against what the paper says of it."""

from __future__ import annotations

import math

import pytest

from perigee.analysis.basin import tabulate, tabulate_after_decay

RULE = {"weight_decay": 0.005, "momentum": 0.9}


def test_a_larger_angular_update_is_stuck_higher() -> None:
    table = tabulate([], learning_rates=[1.0, 0.01], start=1.0, steps=200, **RULE)
    late = table[table["step"] >= 150].groupby("learning_rate")["value"].max()
    assert late[1.0] > 50 * late[0.01]
    for rate, rows in table.groupby("learning_rate"):
        update = math.sqrt(2 * 0.005 * rate / 1.9)
        assert rows["angular_update"].dropna().to_numpy() == pytest.approx(update)
        assert rows["angle"].diff().abs().dropna().to_numpy() == pytest.approx(update)
        # past the bottom, no step ends further from it than its own length
        assert rows["angle"][rows["step"] >= 150].abs().max() <= update


def test_after_a_decay_it_goes_to_the_bottom_and_leaves_it() -> None:
    table = tabulate_after_decay(
        [], learning_rate=0.2, factor=10, start=0.02, steps_before=100, steps_after=3000, **RULE
    )
    assert table["step"].iloc[[0, -1]].tolist() == [-100, 3000]
    assert set(table.loc[table["step"] < 0, "learning_rate"]) == {0.2}
    assert table.loc[table["step"] >= 0, "learning_rate"].to_numpy() == pytest.approx(0.02)
    update = table.set_index("step")["angular_update"]
    before, new = math.sqrt(2e-3 / 1.9), math.sqrt(2e-4 / 1.9)
    assert update[-1] == pytest.approx(before)
    assert update[0] == pytest.approx(before / 10)
    assert update[3000] == pytest.approx(new, rel=0.01)
    assert table["equilibrium_angular_update"].iloc[[0, -1]].to_numpy() == pytest.approx(
        [before, new]
    )
    height = table.set_index("step")["angle"].abs()
    assert height.loc[30:130].max() < 0.5 * height.loc[-100:-1].max()
    assert height.loc[2500:].max() > 1.5 * height.loc[30:130].max()
