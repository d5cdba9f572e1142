"""Columns of a table with the values of its runs' specs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from perigee.blocks.analyses import RunMetrics
from perigee.blocks.measures import Metrics
from perigee.commands import make_table
from perigee.store.tables import TABLE
from support.reference_training import Settings
from support.runs import make_spec
from support.stores import Store

EPOCHS = 1
FREE = make_spec(Settings(width=1, batch_size=40, learning_rate=0.3), "float32")
FIXED = make_spec(
    Settings(width=1, batch_size=40, learning_rate=0.1, norm=2.0, weight_decay=0.0), "float32"
)


def test_every_value_of_a_spec_is_a_column(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    runs = []
    for spec, label in ((FREE, "free"), (FIXED, "fixed")):
        store.train(spec, EPOCHS, Metrics())
        runs.append(
            {
                "run": spec.to_dict(),
                "epochs": EPOCHS,
                "measures": [Metrics().to_dict()],
                "dataset": str(store.dataset),
                "folder": str(store.run_folder(spec)),
                "swept": {"label": label, "optimiser.learning_rate": spec.optimiser.learning_rate},  # type: ignore[attr-defined]
            }
        )
    given = {"name": "t", "analysis": RunMetrics().to_dict(), "runs": runs}
    make_table.main(json.dumps(given), tmp_path / "table")
    table = pd.read_parquet(tmp_path / "table" / TABLE)
    assert list(table.columns)[:3] == ["run", "label", "optimiser.learning_rate"]
    assert not table.columns.duplicated().any()
    first = table.groupby("label")[list(table.columns)].nth(0).set_index("label")
    expected = {
        "optimiser.learning_rate": (0.3, 0.1),
        "optimiser.name": ("sgd", "sgd"),
        "optimiser.momentum": (0.0, 0.0),  # a default
        "constraint.name": ("none", "fixed_norm"),
        "batch_size": (40, 40),
        "model.width": (1, 1),
        "precision": ("float32", "float32"),
        "seed": (0, 0),
    }
    for name, values in expected.items():
        assert tuple(first.loc[["free", "fixed"], name]) == values, name
    assert first.loc["fixed", "constraint.norm"] == 2.0
    assert pd.isna(first.loc["free", "constraint.norm"])
    assert not [name for name in table if name.startswith("parent")]
