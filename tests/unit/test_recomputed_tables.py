"""A table of a run that is tested with recomputed statistics, as the programs make it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perigee.blocks.analyses import RunMetrics
from perigee.blocks.measures import Checkpoints, RecomputedMetrics
from perigee.commands import evaluate, make_table
from perigee.evaluation.files import Predictions
from perigee.identity.products import evaluation_identity, measure_identity
from perigee.registry import make
from perigee.store.runs import ROWS
from perigee.store.tables import TABLE
from support.reference_training import Settings
from support.runs import make_spec
from support.stores import Store

EPOCHS = 2
SPEC = make_spec(Settings(width=1, batch_size=40, learning_rate=0.3), "float32")
MEASURES = (Checkpoints(), RecomputedMetrics())


def test_analyses_read_it_as_metrics_and_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    version = store.train(SPEC, EPOCHS, *MEASURES)
    block = make("evaluation", {"name": "recomputed_predictions"})
    run = store.identity(SPEC)
    identity = evaluation_identity(block, run, EPOCHS, measure_identity(Checkpoints(), run))  # type: ignore[arg-type]
    predicted = store.folder / identity.folder
    told = {
        "run": SPEC.to_dict(),
        "epochs": EPOCHS,
        "measures": [one.to_dict() for one in MEASURES],
        "dataset": str(store.dataset),
        "folder": str(store.run_folder(SPEC)),
    }
    evaluate.main(json.dumps({"evaluation": block.to_dict(), **told}), predicted, device="cpu")
    of_run = {**told, "swept": {}, "evaluations": {block.name: str(predicted)}}
    given = {"name": "t", "analysis": RunMetrics().to_dict(), "runs": [of_run]}
    seen = []

    def look(runs, *, further):
        seen.extend(runs)
        return runs[0].metrics(*further)

    monkeypatch.setattr("perigee.analysis.run_metrics.tabulate", look)
    make_table.main(json.dumps(given), tmp_path / "table")
    (found,) = seen
    assert set(found.measures) == {"metrics", "checkpoints"}
    rows = np.load(store.measure_folder(SPEC, version, RecomputedMetrics()) / ROWS)
    table = pd.read_parquet(tmp_path / "table" / TABLE)
    assert table["test_error"].tolist() == rows["test_error"].tolist()
    predictions = Predictions.load(found.evaluations["predictions"])
    errors = (predictions.probabilities.argmax(axis=2) != predictions.labels).mean(axis=1)
    np.testing.assert_allclose(errors, rows["test_error"])
