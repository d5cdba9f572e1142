"""Forked runs: the epoch that a rule finds, and training from the parent's checkpoint there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from perigee.analysis import forks
from perigee.analysis.forks import at_epoch, before_destabilisation
from perigee.analysis.forks_by_norm import at_norm_before_destabilisation
from perigee.blocks.measures import Checkpoints, FullGradientNorm, Layers, Metrics, Steps
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.kernel.trainer import Start, Trainer
from perigee.spec import RunSpec
from perigee.store.provenance import read_provenance
from perigee.store.runs import STATE
from perigee.training.loop import Watch
from perigee.training.recording import Recorder
from support.recorded import recorded
from support.reference_training import Settings
from support.runs import make_spec, make_trainer
from support.signals import sawtooth
from support.stores import StopsAt, Store, contents

STEPS = 2
"""The number of steps in an epoch."""
PARENTS_EPOCHS, FORK_EPOCH = 4, 2

# Rules


@pytest.fixture
def metrics() -> pd.DataFrame:
    """Two destabilisations: the losses start to rise at 39 and 97, the norms two epochs later."""
    signal = sawtooth([40, 50], 30, 2.0, 0.0, 0)
    assert [int(onset) for onset in signal.onsets] == [39, 97]
    return pd.DataFrame(
        {
            "epoch": range(len(signal.loss)),
            "train_loss": signal.loss,
            "weight_norm": signal.norm,
        }
    )


@pytest.mark.parametrize(("epochs", "number", "expected"), [(0, 1, 41), (20, 1, 21), (50, 2, 49)])
def test_some_epochs_before_a_destabilisation(
    metrics: pd.DataFrame, epochs: int, number: int, expected: int
) -> None:
    found = before_destabilisation(metrics, epochs=epochs, number=number)
    assert abs(found - expected) <= 1


def test_what_cannot_be_resolved_tells_the_parents_periods(metrics: pd.DataFrame) -> None:
    with pytest.raises(PerigeeError, match=r"its 2 destabilisations begin at epochs \d+, \d+ of"):
        before_destabilisation(metrics, epochs=5, number=3)
    with pytest.raises(PerigeeError, match="fewer epochs before it or name a later one"):
        before_destabilisation(metrics, epochs=60, number=1)
    with pytest.raises(PerigeeError, match="it has no destabilisation of"):
        before_destabilisation(metrics.iloc[:30], epochs=1, number=1)


@pytest.mark.parametrize("number", [1, 2, -1, -2])
@pytest.mark.parametrize("factor", [1.0, 1.03, 1.2])
def test_where_the_norm_is_a_multiple_of_that_at_the_onset(
    metrics: pd.DataFrame, factor: float, number: int
) -> None:
    """The norm falls between the planted rises, so its value tells the epoch."""
    first_epoch, last_epoch = {1: (0, 42), -2: (0, 42), 2: (60, 101), -1: (60, 101)}[number]
    fall = metrics["weight_norm"][first_epoch:last_epoch]
    high = fall[fall >= factor * fall.min()]
    found = at_norm_before_destabilisation(metrics, factor=factor, number=number)
    assert found == high.loc[: fall.idxmin()].index[-1]
    assert (factor > 1) == (found < fall.idxmin())


def test_a_norm_that_is_nowhere_so_high_gives_way_to_the_highest(metrics: pd.DataFrame) -> None:
    found = at_norm_before_destabilisation(metrics, factor=100, number=2)
    assert found == metrics["weight_norm"][41:99].idxmax()


def test_counted_from_the_last_one_there_is_always_a_first(metrics: pd.DataFrame) -> None:
    first = at_norm_before_destabilisation(metrics, factor=1.03, number=1)
    assert at_norm_before_destabilisation(metrics, factor=1.03, number=-3) == first


def test_a_destabilisation_that_is_not_there(metrics: pd.DataFrame) -> None:
    told = r"destabilisation 3 of its parent, whose destabilisations begin at epochs 41, 99 of 135"
    with pytest.raises(PerigeeError, match=told):
        at_norm_before_destabilisation(metrics, factor=1, number=3)
    for number in (1, -1):
        with pytest.raises(PerigeeError, match=f"{number} of its parent, which has none of 29"):
            at_norm_before_destabilisation(metrics.iloc[:30], factor=1, number=number)


def test_the_epoch_itself(metrics: pd.DataFrame) -> None:
    assert at_epoch(metrics, epoch=7) == 7
    last = len(metrics) - 1
    assert at_epoch(metrics, epoch=last) == last
    with pytest.raises(PerigeeError, match=f"ends at epoch {last}"):
        at_epoch(metrics, epoch=last + 1)


# A fork with nothing changed

PLAIN = Settings(width=1, batch_size=40, learning_rate=0.3, weight_decay=0.05)
MOMENTUM = Settings(width=1, batch_size=40, learning_rate=0.05, momentum=0.9)
SETTINGS = {
    "plain": PLAIN,
    "momentum": MOMENTUM,
    "adam": Settings(
        width=1, batch_size=40, scale_invariant=False, learning_rate=0.01, optimiser="adam"
    ),
    "sphere": Settings(width=1, batch_size=40, norm=3.0, learning_rate=0.3),
    "cosine": Settings(width=1, batch_size=40, learning_rate=0.3, cosine_horizon=4),
    "steps": Settings(width=1, batch_size=40, momentum=0.9, milestones=(1, 3)),
    "augmented": Settings(width=1, batch_size=40, momentum=0.5, padding=2),
    "full batch": Settings(width=1, batch_size=40, momentum=0.5, padding=2, full_batch=True),
    "standard": Settings(width=1, batch_size=40, scale_invariant=False, momentum=0.9),
}


def parent_spec(settings: Settings, precision: str = "float32", **changes: Any) -> RunSpec:
    return make_spec(settings, precision, **changes)


def fork_of(parent: RunSpec, epoch: int, **changes: Any) -> RunSpec:
    """The parent's spec, some of it changed, started from its checkpoint of an epoch."""
    described = {
        "run": parent.to_dict(),
        "epochs": PARENTS_EPOCHS,
        "at": {"name": "at_epoch", "epoch": epoch},
    }
    return RunSpec.from_dict({**parent.to_dict(), **changes, "parent": described})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def train_parent(store: Store, spec: RunSpec) -> Path:
    return store.train(spec, PARENTS_EPOCHS, Checkpoints(), Metrics(), Steps(), Layers())


