"""A split whose images stay files: a folder with one sub-folder per class.

The folder is listed once; the listing then settles which image has which number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from perigee.errors import PerigeeError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""The endings of image file names, in small or capital letters."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""The formats that images are decoded as, whatever their names: ImageNet has a PNG file named JPEG.
Pillow's other decoders are left out, since some run programs on a file's content."""

ARRAYS = ("path_bytes", "path_ends", "labels", "sizes")


@dataclass(frozen=True, eq=False)
class FileSplit:
    """The images of one split, in the order that numbers them.

    Attributes:
        classes: their names, in the order of their labels.
        path_bytes: uint8, all paths one after the other, as the file system encodes them; they are
            relative to the split's folder. A million Python strings would take three times the
            memory, and worker processes could not share it.
        path_ends: int64, (images,), where each path ends in ``path_bytes``.
        labels: int64, (images,), classes counted from 0.
        sizes: int64, (images,), the files' sizes in bytes.
    """

    classes: tuple[str, ...]
    path_bytes: np.ndarray
    path_ends: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of_files(
        cls,
        classes: Iterable[str],
        paths: Iterable[str],
        labels: Iterable[int],
        sizes: Iterable[int],
    ) -> FileSplit:
        """Make a split of files given one by one; see the attributes."""
        encoded = [os.fsencode(path) for path in paths]
        return cls(
            classes=tuple(classes),
            path_bytes=np.frombuffer(b"".join(encoded), dtype=np.uint8),
            path_ends=np.cumsum([len(path) for path in encoded], dtype=np.int64),
            labels=np.fromiter(labels, dtype=np.int64),
            sizes=np.fromiter(sizes, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, number: int) -> str:
        """The path of an image, relative to the split's folder.

        Args:
            number: the image's number, from 0 to ``len(self) - 1``.
        """
        start = self.path_ends[number - 1] if number else 0
        return os.fsdecode(self.path_bytes[start : self.path_ends[number]].tobytes())

    def taken(self, numbers: np.ndarray) -> FileSplit:
        """Return the split restricted to the images with the given numbers, in that order."""
        paths = [self.path(number) for number in numbers]
        return FileSplit.of_files(self.classes, paths, self.labels[numbers], self.sizes[numbers])

    def save(self, path: Path) -> None:
        """Write one safetensors file: the four arrays, and the names of classes as metadata."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        save_file(arrays, path, metadata={"classes": json.dumps(self.classes)})

    @classmethod
    def load(cls, path: Path) -> FileSplit:
        """Read what `save` wrote.

        Raises:
            PerigeeError: the file is truncated or not of this format.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                classes = tuple(json.loads(file.metadata()["classes"]))
                arrays = {name: file.get_tensor(name) for name in ARRAYS}
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise PerigeeError(
                f"{path} is not a readable listing of images ({error}); delete its folder and run "
                "again to have it made anew."
            ) from error
        return cls(classes, **arrays)


def list_split(folder: Path) -> FileSplit:
    """List a folder with one sub-folder per class, as torchvision's ``ImageFolder`` reads it.

    Classes are sorted by name, and so are the images of each (by code points, whatever the locale).
    Hidden files and folders are ignored, and so are files not named as images. Unlike with
    torchvision, images must be directly in their class's folder: else the folder above the splits
    would pass as a split whose classes are "train" and "val".

    Args:
        folder: the split's folder.

    Raises:
        PerigeeError: the folder or a class in it is missing, unreadable, empty or has sub-folders.
    """
    if not folder.is_dir():
        raise PerigeeError(
            f"There is no folder {folder}; give the folder of a split, which holds one sub-folder "
            "of images a class."
        )
    try:
        classes = [entry.name for entry in _visible(folder) if entry.is_dir()]
        if not classes:
            raise PerigeeError(
                f"{folder} has no sub-folders; give the folder of a split, which holds one "
                "sub-folder of images a class."
            )
        images = [_images_of_class(folder / name) for name in classes]
    except OSError as error:
        raise PerigeeError(
            f"{folder} cannot be listed ({error}); mend its permissions or links, or remove what "
            "cannot be read."
        ) from error
    return FileSplit.of_files(
        classes,
        (
            f"{name}/{file}"
            for name, files in zip(classes, images, strict=True)
            for file, _ in files
        ),
        (label for label, files in enumerate(images) for _ in files),
        (size for files in images for _, size in files),
    )


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, sorted by name."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _images_of_class(folder: Path) -> list[tuple[str, int]]:
    """The names and sizes in bytes of a class's images; a broken link raises OSError."""
    entries = _visible(folder)
    for entry in entries:
        if entry.is_dir():
            raise PerigeeError(
                f"{entry.path} is a folder, but the images of class '{folder.name}' must lie "
                f"directly in {folder}; move them there, or, if it is itself a class, give "
                f"{folder} as the folder of the split."
            )
    images = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    if not images:
        raise PerigeeError(
            f"Class '{folder.name}' has no images: {folder} holds no file named "
            f"{', '.join(f'*{suffix}' for suffix in SUFFIXES)}; put its images there or remove it."
        )
    return [(entry.name, entry.stat().st_size) for entry in images]


def read_image(path: Path, size: int | None = None) -> Image.Image:
    """Decode a whole image as RGB, as torchvision's ``pil_loader`` does.

    Grey levels are repeated, transparency is dropped, an orientation in EXIF data is not applied.

    Args:
        path: the file.
        size: the size that the file must have, in bytes; None accepts any.

    Raises:
        PerigeeError: the file is missing, truncated, not an image of a known format, or of another
            size.
    """
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            decoded, found = image.convert("RGB"), os.fstat(file.fileno()).st_size
    except UnidentifiedImageError:
        reason = f"its content is none of {', '.join(FORMATS)}"
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # Decoders raise many other exceptions on malformed content.
        reason = f"{type(error).__name__}: {error}"
    else:
        if size in (None, found):
            return decoded
        raise PerigeeError(
            f"{path} has {found} bytes, but had {size} when its folder was listed; put that image "
            "back, or have the folder listed anew."
        )
    raise PerigeeError(
        f"{path} is not a readable image ({reason}); put a sound copy in its place, or remove it "
        "and have the folder listed anew."
    )


def check_sample(split: FileSplit, root: Path, count: int, seed: int) -> None:
    """Decode some images, chosen at random without replacement.

    Args:
        split: the listing.
        root: the split's folder.
        count: how many images; all of them, if there are no more.
        seed: the choice depends only on it and on the number of images.

    Raises:
        PerigeeError: an image cannot be read; the first one found is named.
    """
    draws = np.random.default_rng(seed)
    for number in draws.choice(len(split), size=min(count, len(split)), replace=False):
        read_image(root / split.path(number))


def contents_digest(split: FileSplit, root: Path) -> str:
    """Compute a digest of the contents of all files, whatever their names, byte by byte.

    Args:
        split: the listing.
        root: the split's folder.

    Returns:
        The SHA-256, in hexadecimal, of the files' own SHA-256 digests (32 bytes each),
        concatenated in the listing's order.

    Raises:
        PerigeeError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for number in range(len(split)):
        path = root / split.path(number)
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise PerigeeError(
                f"{path} cannot be read ({error.strerror}); put it back, or have the folder listed "
                "anew."
            ) from error
    return digest.hexdigest()
