"""perigee.dynamics.layers against exact rational arithmetic and planted rotations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from perigee.dynamics.layers import Layers

Floats = NDArray[np.floating[Any]]

CPU = torch.device("cpu")
PRECISIONS = {
    # Of every number; of the angle, and of |w_{t+1} - w_t| / |w_{t+1}|, as `quantities` states.
    np.float32: {"sums": 1e-6, "angle": 1e-6, "change": 2e-7},
    np.float64: {"sums": 1e-14, "angle": 1e-14, "change": 4e-16},
}
seeds = st.integers(0, 2**31)
precisions = st.sampled_from(list(PRECISIONS))
tensor_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)
multiples = st.sampled_from([1, 2, 9])  # of all lengths: rows of several numbers


@pytest.fixture(autouse=True, scope="module")
def _only_deterministic_operations() -> Iterator[None]:
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode(before)


def split(vector: Floats, lengths: list[int]) -> list[Floats]:
    return np.split(vector, np.cumsum(lengths)[:-1])


def measure(lengths: list[int], *vectors: Floats) -> Floats:
    result = Layers(lengths, CPU).quantities(*(torch.from_numpy(vector) for vector in vectors))
    assert result.dtype == torch.float64
    return result.numpy()


@pytest.fixture(autouse=True, params=["by the device", "all at once"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test holds for tensors one by one, as on a CPU, and for all at once, as on a GPU."""
    if request.param == "all at once":
        monkeypatch.setattr(Layers, "quantities", Layers.all_at_once)


def exact_product(first: Floats, second: Floats) -> Fraction:
    return sum(
        (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(first, second, strict=True)),
        start=Fraction(0),
    )


def exact_norm(vector: Floats) -> float:
    return math.sqrt(exact_product(vector, vector))


def exact_angle(before: Floats, after: Floats) -> float:
    """The angle from cosine and sine; without rounding, the squared sine has no cancellation."""
    inner = exact_product(before, after)
    squares = exact_product(before, before) * exact_product(after, after)
    return math.atan2(math.sqrt((squares - inner**2) / squares), inner / math.sqrt(squares))


def rotated(weights: Floats, angle: float, factor: float, generator: np.random.Generator) -> Floats:
    """factor * (cos(angle) w + sin(angle) |w| u), u a random unit vector orthogonal to w; float64.

    A tensor of one number has no such u; it is multiplied by the factor.
    """
    weights = weights.astype(np.float64)
    if len(weights) == 1:
        return factor * weights
    direction = weights / np.linalg.norm(weights)
    across = generator.normal(size=len(weights))
    for _ in range(2):  # a second time: the first leaves a rounding error along w
        across -= (across @ direction) * direction
        across /= np.linalg.norm(across)
    turned = np.cos(angle) * weights + np.sin(angle) * np.linalg.norm(weights) * across
    return factor * turned