def losses(version: Path) -> list[float]:
    found: list[float] = np.load(version / "losses.npy").tolist()
    return found


def assert_goes_on_as(store: Store, fork: RunSpec, version: Path, parent: RunSpec, at: int) -> None:
    """From an epoch of its parent on, the fork has its parent's numbers, bit for bit."""
    whole = store.run_folder(parent) / f"e{PARENTS_EPOCHS}"
    steps_per_epoch = read_provenance(whole).details["steps_per_epoch"]
    assert losses(version) == losses(whole)[at * steps_per_epoch :]
    digests, expected = (np.load(folder / "weights.npy")["sha256"] for folder in (version, whole))
    assert digests.tolist() == expected[at:].tolist()
    for measure in (Steps(), Layers()):
        rows = store.rows(parent, whole, measure)[at * steps_per_epoch :]
        assert store.rows(fork, version, measure).tobytes() == rows.tobytes()
    for measure in (Metrics(), Checkpoints()):
        rows, found = store.rows(parent, whole, measure)[at:], store.rows(fork, version, measure)
        for name in rows.dtype.names:
            if name == "epoch":
                assert (found[name] + at).tolist() == rows[name].tolist()
            else:
                assert found[name].tobytes() == rows[name].tobytes(), name


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fork_with_nothing_changed_equals_its_parent(name: str, store: Store) -> None:
    parent = parent_spec(SETTINGS[name])
    train_parent(store, parent)
    for at in (0, FORK_EPOCH) if name == "augmented" else (FORK_EPOCH,):
        fork = fork_of(parent, at)
        version = store.train(
            fork, PARENTS_EPOCHS - at, Checkpoints(), Metrics(), Steps(), Layers()
        )
        assert_goes_on_as(store, fork, version, parent, at)
        details = read_provenance(version).details
        assert (details["fork_epoch"], details["data_epoch"]) == (at, at)


