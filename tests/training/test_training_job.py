"""perigee.jobs.training: runs are trained, continued, and measured later, to the same files."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from perigee.blocks.measures import (
    Checkpoints,
    Filters,
    FullGradientNorm,
    Layers,
    Measure,
    Metrics,
    RecomputedMetrics,
    RecomputedTestHits,
    Steps,
    TestHits,
    ThinnedLayers,
)
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.jobs.following import DepartureError
from perigee.kernel.optimisers.sgd import SGD
from perigee.models import convnet
from perigee.models.declaration import ScaleInvariantWeights
from perigee.spec import RunSpec
from perigee.store.provenance import PROVENANCE, read_product, read_provenance
from perigee.store.runs import ROWS, STATE, find_version, versions
from support.recorded import EVERY_MEASURE, recorded
from support.reference_training import Settings
from support.runs import make_spec, make_trainer
from support.stores import StopsAt, Store, contents, outcome, rewrite

STEPS = 2
"""The number of steps in an epoch."""

PLAIN = Settings(width=1, batch_size=40, learning_rate=0.3, weight_decay=0.05)
MOMENTUM = Settings(width=1, batch_size=40, learning_rate=0.05, momentum=0.9)
SPHERE = Settings(width=1, batch_size=40, norm=3.0, cosine_horizon=5, padding=1)
STANDARD = Settings(
    width=1, batch_size=40, scale_invariant=False, optimiser="adam", learning_rate=0.01
)
DIVERGING = Settings(width=1, batch_size=40, scale_invariant=False, learning_rate=1e30)


def spec_of(settings: Settings) -> RunSpec:
    return make_spec(settings, "float32")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """Another store, to compare with."""
    return Store(tmp_path / "other")


# Training


def test_a_job_makes_what_training_in_memory_measures(store: Store) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, *EVERY_MEASURE)
    trainer = make_trainer(spec, memory_format=torch.channels_last)
    expected = recorded(trainer, 2, *EVERY_MEASURE)
    for measure in EVERY_MEASURE:
        folder = store.measure_folder(spec, version, measure)
        provenance = read_product(folder, [ROWS])
        assert store.rows(spec, version, measure).tobytes() == expected.rows[measure.name].tobytes()
        described = json.loads(json.dumps(expected.descriptions[measure.name]))
        assert provenance.details["description"] == described
        assert provenance.details["by"] == "training"
    provenance = read_product(version, ["losses.npy", "weights.npy", STATE])
    for log in ("losses", "weights"):
        assert np.load(version / f"{log}.npy").tobytes() == expected.rows[log].tobytes()
    assert outcome(version) == {
        "epochs": 2,
        "seed": 0,
        "steps_per_epoch": STEPS,
        "steps": 2 * STEPS,
        "trained_to": 2,
        "stopped_at_step": None,
        "data_epoch": 0,
        "schedule_epoch": 0,
    }
    assert provenance.details["trained_epochs"] == 2
    assert provenance.details["ranks"] == 1
    assert len(provenance.details["sessions"]) == 1
    assert not (store.run_folder(spec) / "unfinished").exists()


def test_what_is_there_is_not_made_again(store: Store) -> None:
    spec = spec_of(PLAIN)
    version = store.train(spec, 2, Metrics(), Steps())
    assert store.job(spec, 2, Metrics(), Steps()).is_done()
    assert store.job(spec, 1, Steps()).is_done(), "the longer version has it"
    assert not store.job(spec, 3, Metrics()).is_done()
    assert not store.job(spec, 2, Layers()).is_done()
    stop = StopsAt()
    assert store.train(spec, 2, Metrics(), stop=stop) == version
    assert store.train(spec, 1, stop=stop) == version
    assert stop.looks == 0


def test_a_job_that_is_run_by_hand_writes_into_its_own_folder(store: Store) -> None:
    spec = spec_of(PLAIN)
    job = store.job(spec, 2, Metrics())
    by_hand = type(job)(**{**vars_of(job), "out": store.folder / "by_hand"})
    assert by_hand.run_folder == by_hand.out
    by_hand.run(StopsAt())
    version = store.train(spec, 2, Metrics())
    assert contents(by_hand.out) == contents(version)


def vars_of(job: object) -> dict[str, object]:
    return {name: getattr(job, name) for name in job.__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_wrong_declaration_is_refused_before_training(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        convnet,
        "ScaleInvariantWeights",
        lambda *names: ScaleInvariantWeights((*names[0], "head.weight"), names[1]),
    )
    with pytest.raises(PerigeeError, match=r"ConvNet declares 'head\.weight' scale-invariant tog"):
        store.train(spec_of(STANDARD), 1, Metrics())
    assert not store.run_folder(spec_of(STANDARD)).exists()


# Longer is not again


@pytest.mark.parametrize("settings", [PLAIN, MOMENTUM, SPHERE, STANDARD])
def test_a_continued_run_has_the_files_of_one_in_one_go(
    settings: Settings, store: Store, other: Store
) -> None:
    """The checkpoints' interval divides no length: a shorter run's last one is not the longer's."""
    spec = spec_of(settings)
    measures = (*EVERY_MEASURE[:-1], Checkpoints(interval=3))
    in_one_go = other.train(spec, 5, *measures)
    for epochs, trained in ((2, 2), (4, 2), (5, 1)):
        version = store.train(spec, epochs, *measures)
        assert read_provenance(version).details["trained_epochs"] == trained
    assert contents(version) == contents(in_one_go)
    assert outcome(version) == outcome(in_one_go)
    assert store.rows(spec, version, measures[-1])["epoch"].tolist() == [0, 3, 5]
    assert len(read_provenance(version).details["sessions"]) == 1
    # The shorter one is as it was.
    assert store.rows(spec, version.with_name("e2"), measures[-1])["epoch"].tolist() == [0, 2]


