"""perigee.analysis.scale_invariant_steps against the iteration in polar coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.analysis import scale_invariant_steps


@settings(max_examples=30)
@given(
    rate=st.floats(0.01, 2),
    decay=st.floats(0, 0.4),
    radius=st.floats(0.5, 3),
    angle=st.floats(0.1, 1.4),
    steps=st.integers(1, 5),
)
def test_rows_are_the_iteration(
    rate: float, decay: float, radius: float, angle: float, steps: int
) -> None:
    start = [radius * np.cos(angle), radius * np.sin(angle)]
    table = scale_invariant_steps.tabulate(
        [], learning_rate=rate, weight_decay=decay, start=start, steps=steps
    )
    assert table["step"].tolist() == list(range(steps + 1))
    for row in table.itertuples():
        # f = cos^2(angle): the gradient is -sin(2 angle) / radius along the tangent.
        radius, angle = np.hypot(row.x, row.y), np.arctan2(row.y, row.x)
        assert row.value == pytest.approx(np.cos(angle) ** 2, rel=1e-10)
        tangential = rate * np.sin(2 * angle) / radius
        expected = (
            -tangential * np.sin(angle),
            tangential * np.cos(angle),
            -rate * decay * row.x,
            -rate * decay * row.y,
        )
        found = (
            row.gradient_step_x,
            row.gradient_step_y,
            row.decay_step_x,
            row.decay_step_y,
        )
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    # Each point is the one before plus its two steps, and the first is the start.
    points = table[["x", "y"]].to_numpy()
    moves = table[["gradient_step_x", "gradient_step_y"]].to_numpy()
    moves = moves + table[["decay_step_x", "decay_step_y"]].to_numpy()
    assert points[0].tolist() == start
    np.testing.assert_allclose(points[1:], (points + moves)[:-1], rtol=1e-13, atol=1e-15)


def test_a_whole_start_is_not_rounded() -> None:
    table = scale_invariant_steps.tabulate(
        [], learning_rate=0.5, weight_decay=0.1, start=[1, 1], steps=1
    )
    # At (1, 1) the gradient is (1/2, -1/2).
    assert table["x"].tolist() == pytest.approx([1, 1 - 0.25 - 0.05])
    assert table["y"].tolist() == pytest.approx([1, 1 + 0.25 - 0.05])
