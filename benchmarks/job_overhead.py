"""The time that the workflow's jobs take beyond training: around a run, and for a notebook.

The main text of the papers is made at smoke scale on one core, from nothing, in a temporary copy of
the repository. The seconds that a run trained, from its provenance, are subtracted from those of
its whole job, from Snakemake's benchmark files: the rest is starting Python, loading PyTorch and
the data, and writing. Drawing a figure is one notebook.

    python benchmarks/job_overhead.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pandas as pd
from common import Report, Summary, Target, main
from dry_run import copy_repository, snakemake

RUN_LIMIT, NOTEBOOK_LIMIT = 5.0, 8.0
"""Seconds."""


def job_seconds(results: Path, rule: str) -> dict[str, float]:
    """The wall time of every job of a rule, by the name of its product."""
    folder = results / "benchmarks" / rule
    # Their names end with the number of the product's receipt.
    return {
        str(file.relative_to(folder).with_suffix("").with_suffix("")): float(
            pd.read_csv(file, sep="\t")["s"].iloc[0]
        )
        for file in folder.rglob("*.tsv")
    }


def measure(repetitions: int) -> Report:
    beyond, notebooks = [], []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_repository(folder)
            snakemake(folder, ["all_figures", "--cores", "1", "--config", "scale=smoke"])
            results = folder / "results"
            for version, seconds in job_seconds(results, "train_run").items():
                provenance = results / "store/run" / version / "provenance.json"
                trained = json.loads(provenance.read_text(encoding="utf-8"))["details"]["seconds"]
                beyond.append(seconds - trained)
            notebooks.extend(job_seconds(results, "draw_figure").values())
    shares = [max(beyond) / RUN_LIMIT, max(notebooks) / NOTEBOOK_LIMIT]
    return Report(
        figures={
            "training job beyond training: s": Summary.of(beyond),
            "notebook: s": Summary.of(notebooks),
            "largest share of its limit": Summary.of([max(shares)]),
        },
        target=Target("largest share of its limit", "<=", 1),
        conditions={
            "limits: s": {"training job beyond training": RUN_LIMIT, "notebook": NOTEBOOK_LIMIT},
            "training jobs": len(beyond),
            "notebooks": len(notebooks),
        },
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=1, measure=measure)
