"""The quantities of perigee.claims.theory on runs that keep to the propositions, or break them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.claims import theory
from perigee.errors import PerigeeError
from support.synthetic_tables import table_of_period

# Eq. (3) and Proposition 1


def steps_of_sgd(decay: float, seed: int, momentum: float = 0.0) -> pd.DataFrame:
    """Eq. (2) in eight dimensions, with random tangential gradients, and a rate that halves."""
    rng = np.random.default_rng(seed)
    x, velocity = 2 * rng.standard_normal(8), np.zeros(8)
    rows = []
    for step in range(60):
        rate = 0.2 if step < 30 else 0.1
        gradient = rng.standard_normal(8) / np.sqrt(x @ x)
        gradient -= (gradient @ x) / (x @ x) * x
        velocity = momentum * velocity + gradient + decay * x
        after = x - rate * velocity
        cosine = x @ after / np.sqrt((x @ x) * (after @ after))
        effective = np.sqrt((gradient @ gradient) * (x @ x))
        rows.append((rate, np.sqrt(x @ x), effective, 1 - cosine))
        x = after
    columns = ["learning_rate", "weight_norm", "effective_gradient_norm", "cosine_distance"]
    return pd.DataFrame(rows, columns=columns).assign(run=0, phase="B")


@settings(max_examples=30)
@given(decay=st.floats(1e-3, 0.3), seed=st.integers(0, 2**31))
def test_sgd_keeps_to_equation_3_and_sgd_with_momentum_does_not(decay: float, seed: int) -> None:
    run = steps_of_sgd(decay, seed)
    assert theory.norm_prediction_error(run, weight_decay=decay) < 1e-10
    other = theory.norm_prediction_error(run, weight_decay=1.1 * decay)
    # Sixty steps of that much more decay, which the gradients' feedback counteracts.
    assert 1e-4 < other < 2 * 0.1 * decay * 0.2 * 60 * 1.1
    with_momentum = steps_of_sgd(decay, seed, momentum=0.9)
    assert theory.norm_prediction_error(with_momentum, weight_decay=decay) > 0.01


def test_the_largest_departure_counts_wherever_it_is() -> None:
    run = steps_of_sgd(0.1, 0)
    for step in (1, 30, 59):
        changed = run.copy()
        changed.loc[step, "weight_norm"] *= 1.05
        # Predictions rest on the first value alone, but the gradient's norm was taken at rho.
        found = theory.norm_prediction_error(changed, weight_decay=0.1)
        assert found == pytest.approx(1.05**2 - 1, rel=1e-9)
    changed.loc[59, "weight_norm"] *= 0.9 / 1.05
    found = theory.norm_prediction_error(changed, weight_decay=0.1)
    assert found == pytest.approx(1 - 0.9**2, rel=1e-9)


def test_the_first_step_written_out() -> None:
    columns = ["run", "learning_rate", "weight_norm", "effective_gradient_norm"]
    table = pd.DataFrame([(0, 0.5, 2.0, 3.0), (0, 9.0, 3.0, 7.0)], columns=columns)
    # (0.9^2) * 4 + 0.25 * 9 / 4, and 9 instead.
    predicted = 3.24 + 0.5625
    found = theory.norm_prediction_error(table, weight_decay=0.2)
    assert found == pytest.approx(9 / predicted - 1, rel=1e-12)


@settings(max_examples=30)
@given(decay=st.floats(1e-3, 0.3), seed=st.integers(0, 2**31))
def test_steps_of_sgd_make_the_jumps_of_proposition_1_up_to_their_size(
    decay: float, seed: int
) -> None:
    run = steps_of_sgd(decay, seed)
    rate, delta = run["learning_rate"].max(), run["cosine_distance"].max()
    found = theory.jump_condition_error(run)
    assert found <= 1.2 * max(0.75 * delta, rate * decay / (1 - rate * decay))
    # With a cosine distance that is larger by a factor, by the root of it.
    longer = run.assign(cosine_distance=4 * run["cosine_distance"])
    assert theory.jump_condition_error(longer) == pytest.approx(1, abs=2 * found)
    # Only phase B counts.
    run.loc[::3, "phase"] = "C"
    run.loc[run["phase"] == "C", "cosine_distance"] *= 50
    assert theory.jump_condition_error(run) <= found


def test_what_cannot_be_measured_is_nothing() -> None:
    run = steps_of_sgd(0.1, 0)
    assert math.isnan(theory.norm_prediction_error(run.iloc[:1], weight_decay=0.1))
    assert math.isnan(theory.norm_prediction_error(run.iloc[:0], weight_decay=0.1))
    assert math.isnan(theory.jump_condition_error(run.assign(phase="none")))
    for column in ("weight_norm", "effective_gradient_norm", "cosine_distance"):
        bad = run.copy()
        bad.loc[20, column] = math.nan
        assert math.isnan(theory.jump_condition_error(bad))
        if column != "cosine_distance":
            assert math.isnan(theory.norm_prediction_error(bad, weight_decay=0.1))
    for column in ("effective_gradient_norm", "cosine_distance"):
        still = run.copy()
        still.loc[20, column] = 0
        assert math.isnan(theory.jump_condition_error(still))


def test_two_runs_are_not_mixed() -> None:
    periods = pd.concat([table_of_period(), table_of_period().assign(run=1)])
    with pytest.raises(PerigeeError, match="2 runs"):
        theory.norm_prediction_error(periods, weight_decay=0.01)
    with pytest.raises(PerigeeError, match="2 runs"):
        theory.jump_condition_error(periods)
