"""Tasks."""

from __future__ import annotations

from perigee.blocks.base import Block


class Task(Block, kind="task"):
    """What a run learns: batches of the splits, their loss, how a split is evaluated."""


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
