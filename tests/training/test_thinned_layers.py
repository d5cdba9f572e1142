"""The measure ``thinned_layers`` beside ``layers`` of the same run, and tables of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perigee.analysis import equilibrium, stages
from perigee.analysis.inputs import RunInput, is_table, table_of
from perigee.blocks.measures import Layers, Metrics, ThinnedLayers
from perigee.errors import PerigeeError, StoppedBySignalError
from support.random_gradients import LAYERS, NAMES, PER_EPOCH, write_random_run
from support.recorded import Recorded, recorded
from support.reference_training import Settings
from support.runs import make_spec, make_trainer
from support.stores import StopsAt, Store, contents
from support.synthetic_runs import write_measure

STEPS, EPOCHS, EVERY = 4, 3, 3
"""An epoch has no whole number of kept steps, so that the first is another in each."""

MOMENTUM = Settings(width=2, batch_size=20, learning_rate=0.05, momentum=0.9, weight_decay=0.01)
DIVERGING = Settings(width=1, batch_size=20, scale_invariant=False, learning_rate=1e30)
NAMED = ThinnedLayers(every=EVERY, in_full=("features.3.0",))


def of_layer(rows: np.ndarray, place: int) -> np.ndarray:
    found: np.ndarray = rows[rows["layer"] == place]
    return found


def require_kept(found: Recorded, every: int, in_full: tuple[str, ...]) -> None:
    """The rows of a run that has both measures are equal to the last bit."""
    whole, thinned = found.rows["layers"], found.rows["thinned_layers"]
    names = [name.removesuffix(".weight") for name in found.descriptions["layers"]["layers"]]
    assert found.descriptions["thinned_layers"]["layers"] == found.descriptions["layers"]["layers"]
    assert thinned.dtype.names == ("epoch", "step", "layer", *(whole.dtype.names or ()))
    for place, name in enumerate(names):
        kept = np.arange(len(whole))[:: 1 if name in in_full else every]
        mine = of_layer(thinned, place)
        np.testing.assert_array_equal(mine["step"], kept)
        np.testing.assert_array_equal(mine["epoch"], kept // found_steps(found) + 1)
        for column in whole.dtype.names or ():
            np.testing.assert_array_equal(mine[column], whole[column][kept, place])


def found_steps(found: Recorded) -> int:
    assert found.position.steps % found.position.epoch == 0
    return found.position.steps // found.position.epoch


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("in_full", [(), ("features.3.0",)])
def test_kept_rows_are_those_of_all_steps(precision: str, in_full: tuple[str, ...]) -> None:
    trainer = make_trainer(MOMENTUM, precision)
    assert trainer.task.steps_per_epoch == STEPS
    measure = ThinnedLayers(every=EVERY, in_full=in_full)
    require_kept(recorded(trainer, EPOCHS, Layers(), measure), EVERY, in_full)


def test_a_run_that_diverges_has_no_rows_after_it() -> None:
    found = recorded(make_trainer(DIVERGING, "float32"), EPOCHS, Layers(), ThinnedLayers(every=2))
    assert found.position.stopped_at_step is not None
    whole, thinned = found.rows["layers"], found.rows["thinned_layers"]
    assert len(whole) < EPOCHS * STEPS
    assert of_layer(thinned, 0)["step"].tolist() == list(range(0, len(whole), 2))


def test_stopped_and_resumed_it_is_the_same(tmp_path: Path) -> None:
    spec, measures = make_spec(MOMENTUM, "float32"), (Metrics(), NAMED)
    stop = StopsAt()
    expected = contents(Store(tmp_path / "whole").train(spec, EPOCHS, *measures, stop=stop))
    for look in (stop.looks // 3, stop.looks // 2, stop.looks - 3):
        store = Store(tmp_path / str(look))
        with pytest.raises(StoppedBySignalError):
            store.train(spec, EPOCHS, *measures, stop=StopsAt(look))
        assert contents(store.train(spec, EPOCHS, *measures)) == expected, look
    shorter = Store(tmp_path / "shorter")
    shorter.train(spec, 1, *measures)
    assert contents(shorter.train(spec, EPOCHS, *measures)) == expected


def test_it_can_be_taken_of_a_finished_run(tmp_path: Path) -> None:
    spec, store = make_spec(MOMENTUM, "float32"), Store(tmp_path)
    store.train(spec, 2, Metrics(), Layers())
    version = store.train(spec, 2, Metrics(), Layers(), NAMED)
    assert store.made_by(spec, version, NAMED) == "replay"
    rows = store.rows(spec, version, NAMED)
    assert is_table(rows)
    assert len(table_of(rows, STEPS)) == len(rows)


def test_a_layer_that_is_not_there_is_told() -> None:
    measure = ThinnedLayers(every=2, in_full=("layer9.conv1",))
    with pytest.raises(PerigeeError, match=r"all steps of layer 'layer9\.conv1', but .* features"):
        recorded(make_trainer(MOMENTUM), 1, measure)


# Tables


def thinned(run: RunInput, every: int, in_full: tuple[str, ...] = ()) -> RunInput:
    """The run with the measure ``thinned_layers`` in the place of ``layers``."""
    whole = np.load(run.measures["layers"] / "rows.npy")
    columns = whole.dtype.names or ()
    row = [
        ("epoch", "<i4"),
        ("step", "<i4"),
        ("layer", "<i2"),
        *((name, "<f8") for name in columns),
    ]
    parts = []
    for place in range(LAYERS):
        is_full = NAMES[place].removesuffix(".weight") in in_full
        step = np.arange(len(whole))[:: 1 if is_full else every]
        part = np.zeros(len(step), row)
        part["epoch"], part["step"], part["layer"] = step // PER_EPOCH + 1, step, place
        for name in columns:
            part[name] = whole[name][step, place]
        parts.append(part)
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["epoch"], kind="stable")]
    told = {"layers": NAMES, "every": every, "in_full": list(in_full)}
    folder = Path(mkdtemp(dir=run.measures["layers"].parent)) / "thinned"
    measured = write_measure(folder, rows, **told)
    return replace(run, measures={"metrics": run.measures["metrics"], "thinned_layers": measured})


TABLES: dict[str, Callable[[RunInput], pd.DataFrame]] = {
    "steps": lambda run: equilibrium.tabulate_steps([run], layers=(), window=200, rows=301),
    "courses": lambda run: equilibrium.tabulate_courses([run], layers=(), window=200),
    "equilibrium": lambda run: equilibrium.tabulate(
        [run], layers=(), window=200, late_fraction=0.5
    ),
    "runs": lambda run: equilibrium.tabulate_runs([run], window=200, late_fraction=0.5),
    "stages": lambda run: stages.tabulate([run], layers=(), window=200),
    "stage metrics": lambda run: stages.tabulate_metrics([run], layers=()),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunInput:
    """Two stages of 3,000 steps, of which the corollary asks for 1,152 in the second."""
    return write_random_run(tmp_path_factory.mktemp("run") / "run", [0.2, 0.02], 0.005, 0.9)


@pytest.mark.parametrize("name", TABLES)
def test_of_all_steps_the_tables_are_the_same(name: str, run: RunInput) -> None:
    names = tuple(one.removesuffix(".weight") for one in NAMES)
    pd.testing.assert_frame_equal(TABLES[name](run), TABLES[name](thinned(run, 7, names)))


EXACT = {"run", "seed", "layer", "stage", "steps", "learning_rate", "factor", "is_long_enough"}
SIZES: dict[str, Any] = {
    "courses": {"norm": 0.02, "angular_update": 0.05, "relative_angular_update": 0.05},
    "equilibrium": {
        "relative_angular_update": 0.01,
        "norm_spread": 0.2,
        "decay": 0,
        "largest_decay": 0,
    },
    "runs": {"layers_near": 0, "loss_arrival_step": 0, "late_train_loss": 0},
    "stages": {
        "relative_at_start": 0.05,
        "relative_at_end": 0.02,
        "relative_at_corollary": 0.03,
        "largest_departure": 0.15,
    },
    "stage metrics": {"train_loss_rise": 0, "test_error_rise": 0, "angular_update_growth": 0.02},
}
"""How far columns may be from those of all steps, relative to these: most in the window that is
farthest from equilibrium, and where a norm falls within a window."""


@pytest.mark.parametrize("every", [4, 10])
@pytest.mark.parametrize("name", SIZES)
def test_of_thinned_steps_the_tables_are_near(name: str, every: int, run: RunInput) -> None:
    whole, part = TABLES[name](run), TABLES[name](thinned(run, every))
    assert list(whole.columns) == list(part.columns)
    assert len(whole) == len(part)
    for column in EXACT & set(whole.columns):
        assert whole[column].equals(part[column]), column
    for column, size in SIZES[name].items():
        np.testing.assert_allclose(part[column], whole[column], rtol=size, err_msg=column)


def test_windows_and_single_steps_keep_the_numbers_of_steps(run: RunInput) -> None:
    one = thinned(run, 10, ("layer1.0.conv1",))
    courses = TABLES["courses"](one)
    assert courses.groupby("layer")["step"].agg(list).tolist() == [list(range(0, 6000, 200))] * 2
    drawn = TABLES["steps"](one).set_index("layer")
    whole = np.load(run.measures["layers"] / "rows.npy")
    for place, name in enumerate(["layer1.0.conv1", "layer2.0.conv2"]):
        rows = drawn.loc[name]
        assert len(rows) == 301
        assert rows["step"].max() == (5999, 5990)[place]
        expected = whole["norm"][rows["step"].to_numpy(), place]
        np.testing.assert_array_equal(rows["norm"], expected)
        rates = np.where(rows["step"] < 3000, 0.2, 0.02)
        np.testing.assert_array_equal(rows["learning_rate"], rates)


def test_a_decay_between_kept_steps_is_where_it_was(run: RunInput) -> None:
    """The second stage begins with step 3,000, the first of its kept steps is 3,003."""
    table = TABLES["stages"](thinned(run, 7))
    assert table["steps"].tolist() == [3000] * 4


def test_a_stage_without_kept_steps_is_refused(run: RunInput) -> None:
    with pytest.raises(PerigeeError, match=r"Stage 2 has 3000 steps, .* lower key 'layers\.every'"):
        TABLES["stages"](thinned(run, 10_000))