def test_the_provenance_tells_how_it_was_computed(store: Store) -> None:
    half = make_spec(PLAIN, "bfloat16")
    version = store.train(half, 1, Metrics())
    details = read_provenance(version).details
    (session,) = details["sessions"]
    assert session["captured"] is False
    assert session["computing"] == {
        "device": "cpu",
        "cuda": None,
        "cudnn": None,
        "precision": "bfloat16",
        "tf32_convolutions": False,
        "tf32_matrix_products": False,
        "cudnn_benchmark": False,
        "deterministic_algorithms": True,
        "channels_last": True,
        "capture": False,
    }


@pytest.mark.parametrize("option", ["capture", "channels_last"])
def test_how_steps_are_started_and_laid_out_is_not_part_of_a_run(option: str, store: Store) -> None:
    spec = spec_of(PLAIN)
    version = store.train(spec, 1, Metrics())
    assert store.job(spec, 1, Metrics(), **{option: "never"}).is_done()
    again = store.train(spec, 1, Metrics(), Steps(), **{option: "never"})
    assert again == version


def trained_epochs(version: Path) -> int:
    return int(read_provenance(version).details["trained_epochs"])


def test_the_longest_shorter_version_is_continued(store: Store) -> None:
    spec = spec_of(PLAIN)
    for epochs, trained in ((1, 1), (4, 3), (2, None), (6, 2)):
        version = store.train(spec, epochs, Metrics())
        if trained is None:
            assert version.name == "e4", "the longer one has it"
        else:
            assert trained_epochs(version) == trained


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *((f, damage) for f in (STATE, "losses.npy") for damage in ("changed", "cut", "removed")),
        ("metrics", "changed"),
        (PROVENANCE, "cut"),
        (PROVENANCE, "removed"),
    ],
)
def test_a_damaged_version_is_passed_over_with_a_warning(
    file: str, damage: str, store: Store, other: Store, caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(PLAIN)
    for epochs in (1, 2):
        version = store.train(spec, epochs, Metrics())
    path = version / file
    if file == "metrics":
        path = store.measure_folder(spec, version, Metrics()) / ROWS
    content = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[-len(content) // 3] ^= 1
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        longer = store.train(spec, 3, Metrics())
    assert trained_epochs(longer) == 2
    warnings = [entry.getMessage() for entry in caplog.records]
    if damage == "removed":
        assert not warnings  # a folder without all files is no version at all
    else:
        (warning,) = warnings
        assert f"not continued from {version}" in warning
    assert contents(longer) == contents(other.train(spec, 3, Metrics()))


def test_with_nothing_but_damage_the_run_starts_anew(
    store: Store, other: Store, caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(PLAIN)
    for folder in [store.train(spec, epochs, Metrics()) for epochs in (1, 2)]:
        (folder / STATE).write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING, logger="perigee"):
        version = store.train(spec, 3, Metrics())
    assert len(caplog.records) == 2
    assert trained_epochs(version) == 3
    assert contents(version) == contents(other.train(spec, 3, Metrics()))


def test_a_version_of_another_run_is_passed_over(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    spec, foreign = spec_of(PLAIN), spec_of(MOMENTUM)
    store.run_folder(spec).mkdir(parents=True)
    store.train(foreign, 1, Metrics()).rename(store.run_folder(spec) / "e1")
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert trained_epochs(store.train(spec, 3, Metrics())) == 3
    assert "belongs to another product" in caplog.text


def test_a_stopped_run_stays_stopped(store: Store) -> None:
    spec = spec_of(DIVERGING)
    version = store.train(spec, 6, *EVERY_MEASURE)
    stopped = outcome(version)
    assert stopped["stopped_at_step"] is not None
    assert stopped["trained_to"] < 6
    stop = StopsAt()
    longer = store.train(spec, 9, *EVERY_MEASURE, stop=stop)
    assert stop.looks == 0
    assert contents(longer) == contents(version)
    assert outcome(longer) == {**stopped, "epochs": 9}


def test_a_shorter_run_without_a_measure_is_continued_and_the_measure_taken_after(
    store: Store, other: Store
) -> None:
    spec = spec_of(MOMENTUM)
    store.train(spec, 1, Metrics())
    version = store.train(spec, 3, Metrics(), Layers())
    assert contents(version) == contents(other.train(spec, 3, Metrics(), Layers()))
    assert store.made_by(spec, version, Metrics()) == "training"
    assert store.made_by(spec, version, Layers()) == "replay"
    assert trained_epochs(version) == 2


# Measured later


@pytest.mark.parametrize("settings", [MOMENTUM, STANDARD, SPHERE, DIVERGING])
def test_measures_of_epochs_come_from_checkpoints_and_others_from_a_replay(
    settings: Settings, store: Store, other: Store
) -> None:
    """They have the same bits as training would have given."""
    spec = spec_of(settings)
    at_once = other.train(spec, 3, *EVERY_MEASURE)
    version = store.train(spec, 3, Checkpoints())
    before = contents(version)
    for measure, by in (
        (Metrics(), "checkpoints"),
        (FullGradientNorm(), "checkpoints"),
        (RecomputedMetrics(), "checkpoints"),
        (TestHits(), "checkpoints"),
        (RecomputedTestHits(), "checkpoints"),
        (Filters(), "replay"),
        (Layers(), "replay"),
        (ThinnedLayers(every=3), "replay"),
        (Steps(), "replay"),
    ):
        assert store.train(spec, 3, measure) == version
        assert store.made_by(spec, version, measure) == by
    assert contents(version) == contents(at_once)
    assert outcome(version) == outcome(at_once)
    assert before.items() <= contents(version).items(), "nothing is written anew"
    assert [v.folder.name for v in versions(version.parent)] == ["e3"]
    assert not (version.parent / "unfinished").exists()


def test_both_ways_in_one_job(store: Store, other: Store) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, Checkpoints())
    store.train(spec, 2, *EVERY_MEASURE)
    assert contents(version) == contents(other.train(spec, 2, *EVERY_MEASURE))
    assert store.made_by(spec, version, Metrics()) == "checkpoints"
    assert store.made_by(spec, version, Steps()) == "replay"


def test_checkpoints_of_some_epochs_do_not_suffice(store: Store, other: Store) -> None:
    spec = spec_of(PLAIN)
    version = store.train(spec, 3, Checkpoints(interval=2))
    store.train(spec, 3, Metrics())
    assert store.made_by(spec, version, Metrics()) == "replay"
    expected = other.train(spec, 3, Checkpoints(interval=2), Metrics())
    assert contents(version) == contents(expected)


def test_checkpoints_kept_more_often_are_those_kept_less_often(store: Store) -> None:
    spec = spec_of(PLAIN)
    store.train(spec, 4, Checkpoints(interval=2))
    assert store.job(spec, 4, Checkpoints(interval=4)).is_done()
    assert not store.job(spec, 4, Checkpoints(interval=3)).is_done()
    assert not store.job(spec, 4, Checkpoints(interval=1)).is_done()
    assert store.job(spec, 2, Checkpoints(interval=2)).is_done()
    # The last epoch of a shorter run was not kept.
    assert not store.job(spec, 3, Checkpoints(interval=2)).is_done()


@pytest.mark.parametrize("look", [1, 4, 7])
def test_a_stop_while_checkpoints_are_measured_leaves_nothing_behind(
    look: int, store: Store, other: Store
) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, Checkpoints())
    before = contents(version)
    for _ in range(2):
        with pytest.raises(StoppedBySignalError, match="while its checkpoints were measured"):
            store.train(spec, 2, Metrics(), stop=StopsAt(look))
        assert contents(version) == before
    store.train(spec, 2, Metrics())
    assert contents(version) == contents(other.train(spec, 2, Checkpoints(), Metrics()))


@pytest.mark.parametrize("look", [1, 3, 6])
def test_an_interrupted_replay_goes_on(look: int, store: Store, other: Store) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, Metrics())
    with pytest.raises(StoppedBySignalError, match="its state is saved"):
        store.train(spec, 2, Steps(), Layers(), stop=StopsAt(look))
    stop = StopsAt()
    store.train(spec, 2, Steps(), Layers(), stop=stop)
    whole = 2 * STEPS + 3
    assert stop.looks == whole - look
    assert contents(version) == contents(other.train(spec, 2, Metrics(), Steps(), Layers()))


