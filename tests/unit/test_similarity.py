"""perigee.dynamics.similarity and analysis.similarity, on trajectories written by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import find_destabilisations
from perigee.analysis.similarity import (
    CONSISTENT,
    FIRST_HALF,
    FIRST_PERIOD,
    choose_anchor,
    choose_independent,
    period_at,
    phase_at,
    tabulate,
    tabulate_gains,
)
from perigee.dynamics.similarity import (
    cosine_similarities,
    ensemble_gains,
    ensemble_test_error,
)
from perigee.errors import PerigeeError
from perigee.evaluation.files import PREDICTIONS
from support.signals import RISE_TIME, Signal, sawtooth
from support.synthetic_runs import (
    CLASSES,
    IMAGES,
    WEIGHTS,
    kept_epochs,
    read_measure,
    write_kept_run,
)

# Cosine similarity


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine similarity by its definition, in exactly rounded sums."""
    pairs = list(zip(map(float, one), map(float, other), strict=True))
    product = math.fsum(a * b for a, b in pairs)
    first, second = math.fsum(a * a for a, _ in pairs), math.fsum(b * b for _, b in pairs)
    return product / math.sqrt(first) / math.sqrt(second)


values = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
rows_of_weights = arrays.arrays(
    np.float32, st.tuples(st.integers(2, 7), st.integers(2, 9)), elements=values
).filter(lambda rows: bool((rows[:, :-1] != 0).any(axis=1).all()))


@dataclass(frozen=True)
class Rows:
    """Checkpoints in memory, of which all but the last ``others`` numbers are compared."""

    rows: np.ndarray
    others: int = 1

    @property
    def epochs(self) -> Sequence[int]:
        return range(len(self.rows))

    @property
    def weights(self) -> int:
        return self.rows.shape[1] - self.others

    def vectors(self, epochs: Sequence[int]) -> np.ndarray:
        return self.rows[list(epochs)]


@given(rows=rows_of_weights, chunk=st.integers(1, 200))
def test_the_cosines_are_those_of_a_plain_loop(rows: np.ndarray, chunk: int) -> None:
    checkpoints = Rows(rows)
    weights = checkpoints.weights
    references = [rows[0, :weights].astype(float), rows[-1, :weights].astype(float)]
    found = cosine_similarities(checkpoints, references, chunk_bytes=chunk)
    expected = [[cosine(row[:weights], reference) for row in rows] for reference in references]
    assert found == pytest.approx(np.array(expected), abs=1e-12)
    assert found[0, 0] == pytest.approx(1, abs=1e-15)
    assert found[1, -1] == pytest.approx(1, abs=1e-15)
    assert (abs(found) <= 1).all()


def test_many_small_numbers_are_summed_without_loss() -> None:
    """In float32 the sum of so many equal squares is off by far more."""
    weights = 2**20
    rows = np.full((2, weights), 1e-4, dtype=np.float32)
    rows[1, 0] = 1
    (found,) = cosine_similarities(Rows(rows, others=0), [rows[0].astype(float)])
    small = float(np.float32(1e-4))
    norms = math.sqrt(weights * small**2), math.sqrt((weights - 1) * small**2 + 1)
    expected = ((weights - 1) * small**2 + small) / norms[0] / norms[1]
    assert found == pytest.approx([1, expected], rel=1e-9)


def test_what_is_not_finite_or_zero_has_no_cosine() -> None:
    rows = np.ones((4, 3), dtype=np.float32)
    rows[1, 0], rows[2, 0], rows[3] = math.nan, math.inf, 0
    (found,) = cosine_similarities(Rows(rows, others=0), [np.ones(3)])
    assert found[0] == 1
    assert np.isnan(found[1:]).all()


def test_rows_are_read_in_pieces_of_bounded_size() -> None:
    sizes = []

    class Counted(Rows):
        def vectors(self, epochs: Sequence[int]) -> np.ndarray:
            sizes.append(len(epochs))
            return super().vectors(epochs)

    rows = np.random.default_rng(0).standard_normal((23, 11)).astype(np.float32)
    cosine_similarities(Counted(rows), [np.ones(10)], chunk_bytes=3 * 80 + 79)
    assert sizes == [3] * 7 + [2]


