"""perigee.analysis.periods on signals whose destabilisations are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perigee.analysis.periods import (
    FLOORS,
    RISE,
    SETTLED,
    SHORTEST_FALL,
    SPIKE,
    consistent_from,
    find_by_log_norm,
    find_destabilisations,
    find_loss_spikes,
    find_periods,
    first_norm_peak,
    late_part,
    onset,
    running_median,
    smoothed,
    warm_up_length,
)
from support.signals import RISE_TIME, Planted, Signal, sawtooth

RANDOM_GUESS = float(np.log(10))

signals = st.builds(
    sawtooth,
    lengths=st.lists(st.integers(60, 200), min_size=0, max_size=8),
    tail=st.integers(30, 100),
    rise=st.floats(1.15, 6),
    noise=st.floats(0, 0.3),
    seed=st.integers(0, 1000),
)


@settings(max_examples=60)
@given(signals)
def test_every_destabilisation_is_found_at_its_place(signal: Signal) -> None:
    found = find_destabilisations(signal.loss, signal.norm)
    assert len(found) == len(signal.onsets)
    for destabilisation, start in zip(found, signal.onsets, strict=True):
        # Before its onset the loss is flat, so noise may make it look risen a little earlier.
        assert start - 3 <= destabilisation.loss_onset <= start + 1
        assert start <= destabilisation.norm_onset <= start + 3
        assert abs(destabilisation.loss_peak - (start + 5)) <= 2
        assert destabilisation.norm_peak == start + RISE_TIME
        # Noise of 30 % in a median over at least 20 values.
        assert destabilisation.level_before == pytest.approx(1e-3, rel=0.4)
    for period, (first, second) in zip(find_periods(found), itertools.pairwise(found), strict=True):
        assert period.start == first.loss_peak < period.falling == first.norm_peak
        assert period.rising == second.loss_onset < period.end == second.loss_peak


@settings(max_examples=60)
@given(signals, st.integers(1, 10), st.integers(0, 9))
def test_the_logging_interval_changes_the_number_by_at_most_one(
    signal: Signal, interval: int, first: int
) -> None:
    loss, norm = signal.loss[first::interval], signal.norm[first::interval]
    assert abs(len(find_destabilisations(loss, norm)) - len(signal.onsets)) <= 1


@given(st.integers(2, 300), st.floats(0.9, 0.9999), st.floats(0, 0.3), st.integers(0, 100))
def test_a_run_whose_norm_only_falls_has_none(
    length: int, factor: float, noise: float, seed: int
) -> None:
    wobble = noise * np.random.default_rng(seed).standard_normal(length)
    loss = np.exp(np.linspace(1, -8, length) + wobble)
    assert find_destabilisations(loss, factor ** np.arange(length)) == []


@given(st.integers(2, 400), st.floats(0.1, 1.5), st.integers(0, 100))
def test_a_run_stuck_at_a_high_loss_has_none(length: int, level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = level * RANDOM_GUESS * np.exp(0.3 * rng.standard_normal(length))
    norm = 13 * np.exp(0.2 * rng.standard_normal(length))
    assert find_destabilisations(loss, norm) == []


@pytest.mark.parametrize("seed", range(8))
def test_wild_fluctuations_are_hardly_ever_taken_for_one(seed: int) -> None:
    """The loss of stuck runs at laptop scale ranges from 0.04 to 5 between epochs."""
    rng = np.random.default_rng(seed)
    loss = 0.4 * np.exp(1.2 * rng.standard_normal(400))
    norm = 13 * np.exp(0.3 * rng.standard_normal(400))
    assert len(find_destabilisations(loss, norm)) <= 1


planted = st.builds(
    Planted,
    falls=st.lists(st.floats(SHORTEST_FALL + 2, 40), min_size=1, max_size=7).map(tuple),
    rise=st.floats(1.3, 6),
    spike=st.floats(60, 1e5),
    level=st.floats(1e-8, 1e-2),
)


@settings(max_examples=60)
@given(planted, st.integers(8, 40), st.integers(0, 1000))
def test_steps_and_epochs_show_the_same(signal: Planted, per_epoch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(int(signal.end * per_epoch)) / per_epoch
    loss, norm = signal.at(times)
    noisy = loss * np.exp(0.3 * rng.standard_normal(len(loss)))
    width = 5
    by_step = find_destabilisations(running_median(noisy, width), norm, per_epoch=per_epoch)
    epochs = np.arange(int(signal.end) + 1)
    ends = find_destabilisations(*signal.at(epochs))
    whole = len(times) // per_epoch * per_epoch
    means = [values[:whole].reshape(-1, per_epoch).mean(axis=1) for values in (noisy, norm)]
    by_mean = find_destabilisations(*means)
    expected = np.array(signal.norm_onsets)
    assert len(by_step) == len(ends) == len(by_mean) == len(expected)
    # A mean stands in the middle of its epoch, and may belong to the one beside. A running median
    # blurs by its width, which is more than half of a short epoch.
    for found, scale, shift, tolerance in (
        (by_step, per_epoch, 0, max(0.5, width / per_epoch)),
        (ends, 1, 0, 1.0),
        (by_mean, 1, 0.5, 1.5),
    ):
        onsets = np.array([one.norm_onset for one in found]) / scale + shift
        assert np.abs(onsets - expected).max(initial=0) <= tolerance
        rising = np.array([one.loss_onset for one in found]) / scale + shift
        assert np.abs(rising - np.array(signal.onsets)).max(initial=0) <= tolerance


@given(signals, st.floats(1e-6, 1), st.floats(1e-3, 1e3))
def test_the_scales_of_loss_and_norm_do_not_matter(
    signal: Signal, loss_scale: float, norm_scale: float
) -> None:
    found = find_destabilisations(signal.loss, signal.norm)
    scaled = find_destabilisations(loss_scale * signal.loss, norm_scale * signal.norm)
    assert [one.norm_onset for one in scaled] == [one.norm_onset for one in found]
    assert [one.loss_peak for one in scaled] == [one.loss_peak for one in found]


@given(planted, st.sampled_from([10, 100, 1000]), st.floats(0.5, 0.95))
def test_a_network_that_is_wiped_out_counts_at_any_number_of_classes(
    signal: Planted, classes: int, fitted: float
) -> None:
    """The loss peaks at random guess, and in phase B is what a part of that leaves."""
    guess = np.log(classes)
    level = guess * (1 - fitted) ** 2
    assume(abs(guess / level / SPIKE - 1) > 0.1)  # a peak between two times is seen a little lower
    signal = Planted(signal.falls, signal.rise, guess / level, level)
    loss, norm = signal.at(np.arange(0, signal.end, 0.1))
    expected = len(signal.onsets) if guess / level >= SPIKE else 0
    assert len(find_destabilisations(loss, norm, per_epoch=10)) == expected


@given(planted, st.floats(1.05, 0.98 * SPIKE), st.integers(0, 100))
def test_a_rise_of_the_norm_without_one_of_the_loss_is_none(
    signal: Planted, spike: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(0, signal.end, 0.1)
    loss, norm = Planted(signal.falls, signal.rise, spike, signal.level).at(times)
    assert find_destabilisations(loss, norm, per_epoch=10) == []
    noise = signal.level * np.exp(0.3 * rng.standard_normal(len(norm)))
    assert find_destabilisations(noise, norm, per_epoch=10) == []


@given(planted, st.floats(1.0, 0.999 * RISE))
def test_a_spike_of_the_loss_without_a_rise_of_a_free_norm_is_none(
    signal: Planted, rise: float
) -> None:
    times = np.arange(0, signal.end, 0.1)
    loss, norm = Planted(signal.falls, rise, signal.spike, signal.level).at(times)
    falling = norm * np.exp(-1e-4 * times)
    assert find_destabilisations(loss, falling, per_epoch=10) == []
    # To look at the loss alone is another question.
    assert len(find_loss_spikes(loss, per_epoch=10)) == len(signal.onsets)


@given(planted, st.floats(0, 0.3), st.integers(0, 100))
def test_where_the_norm_is_fixed_the_loss_decides(signal: Planted, noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(0, signal.end, 0.1)
    loss, norm = Planted(signal.falls, 1.0, signal.spike, signal.level, fixed=True).at(times)
    loss = running_median(loss * np.exp(noise * rng.standard_normal(len(loss))), 5)
    norm = norm * (1 + 1e-6 * rng.random(len(norm)))
    found = find_destabilisations(loss, norm, per_epoch=10)
    assert found == find_loss_spikes(loss, per_epoch=10)
    assert len(found) == len(signal.onsets)
    for one, start in zip(found, signal.onsets, strict=True):
        assert abs(one.loss_onset / 10 - start) <= 1
        assert one.norm_onset == one.loss_onset
        assert one.norm_peak == one.loss_peak


LOW, BELOW, HIGH = 1e-4, 0.9 * SPIKE * 1e-4, 1.1 * SPIKE * 1e-4


@pytest.mark.parametrize(
    ("loss", "spikes"),
    [
        pytest.param([5.0] * 5 + [LOW] * 20, 0, id="learns and stays there"),
        pytest.param([5.0] * 30, 0, id="stuck"),
        pytest.param([5.0, *[LOW] * 9, HIGH, HIGH, *[LOW] * 9], 1, id="one, two epochs long"),
        pytest.param([5.0, *[LOW] * 9, HIGH, *[LOW] * 9, HIGH], 2, id="two, one of them the last"),
        pytest.param([5.0, *[LOW] * 9, BELOW, *[LOW] * 9], 0, id="a ripple"),
        pytest.param([5.0, *[LOW] * 9, HIGH, LOW, HIGH, *[LOW] * 9], 1, id="not low in between"),
        pytest.param([5.0, *[LOW] * 9, *[5.0] * 20], 1, id="never low again"),
        pytest.param([LOW, LOW, 5.0, *[LOW] * 9], 1, id="a fork that starts low"),
        pytest.param([5.0, LOW, LOW, 5.0, *[LOW] * 9], 0, id="low too shortly"),
        pytest.param([5.0, *[LOW] * 9, np.nan, np.nan], 0, id="not finite"),
        pytest.param([5.0, *[0.0] * 9, 1e-3, *[0.0] * 9], 1, id="exactly zero"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_spikes_of_the_loss(loss: list[float], spikes: int) -> None:
    assert len(find_loss_spikes(loss)) == spikes
    assert len(find_destabilisations(loss, [4.0] * len(loss))) == spikes


def test_an_error_counts_from_its_floor() -> None:
    floor = FLOORS["train_error"]
    signal = sawtooth([40, 50], 30, 2.0, 0.0, 0)
    for peak, expected in ((0.99 * SPIKE * floor, 0), (1.01 * SPIKE * floor, 2)):
        error = np.where(signal.loss > 0.1, peak, 0.0)
        found = find_destabilisations(error, signal.norm, floor=floor)
        assert len(found) == expected
        assert all(one.level_before == floor for one in found)


def test_a_fork_may_destabilise_at_once() -> None:
    """Three epochs of falling norm and low loss suffice at the start, but not later."""
    early = Planted((3.0, 20.0))
    loss, norm = early.at(np.arange(0.0, early.end, 0.1))
    loss[:30] = early.level
    assert len(find_destabilisations(loss, norm, per_epoch=10)) == 1
    loss[:5] = 1.0
    assert find_destabilisations(loss, norm, per_epoch=10) == []


def test_a_norm_that_rises_again_after_a_short_fall_lengthens_phase_a() -> None:
    norm = np.exp(np.interp(range(40), [0, 15, 18, 20, 24, 39], [0.5, 0, 0.3, 0.2, 0.6, 0]))
    loss = np.full(40, 1e-3)
    loss[16:26] = [0.1, 1, 0.5, 0.3, 0.5, 1.5, 1, 0.3, 0.1, 0.02]
    (found,) = find_destabilisations(loss, norm)
    assert (found.norm_onset, found.loss_peak, found.norm_peak) == (15, 21, 24)


@given(st.floats(100, 5000))
def test_norms_beyond_all_numbers_have_logarithms(height: float) -> None:
    signal = sawtooth([60, 80], 40, 2.0, 0.0, 0)
    found = find_by_log_norm(signal.loss, height + np.log(signal.norm))
    assert found == find_destabilisations(signal.loss, signal.norm)


def test_a_signal_rises_where_it_leaves_the_first_tenth_of_its_rise() -> None:
    # A thousandfold rise: its first tenth, in the logarithm, ends at 10^0.3 = 1.995.
    signal = [1.0, 3.0, 1.0, 1.9, 2.1, 50.0, 1000.0]
    assert onset(signal, 0, 6, 1.0) == 3
    assert onset(signal, 4, 6, 1.0) == 4
    assert onset([1.0, 2.0, 1.5, 9.0], 0, 3, 1.0, share=0.5) == 2


@given(st.integers(0, 50), st.integers(1, 100))
def test_the_late_part_is_the_last_third(start: int, length: int) -> None:
    positions = range(start, start + length)
    late = list(range(*late_part(start, start + length).indices(start + length)))
    assert late == [one for one in positions if one >= start + length - -(-length // 3)]
    assert late


def test_the_first_norm_peak_precedes_a_fall() -> None:
    assert first_norm_peak([1.0, 2.0, 3.0, 2.9, 3.05, 2.0, 4.0, 1.0]) == 4
    assert first_norm_peak([1.0, 2.0, 3.0, 2.95]) is None
    assert first_norm_peak([3.0, 2.0]) == 0


@given(st.integers(1, 3), st.floats(1.6, 3))
def test_the_warm_up_stage_ends_where_rho_is_as_small_as_later(warm_up: int, factor: float) -> None:
    signal = sawtooth([100] * (warm_up + 4), 50, 2.0, 0.0, 0)
    norm = signal.norm.copy()
    norm[: signal.onsets[warm_up - 1] + 4] *= factor
    found = find_destabilisations(signal.loss, norm)
    assert consistent_from(found, norm) == warm_up
    length = warm_up_length(found, norm)
    assert length is not None
    # After the last onset of the warm-up stage, and where rho has fallen from its peak.
    assert signal.onsets[warm_up - 1] + 2 < length < signal.onsets[warm_up]
    lowest = norm[[one.norm_onset for one in found[warm_up:]]].max()
    assert norm[length] <= SETTLED * lowest < norm[length - 1]
    later = signal.onsets[warm_up - 1] + RISE_TIME
    without = find_destabilisations(signal.loss[later:], norm[later:])
    assert len(without) == 4
    assert warm_up_length(without, norm[later:]) is None


def test_the_first_rise_from_the_initialisation_is_none() -> None:
    norm = np.concatenate((np.linspace(6, 10, 10), np.linspace(10, 3, 50)))
    loss = np.concatenate((np.linspace(7, 2, 10), np.geomspace(2, 1e-4, 50)))
    assert find_destabilisations(loss, norm) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_run_that_diverges_keeps_what_came_before(bad: float) -> None:
    signal = sawtooth([80, 80], 40, 2.0, 0.0, 0)
    loss = np.concatenate((signal.loss, np.full(5, bad), [1e-3] * 30, [5.0] * 3))
    norm = np.concatenate((signal.norm, np.full(5, 1.0), [0.5] * 30, [9.0] * 3))
    assert len(find_destabilisations(loss, norm)) == 2


def test_signals_without_a_value_have_none() -> None:
    assert find_destabilisations([], []) == []
    assert find_destabilisations([np.nan], [1.0]) == []
    assert find_destabilisations([1.0], [0.0]) == []


@given(st.integers(0, 4), st.integers(4, 8), st.floats(1.6, 4))
def test_warm_up_destabilisations_are_those_at_larger_norms(
    warm_up: int, consistent: int, factor: float
) -> None:
    assume(warm_up < consistent)
    signal = sawtooth([100] * (warm_up + consistent), 50, 2.0, 0.0, 0)
    found = find_destabilisations(signal.loss, signal.norm)
    norm = signal.norm.copy()
    for number, destabilisation in enumerate(found[:warm_up]):
        norm[destabilisation.norm_onset] *= factor ** (warm_up - number)
    assert consistent_from(found, norm) == warm_up
    assert consistent_from([], norm) == 0


@given(st.lists(st.floats(1e-8, 1e3), min_size=1, max_size=60), st.integers(1, 9))
def test_smoothing_is_the_centred_geometric_mean(values: list[float], window: int) -> None:
    found = smoothed(values, window)
    before, after = window // 2, (window - 1) // 2
    for position in range(len(values)):
        near = values[max(0, position - before) : position + after + 1]
        assert found[position] == pytest.approx(np.prod(np.array(near) ** (1 / len(near))))