def test_a_shorter_version_is_made_by_following_a_longer_one_that_lacks_a_measure(
    store: Store, other: Store
) -> None:
    """It then has all measures itself: those of a table come from one version."""
    spec = spec_of(MOMENTUM)
    longer = store.train(spec, 4, Metrics())
    before = contents(longer)
    version = store.train(spec, 2, Metrics(), Layers())
    assert version.name == "e2"
    assert contents(version) == contents(other.train(spec, 2, Metrics(), Layers()))
    assert outcome(version) == {**outcome(longer), "epochs": 2, "steps": 2 * STEPS, "trained_to": 2}
    assert contents(longer) == before
    assert store.made_by(spec, version, Layers()) == "replay"


# A replay that departs


def tampered(version: Path, step: int) -> None:
    """One loss of the fingerprint gets another last bit, as another machine would give it."""
    losses = np.load(version / "losses.npy")
    losses[step] = np.nextafter(losses[step], np.inf)
    rewrite(version, {"losses.npy": as_file(losses)})


def as_file(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_replay_that_departs_fails_and_names_the_first_step(step: int, store: Store) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, Metrics())
    tampered(version, step)
    before = contents(version)
    with pytest.raises(DepartureError, match=rf"e2 cannot be followed: at step {step} the loss is"):
        store.train(spec, 2, Layers())
    assert contents(version) == before
    assert not store.job(spec, 2, Layers()).is_done()