def test_on_a_sphere_of_the_radius_at_its_start_too(store: Store) -> None:
    """The radius is the parent's at its own start, of which the weights at the fork know little."""
    parent = parent_spec(PLAIN, constraint={"name": "fixed_norm"})
    train_parent(store, parent)
    fork = fork_of(parent, FORK_EPOCH)
    version = store.train(fork, 2, Checkpoints(), Metrics(), Steps(), Layers())
    assert_goes_on_as(store, fork, version, parent, FORK_EPOCH)


def test_a_fork_of_a_fork_with_nothing_changed_equals_both(store: Store) -> None:
    parent = parent_spec(SETTINGS["augmented"])
    train_parent(store, parent)
    child = fork_of(parent, 1)
    measures = (Checkpoints(), Metrics(), Steps(), Layers())
    store.train(child, PARENTS_EPOCHS, *measures)
    grandchild = fork_of(child, 2)
    version = store.train(grandchild, 1, *measures)
    assert read_provenance(version).details["data_epoch"] == 3
    assert_goes_on_as(store, grandchild, version, parent, 3)


# A fork with something changed


def driven(spec: RunSpec, start: Trainer, first_data_epoch: int, rates: list[float]) -> list[float]:
    """Losses of a trainer that is driven from outside: network of another, fresh optimiser."""
    plain = spec.model_copy(update={"parent": None})
    trainer = make_trainer(plain, memory_format=torch.channels_last)
    trainer.model.load_state_dict(start.model.state_dict())
    found = []
    for number, rate in enumerate(rates):
        for step in trainer.task.training_steps(first_data_epoch + number, 0):
            trainer.model.train()
            trainer.parameters.gradient.zero_()
            trainer.loss.zero_()
            for batch in step:
                trainer.add_gradient(batch)
            trainer.update(torch.tensor(rate, dtype=torch.float64))
            found.append(float(trainer.loss))
    return found


def parent_at(spec: RunSpec, epochs: int) -> Trainer:
    trainer = make_trainer(spec, memory_format=torch.channels_last)
    recorded(trainer, epochs)
    return trainer


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        pytest.param(
            {"optimiser": {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9}},
            [0.02] * 3,
            id="rate",
        ),
        pytest.param(
            {"optimiser": {"name": "adam", "learning_rate": 0.01}}, [0.01] * 3, id="update rule"
        ),
    ],
)
def test_a_changed_optimiser_starts_afresh_and_the_data_go_on(
    changes: dict[str, Any], rates: list[float], store: Store
) -> None:
    parent = parent_spec(SETTINGS["augmented"])
    train_parent(store, parent)
    fork = fork_of(parent, FORK_EPOCH, **changes)
    version = store.train(fork, len(rates))
    assert losses(version) == driven(fork, parent_at(parent, FORK_EPOCH), FORK_EPOCH, rates)


