"""Tasks."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block
from perigee.blocks.datasets import Storage


class Task(Block):
    """What a run learns: batches of the splits, their loss, how a split is evaluated.

    Attributes:
        fits: how the data sets lie on the disk that it reads.
    """

    kind: ClassVar[str] = "task"
    fits: ClassVar[tuple[Storage, ...]] = ("arrays",)


class Classification(Task):
    """Classification of images that lie on the device."""

    name: ClassVar[str] = "classification"
    code: ClassVar[str] = "perigee.tasks.classification:Classification"


class StreamedClassification(Task):
    """Classification of images that are read from files as they are needed."""

    name: ClassVar[str] = "streamed_classification"
    code: ClassVar[str] = "perigee.tasks.streamed_classification:StreamedClassification"
    fits: ClassVar[tuple[Storage, ...]] = ("files",)
