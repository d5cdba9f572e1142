"""Tasks."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block
from perigee.blocks.datasets import Storage


class Task(Block, kind="task"):
    """The learning problem of a run: batches of the splits, their loss, and their evaluation.

    Attributes:
        fits: how data sets must be stored for it to read them.
        detects: whether it needs a network that detects objects.
        has_one_label: whether every image has one label, so that the network's answer for it is
            right or wrong.
    """

    fits: ClassVar[tuple[Storage, ...]] = ("arrays",)
    detects: ClassVar[bool] = False
    has_one_label: ClassVar[bool] = True


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


class StreamedDetection(
    Task, name="streamed_detection", code="perigee.tasks.streamed_detection:StreamedDetection"
):
    """Detection of objects and their masks in images that are read from files."""

    fits: ClassVar[tuple[Storage, ...]] = ("annotated_files",)
    detects: ClassVar[bool] = True
    has_one_label: ClassVar[bool] = False