def test_a_changed_schedule_starts_afresh_and_a_fork_of_that_goes_on_with_it(store: Store) -> None:
    """The child's schedule begins at its own start; the grandchild is in the middle of it."""
    parent = parent_spec(PLAIN)
    train_parent(store, parent)
    child = fork_of(
        parent, FORK_EPOCH, schedule={"name": "steps", "milestones": [1, 2], "gamma": 0.5}
    )
    version = store.train(child, PARENTS_EPOCHS, Checkpoints(), Metrics(), Steps(), Layers())
    rates = [0.3, 0.15, 0.075, 0.075]
    assert losses(version) == driven(child, parent_at(parent, FORK_EPOCH), FORK_EPOCH, rates)
    grandchild = fork_of(child, 1)
    made = store.train(grandchild, 3, Checkpoints(), Metrics(), Steps(), Layers())
    details = read_provenance(made).details
    assert (details["data_epoch"], details["schedule_epoch"]) == (FORK_EPOCH + 1, 1)
    assert_goes_on_as(store, grandchild, made, child, 1)


def test_a_changed_schedule_leaves_the_velocity_as_it_is(store: Store) -> None:
    parent = parent_spec(MOMENTUM)
    train_parent(store, parent)
    milestones = {"name": "steps", "milestones": [9], "gamma": 0.5}
    fork = store.train(fork_of(parent, FORK_EPOCH, schedule=milestones), 2)
    whole = store.run_folder(parent) / f"e{PARENTS_EPOCHS}"
    assert losses(fork) == losses(whole)[FORK_EPOCH * STEPS :]


def test_a_new_constraint_takes_hold_at_once(store: Store) -> None:
    parent = parent_spec(PLAIN)
    train_parent(store, parent)
    fork = fork_of(parent, FORK_EPOCH, constraint={"name": "fixed_norm", "norm": 2.0})
    version = store.train(fork, 1, Steps(), Metrics())
    np.testing.assert_allclose(store.rows(fork, version, Steps())["weight_norm"], 2.0, rtol=1e-6)
    np.testing.assert_allclose(store.rows(fork, version, Metrics())["weight_norm"], 2.0, rtol=1e-6)


def test_the_start_has_the_parents_weights_and_statistics_to_the_last_bit(store: Store) -> None:
    """This holds in float64 too, though the initialisation, which is replaced, is in float32."""
    parent = parent_spec(SETTINGS["standard"], "float64")
    train_parent(store, parent)
    fork = fork_of(parent, FORK_EPOCH, loss={"name": "cross_entropy", "label_smoothing": 0.3})
    version = store.train(fork, 1, Checkpoints(), FullGradientNorm())
    whole = store.run_folder(parent) / f"e{PARENTS_EPOCHS}"
    start = store.rows(fork, version, Checkpoints())["values"][0]
    kept = store.rows(parent, whole, Checkpoints())["values"][FORK_EPOCH]
    assert start.tobytes() == kept.tobytes()


# As a job


@pytest.mark.parametrize("look", [2, 5, 9, 13])
def test_an_interrupted_fork_goes_on_as_if_never_stopped(look: int, store: Store) -> None:
    parent = parent_spec(SETTINGS["augmented"])
    train_parent(store, parent)
    fork, measures = fork_of(parent, FORK_EPOCH), (Metrics(), Steps(), Layers(), Checkpoints())
    with pytest.raises(StoppedBySignalError):
        store.train(fork, 2, *measures, stop=StopsAt(look))
    version = store.train(fork, 2, *measures)
    assert_goes_on_as(store, fork, version, parent, FORK_EPOCH)


def test_a_measure_of_a_fork_is_taken_later_and_a_longer_one_continued(store: Store) -> None:
    parent = parent_spec(SETTINGS["augmented"])
    train_parent(store, parent)
    fork, measures = fork_of(parent, FORK_EPOCH), (Metrics(), Steps(), Layers(), Checkpoints())
    store.train(fork, 1, Checkpoints())
    store.train(fork, 2, Checkpoints())
    version = store.train(fork, 2, *measures)
    assert store.made_by(fork, version, Metrics()) == "checkpoints"
    assert store.made_by(fork, version, Layers()) == "replay"
    assert_goes_on_as(store, fork, version, parent, FORK_EPOCH)


