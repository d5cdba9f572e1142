"""perigee.open and perigee.train on a small store, made by the pieces that the workflow runs."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.numpy import load_file

import perigee
from perigee import access, in_memory, paths, registry
from perigee.analysis.inputs import RunInput
from perigee.data.building import build_dataset
from perigee.data.saving import save_dataset
from perigee.errors import PerigeeError
from perigee.interruption import StopRequest
from perigee.jobs.training import TrainingJob
from perigee.paths import ROOT
from perigee.planning.plan import make_plan
from perigee.planning.products import (
    DatasetProduct,
    Product,
    RunProduct,
    TableEntry,
    TableProduct,
    outstanding,
)
from perigee.store.runs import STATE
from perigee.store.tables import TABLE
from perigee.store.writing import product_writer
from support.configuration import write

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
EPOCHS, STEPS_PER_EPOCH = 3, 3
IMAGES = 1437
"""For training, of the bundled digits."""

PAPER: dict[str, Any] = {
    "citation": "Nobody 2020",
    "runs": {
        "small": {
            "dataset": {"name": "digits"},
            "model": {"name": "convnet", "width": 1, "scale_invariant": True},
            "optimiser": {
                "name": "sgd",
                "learning_rate": 0.1,
                "weight_decay": 0.01,
                "momentum": 0.9,
            },
            "schedule": {"name": "constant"},
            "constraint": {"name": "none"},
            "batch_size": 600,
            "seed": 0,
        }
    },
    "figures": {
        "fig2": {
            "title": "From formulas",
            "tables": {
                "identities": {
                    "analysis": {
                        "name": "toy_gradient_identities",
                        "points": 2,
                        "factors": [3.0],
                        "seed": 0,
                    }
                },
                "others": {
                    "analysis": {
                        "name": "toy_gradient_identities",
                        "points": 2,
                        "factors": [3.0],
                        "seed": 1,
                    }
                },
            },
        },
        "fig3": {
            "title": "From runs",
            "runs": {
                "rates": {
                    "run": "small",
                    "epochs": EPOCHS - 1,
                    "sweep": {"optimiser.learning_rate": [0.1, 0.3], "seed": [10, 11]},
                }
            },
            "tables": {"runs": {"analysis": {"name": "run_metrics"}, "runs": ["rates"]}},
        },
        "fig4": {
            "title": "Another rate, not made",
            "runs": {
                "widths": {
                    "run": "small",
                    "epochs": EPOCHS,
                    "sweep": {
                        "model.width": [2, 3],
                        "schedule.name": ["constant"],
                        "constraint.name": ["none"],
                    },
                }
            },
            "tables": {
                "period": {
                    "analysis": {"name": "one_period", "smoothing_epochs": 1},
                    "runs": ["widths"],
                }
            },
        },
        "fig6": {
            "title": "From checkpoints",
            "runs": {
                name: {
                    "run": "small",
                    "set": {"optimiser.learning_rate": rate},
                    "epochs": EPOCHS,
                    "checkpoint_interval": 2,
                    "sweep": {"seed": [10, 11]},
                }
                for name, rate in (("convnet", 0.3), ("resnet", 0.2))
            },
            "tables": {
                name: {"analysis": {"name": "similarity"}, "runs": [name]}
                for name in ("convnet", "resnet")
            },
        },
    },
}


class Made:
    """A maker of a plan's products in this process."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def make(self, product: Product) -> None:
        """Make an outstanding product, whose inputs are there."""
        if isinstance(product, DatasetProduct):
            built = build_dataset(product.dataset, Path("data"), download=False)
            with product_writer(self.store / product.folder, product.identity) as aside:
                save_dataset(built, aside)
        elif isinstance(product, RunProduct):
            TrainingJob(
                identity=product.identity,
                spec=product.spec,
                epochs=product.epochs,
                measures=product.measures,
                dataset=self.store / product.dataset.folder,
                out=self.store / product.folder,
                device="cpu",
                progress_interval=1e6,
                save_interval=1e6,
            ).run(StopRequest())
        elif isinstance(product, TableProduct):
            runs = [self.run_input(entry) for entry in product.entries]
            table = registry.load(product.analysis)(runs, **product.analysis.parameters)
            with product_writer(self.store / product.folder, product.identity) as aside:
                table.to_parquet(aside / TABLE, index=False)

    def run_input(self, entry: TableEntry) -> RunInput:
        version = entry.run.version(self.store)
        assert version is not None
        identities = entry.run.measure_identities
        folders = {n: version.measure(i, entry.run.epochs) for n, i in identities.items()}
        return RunInput(entry.run.epochs, entry.run.steps_per_epoch, folders, entry.swept, False)


