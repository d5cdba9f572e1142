"""The description of a data set in its product, which saves reading the images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from perigee.blocks.datasets import Storage
from perigee.errors import PerigeeError

MANIFEST = "manifest.json"


class FileDetails(BaseModel):
    """Details that only a data set whose images stay files has.

    Attributes:
        folders: absolute paths of the splits' folders, by split.
        bytes: the size of all files together, by split.
        resize: see `perigee.blocks.datasets.ImageFolder`; not None.
        contents_sha256: digests of the contents, by split, as computed by
            `perigee.data.image_folder.contents_digest`; None if they were not requested.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: Mapping[str, str]
    bytes: Mapping[str, int]
    resize: int
    contents_sha256: Mapping[str, str] | None = None


class Manifest(BaseModel):
    """The description of a data set.

    Attributes:
        kind: whether its images are kept as arrays or as files.
        splits: how many images each has, by name.
        classes: how many classes there are.
        image_shape: (channels, height, width) that a network sees.
        channel_means, channel_stds: per channel, in the images' own grey levels.
        origin: where the images come from, in words.
        files: further details of files; None for arrays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Storage
    splits: Mapping[str, int]
    classes: int
    image_shape: tuple[int, int, int]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    origin: str
    files: FileDetails | None = None

    def save(self, folder: Path) -> None:
        """Write manifest.json into a folder."""
        text = json.dumps(self.model_dump(mode="json", exclude_none=True), indent=2) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest in a data set's folder; nothing else is read.

        Raises:
            PerigeeError: the file is missing or malformed.
        """
        path = folder / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise PerigeeError(
                f"{path} is not a readable data set ({reason}); delete its folder and run again to "
                "have it built anew."
            ) from error
