"""perigee.analysis.periods on signals whose destabilisations are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perigee.analysis.periods import (
    consistent_from,
    find_destabilisations,
    find_periods,
    smoothed,
)
from support.signals import RISE_TIME, Signal, sawtooth

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
    for destabilisation, onset in zip(found, signal.onsets, strict=True):
        # Before its onset the loss is flat, so noise may make it look risen a little earlier.
        assert onset - 8 <= destabilisation.loss_onset <= onset + 1
        assert onset <= destabilisation.norm_onset <= onset + 3
        assert abs(destabilisation.loss_peak - (onset + 5)) <= 2
        assert destabilisation.norm_peak == onset + RISE_TIME
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