@pytest.fixture(scope="module")
def _patched() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, _patched: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of its own, and the products of some of its figures."""
    root = tmp_path_factory.mktemp("root")
    write(root, {"periodic": PAPER})
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    settings |= {"scale": "smoke", "papers": ["periodic"]}
    (root / "config/config.yaml").write_text(yaml.safe_dump(settings))
    _patched.setattr(access, "settings_file", lambda: root / "config/config.yaml")
    _patched.setattr(paths, "CARRIED", root)
    _patched.setattr(paths, "config_folders", lambda: [root / "config"])
    plan, made = make_plan(["periodic"], "smoke"), Made(root / "results/store")
    targets = [
        *plan.of_figures(["periodic_fig6"]).runs.values(),
        *plan.figures["periodic_fig3"].tables.values(),
        plan.figures["periodic_fig2"].tables["identities"],
    ]
    for product in outstanding(targets, made.store, plan.runs).values():
        made.make(product)
    return root


@pytest.fixture
def figure(root: Path) -> access.Figure:
    return perigee.open("periodic_fig3")


@pytest.fixture
def kept(root: Path) -> access.Run:
    """A run with checkpoints."""
    return perigee.open("periodic_fig6").run("convnet", seed=11)


def message(call: Callable[[], object]) -> str:
    with pytest.raises(PerigeeError) as caught:
        call()
    told = str(caught.value)
    assert told.endswith(".")
    return told


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total = hashlib.sha256()
    for path in files:
        total.update(str(path).encode() + path.read_bytes())
    return total.hexdigest()


# Importing


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import perigee; assert 'open' in dir(perigee)", ["torch", "numpy", "pydantic"]),
        ("import perigee; perigee.open", ["torch", "snakemake", "matplotlib"]),
    ],
)
def test_importing_is_light(code: str, absent: list[str]) -> None:
    check = f"{code}\nimport sys\nassert not {set(absent)} & set(sys.modules), sys.modules.keys()"
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    subprocess.run([sys.executable, "-c", check], check=True, env=environment)


def test_there_is_nothing_else_of_that_kind() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        perigee.opne  # noqa: B018


# Reading


def test_the_table_has_the_rows_of_all_runs(figure: access.Figure) -> None:
    assert figure.tables == ("runs",)
    table = figure.table()
    pd.testing.assert_frame_equal(table, figure.table("runs"))
    assert len(table) == 4 * EPOCHS
    for run in figure.runs:
        rows = table
        for key, value in run.swept.items():
            rows = rows[rows[key] == value]
        metrics = run.metrics()
        pd.testing.assert_frame_equal(rows[metrics.columns].reset_index(drop=True), metrics)
        assert metrics["epoch"].tolist() == [0, 1, 2]


def test_runs_are_told_by_their_swept_values(figure: access.Figure) -> None:
    assert [dict(run.swept) for run in figure.runs] == [
        {"optimiser.learning_rate": rate, "seed": seed} for rate in (0.1, 0.3) for seed in (10, 11)
    ]
    run = figure.run(learning_rate=np.float64(0.3), seed=np.int64(11))
    assert (run.spec["optimiser"]["learning_rate"], run.spec["seed"]) == (0.3, 11)
    assert figure.run(**{"optimiser.learning_rate": 0.3, "seed": 11}) == run
    assert "learning_rate 0.3, seed 11" in repr(run)
    assert repr(figure) == "<periodic_fig3: tables runs; 4 runs>"


def test_a_run_that_there_is_not_is_told_with_what_there_is(root: Path) -> None:
    figure, others = perigee.open("periodic_fig3"), perigee.open("periodic_fig6")
    assert message(lambda: figure.run(learning_rate=0.7)) == (
        "periodic_fig3 has no run with optimiser.learning_rate 0.7; known are: "
        "optimiser.learning_rate 0.1, 0.3; seed 10, 11."
    )
    assert message(lambda: figure.run(learning_rate=0.3)) == (
        "periodic_fig3 has 2 runs with optimiser.learning_rate 0.3; say which: "
        "optimiser.learning_rate 0.3; seed 10, 11."
    )
    assert "table convnet, resnet" in message(lambda: others.run(seed=10))
    assert "did you mean 'seed'" in message(lambda: figure.run(sed=0))
    assert "did you mean 'resnet'" in message(lambda: others.run("resnets", seed=10))
    assert "has no runs" in message(lambda: perigee.open("periodic_fig2").run())


def test_a_short_key_with_two_meanings_is_refused(root: Path) -> None:
    figure = perigee.open("periodic_fig4")
    assert figure.run(width=2).spec["model"]["width"] == 2
    assert "'name' may mean constraint.name or schedule.name" in message(
        lambda: figure.run(width=2, name="none")
    )
    assert figure.run(width=2, **{"constraint.name": "none"}) == figure.run(width=2)


def test_one_of_several_tables_has_to_be_named(root: Path) -> None:
    figure = perigee.open("periodic_fig2")
    assert len(figure.table("identities")) == 2
    assert "name one of identities, others" in message(figure.table)
    assert "did you mean 'others'" in message(lambda: figure.table("other"))


def test_what_is_not_made_names_the_command(root: Path, tmp_path: Path) -> None:
    figure = perigee.open("periodic_fig4")
    run = figure.run(width=2)
    for call in (figure.table, run.metrics, run.steps, lambda: run.folder, lambda: run.provenance):
        assert "not made yet" in message(call)
        assert "'snakemake periodic_fig4' makes it" in message(call)
    laid_over = tmp_path / "my own.yaml"
    laid_over.write_text("scale: laptop\n")
    elsewhere = perigee.open("periodic_fig3", configuration=laid_over, results=tmp_path)
    assert (
        f"'snakemake periodic_fig3 --configfile '\"'\"'{laid_over}'\"'\"' --config "
        f"results={tmp_path}'"
    ).replace("'\"'\"'", "'") in message(elsewhere.table)
    assert elsewhere.product.stamp["scale"] == "laptop"
    assert "scale=paper" in message(perigee.open("periodic_fig4", scale="paper").table)
    assert "known are" in message(lambda: perigee.open("periodic_fig33"))
    assert "'huge'" in message(lambda: perigee.open("periodic_fig3", scale="huge"))


def test_measures_that_the_figure_does_not_ask_for(kept: access.Run) -> None:
    assert kept.measures == ("checkpoints", "metrics")
    assert "the figure asks only for checkpoints, metrics" in message(kept.steps)
    assert "did you mean 'layers'" in message(lambda: kept.measure("layer"))


def test_a_run_is_read_off_a_longer_one(figure: access.Figure) -> None:
    run = figure.run(learning_rate=0.3, seed=11)
    assert run.epochs == EPOCHS - 1
    assert run.folder.name == f"e{EPOCHS}"
    assert run.provenance.details["epochs"] == EPOCHS
    pd.testing.assert_frame_equal(run.measure("metrics"), run.metrics())
    # Fig. 3 asks for no checkpoints, but the store has these.
    assert len(run.metrics()) == EPOCHS


def test_checkpoints(kept: access.Run) -> None:
    assert kept.checkpoints == (0, 2, 3)
    state = load_file(kept.folder / STATE)
    last = kept.checkpoint(3)
    assert {name for name in last if name.startswith("optimiser.")} == {"optimiser.velocity"}
    for name, value in last.items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
    assert "of epoch 1" in message(lambda: kept.checkpoint(1))
    names = [part["name"] for part in kept.description("checkpoints")["parts"]]
    assert names == list(last)


def test_nothing_that_is_given_out_is_the_stores_own(root: Path, kept: access.Run) -> None:
    before = digest(root)
    metrics, state = kept.metrics(), kept.checkpoint(2)
    metrics["train_loss"] = 0.0
    for value in state.values():
        value[...] = 0
    kept.spec["seed"] = 77
    rows = kept.measure("checkpoints")
    with pytest.raises(ValueError, match="read-only"):
        rows["epoch"] = 5
    assert (kept.metrics()["train_loss"] > 0).all()
    assert any(value.any() for value in kept.checkpoint(2).values())
    assert kept.spec["seed"] == 11
    assert digest(root) == before


@pytest.mark.parametrize("what", ["table", "measure", "provenance"])
def test_what_was_changed_is_refused(what: str, root: Path) -> None:
    figure = perigee.open("periodic_fig3")
    run = figure.run(learning_rate=0.1, seed=11)
    read: Callable[[], object]
    if what == "table":
        path, read = (
            next(root.glob("results/store/table/periodic_fig3*/table.parquet")),
            figure.table,
        )
    elif what == "measure":
        path, read = next(run.folder.glob("metrics-*/rows.npy")), run.metrics
    else:
        path, read = run.folder / "provenance.json", lambda: run.provenance
    whole = path.read_bytes()
    try:
        if what == "provenance":
            path.write_bytes(whole.replace(run.product.identity.digest.encode(), b"0" * 16))
        else:
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        told = message(read)
    finally:
        path.write_bytes(whole)
    assert str(path) in told
    assert "changed" in told or "belongs to another" in told


# Training


def test_a_run_in_memory_has_the_stores_numbers(kept: access.Run) -> None:
    trained = perigee.train(kept.spec, EPOCHS, measures=["metrics", "checkpoints", "steps"])
    pd.testing.assert_frame_equal(trained.measures["metrics"], kept.metrics())
    np.testing.assert_array_equal(trained.losses, np.load(kept.folder / "losses.npy"))
    for name, value in load_file(kept.folder / STATE).items():
        np.testing.assert_array_equal(trained.state[name], value)
    steps = trained.measures["steps"]
    assert steps["step"].tolist() == list(range(EPOCHS * STEPS_PER_EPOCH))
    assert steps["epoch"].tolist() == np.repeat([1, 2, 3], STEPS_PER_EPOCH).tolist()
    np.testing.assert_array_equal(steps["loss"], trained.losses.astype(np.float32))
    rows = trained.measures["checkpoints"]
    assert rows["epoch"].tolist() == [0, 1, 2, 3]
    assert trained.stopped_at_step is None


def test_a_run_goes_on_from_a_checkpoint_to_the_same_bits(kept: access.Run) -> None:
    further = perigee.train(kept.spec, 1, start=kept.checkpoint(2), first_epoch=2)
    for name, value in kept.checkpoint(3).items():
        np.testing.assert_array_equal(further.state[name], value, err_msg=name)
    # With the weights alone the velocity begins at 0, and in the order of epoch 0 all is another.
    weights = {n: v for n, v in kept.checkpoint(2).items() if n.startswith("model.")}
    for start, first in ((weights, 2), (kept.checkpoint(2), 0)):
        other = perigee.train(kept.spec, 1, start=start, first_epoch=first)
        assert other.losses[0] != further.losses[0] or other.losses[1] != further.losses[1]


def test_a_norm_that_is_to_stay_is_that_of_the_given_weights(kept: access.Run) -> None:
    spec = {**kept.spec, "constraint": {"name": "fixed_norm"}, "precision": "float64"}
    initial = perigee.train(spec, 0).state
    names = [name for name in initial if re.fullmatch(r"model\.features\.\d\.0\.weight", name)]
    norm = np.sqrt(sum((initial[name] ** 2).sum() for name in names))
    start = {name: 2 * initial[name] for name in names}
    trained = perigee.train(spec, 1, start=start)
    assert trained.measures["metrics"]["weight_norm"].to_numpy() == pytest.approx(2 * norm)
    # What the start leaves out is as initialised.
    np.testing.assert_array_equal(trained.state["model.head.weight"], initial["model.head.weight"])


def test_the_order_is_called_with_the_epoch(kept: access.Run) -> None:
    asked: list[int] = []

    def in_order(epoch: int) -> np.ndarray:
        asked.append(epoch)
        return np.arange(IMAGES)

    perigee.train(kept.spec, 2, start=kept.checkpoint(2), first_epoch=5, order=in_order)
    assert asked == [5, 6]


def test_mini_batches_are_those_of_the_order(kept: access.Run) -> None:
    """With a learning rate of nothing their losses are the parts of the metrics' train loss."""
    rule = {"name": "sgd", "learning_rate": 1e-30}
    spec = {**kept.spec, "optimiser": rule, "precision": "float64"}
    stored, turned = (
        perigee.train(spec, 1, order=lambda epoch, order=order: order)
        for order in (np.arange(IMAGES), np.roll(np.arange(IMAGES), -600))
    )
    parts = np.array([600, 600, IMAGES - 1200]) / IMAGES
    assert stored.losses @ parts == pytest.approx(
        stored.measures["metrics"]["train_loss"][0], rel=1e-12
    )
    assert turned.losses[0] == pytest.approx(stored.losses[1], rel=1e-12)
    assert turned.losses[0] != pytest.approx(stored.losses[0], rel=1e-5)


