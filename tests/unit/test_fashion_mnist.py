"""perigee.data.fashion_mnist on small files of the real format."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file

from perigee.data import downloading, fashion_mnist
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError
from support.fashion_mnist import SIDE, checksums, packed, small_files, write_files

TRAIN_IMAGES = "train-images-idx3-ubyte"
NAMES = (TRAIN_IMAGES, "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte")


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, np.ndarray]:
    """The contents of the files, whose checksums are expected; Debian's package is not there."""
    made = small_files(train=30, test=20)
    monkeypatch.setattr(fashion_mnist, "SHA256", checksums(made))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "usr")
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of downloads, empty."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Serves a folder at the address from which torchvision downloads."""
    servers = []

    def start(folder: Path) -> None:
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        server = HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [address])

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(data: Path, download: bool = False) -> str:
    """The sentence with which building ends."""
    with pytest.raises(PerigeeError) as refused:
        fashion_mnist.build(data, download)
    sentence = str(refused.value)
    assert sentence.startswith("Data set 'fashion_mnist': ")
    assert "\n" not in sentence
    return sentence


def holds(built: ArrayDataset, arrays: dict[str, np.ndarray]) -> bool:
    """Return whether a data set has the images of the files, inside the border, and the labels."""
    return all(
        np.array_equal(split.images[:, 0, 2:30, 2:30], arrays[f"{prefix}-images-idx3-ubyte"])
        and np.array_equal(split.labels, arrays[f"{prefix}-labels-idx1-ubyte"])
        for split, prefix in ((built.splits["train"], "train"), (built.splits["test"], "t10k"))
    )


# What is built


@pytest.mark.parametrize("compressed", [True, False])
def test_images_and_labels_are_those_of_the_files(
    arrays: dict[str, np.ndarray], data: Path, compressed: bool
) -> None:
    write_files(data / "fashion_mnist", arrays, compressed)
    built = fashion_mnist.build(data, False)
    assert holds(built, arrays)
    assert built.classes == 10
    assert built.image_shape == (1, 32, 32)
    for split, images in (("train", 30), ("test", 20)):
        part = built.splits[split]
        assert part.images.shape == (images, 1, 32, 32)
        assert part.images.dtype == part.labels.dtype == np.uint8


def test_torchvision_reads_the_same(
    arrays: dict[str, np.ndarray], data: Path, tmp_path: Path
) -> None:
    write_files(data / "fashion_mnist", arrays)
    write_files(tmp_path / "uncompressed", arrays, compressed=False)
    built = fashion_mnist.build(data, False)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = read_image_file(str(tmp_path / f"uncompressed/{prefix}-images-idx3-ubyte"))
        labels = read_label_file(str(tmp_path / f"uncompressed/{prefix}-labels-idx1-ubyte"))
        expected = torch.nn.functional.pad(images, (2, 2, 2, 2))
        assert np.array_equal(built.splits[split].images[:, 0], expected.numpy())
        assert np.array_equal(built.splits[split].labels, labels.numpy())


def test_the_border_is_black(arrays: dict[str, np.ndarray], data: Path) -> None:
    whole = {name: np.full_like(array, 255) for name, array in arrays.items() if "images" in name}
    write_files(data / "fashion_mnist", whole | {n: a for n, a in arrays.items() if "labels" in n})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion_mnist, "SHA256", checksums(arrays | whole))
        images = fashion_mnist.build(data, False).splits["train"].images
    assert images.sum(dtype=np.int64) == 30 * SIDE * SIDE * 255
    assert not images[:, :, [0, 1, 30, 31], :].any()
    assert not images[:, :, :, [0, 1, 30, 31]].any()


def test_channels_are_normalised(arrays: dict[str, np.ndarray], data: Path) -> None:
    """0.2860 and 0.3530 of pixels in [0, 1], as commonly quoted for these images."""
    write_files(data / "fashion_mnist", arrays)
    built = fashion_mnist.build(data, False)
    assert built.channel_means == pytest.approx((72.93,), rel=1e-12)
    assert built.channel_stds == pytest.approx((90.015,), rel=1e-12)


def test_the_files_are_those_that_torchvision_knows() -> None:
    assert [f"{name}.gz" for name in fashion_mnist.SHA256] == [
        name for name, _ in FashionMNIST.resources
    ]


# Where the files come from


def test_debians_package_gives_what_the_folder_lacks(
    arrays: dict[str, np.ndarray], data: Path
) -> None:
    write_files(fashion_mnist.DEBIAN, arrays)
    assert holds(fashion_mnist.build(data, False), arrays)
    assert not list(data.iterdir())
    (fashion_mnist.DEBIAN / f"{TRAIN_IMAGES}.gz").unlink()
    write_files(data / "fashion_mnist", {TRAIN_IMAGES: arrays[TRAIN_IMAGES]}, compressed=False)
    assert holds(fashion_mnist.build(data, False), arrays)


