"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), from the four files that its authors publish."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.downloading import DownloadError, fetch
from perigee.errors import PerigeeError

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""The SHA-256 of the contents of the files, by name.

They are taken of what is compressed, since Debian compresses the files anew: torchvision's
checksums, with which the files of the authors were compared, are of the compressed ones."""

FOLDER = "fashion_mnist"
"""The name of the folder of these files, below the folder of downloaded files."""

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""The folder of Debian's package `PACKAGE`."""

PACKAGE = "dataset-fashion-mnist"

BORDER = 2
"""The width of the black border, in pixels, that brings the images from 28x28 to 32x32, the size
for which the papers' networks are made (our choice: the papers do not use this set)."""

CHANNEL_MEANS = (0.2860,)
CHANNEL_STDS = (0.3530,)
"""The mean and the deviation of pixels in [0, 1] over the training images, without the border (our
choice; the papers normalise CIFAR's channels likewise)."""

CLASSES = 10


def build(sources: Path, download: bool) -> ArrayDataset:
    """The 60,000 training and 10,000 test images, 1x32x32 with a black border, in 10 classes.

    Each file is taken from the folder `FOLDER`, compressed or not; where it has none, from
    Debian's package; otherwise it is downloaded into that folder.

    Args:
        sources: folder of downloaded files; only missing files are ever written there.
        download: whether missing files may be downloaded.

    Raises:
        PerigeeError: a file is missing and cannot be obtained, or has a wrong checksum.
    """
    folder = sources / FOLDER
    try:
        files = {name: _file(name, folder) for name in SHA256}
        missing = [path for path in files.values() if not path.is_file()]
        if missing:
            _fetch(missing, folder, download)
        arrays = {name: _array(_verified(path, SHA256[name])) for name, path in files.items()}
    except PerigeeError as error:
        raise PerigeeError(f"Data set 'fashion_mnist': {error}") from error
    except OSError as error:
        raise PerigeeError(
            f"Data set 'fashion_mnist': its files in {folder} (key 'data' of config/config.yaml) "
            f"cannot be written or read ({error}); make room, mend the folder's permissions or "
            "give another folder."
        ) from error
    return ArrayDataset(
        splits={
            split: ArraySplit(
                _with_border(arrays[f"{prefix}-images-idx3-ubyte"]),
                arrays[f"{prefix}-labels-idx1-ubyte"],
            )
            for split, prefix in (("train", "train"), ("test", "t10k"))
        },
        classes=CLASSES,
        channel_means=tuple(255 * mean for mean in CHANNEL_MEANS),
        channel_stds=tuple(255 * std for std in CHANNEL_STDS),
        origin="Fashion-MNIST (Zalando SE, MIT licence), checksums verified",
    )


def _file(name: str, folder: Path) -> Path:
    """The file to be read, or to be downloaded if there is none."""
    compressed = folder / f"{name}.gz"
    places = (compressed, folder / name, DEBIAN / f"{name}.gz")
    return next((path for path in places if path.is_file()), compressed)


def _fetch(missing: Sequence[Path], folder: Path, download: bool) -> None:
    """Download files from where torchvision does."""
    names = ", ".join(path.name for path in missing)
    lacking = (
        f"neither folder {folder} (key 'data' of config/config.yaml) nor Debian's package "
        f"{PACKAGE} ({DEBIAN}) has {names}"
    )
    if not download:
        raise PerigeeError(
            f"{lacking}, and key 'download' is false; put that into the folder, install the "
            "package or set 'download: true'."
        )
    from torchvision.datasets import FashionMNIST

    for path in missing:
        url = f"{FashionMNIST.mirrors[0]}{path.name}"
        try:
            fetch(url, path)
        except DownloadError as error:
            raise PerigeeError(
                f"{lacking}, and downloading {url} failed ({error}); connect to the network and "
                "run again, which goes on where it stopped, put that into the folder or install "
                "the package."
            ) from error


def _verified(path: Path, sha256: str) -> bytes:
    """The uncompressed content of a file with the right checksum."""
    stored = path.read_bytes()
    try:
        content = gzip.decompress(stored) if path.suffix == ".gz" else stored
    except (EOFError, gzip.BadGzipFile, zlib.error):
        content = b""  # whose checksum is wrong
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PerigeeError(
            f"{path} has a wrong checksum, so it is truncated or is another file; delete it and "
            "run again, or put the right one in its place."
        )
    return content


def _array(content: bytes) -> np.ndarray:
    """The array in an idx file of bytes.

    The fourth byte is the number of dimensions; their sizes follow as big-endian integers of 4
    bytes, then the elements.
    """
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)
    elements = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return elements.reshape([int(size) for size in shape])


def _with_border(images: np.ndarray) -> np.ndarray:
    """Images (images, height, width) as one channel, with `BORDER` black pixels on each side."""
    border = (BORDER, BORDER)
    return np.pad(images[:, None], ((0, 0), (0, 0), border, border))
