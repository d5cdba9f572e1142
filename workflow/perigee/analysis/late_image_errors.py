"""The test errors of runs image by image, a row per run and test image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perigee.analysis.courses import course_of
from perigee.analysis.inputs import RunInput
from perigee.analysis.period_statistics import late_epochs


def tabulate(runs: Sequence[RunInput], *, near_zero: str, resolution: str) -> pd.DataFrame:
    """Tell how often each image was misclassified late in a run.

    Runs of one data set have the same images, so that differences of test errors can be resampled
    over images as well as over seeds (`perigee.claims.inference.two_way_interval`).

    Columns: ``run`` (its place in the sweep, from 0), the swept values by their dotted keys,
    ``image`` (in stored order, from 0) and ``late_error``, the share of the epochs late in phase B
    (`perigee.analysis.period_statistics.late_epochs`) after which it is misclassified.

    Args:
        runs: finished runs with the measure ``test_hits``.
        near_zero, resolution: see `perigee.analysis.period_statistics.tabulate`.
    """
    tables = []
    for position, run in enumerate(runs):
        metrics = run.metrics()
        course = course_of(run, near_zero=near_zero, resolution=resolution)
        late = metrics["epoch"].to_numpy()[late_epochs(course, metrics)]
        rows = run.rows("test_hits")
        hits = rows["test_hits"][np.isin(rows["epoch"], late)]
        errors = 1 - hits.mean(axis=0) if len(hits) else np.full(hits.shape[1], np.nan)
        labels = {"run": position, **run.labels()}
        tables.append(
            pd.DataFrame({**labels, "image": np.arange(len(errors)), "late_error": errors})
        )
    return pd.concat(tables, ignore_index=True)