def test_a_departure_of_weights_alone_is_told_by_its_epoch(store: Store) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, Metrics())
    weights = np.load(version / "weights.npy")
    weights["sha256"][1] = b"0" * 64
    rewrite(version, {"weights.npy": as_file(weights)})
    with pytest.raises(DepartureError, match="after epoch 1 the weights are others"):
        store.train(spec, 2, Layers())


def test_a_departure_tells_what_else_is_not_as_it_was(store: Store) -> None:
    spec = spec_of(MOMENTUM)
    version = store.train(spec, 2, Metrics())
    tampered(version, 2)
    path = version / PROVENANCE
    document = json.loads(path.read_text())
    session = document["details"]["sessions"][-1]
    session["hardware"]["processor"], session["versions"]["torch"] = "Abacus", "0.1"
    session["computing"]["capture"] = True
    path.write_text(json.dumps(document))
    told = (
        r"at step 2 .*; other than then: processor .* instead of Abacus, torch .* instead of 0\.1, "
        "capture False instead of True"
    )
    with pytest.raises(DepartureError, match=told):
        store.train(spec, 2, Layers())


ORIGINAL_STEP = SGD.step
UNTIL_DEPARTURE = 1 + STEPS
"""Looks of a replay of steps, which departs at the end of its first epoch."""


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose steps are shorter by a trifle."""

    def shorter(self: SGD, parameters: object, learning_rate: torch.Tensor) -> None:
        ORIGINAL_STEP(self, parameters, learning_rate * (1 - 1e-5))  # type: ignore[arg-type]

    monkeypatch.setattr(SGD, "step", shorter)


def test_an_update_rule_that_was_changed_departs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(MOMENTUM)
    store.train(spec, 2, Metrics())
    initialise = SGD.__init__

    def other(self: SGD, parameters: object, **settings: object) -> None:
        initialise(self, parameters, **{**settings, "momentum": 0.8999})  # type: ignore[arg-type]

    monkeypatch.setattr(SGD, "__init__", other)
    # The first velocity is the gradient whatever the momentum is, so the third loss would differ.
    with pytest.raises(DepartureError, match="after epoch 1 the weights are others"):
        store.train(spec, 2, Layers())


@pytest.mark.usefixtures("another_machine")
class TestASecondTrajectory:
    """A new trajectory is made on request where the first one cannot be followed."""

    MEASURES: tuple[Measure, ...] = (Metrics(), Layers())

    @pytest.fixture
    def spec(self) -> RunSpec:
        return spec_of(MOMENTUM)

    @pytest.fixture
    def first(self, store: Store, spec: RunSpec) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SGD, "step", ORIGINAL_STEP)
            return store.train(spec, 2, Metrics())

    def test_all_measures_that_are_read_together_come_from_it(
        self, store: Store, spec: RunSpec, first: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = contents(first)
        with pytest.raises(DepartureError):
            store.train(spec, 2, *self.MEASURES)
        with caplog.at_level(logging.WARNING, logger="perigee"):
            second = store.train(spec, 2, *self.MEASURES, new_trajectory=True)
        assert "trained anew, beside it" in caplog.text
        assert second == first.with_name("e2.2")
        assert contents(first) == before
        assert [v.trajectory for v in versions(first.parent)] == [1, 2]
        assert np.load(second / "losses.npy").tobytes() != np.load(first / "losses.npy").tobytes()
        for measure in self.MEASURES:
            assert store.made_by(spec, second, measure) == "training"
        identities = list(store.job(spec, 2, *self.MEASURES).wanted.values())
        found = find_version(first.parent, 2, identities)
        assert found is not None
        assert found.folder == second
        # A reader of the metrics alone still reads the first.
        alone = find_version(first.parent, 2, identities[:1])
        assert alone is not None
        assert alone.folder == first
        assert store.job(spec, 2, *self.MEASURES).is_done()

    def test_it_is_the_one_that_is_followed_later(
        self, store: Store, spec: RunSpec, first: Path
    ) -> None:
        before = contents(first)
        second = store.train(spec, 2, *self.MEASURES, new_trajectory=True)
        assert store.train(spec, 2, *self.MEASURES, Steps()) == second
        assert store.made_by(spec, second, Steps()) == "replay"
        assert store.train(spec, 2, FullGradientNorm(), new_trajectory=True) == second
        assert contents(first) == before

    @pytest.mark.parametrize("look", [2, 7, 16])
    def test_it_is_gone_on_with_after_a_stop(
        self, look: int, store: Store, other: Store, spec: RunSpec, first: Path
    ) -> None:
        """Its state is not taken for one of the first trajectory, not even at its very end."""
        before = contents(first)
        with pytest.raises(StoppedBySignalError):
            store.train(
                spec, 2, *self.MEASURES, new_trajectory=True, stop=StopsAt(UNTIL_DEPARTURE + look)
            )
        assert (first.parent / "unfinished/e2.2").is_dir()
        second = store.train(spec, 2, *self.MEASURES, new_trajectory=True)
        assert second.name == "e2.2"
        assert contents(first) == before
        assert contents(second) == contents(other.train(spec, 2, *self.MEASURES))

    def test_a_shorter_one_that_cannot_be_followed_is_trained_itself(
        self, store: Store, spec: RunSpec, first: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SGD, "step", ORIGINAL_STEP)
            longer = store.train(spec, 4, Metrics())
        first.rename(first.with_name("gone"))
        version = store.train(spec, 3, *self.MEASURES, new_trajectory=True)
        assert version.name == "e3"
        assert np.load(version / "losses.npy")[-1] != np.load(longer / "losses.npy")[3 * STEPS - 1]