PEAK = r"""
import re, sys
from pathlib import Path
import numpy as np
from perigee.checkpoints import KeptCheckpoints
from perigee.dynamics.similarity import cosine_similarities
def peak():  # unlike ru_maxrss, not that of the process that started this one
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
parts = ({"name": "kernel", "shape": [250_000], "scale_invariant": True},)
every = tuple(range(600))
before = peak()
kept = KeptCheckpoints(Path(sys.argv[1]), every, every, parts)
cosine_similarities(kept, [np.ones(250_000)], chunk_bytes=8 * 2**20)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_long_checkpoints_are_never_in_memory_whole(tmp_path: Path) -> None:
    """Less than a tenth of 600 MB, most of them a hole in the file, is in memory at a time."""
    path = tmp_path / "rows.npy"
    row = np.dtype([("epoch", "<i4"), ("values", "<f4", (250_000,))])
    np.lib.format.open_memmap(path, mode="w+", dtype=row, shape=(600,))["values"][::100, 0] = 1
    told = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) * 1024 < 60 * 2**20


# Ensembles


@given(
    probabilities=arrays.arrays(
        np.float32, (2, 6, 3), elements=st.floats(0, 1, width=16), unique=True
    )
)
def test_an_ensemble_errs_where_the_sum_of_probabilities_does(probabilities: np.ndarray) -> None:
    first, second = probabilities
    labels = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    wrong = 0
    for one, other, label in zip(first, second, labels, strict=True):
        sums = [float(a) + float(b) for a, b in zip(one, other, strict=True)]
        wrong += sums.index(max(sums)) != label
    assert ensemble_test_error(first, second, labels) == wrong / 6
    alone = np.mean([row.argmax() != label for row, label in zip(first, labels, strict=True)])
    assert ensemble_test_error(first, first, labels) == alone


def test_an_ensemble_without_finite_probabilities_has_no_error() -> None:
    half = np.full((1, 2), 0.5)
    assert math.isnan(ensemble_test_error(half, half * math.nan, np.array([0])))


# Anchor, independent checkpoint, periods


def metrics_of(signal: Signal) -> pd.DataFrame:
    return pd.DataFrame({"train_loss": signal.loss, "weight_norm": signal.norm})


def periodic(lengths: list[int]) -> tuple[pd.DataFrame, Signal]:
    signal = sawtooth(lengths, 40, 2.0, 0.0, 0)
    return metrics_of(signal), signal


def test_the_anchor_is_the_lowest_of_half_the_late_first_consistent_phase_b() -> None:
    metrics, signal = periodic([60, 80, 70])
    # Lowest train loss of the first half of the last third of 80 epochs; it is lower still in the
    # second half, and in the first two thirds, where the loss may still be coming down.
    lowest = signal.onsets[0] + RISE_TIME + 60
    metrics.loc[lowest, "train_loss"] = 5e-4
    metrics.loc[[lowest + 15, lowest - 30], "train_loss"] = 4e-4
    found = find_destabilisations(metrics["train_loss"], metrics["weight_norm"])
    every = range(len(metrics))
    assert choose_anchor(metrics, every, found) == (lowest, CONSISTENT)
    # Of what is kept: the lowest epoch itself is not.
    kept = [epoch for epoch in every if epoch % 2 != lowest % 2]
    anchor, rule = choose_anchor(metrics, kept, found)
    assert rule == CONSISTENT
    assert anchor in kept
    inside = [e for e in kept if 53 <= e - signal.onsets[0] - RISE_TIME <= 66]
    assert metrics["train_loss"][anchor] == metrics["train_loss"][inside].min()


def test_the_warm_up_stage_is_passed_over() -> None:
    """Destabilisations at norms that are 4 times as large, then three at the later level."""
    metrics, signal = periodic([60, 60, 60, 60, 60])
    second = signal.onsets[1]
    metrics.loc[: second + 3, "weight_norm"] *= 4
    found = find_destabilisations(metrics["train_loss"], metrics["weight_norm"])
    anchor, rule = choose_anchor(metrics, range(len(metrics)), found)
    assert rule == CONSISTENT
    assert anchor > signal.onsets[2]


def test_without_a_consistent_period_the_first_complete_one_counts() -> None:
    """Two destabilisations, of which only the last one is at the later level."""
    metrics, signal = periodic([60, 60])
    metrics.loc[: signal.onsets[0] + 3, "weight_norm"] *= 4
    found = find_destabilisations(metrics["train_loss"], metrics["weight_norm"])
    assert len(found) == 2
    anchor, rule = choose_anchor(metrics, range(len(metrics)), found)
    assert rule == FIRST_PERIOD
    assert signal.onsets[0] < anchor < signal.onsets[1]


@pytest.mark.parametrize("lengths", [[], [60]])
def test_without_a_period_the_lowest_of_the_first_half_counts(lengths: list[int]) -> None:
    metrics, _ = periodic(lengths)
    found = find_destabilisations(metrics["train_loss"], metrics["weight_norm"])
    kept = list(range(0, len(metrics), 3))
    anchor, rule = choose_anchor(metrics, kept, found)
    half = [epoch for epoch in kept if epoch <= (len(metrics) - 1) / 2]
    assert rule == FIRST_HALF
    assert metrics["train_loss"][anchor] == metrics["train_loss"][half].min()
    assert anchor in half


def test_a_loss_that_is_not_finite_is_not_the_lowest() -> None:
    metrics = pd.DataFrame({"train_loss": [2.0, math.nan, 1.0, 3.0, 4.0], "weight_norm": 1.0})
    assert choose_anchor(metrics, range(5), []) == (2, FIRST_HALF)


@pytest.mark.parametrize(
    ("test_error", "epoch", "expected"),
    [(0.1, 0, 20), (0.31, 0, 10), (0.2, 11, 10), (0.2, 29, 30), (0.2, 20, 10), (0.9, 5, 0)],
)
def test_the_independent_checkpoint_is_the_nearest_in_test_error(
    test_error: float, epoch: int, expected: int
) -> None:
    kept = pd.DataFrame(
        {
            "epoch": [0, 10, 20, 30, 40],
            "test_error": [0.7, 0.25, 0.1, 0.25, 0.2],
            "train_loss": [2.0, 1.0, 1.0, 1.0, math.nan],
        },
        index=[0, 10, 20, 30, 40],
    )
    kept.loc[20, "test_error"] = 0.1
    assert choose_independent(kept, test_error, epoch) == expected


def test_periods_and_phases_follow_the_destabilisations() -> None:
    metrics, signal = periodic([60, 80])
    found = find_destabilisations(metrics["train_loss"], metrics["weight_norm"])
    first, second = signal.onsets
    told = [phase_at(epoch, found) for epoch in range(len(metrics))]
    # In the signals the loss peaks 5 samples after its onset, the norm 8.
    expected = ["start"] * first + ["C"] * 5 + ["A"] * 3
    expected += ["B"] * (second - first - 8) + ["C"] * 5 + ["A"] * 3
    expected += ["B"] * (len(metrics) - len(expected))
    # Where exactly an onset or a peak lies may differ by a sample.
    assert sum(a != b for a, b in zip(told, expected, strict=True)) <= 6
    numbers = [period_at(epoch, found) for epoch in range(len(metrics))]
    assert numbers[0] == 0
    assert numbers[-1] == 2
    assert numbers == sorted(numbers)
    assert [told[e] for e in range(1, len(told)) if numbers[e] > numbers[e - 1]] == ["A", "A"]


# The table


def test_each_run_is_compared_with_itself_and_the_next_seed(tmp_path: Path) -> None:
    signal = sawtooth([60, 80, 70], 40, 2.0, 0.0, 0)
    runs = [write_kept_run(tmp_path, signal, 4, seed) for seed in (3, 5, 9)]
    kept = kept_epochs(signal, 4)
    assert kept[-1] % 4, "the last epoch is kept for being the last"
    table = tabulate(runs, near_zero="train_loss")
    assert list(table.columns[:3]) == ["run", "seed", "epoch"]
    for position, (run, other) in enumerate(zip(runs, [*runs[1:], runs[0]], strict=True)):
        rows = table[table["run"] == position]
        assert set(rows["seed"]) == {run.swept["seed"]}
        assert set(rows["anchor_rule"]) == {CONSISTENT}
        (anchor,), (partner,) = set(rows["anchor_epoch"]), set(rows["independent_epoch"])
        assert list(rows["epoch"]) == [epoch for epoch in kept if epoch >= anchor]
        assert rows["period"].iloc[0] == 0
        assert rows["period"].iloc[-1] == 2
        weights, others = (
            np.load(r.measures["checkpoints"] / "rows.npy")["values"][:, :WEIGHTS]
            for r in (run, other)
        )
        probabilities, theirs = (
            np.load(r.evaluations["predictions"] / PREDICTIONS) for r in (run, other)
        )
        metrics = read_measure(run, "metrics")
        independent = read_measure(other, "metrics")["test_error"]
        error = metrics["test_error"][anchor]
        gaps = abs(independent[list(kept)] - error)
        assert abs(independent[partner] - error) == gaps.min()
        assert set(rows["independent_test_error"]) == {independent[partner]}
        assert set(rows["anchor_test_error"]) == {error}
        labels = np.arange(IMAGES) % CLASSES
        for row in rows.itertuples():
            here = weights[kept.index(row.epoch)]
            assert row.test_error == metrics["test_error"][row.epoch]
            assert row.train_loss == metrics["train_loss"][row.epoch]
            for own, foreign, found, ensemble in (
                (
                    weights[kept.index(anchor)],
                    probabilities[kept.index(anchor)],
                    row.cosine_similarity,
                    row.ensemble_test_error,
                ),
                (
                    others[kept.index(partner)],
                    theirs[kept.index(partner)],
                    row.independent_cosine_similarity,
                    row.independent_ensemble_test_error,
                ),
            ):
                assert found == pytest.approx(cosine(here, own), abs=1e-12)
                both = probabilities[kept.index(row.epoch)].astype(float) + foreign
                assert ensemble == np.mean(both.argmax(axis=1) != labels)
        at_anchor = rows.iloc[0]
        assert at_anchor["cosine_similarity"] == pytest.approx(1, abs=1e-15)


def test_runs_of_several_settings_are_paired_within_each(tmp_path: Path) -> None:
    signal = sawtooth([60, 80], 40, 2.0, 0.0, 0)
    runs = []
    for number, (rate, seed) in enumerate([(0.1, 0), (0.2, 0), (0.1, 1), (0.2, 1)]):
        run = write_kept_run(tmp_path, signal, 5, number)
        swept = {"optimiser.learning_rate": rate, "seed": seed}
        runs.append(replace(run, swept=swept))
    table = tabulate(runs, near_zero="train_loss")
    for run, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        row = table[table["run"] == run].iloc[0]
        errors = read_measure(runs[other], "metrics")["test_error"]
        assert row["independent_test_error"] == errors[row["independent_epoch"]]
    with pytest.raises(PerigeeError, match="no other of the same setting"):
        tabulate(runs[:2], near_zero="train_loss")


# Gains, image by image


def test_gains_by_image_are_those_of_the_table_in_total(tmp_path: Path) -> None:
    """Their mean is what the table's errors give: the two networks' mean less the ensemble's."""
    signal = sawtooth([60, 80, 70], 75, 2.0, 0.0, 0)
    runs = [write_kept_run(tmp_path, signal, 2, seed) for seed in (3, 5, 9)]
    for run in runs:  # test errors that agree with the predictions
        probabilities = np.load(run.evaluations["predictions"] / PREDICTIONS)
        missed = (probabilities.argmax(axis=2) != np.arange(IMAGES) % CLASSES).mean(axis=1)
        metrics = read_measure(run, "metrics")
        metrics.loc[list(kept_epochs(signal, 2)), "test_error"] = missed
        write_over(run, metrics)
    gains = tabulate_gains(runs, near_zero="train_loss")
    assert list(gains.columns) == ["run", "seed", "period", "last", "partner", "image", "gain"]
    assert set(gains["seed"]) == {3, 5, 9}
    table = tabulate(runs, near_zero="train_loss")
    minima = table[table["minimum"] & (table["epoch"] > table["anchor_epoch"])]
    for prefix, ensemble, partner in (
        ("anchor_", "", "anchor"),
        ("independent_", "independent_", "independent"),
    ):
        alone = (minima[f"{prefix}test_error"] + minima["test_error"]) / 2
        by_epoch = alone - minima[f"{ensemble}ensemble_test_error"]
        expected = by_epoch.groupby([minima["run"], minima["period"]]).mean()
        rows = gains[gains["partner"] == partner]
        found = rows.groupby(["run", "period"])["gain"].mean()
        assert found.index.tolist() == expected.index.tolist()
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert (rows.groupby(["run", "period"])["image"].nunique() == IMAGES).all()
    assert set(gains.loc[gains["last"], "period"]) == {2}
    assert set(gains.loc[~gains["last"], "period"]) == {0, 1}