def test_the_folder_comes_before_debians_package(arrays: dict[str, np.ndarray], data: Path) -> None:
    write_files(fashion_mnist.DEBIAN, {name: array[:1] for name, array in arrays.items()})
    write_files(data / "fashion_mnist", arrays)
    assert holds(fashion_mnist.build(data, False), arrays)


def test_only_missing_files_are_downloaded(
    arrays: dict[str, np.ndarray], data: Path, tmp_path: Path, serve: Callable[[Path], None]
) -> None:
    write_files(tmp_path / "server", arrays)
    serve(tmp_path / "server")
    write_files(fashion_mnist.DEBIAN, {name: arrays[name] for name in NAMES})
    assert holds(fashion_mnist.build(data, True), arrays)
    assert [path.name for path in (data / "fashion_mnist").iterdir()] == [
        "t10k-labels-idx1-ubyte.gz"
    ]
    assert holds(fashion_mnist.build(data, False), arrays)


# Wrong files, or none


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kept", [-20, 5, 0])
def test_a_truncated_file(
    arrays: dict[str, np.ndarray], data: Path, compressed: bool, kept: int
) -> None:
    write_files(data / "fashion_mnist", arrays, compressed)
    path = data / "fashion_mnist" / f"{TRAIN_IMAGES}{'.gz' if compressed else ''}"
    truncated = path.read_bytes()[:kept]
    path.write_bytes(truncated)
    sentence = refusal(data, download=True)
    for part in (f"{path} has a wrong checksum", "truncated", "delete it and run again"):
        assert part in sentence
    assert path.read_bytes() == truncated


@pytest.mark.parametrize("place", ["folder", "package"])
def test_another_file_under_the_name(arrays: dict[str, np.ndarray], data: Path, place: str) -> None:
    folder = data / "fashion_mnist" if place == "folder" else fashion_mnist.DEBIAN
    write_files(folder, arrays | {TRAIN_IMAGES: arrays[TRAIN_IMAGES][::-1]})
    assert f"{folder / TRAIN_IMAGES}.gz has a wrong checksum" in refusal(data)


def test_a_file_that_is_not_compressed_under_a_name_that_says_so(
    arrays: dict[str, np.ndarray], data: Path
) -> None:
    write_files(data / "fashion_mnist", arrays)
    path = data / "fashion_mnist" / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(packed(arrays[TRAIN_IMAGES]))
    assert f"{path} has a wrong checksum" in refusal(data)


def test_what_was_downloaded_is_verified(
    arrays: dict[str, np.ndarray], data: Path, tmp_path: Path, serve: Callable[[Path], None]
) -> None:
    write_files(tmp_path / "server", {name: array[:1] for name, array in arrays.items()})
    serve(tmp_path / "server")
    path = data / "fashion_mnist" / f"{TRAIN_IMAGES}.gz"
    assert f"{path} has a wrong checksum" in refusal(data, download=True)


def test_offline_and_a_file_is_missing(arrays: dict[str, np.ndarray], data: Path) -> None:
    write_files(data / "fashion_mnist", {name: arrays[name] for name in NAMES})
    sentence = refusal(data)
    for part in (
        f"neither folder {data / 'fashion_mnist'} (key 'data' of config/config.yaml) nor",
        f"Debian's package dataset-fashion-mnist ({fashion_mnist.DEBIAN}) has "
        "t10k-labels-idx1-ubyte.gz, and key 'download' is false",
        "install the package or set 'download: true'",
    ):
        assert part in sentence
    assert TRAIN_IMAGES not in sentence


def test_no_network_and_nothing_there(
    arrays: dict[str, np.ndarray], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "PAUSES", ())
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sentence = refusal(data, download=True)
    assert all(f"{name}.gz" in sentence for name in arrays)
    for part in (
        f"downloading http://127.0.0.1:9/{TRAIN_IMAGES}.gz failed (",
        "connect to the network and run again",
        "or install the package",
    ):
        assert part in sentence


def test_a_folder_that_takes_no_files(
    arrays: dict[str, np.ndarray], tmp_path: Path, serve: Callable[[Path], None]
) -> None:
    write_files(tmp_path / "server", arrays)
    serve(tmp_path / "server")
    (tmp_path / "file").touch()
    sentence = refusal(tmp_path / "file/data", download=True)
    assert "(key 'data' of config/config.yaml) cannot be written" in sentence