def step(
    lengths: list[int],
    angles: list[float],
    factors: list[float],
    precision: type[Floats],
    seed: int,
    scale: float = 1.0,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights before, rotated weights, a gradient and a velocity, each rounded to ``precision``."""
    generator = np.random.default_rng(seed)
    total = sum(lengths)
    before = (scale * generator.normal(size=total)).astype(precision)
    after = np.concatenate(
        [
            rotated(part, angle, factor, generator)
            for part, angle, factor in zip(split(before, lengths), angles, factors, strict=True)
        ]
    ).astype(precision)
    gradient, velocity = generator.normal(size=(2, total)).astype(precision)
    return before, after, gradient, velocity


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    lengths=tensor_lengths,
    multiple=multiples,
    precision=precisions,
    with_velocity=st.booleans(),
    scale=st.floats(1e-3, 1e3),
    seed=seeds,
)
def test_every_quantity_is_what_exact_arithmetic_makes_of_the_same_numbers(
    data: st.DataObject,
    lengths: list[int],
    multiple: int,
    precision: type[Floats],
    with_velocity: bool,
    scale: float,
    seed: int,
) -> None:
    lengths = [multiple * length for length in lengths]
    angles = [data.draw(st.floats(-8, math.log10(3)).map(lambda x: 10**x)) for _ in lengths]
    factors = [data.draw(st.floats(0.1, 10)) for _ in lengths]
    vectors = step(lengths, angles, factors, precision, seed, scale)
    if not with_velocity:
        vectors = vectors[:3]

    measured = measure(lengths, *vectors)

    assert measured.shape == (len(lengths), len(vectors))
    relative = PRECISIONS[precision]
    parts = zip(*(split(vector, lengths) for vector in vectors), strict=True)
    for row, (before, after, gradient, *velocity) in zip(measured, parts, strict=True):
        weight_norm, gradient_norm, angle, *product = row
        assert weight_norm == pytest.approx(exact_norm(before), rel=relative["sums"])
        assert gradient_norm == pytest.approx(exact_norm(gradient), rel=relative["sums"])
        change = exact_norm(after.astype(np.float64) - before) / exact_norm(after)
        expected = exact_angle(before, after)
        assert abs(angle - expected) <= relative["angle"] * expected + relative["change"] * change
        for value, vector in zip(product, velocity, strict=True):
            expected = float(exact_product(vector, gradient))
            sizes = exact_norm(vector) * exact_norm(gradient)
            assert abs(value - expected) <= relative["sums"] * sizes


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log_angle=st.floats(-8, math.log10(3)),
    factor=st.floats(0.5, 2),
    length=st.integers(2, 300),
    seed=seeds,
)
def test_a_planted_rotation_is_found_in_float64(
    log_angle: float, factor: float, length: int, seed: int
) -> None:
    angle = 10**log_angle
    vectors = step([length], [angle], [factor], np.float64, seed)
    # What rounding the rotated weights does to the angle: 1e-16 absolutely, not relatively.
    assert measure([length], *vectors)[0, 2] == pytest.approx(angle, rel=1e-13, abs=5e-16)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log_angle=st.floats(-6, math.log10(3)),
    decay=st.sampled_from([0.0, 1e-5, 1e-4, 1e-3]),
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=4),
    seed=seeds,
)
def test_weight_decay_in_the_same_step_leaves_small_angles_their_digits_in_float32(
    log_angle: float, decay: float, lengths: list[int], seed: int
) -> None:
    angles = [10**log_angle] * len(lengths)
    vectors = step(lengths, angles, [1 - decay] * len(lengths), np.float32, seed)
    measured = measure(lengths, *vectors)[:, 2]
    before, after = (split(vector, lengths) for vector in vectors[:2])
    for angle, first, second in zip(measured, before, after, strict=True):
        expected = exact_angle(first, second)
        assert angle == pytest.approx(expected, rel=2e-6, abs=2.5e-10)


def test_the_arccos_of_a_float32_cosine_would_not_pass() -> None:
    # That is, the tests above ask for more than the definition gives when taken literally.
    before, after, *_ = step([40], [1e-5], [1.0], np.float32, 0)
    cosine = before @ after / np.sqrt((before @ before) * (after @ after))
    literal = np.arccos(np.minimum(cosine, np.float32(1)))
    assert abs(literal - exact_angle(before, after)) > 1e-6


@pytest.mark.parametrize("lengths", [[9408, 4096, 36864, 262144], [300_000], [99_991, 7]])
def test_long_tensors_lose_no_digits_in_float32(lengths: list[int]) -> None:
    vectors = step(lengths, [1e-4] * len(lengths), [1 - 1e-3] * len(lengths), np.float32, 5)
    measured = measure(lengths, *vectors)
    before, after, gradient, velocity = (
        split(vector.astype(np.float64), lengths) for vector in vectors
    )
    for i in range(len(lengths)):
        norm = np.linalg.norm(before[i])
        direction = before[i] / norm
        across = after[i] - (after[i] @ direction) * direction
        angle = np.arctan2(np.linalg.norm(across), after[i] @ direction)
        gradient_norm = np.linalg.norm(gradient[i])
        product = velocity[i] @ gradient[i]
        tolerance = [
            1e-7 * norm,
            1e-7 * gradient_norm,
            1e-6 * angle,
            1e-7 * gradient_norm * np.linalg.norm(velocity[i]),
        ]
        error = np.abs(measured[i] - [norm, gradient_norm, angle, product])
        assert (error <= tolerance).all(), (lengths[i], error, tolerance)


def test_zero_vectors() -> None:
    weights, zero = np.array([1.0, 2.0, 2.0]), np.zeros(3)
    before = np.concatenate((weights, zero, zero, weights, weights))
    after = np.concatenate((zero, weights, zero, weights, -weights))
    gradient = np.concatenate((zero, weights, weights, weights, weights))
    expected = [
        [3, 0, 0],  # w_{t+1} = 0
        [0, 3, math.nan],  # w_t = 0
        [0, 3, math.nan],
        [3, 3, 0],  # no step
        [3, 3, math.pi],
    ]
    for precision in PRECISIONS:
        vectors = (vector.astype(precision) for vector in (before, after, gradient))
        np.testing.assert_allclose(measure([3] * 5, *vectors), expected, rtol=1e-7)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_tensor_that_is_not_finite_spoils_no_other(bad: float) -> None:
    lengths = [6, 9, 3]
    vectors = step(lengths, [0.1] * 3, [1.0] * 3, np.float32, 2)
    good = measure(lengths, *vectors)
    for vector in vectors:
        vector[7] = bad
    spoilt = measure(lengths, *vectors)
    np.testing.assert_array_equal(spoilt[[0, 2]], good[[0, 2]])
    assert not np.isfinite(spoilt[1]).any()


def test_without_tensors_there_is_nothing() -> None:
    assert Layers([], CPU).quantities(*(torch.empty(0) for _ in range(3))).shape == (0, 3)


class Recorded(TorchDispatchMode):
    """A context that records the ATen operations called in it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.operations.add(func.overloadpacket.__name__)
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.shapes.append(tuple(result.shape))
        return result


def recorded(lengths: list[int], vectors: tuple[Floats, ...]) -> Recorded:
    layers = Layers(lengths, CPU)
    with Recorded() as record:
        layers.all_at_once(*(torch.from_numpy(vector) for vector in vectors))
    return record


@pytest.mark.parametrize("arguments", [3, 4])
def test_nothing_waits_for_the_device_and_no_shape_depends_on_values(arguments: int) -> None:
    lengths = [72, 144, 9]
    vectors = step(lengths, [0.1] * 3, [1.0] * 3, np.float32, 3)[:arguments]
    record = recorded(lengths, vectors)
    waiting = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"}
    waiting |= {"index", "unique", "copy_"}
    assert "segment_reduce" in record.operations
    assert not record.operations & waiting
    zeros = tuple(np.zeros_like(vector) for vector in vectors)
    assert recorded(lengths, zeros).shapes == record.shapes


def test_more_tensors_need_no_more_operations() -> None:
    few = recorded([9, 18], step([9, 18], [0.1] * 2, [1.0] * 2, np.float32, 4))
    many = recorded([9] * 50, step([9] * 50, [0.1] * 50, [1.0] * 50, np.float32, 4))
    assert len(many.shapes) == len(few.shapes)


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_steps_measured_together_give_the_same_bits(precision: type[Floats]) -> None:
    lengths = [72, 1152, 4608]
    steps = [step(lengths, [1e-3] * 3, [0.999] * 3, precision, seed) for seed in range(5)]
    one_by_one = [measure(lengths, *vectors) for vectors in steps]
    together = measure(lengths * 5, *(np.concatenate(parts) for parts in zip(*steps, strict=True)))
    np.testing.assert_array_equal(together, np.concatenate(one_by_one))


def test_arguments_are_left_as_they_are() -> None:
    vectors = step([9, 18], [0.1] * 2, [0.9] * 2, np.float64, 6)
    copies = [vector.copy() for vector in vectors]
    first = measure([9, 18], *vectors)
    for vector, copy in zip(vectors, copies, strict=True):
        np.testing.assert_array_equal(vector, copy)
    np.testing.assert_array_equal(measure([9, 18], *vectors), first)