def write_over(run: RunInput, metrics: pd.DataFrame) -> None:
    """Write other metrics in the place of a run's."""
    np.save(run.measures["metrics"] / "rows.npy", metrics.to_records(index=False).view(np.ndarray))


def test_runs_without_a_later_minimum_have_no_gains(tmp_path: Path) -> None:
    runs = [write_kept_run(tmp_path, sawtooth([], 60, 2.0, 0.0, 0), 3, seed) for seed in (0, 1)]
    gains = tabulate_gains(runs, near_zero="train_loss")
    assert gains.empty
    assert list(gains.columns) == ["run", "seed", "period", "last", "partner", "image", "gain"]
    with pytest.raises(PerigeeError, match="no other of the same setting"):
        tabulate_gains(runs[:1], near_zero="train_loss")


def test_the_gain_at_an_image() -> None:
    """Both wrong and the average right, one wrong, both wrong, and one right and outvoted."""
    labels = np.array([0, 0, 0, 0])
    first = np.array([[0.4, 0.6, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.6, 0.4, 0.0]])
    second = np.array([[0.4, 0.0, 0.6], [0.4, 0.6, 0.0], [0.2, 0.8, 0.0], [0.0, 1.0, 0.0]])
    gains = ensemble_gains(first, second, labels)
    assert gains.tolist() == [1, 0.5, 0, -0.5]
    alone = [np.mean(one.argmax(axis=1) != labels) for one in (first, second)]
    assert gains.mean() == np.mean(alone) - ensemble_test_error(first, second, labels)
    first[0, 0] = math.nan
    assert np.isnan(ensemble_gains(first, second, labels)).all()
