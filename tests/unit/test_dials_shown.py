"""The dials of runs: Proposition 3's share, and how the report shows them beside the paper's."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from perigee.analysis.dials import DIALS, Dial, settled_share
from perigee.blocks.analyses import Dials
from perigee.reporting.dials import dials_of_figure

RATE = "optimiser.learning_rate"


def shown(table: pd.DataFrame, folder: Path) -> list[dict]:
    (folder / "dials").mkdir(parents=True)
    table.to_parquet(folder / "dials/table.parquet", index=False)
    of_dials = SimpleNamespace(analysis=Dials(resolution="step"), folder="dials")
    other = SimpleNamespace(analysis=None, folder="absent")
    return dials_of_figure(SimpleNamespace(tables={"a": other, "b": of_dials}), folder)


def test_a_setting_has_the_median_of_its_seeds(tmp_path: Path) -> None:
    rows = [
        {"run": n, RATE: rate, "seed": seed, **dict.fromkeys(DIALS, value)}
        for n, (rate, seed, value) in enumerate(
            [(0.1, 10, 0.5), (0.1, 11, 0.7), (0.1, 12, 0.9), (0.3, 10, math.nan)]
        )
    ]
    (table,) = shown(pd.DataFrame(rows), tmp_path)
    assert table["settings"] == ["0.1", "0.3"]
    assert table["swept"] == "learning rate"
    assert [row["meaning"] for row in table["rows"]] == [dial.meaning for dial in DIALS.values()]
    by_meaning = {row["meaning"]: row for row in table["rows"]}
    premise = by_meaning[DIALS["gradient_range_premise"].meaning]
    assert premise["wanted"] == "at most 1"
    assert premise["values"] == [
        {"text": "0.7 (0.5 to 0.9)", "look": "good"},
        {"text": "nothing to measure", "look": "open"},
    ]
    spread = by_meaning[DIALS["onset_norm_spread"].meaning]
    assert spread["wanted"] == "1 to 1.5"
    assert spread["values"][0]["look"] == "bad"


def test_a_table_of_seeds_alone_has_one_column(tmp_path: Path) -> None:
    rows = [{"run": n, "seed": n, **dict.fromkeys(DIALS, 1.0)} for n in range(2)]
    (table,) = shown(pd.DataFrame(rows), tmp_path)
    assert table["settings"] == [""]
    assert table["rows"][0]["values"] == [{"text": "1", "look": "bad"}]


@pytest.mark.parametrize(("value", "met"), [(0.9, False), (1.0, True), (2.5, False)])
def test_a_dial_is_met_within_its_range(value: float, met: bool) -> None:
    assert Dial("", "", 1.0, 2.0).met(value) is met
    assert Dial("", "", 1.0, 2.0).met(math.nan) is None


def test_the_squared_norm_settles_between_the_bounds_of_single_steps() -> None:
    """With l = 1 and L = 2 it lies between kappa and 2 kappa; 50 steps of 200 are left out."""
    rate, decay, steps = 1.0, 0.01, 200
    bounds = np.where(np.arange(steps) % 2, 1.0, 2.0)
    kappa = math.sqrt(rate / (2 * decay))
    assert kappa == pytest.approx(7.0710678)
    squared = np.full(steps, 1.5 * kappa)
    squared[:50] = 100 * kappa  # while it comes down
    squared[60:75] = 2.1 * kappa
    squared[75:90] = 0.9 * kappa
    found = settled_share(np.full(steps, rate), decay, bounds, np.sqrt(squared))
    assert found == pytest.approx(1 - 30 / 150)


@pytest.mark.parametrize("decay", [0.0, 1e-4])
def test_a_run_that_is_over_before_has_no_share(decay: float) -> None:
    some = np.ones(10)
    assert math.isnan(settled_share(some, decay, some, some))
