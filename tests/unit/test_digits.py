"""perigee.data.digits against scikit-learn's own arrays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from perigee.blocks.datasets import Digits
from perigee.data import digits
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError

UNUSED = Path("/nonexistent")


def with_images(train_images: int) -> ArrayDataset:
    return digits.build(UNUSED, download=False, train_images=train_images)


@pytest.fixture(scope="module", params=[300, 400, 1437])
def built(request: pytest.FixtureRequest) -> ArrayDataset:
    return with_images(request.param)


def counted(images: np.ndarray, labels: np.ndarray) -> Counter[tuple[bytes, int]]:
    pairs = zip(images, labels, strict=True)
    return Counter((image.astype(np.uint8).tobytes(), int(label)) for image, label in pairs)


@pytest.mark.parametrize(("train", "test"), [(300, 1497), (400, 1397), (1437, 360)])
def test_sizes_and_types(train: int, test: int) -> None:
    built = with_images(train)
    assert built.splits["train"].images.shape == (train, 1, 8, 8)
    assert built.splits["test"].images.shape == (test, 1, 8, 8)
    assert built.splits["train"].labels.shape == (train,)
    assert built.splits["test"].labels.shape == (test,)
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
    expected = everywhere * len(built.splits["test"]) / 1797
    assert np.abs(np.bincount(built.splits["test"].labels) - expected).max() < 1


def test_the_split_is_fixed(built: ArrayDataset) -> None:
    np.random.seed(1)
    again = with_images(len(built.splits["train"]))
    assert np.array_equal(again.splits["train"].images, built.splits["train"].images)
    assert np.array_equal(again.splits["test"].labels, built.splits["test"].labels)


@pytest.mark.parametrize("train_images", digits.SHA256)
def test_another_split_is_refused(train_images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "SPLIT_SEED", 1)
    with pytest.raises(PerigeeError, match=r"'digits'.*wrong checksum"):
        with_images(train_images)


@pytest.mark.parametrize(
    ("train_images", "low", "high"), [(300, 0.045, 0.05), (400, 0.028, 0.037), (1437, 0.01, 0.02)]
)
def test_with_fewer_images_the_error_of_the_nearest_neighbour_is_larger(
    train_images: int, low: float, high: float
) -> None:
    """So a test error can be read: 4.7 % are 70 images, 3.1 % are 43, 1.7 % are 6."""
    train, test = (with_images(train_images).splits[name] for name in ("train", "test"))
    classifier = KNeighborsClassifier(1, algorithm="brute", n_jobs=1)
    classifier.fit(train.images.reshape(len(train), -1), train.labels)
    found = 1 - classifier.score(test.images.reshape(len(test), -1), test.labels)
    assert low < found < high


def test_the_plan_knows_how_many_there_are(built: ArrayDataset) -> None:
    images = len(built.splits["train"])
    assert Digits(train_images=images).train_images == images
    assert Digits().train_images == 1437


def test_other_numbers_of_images_are_refused() -> None:
    with pytest.raises(ValidationError, match="300, 400 or 1437"):
        Digits(train_images=350)


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
        with_images(1437)
