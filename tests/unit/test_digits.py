"""perigee.data.digits against scikit-learn's own arrays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from perigee.data import digits
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError

UNUSED = Path("/nonexistent")


@pytest.fixture(scope="module")
def built() -> ArrayDataset:
    return digits.build(UNUSED, download=False)


def counted(images: np.ndarray, labels: np.ndarray) -> Counter[tuple[bytes, int]]:
    pairs = zip(images, labels, strict=True)
    return Counter((image.astype(np.uint8).tobytes(), int(label)) for image, label in pairs)


def test_sizes_and_types(built: ArrayDataset) -> None:
    assert built.splits["train"].images.shape == (1437, 1, 8, 8)
    assert built.splits["test"].images.shape == (360, 1, 8, 8)
    assert built.splits["train"].labels.shape == (1437,)
    assert built.splits["test"].labels.shape == (360,)
    arrays = (
        built.splits["train"].images,
        built.splits["test"].images,
        built.splits["train"].labels,
        built.splits["test"].labels,
    )
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}
    assert built.classes == 10
    assert built.image_shape == (1, 8, 8)


def test_the_split_parts_scikit_learns_images(built: ArrayDataset) -> None:
    bunch = load_digits()
    train = counted(built.splits["train"].images, built.splits["train"].labels)
    test = counted(built.splits["test"].images, built.splits["test"].labels)
    everything = counted(bunch.images, bunch.target)
    # No image occurs twice, so the two parts can be told to be disjoint.
    assert max(everything.values()) == 1
    assert train + test == everything
    assert not train & test


def test_the_split_is_stratified(built: ArrayDataset) -> None:
    everywhere = np.bincount(load_digits().target)
    expected = everywhere * 360 / 1797
    assert np.abs(np.bincount(built.splits["test"].labels) - expected).max() < 1


def test_the_split_is_fixed(built: ArrayDataset) -> None:
    np.random.seed(1)
    again = digits.build(UNUSED, download=False)
    assert np.array_equal(again.splits["train"].images, built.splits["train"].images)
    assert np.array_equal(again.splits["test"].labels, built.splits["test"].labels)


def test_another_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "SPLIT_SEED", 1)
    with pytest.raises(PerigeeError, match=r"'digits'.*wrong checksum"):
        digits.build(UNUSED, download=False)


def test_mean_and_deviation_are_those_of_the_training_pixels(built: ArrayDataset) -> None:
    pixels = built.splits["train"].images.astype(np.float64).ravel()
    mean = pixels.sum() / pixels.size
    assert built.channel_means == pytest.approx((mean,), rel=1e-12)
    variance = ((pixels - mean) ** 2).sum() / pixels.size
    assert built.channel_stds == pytest.approx((variance**0.5,), rel=1e-12)


@pytest.mark.parametrize("changed", ["images", "target"])
def test_other_images_or_labels_are_refused(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = load_digits()
    bunch[changed] = bunch[changed].copy()
    bunch[changed].flat[100] += 1
    monkeypatch.setattr(digits, "load_digits", lambda: bunch)
    with pytest.raises(PerigeeError, match=r"'digits'.*wrong checksum.*install"):
        digits.build(UNUSED, download=False)
