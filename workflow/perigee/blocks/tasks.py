"""Tasks."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block
from perigee.blocks.datasets import Storage


class Task(Block, kind="task"):
    """What a run learns: batches of the splits, their loss, how a split is evaluated.

    Attributes:
        fits: how the data sets lie on the disk that it reads.
    """

    fits: ClassVar[tuple[Storage, ...]] = ("arrays",)


class Classification(
    Task, name="classification", code="perigee.tasks.classification:Classification"
):
    """Classification of images that lie on the device."""


class StreamedClassification(
    Task,
    name="streamed_classification",
    code="perigee.tasks.streamed_classification:StreamedClassification",
):
    """Classification of images that are read from files as they are needed."""

    fits: ClassVar[tuple[Storage, ...]] = ("files",)
