"""Refusing what needs one label per image where a task gives an image several, or none."""

from __future__ import annotations

from collections.abc import Iterator

from perigee import registry
from perigee.blocks.analyses import Analysis
from perigee.blocks.evaluations import Evaluation
from perigee.blocks.measures import Measure
from perigee.blocks.recomputed import TestStatistics, evaluated_with, measured_with
from perigee.configuration.requests import TableRequest
from perigee.configuration.validation import wrong

STATISTICS = "test_statistics"


def require_one_label(
    table: TableRequest, statistics: TestStatistics, file: str, key: str, further: str
) -> None:
    """Refuse a table that reads what its runs' tasks have no labels for.

    Args:
        table: an analysis with its runs.
        statistics: of its figure, the BatchNorm statistics of test images.
        file, key, further: where the analysis and its further measures are named, for messages.

    Raises:
        PerigeeError: one of its runs has such a task, and the table reads a measure or an
            evaluation of images with one label each.
    """
    task = next((run.spec.task for run in table.runs if not run.spec.task.has_one_label), None)
    if task is None:
        return
    but = f"but some of its runs have the task '{task.name}'"
    for block in _read(table.analysis):
        if block.needs_one_label:
            told = f"reads '{block.name}', of images with one label each"
            raise wrong(
                file,
                key,
                f"names '{table.analysis.name}', which {told}, {but}; choose another analysis, or "
                "runs of another task.",
            )
    for block in _further(table.analysis):
        if block.needs_one_label:
            raise wrong(
                file,
                further,
                f"names '{block.name}', which is of images with one label each, {but}; leave it "
                "out, or choose runs of another task.",
            )
    if any(_in_use(statistics, one).needs_one_label for one in _read(table.analysis)):
        raise wrong(
            file,
            STATISTICS,
            f"is '{statistics}', which is of images with one label each, but some runs have the "
            f"task '{task.name}'; leave it out, or choose runs of another task.",
        )


def _read(analysis: Analysis) -> Iterator[Measure | Evaluation]:
    """The measures and evaluations that an analysis reads of its own."""
    yield from analysis.measures(None)
    yield from (evaluation() for evaluation in analysis.evaluates)


def _further(analysis: Analysis) -> Iterator[Measure]:
    """The measures that a configuration lets it read."""
    for name in analysis.further_measures():
        yield registry.make("measure", {"name": name})


def _in_use(statistics: TestStatistics, block: Measure | Evaluation) -> Measure | Evaluation:
    """The measure or evaluation that is read in the place of one."""
    if isinstance(block, Measure):
        return measured_with(statistics, block)
    return evaluated_with(statistics, block)
