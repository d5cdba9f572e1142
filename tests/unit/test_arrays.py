"""perigee.data.arrays: what is saved is what is loaded, or a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from perigee.data.arrays import ARRAYS, ArrayDataset
from perigee.errors import PerigeeError


def random_dataset(seed: int, train: int = 5, test: int = 3, channels: int = 2) -> ArrayDataset:
    generator = np.random.default_rng(seed)

    def images(count: int) -> np.ndarray:
        # A transposed array, as CIFAR's are: not contiguous.
        array = generator.integers(0, 256, (count, 6, 4, channels), dtype=np.uint8)
        return array.transpose(0, 3, 1, 2)

    def labels(count: int) -> np.ndarray:
        return generator.integers(0, 7, count, dtype=np.uint8)

    return ArrayDataset(
        images(train),
        labels(train),
        images(test),
        labels(test),
        classes=7,
        channel_means=tuple(generator.normal(size=channels).tolist()),
        channel_stds=tuple(generator.uniform(0.1, 1, channels).tolist()),
        origin="zufällig, ρ",
    )


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    train=st.integers(1, 9),
    test=st.integers(1, 9),
    channels=st.integers(1, 3),
)
def test_round_trip(
    seed: int, train: int, test: int, channels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dataset = random_dataset(seed, train, test, channels)
    path = tmp_path_factory.mktemp("data") / "data.safetensors"
    dataset.save(path)
    loaded = ArrayDataset.load(path)
    for name in ARRAYS:
        saved, read = getattr(dataset, name), getattr(loaded, name)
        assert read.dtype == np.uint8
        assert np.array_equal(read, saved)
    # Floats exactly: JSON keeps every digit.
    for name in ("classes", "channel_means", "channel_stds", "origin"):
        assert getattr(loaded, name) == getattr(dataset, name)
    assert loaded.image_shape == (channels, 6, 4)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    random_dataset(0).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PerigeeError, match=r"data\.safetensors is not a readable data set.*delete"):
        ArrayDataset.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match=r"nothing\.safetensors"):
        ArrayDataset.load(tmp_path / "nothing.safetensors")


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(PerigeeError, match="not a readable data set"):
        ArrayDataset.load(path)
    save_file({"weights": np.zeros(3)}, path, metadata={"dataset": "{}"})
    with pytest.raises(PerigeeError, match="not a readable data set"):
        ArrayDataset.load(path)
