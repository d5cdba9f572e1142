"""perigee.data.cifar on small files of the real format."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, cifar

from perigee.data.cifar import build_cifar10
from perigee.errors import PerigeeError

IMAGES_IN_A_FILE = 4
TRAIN_FILES = [f"data_batch_{number}" for number in range(1, 6)]


def write(folder: Path, name: str, content: object) -> tuple[str, str]:
    """A pickled file and its checksum."""
    path = folder / CIFAR10.base_folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return name, hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Batches as they are on disk: of each image 1024 red, then green, then blue bytes."""
    generator = np.random.default_rng(0)
    batches = {}
    checksums = []
    for name in [*TRAIN_FILES, "test_batch"]:
        batches[name] = {
            "data": generator.integers(0, 256, (IMAGES_IN_A_FILE, 3072), dtype=np.uint8),
            "labels": generator.integers(0, 10, IMAGES_IN_A_FILE).tolist(),
        }
        checksums.append(write(tmp_path, name, batches[name]))
    names = [f"class {number}" for number in range(10)]
    _, meta_checksum = write(tmp_path, "batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "train_list", checksums[:-1])
    monkeypatch.setattr(CIFAR10, "test_list", checksums[-1:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": meta_checksum})
    return batches


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise URLError("no network in this test")

    monkeypatch.setattr(cifar, "download_and_extract_archive", refuse)


@pytest.mark.usefixtures("no_network")
def test_images_and_labels_are_those_of_the_files(files: dict[str, dict], tmp_path: Path) -> None:
    built = build_cifar10(tmp_path)
    assert built.train_images.shape == (5 * IMAGES_IN_A_FILE, 3, 32, 32)
    assert built.test_images.shape == (IMAGES_IN_A_FILE, 3, 32, 32)
    for name, images, labels in (
        *zip(
            TRAIN_FILES,
            np.split(built.train_images, 5),
            np.split(built.train_labels, 5),
            strict=True,
        ),
        ("test_batch", built.test_images, built.test_labels),
    ):
        for image, stored in zip(images, files[name]["data"], strict=True):
            for channel in range(3):
                plane = stored[1024 * channel : 1024 * (channel + 1)]
                rows = [plane[32 * row : 32 * (row + 1)] for row in range(32)]
                assert np.array_equal(image[channel], np.stack(rows))
        assert labels.tolist() == files[name]["labels"]
        assert images.dtype == labels.dtype == np.uint8


@pytest.mark.usefixtures("files", "no_network")
def test_channels_are_normalised_as_in_the_papers(tmp_path: Path) -> None:
    built = build_cifar10(tmp_path)
    assert built.classes == 10
    assert built.image_shape == (3, 32, 32)
    # figures.md: (0.4914, 0.4822, 0.4465) and (0.2023, 0.1994, 0.2010) of pixels in [0, 1].
    assert built.channel_means == pytest.approx((125.307, 122.961, 113.8575), rel=1e-12)
    assert built.channel_stds == pytest.approx((51.5865, 50.847, 51.255), rel=1e-12)


@pytest.mark.usefixtures("no_network")
def test_files_neither_there_nor_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match=r"'cifar10'.*no network.*cifar-10-python\.tar\.gz"):
        build_cifar10(tmp_path)


@pytest.mark.usefixtures("files", "no_network")
def test_a_damaged_file_is_not_read(tmp_path: Path) -> None:
    damaged = tmp_path / CIFAR10.base_folder / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    with pytest.raises(PerigeeError, match=r"does not hold the verified files"):
        build_cifar10(tmp_path)


@pytest.mark.usefixtures("files", "no_network")
def test_damaged_class_names_are_reported(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.base_folder / "batches.meta").unlink()
    with pytest.raises(PerigeeError, match="cifar10"):
        build_cifar10(tmp_path)