def test_torch_is_left_as_it_was(kept: access.Run) -> None:
    threads = torch.get_num_threads()
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.set_num_threads(threads + 1)
    try:
        perigee.train(kept.spec, 0)
        assert torch.get_deterministic_debug_mode() == 1
        assert torch.utils.deterministic.fill_uninitialized_memory
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": -1}, "'epochs' is -1"),
        ({"epochs": 1.5}, "'epochs' is 1.5"),
        ({"spec": {"optimiser": {"name": "sgd", "learning_rate": -1}}}, "optimiser.learning_rate"),
        ({"spec": {"colour": "red"}}, "unknown key 'colour'"),
        ({"spec": {"dataset": {"name": "digit"}}}, "did you mean 'digits'"),
        ({"measures": ["metric"]}, "did you mean 'metrics'"),
        ({"measures": [{"name": "checkpoints", "interval": 0}]}, "at least 1"),
        ({"first_epoch": 3}, "give 'start'"),
        ({"start": {"model.features.0.0.weigth": np.ones(2)}}, "'model.features.0.0.weigth'"),
        ({"start": {"model.head.bias": np.ones(3)}}, r"shape \(3,\), but .* \(10,\)"),
        ({"start": {"optimiser.speed": np.ones(3)}}, "lacks 'optimiser.velocity'"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, Any], told: str, kept: access.Run) -> None:
    given: dict[str, Any] = {"spec": kept.spec, "epochs": 0, **change}
    given["spec"] = {**kept.spec, **given["spec"]}
    assert re.search(told, message(lambda: perigee.train(**given)))


