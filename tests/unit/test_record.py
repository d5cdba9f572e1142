"""perigee.training.record: a record and its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perigee.training.record import METRICS_COLUMNS, RunRecord

from perigee.store.runs import METRICS, STEPS, write_tables


def random_record(steps_of_epochs: list[int], seed: int) -> RunRecord:
    generator = np.random.default_rng(seed)
    return RunRecord(
        metrics=[
            {name: float(generator.normal()) for name in METRICS_COLUMNS} | {"epoch": epoch}
            for epoch in range(len(steps_of_epochs) + 1)
        ],
        steps=[generator.normal(size=(n, 4)).astype(np.float32) for n in steps_of_epochs],
    )


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(1, 4), max_size=5),
    stopped=st.none() | st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_tables_say_what_the_record_says_and_give_it_back(
    counts: list[int],
    stopped: int | None,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    record = random_record(counts, seed)
    assert record.epochs == len(counts)
    assert record.steps_done == sum(counts)

    folder: Path = tmp_path_factory.mktemp("run")
    write_tables(folder, record.metrics_table(), record.steps_table())
    metrics, steps = (pd.read_parquet(folder / name) for name in (METRICS, STEPS))
    assert steps["step"].tolist() == list(range(sum(counts)))
    assert steps["epoch"].tolist() == [
        epoch for epoch, count in enumerate(counts, start=1) for _ in range(count)
    ]
    assert list(steps.columns[2:]) == ["loss", "gradient_norm", "weight_norm", "cosine_distance"]
    whole = np.concatenate([np.empty((0, 4), np.float32), *record.steps])
    assert np.array_equal(steps.iloc[:, 2:].to_numpy(np.float32), whole)

    again = RunRecord.from_tables(metrics, steps, stopped)
    assert again.metrics == record.metrics
    assert all(np.array_equal(*pair) for pair in zip(again.steps, record.steps, strict=True))
    assert again.stopped_at_step == stopped


def test_tables_of_an_empty_record_have_their_columns() -> None:
    assert tuple(RunRecord().metrics_table().columns) == METRICS_COLUMNS
    assert list(RunRecord().steps_table().columns)[:2] == ["step", "epoch"]
    assert len(RunRecord().steps_table()) == 0
