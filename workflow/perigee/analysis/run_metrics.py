"""The metrics of several runs in one tidy table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from perigee.analysis.inputs import RunInput


def tabulate(runs: Sequence[RunInput], *, further: Sequence[str]) -> pd.DataFrame:
    """Make a row per epoch of each run.

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``stopped`` (whether the run diverged at the end of its rows), ``fork_epoch`` (the epoch of its
    parent at which it starts; 0 without a parent), those of the measure
    `perigee.measures.metrics`, and those of the further measures.

    Args:
        runs: finished runs.
        further: names of measures with a row per epoch.
    """
    tables = []
    for position, run in enumerate(runs):
        table = run.metrics(*further)
        labels = {
            "run": position,
            **run.labels(),
            "stopped": run.stopped,
            "fork_epoch": run.fork_epoch,
        }
        for column, value in reversed(labels.items()):
            table.insert(0, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