@pytest.mark.parametrize(
    ("order", "epoch"),
    [
        pytest.param(lambda epoch: np.r_[0, 0, np.arange(2, IMAGES)], 0, id="twice"),
        pytest.param(lambda epoch: np.arange(IMAGES - 1), 0, id="short"),
        pytest.param(lambda epoch: np.arange(IMAGES) + epoch, 1, id="in a later epoch"),
    ],
)
def test_an_order_has_each_image_once(
    order: Callable[[int], np.ndarray], epoch: int, kept: access.Run
) -> None:
    told = message(lambda: perigee.train(kept.spec, 2, order=order))
    assert f"epoch {epoch} no permutation" in told


def test_a_fork_needs_its_parents_state(kept: access.Run) -> None:
    parent = {"run": kept.spec, "epochs": 3, "at": {"name": "at_epoch", "epoch": 2}}
    fork = {**kept.spec, "parent": parent}
    assert "has a 'parent'" in message(lambda: perigee.train(fork, 1))
    # One that changes nothing equals its parent.
    trained = perigee.train(fork, 1, start=kept.checkpoint(2), first_epoch=2)
    assert trained.losses.tolist() == np.load(kept.folder / "losses.npy")[-3:].tolist()
    # With another update rule the parent's velocity is passed over.
    other = {**fork, "optimiser": {"name": "adam", "learning_rate": 0.001}}
    assert np.isfinite(perigee.train(other, 1, start=kept.checkpoint(2)).losses).all()


# The page

EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_pages_examples_do_what_they_say(root: Path) -> None:
    assert len(EXAMPLES) == 5
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    for example in EXAMPLES:
        exec(compile(example, "docs/python.md", "exec"), names)
    assert names["runs"]["epoch"].max() == EPOCHS - 1
    assert names["trained"].measures["layers"].dtype.names[0] == "norm"
    assert (names["first"], names["last"]) == (0, EPOCHS)
    assert len(names["further"].losses) == STEPS_PER_EPOCH
    assert len(names["losses"]) == 15


def test_the_page_names_all_that_there_is() -> None:
    for kind in (access.Figure, access.Run):
        public = {
            name
            for name in vars(kind)
            if not name.startswith("_") and name not in ("product", "planned", "store", "command")
        }
        assert public
        assert {name for name in public if f".{name}" not in PAGE} == set()
    arguments = in_memory.train.__annotations__.keys() - {"return"}
    assert {name for name in arguments if f"| `{name}` |" not in PAGE} == set()