def test_the_rule_is_resolved_on_the_parents_measured_course(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def rule(metrics: pd.DataFrame, *, epochs: int, number: int) -> int:
        seen.append((metrics["epoch"].tolist(), "weight_norm" in metrics, epochs, number))
        return 3

    monkeypatch.setattr(forks, "before_destabilisation", rule)
    parent = parent_spec(PLAIN)
    # A longer parent has more epochs than the rule may look at.
    store.train(parent, PARENTS_EPOCHS + 1, Checkpoints(), Metrics())
    described = {
        "run": parent.to_dict(),
        "epochs": PARENTS_EPOCHS,
        "at": {"name": "before_destabilisation", "epochs": 1},
    }
    fork = RunSpec.from_dict({**parent.to_dict(), "parent": described})
    version = store.train(fork, 1, Metrics())
    assert seen == [(list(range(PARENTS_EPOCHS + 1)), True, 1, 1)]
    assert read_provenance(version).details["fork_epoch"] == 3


def test_a_parent_that_is_not_there_or_not_kept_is_told(store: Store) -> None:
    parent = parent_spec(PLAIN)
    fork = fork_of(parent, FORK_EPOCH)
    told = "no complete version of 4 epochs with checkpoints of the run .*; train that one first"
    with pytest.raises(PerigeeError, match=told):
        store.train(fork, 1)
    store.train(parent, PARENTS_EPOCHS, Metrics(), Checkpoints(interval=3))
    with pytest.raises(PerigeeError, match=told):
        store.train(fork, 1)
    with pytest.raises(PerigeeError, match="forks from another run; give its folder"):
        store.job(fork, 1, Metrics(), parent=None).run(StopsAt())
    store.train(parent, PARENTS_EPOCHS, Checkpoints())
    assert store.train(fork, 1).is_dir()


def test_a_parent_that_is_damaged_is_refused(store: Store) -> None:
    parent = parent_spec(PLAIN)
    version = train_parent(store, parent)
    rows = store.measure_folder(parent, version, Checkpoints()) / "rows.npy"
    content = bytearray(rows.read_bytes())
    content[-5] ^= 1
    rows.write_bytes(content)
    with pytest.raises(PerigeeError, match=r"rows\.npy has a wrong checksum"):
        store.train(fork_of(parent, FORK_EPOCH), 1)


def test_the_parent_is_left_as_it_is(store: Store) -> None:
    parent = parent_spec(MOMENTUM)
    before = contents(train_parent(store, parent))
    store.train(fork_of(parent, FORK_EPOCH), 2, Metrics())
    assert contents(store.run_folder(parent) / f"e{PARENTS_EPOCHS}") == before


def test_a_fork_in_memory_needs_no_store() -> None:
    """A run in memory may start from any state that its caller gives."""
    spec = parent_spec(MOMENTUM)
    states: list[dict[str, np.ndarray]] = []

    class Keeps(Watch):
        def after_epoch(self, recorder: Recorder) -> None:
            state = recorder.trainer.state()
            states.append({name: value.numpy() for name, value in state.items()})

    whole = recorded(make_trainer(spec), 3, watch=Keeps())
    fork = make_trainer(spec, start=Start(states[1], 1, spec, 1))
    found = recorded(fork, 2)
    assert found.rows["losses"].tolist() == whole.rows["losses"][STEPS:].tolist()
    assert fork.state().keys() == states[-1].keys()
    for name, value in fork.state().items():
        if "num_batches_tracked" not in name:
            assert np.array_equal(value, states[-1][name]), name


def test_the_final_state_is_the_parents_too(store: Store) -> None:
    parent = parent_spec(MOMENTUM)
    whole = train_parent(store, parent)
    version = store.train(fork_of(parent, FORK_EPOCH), PARENTS_EPOCHS - FORK_EPOCH)
    found, expected = load_file(version / STATE), load_file(whole / STATE)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if "num_batches_tracked" not in name:
            assert np.array_equal(found[name], value), name
