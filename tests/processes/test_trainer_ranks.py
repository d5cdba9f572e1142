"""Several processes that share a run get what one process gets, to the last digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from perigee.blocks.measures import Checkpoints, Layers, Measure, Metrics, Steps
from perigee.errors import StoppedBySignalError
from perigee.jobs.following import DepartureError
from perigee.kernel.ranks import Ranks
from perigee.store.provenance import read_provenance
from perigee.store.runs import versions
from perigee.training.loop import train
from support.rank_processes import meet_anew, on_ranks
from support.recorded import EVERY_MEASURE, finished, make_recorder, recorded
from support.reference_training import Settings
from support.runs import make_spec, make_trainer
from support.stores import StopsAt, Store, contents, outcome

EPOCHS = 2
DIGITS = 1e-10

RUNS = {
    # Of 70 images, the last mini-batch has one; in the others there are 4 and 6.
    "one image in the last": Settings(width=2, momentum=0.9, batch_size=23, padding=2),
    "full batch": Settings(
        width=1, batch_size=33, full_batch=True, learning_rate=0.3, cosine_horizon=3
    ),
    "standard resnet": Settings(
        model="resnet18",
        width=1,
        scale_invariant=False,
        batch_size=32,
        momentum=0.9,
        weight_decay=0.5,
        undecayed=("normalisation",),
        label_smoothing=0.1,
    ),
    "sphere": Settings(width=2, norm=3.0, optimiser="adam", learning_rate=0.01, batch_size=32),
}


def assert_close(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Assert equality to ten digits of the largest number of each column."""
    assert found.keys() == expected.keys()
    for log, rows in expected.items():
        if log == "weights":  # digests, which differ in the last bits' wake
            assert found[log]["epoch"].tolist() == rows["epoch"].tolist()
            continue
        for name in rows.dtype.names or (None,):
            column, wanted = (one[name] if name else one for one in (found[log], rows))
            size = np.abs(wanted).max()
            np.testing.assert_allclose(
                column, wanted, DIGITS, DIGITS * size, err_msg=f"{log} {name}"
            )


def train_all(ranks: Ranks, runs: Mapping[str, Settings]) -> dict[str, dict[str, np.ndarray]]:
    """Every log of each run, or, from ranks that write none, the losses and the weights."""
    found = {}
    for name, run in runs.items():
        trainer = make_trainer(run, ranks=ranks)
        with TemporaryDirectory() as folder:
            recorder = make_recorder(trainer, Path(folder), EPOCHS, *EVERY_MEASURE)
            train(trainer, recorder)
            found[name] = dict(finished(recorder).rows)
        found[name]["weights of the rank"] = trainer.parameters.values.numpy().copy()
        found[name]["losses of the rank"] = recorder.last_losses
    return found


# Everything that two processes do in these tests, they do one after the other: it takes seconds
# until they have met.

RUN = Settings(width=2, batch_size=23, momentum=0.9, padding=2, learning_rate=0.05)
MEASURES = (Metrics(), Steps(), Layers(), Checkpoints())


def run_job(store: Store, stop: StopsAt, *measures: Measure, **options: bool) -> str:
    """Run a job, and return how it ended."""
    try:
        store.job(make_spec(RUN), EPOCHS, *measures, **options).run(stop)
    except (StoppedBySignalError, DepartureError) as error:
        return str(error)
    return "done"


def work(folder: Path, look: int) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
    """Do the work of one of two processes: runs in memory, and jobs, some of which are interrupted
    when rank 1 checks for the n-th time."""
    meet_anew()
    ranks = Ranks.of_environment(torch.device("cpu"), patience=30)
    runs = train_all(ranks, RUNS)
    ranks.close()
    stops = look if ranks.rank == 1 else math.inf
    told = {}
    for name in ("stopped", "given to one"):
        meet_anew()
        told[name] = run_job(Store(folder / name), StopsAt(stops), *MEASURES)
    for name in ("stopped", "whole", "taken from one"):
        meet_anew()
        told[f"{name}, to the end"] = run_job(Store(folder / name), StopsAt(), *MEASURES)
    later = Store(folder / "measured later")
    for name, new_trajectory in (("followed", False), ("trained anew", True)):
        meet_anew()
        told[name] = run_job(later, StopsAt(), Metrics(), Layers(), new_trajectory=new_trajectory)
    return runs, told


