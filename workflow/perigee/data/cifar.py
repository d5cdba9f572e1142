"""CIFAR-10 and CIFAR-100, python versions, read and checked by torchvision.

Files are laid out as torchvision keeps them: the archive, its unpacked folder, or both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.downloading import DownloadError, fetch
from perigee.errors import PerigeeError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

CHANNEL_MEANS = (0.4914, 0.4822, 0.4465)
CHANNEL_STDS = (0.2023, 0.1994, 0.2010)
"""Channel means and deviations of pixels in [0, 1], as in the official implementation of Lobacheva
et al. 2021, which normalises CIFAR-100 by CIFAR-10's values too."""


def build_cifar10(folder: Path, download: bool) -> ArrayDataset:
    """The 50,000 training and 10,000 test images of CIFAR-10, 3x32x32, in 10 classes.

    Args:
        folder: folder of downloaded files; only a missing archive is ever written there.
        download: whether a missing archive may be downloaded.

    Raises:
        PerigeeError: the files are missing and cannot be obtained, or have a wrong checksum.
    """
    from torchvision.datasets import CIFAR10

    return _build("cifar10", CIFAR10, folder, download)


def build_cifar100(folder: Path, download: bool) -> ArrayDataset:
    """The 50,000 training and 10,000 test images of CIFAR-100, 3x32x32, in its 100 fine classes.

    Arguments and errors are those of `build_cifar10`.
    """
    from torchvision.datasets import CIFAR100

    return _build("cifar100", CIFAR100, folder, download)


def _build(name: str, source: type[CIFAR10], folder: Path, download: bool) -> ArrayDataset:
    try:
        train, test = _verified_splits(source, folder, download)
    except PerigeeError as error:
        raise PerigeeError(f"Data set '{name}': {error}") from error
    except OSError as error:
        raise PerigeeError(
            f"Data set '{name}': its files in {folder} (key 'data' of config/config.yaml) cannot "
            f"be written, unpacked or read ({error}); make room, mend the folder's permissions or "
            "give another folder."
        ) from error
    return ArrayDataset(
        splits={
            name: ArraySplit(_channels_first(part.data), np.array(part.targets, dtype=np.uint8))
            for name, part in (("train", train), ("test", test))
        },
        classes=len(train.classes),
        channel_means=tuple(255 * mean for mean in CHANNEL_MEANS),
        channel_stds=tuple(255 * std for std in CHANNEL_STDS),
        origin=f"{source.filename}, checksums verified by torchvision",
    )


def _verified_splits(
    source: type[CIFAR10], folder: Path, download: bool
) -> tuple[CIFAR10, CIFAR10]:
    """Training and test set, from the unpacked folder if it is complete, else from the archive.

    torchvision, too, compares a file's checksum before it unpickles the file; it is compared here
    first so that the message can name the file.
    """
    from torchvision.datasets.utils import extract_archive

    if _is_unpacked(source, folder):
        return source(folder, train=True), source(folder, train=False)
    archive = folder / source.filename
    if not archive.is_file():
        _fetch_archive(source, folder, download)
    _require_checksum(archive, source.tgz_md5)
    # Unpacked elsewhere: an interruption then leaves no incomplete folder, and the folder
    # of downloads may be read-only.
    with tempfile.TemporaryDirectory(prefix="perigee-") as unpacked:
        extract_archive(archive, unpacked)
        return source(unpacked, train=True), source(unpacked, train=False)


def _is_unpacked(source: type[CIFAR10], folder: Path) -> bool:
    """Return whether all files are there; each one that is there must have the right checksum."""
    meta = (source.meta["filename"], source.meta["md5"])
    files = [*source.train_list, *source.test_list, meta]
    found = [(folder / source.base_folder / name, md5) for name, md5 in files]
    found = [(path, md5) for path, md5 in found if path.is_file()]
    for path, md5 in found:
        _require_checksum(path, md5)
    return len(found) == len(files)


def _require_checksum(path: Path, md5: str) -> None:
    from torchvision.datasets.utils import check_integrity

    if not check_integrity(path, md5):
        raise PerigeeError(
            f"{path} has a wrong checksum, so it is truncated or is another file; delete it and "
            "run again, or put the right one in its place."
        )


def _fetch_archive(source: type[CIFAR10], folder: Path, download: bool) -> None:
    lacking = (
        f"folder {folder} (key 'data' of config/config.yaml) holds neither {source.filename} nor "
        f"all files of {source.base_folder}"
    )
    if not download:
        raise PerigeeError(
            f"{lacking}, and key 'download' is false; put {source.filename} there or set "
            "'download: true'."
        )
    try:
        fetch(source.url, folder / source.filename)
    except DownloadError as error:
        raise PerigeeError(
            f"{lacking}, and downloading {source.url} failed ({error}); connect to the network and "
            f"run again, which goes on where it stopped, or put {source.filename} there."
        ) from error


def _channels_first(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