@dataclass(frozen=True)
class Together:
    """The results: each process's runs in memory and how its jobs ended; the stores; and the
    measures of a single process that is never interrupted."""

    runs: list[dict[str, dict[str, np.ndarray]]]
    told: list[dict[str, str]]
    stores: dict[str, Store]
    alone: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    folder, stop = tmp_path_factory.mktemp("together"), StopsAt()
    stores = {
        name: Store(folder / name)
        for name in (
            "alone",
            "stopped",
            "whole",
            "given to one",
            "taken from one",
            "measured later",
        )
    }
    assert run_job(stores["alone"], stop, *MEASURES) == "done"
    look = stop.looks // 2
    assert "stopped" in run_job(stores["taken from one"], StopsAt(look), *MEASURES)
    assert run_job(stores["measured later"], StopsAt(), Checkpoints()) == "done"
    results = on_ranks(work, 2, folder, look, meetings=8)
    runs, told = (list(part) for part in zip(*results, strict=True))
    return Together(runs, told, stores, rows_of(stores["alone"]))


def the_version(store: Store) -> Path:
    found = store.job(make_spec(RUN), EPOCHS).found({})
    assert found is not None
    return found.folder


def rows_of(store: Store) -> dict[str, np.ndarray]:
    version = the_version(store)
    found = {measure.name: store.rows(make_spec(RUN), version, measure) for measure in MEASURES}
    return {**found, "losses": np.load(version / "losses.npy")}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_equal_one_with_the_same_mini_batches(name: str, together: Together) -> None:
    first, second = (dict(runs[name]) for runs in together.runs)
    for of_rank in ("weights of the rank", "losses of the rank"):
        assert first.pop(of_rank).tobytes() == second.pop(of_rank).tobytes()
    assert second == {}, "one process writes"
    expected = recorded(make_trainer(RUNS[name]), EPOCHS, *EVERY_MEASURE).rows
    assert_close(first, expected)


def test_both_processes_end_alike(together: Together) -> None:
    first, second = together.told
    assert first == second
    for name, told in first.items():
        if name.endswith("to the end") or name == "trained anew":
            assert told == "done", name
    for name in ("stopped", "given to one"):
        assert "was stopped by SIGTERM" in first[name]
        assert "its state is saved" in first[name]


def test_two_that_were_stopped_go_on_to_the_bits_of_never_stopped(together: Together) -> None:
    stopped, whole = (the_version(together.stores[name]) for name in ("stopped", "whole"))
    assert contents(stopped) == contents(whole)
    assert outcome(stopped) == outcome(whole)
    details = read_provenance(stopped).details
    assert (details["ranks"], len(details["sessions"])) == (2, 2)
    assert_close(rows_of(together.stores["stopped"]), together.alone)


def test_two_are_stopped_and_one_goes_on(together: Together) -> None:
    store = together.stores["given to one"]
    assert run_job(store, StopsAt(), *MEASURES) == "done"
    assert_close(rows_of(store), together.alone)
    details = read_provenance(the_version(store)).details
    assert (details["ranks"], len(details["sessions"])) == (1, 2)


def test_one_is_stopped_and_two_go_on(together: Together) -> None:
    store = together.stores["taken from one"]
    assert_close(rows_of(store), together.alone)
    details = read_provenance(the_version(store)).details
    assert (details["ranks"], len(details["sessions"])) == (2, 2)


def test_two_measure_a_run_that_one_has_trained(together: Together) -> None:
    """Metrics at its checkpoints; layers by following it, which fails in the last bits."""
    store, spec = together.stores["measured later"], make_spec(RUN)
    first = the_version(store)
    assert "cannot be followed" in together.told[0]["followed"]
    assert store.made_by(spec, first, Metrics()) == "checkpoints"
    expected = {"metrics": together.alone["metrics"]}
    assert_close({"metrics": store.rows(spec, first, Metrics())}, expected)
    assert [v.folder.name for v in versions(first.parent)] == ["e2", "e2.2"]
    found = store.job(spec, EPOCHS, Metrics(), Layers())
    version = found.found(found.wanted)
    assert version is not None
    assert version.folder.name == "e2.2"
    for measure in (Metrics(), Layers()):
        rows = store.rows(spec, version.folder, measure)
        assert_close({measure.name: rows}, {measure.name: together.alone[measure.name]})
