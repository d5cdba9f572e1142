"""The measure ``filters`` and the analyses of it, against equations of Kodryan et al. 2022."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

from perigee.analysis.filters import tabulate, tabulate_statistics
from perigee.data.building import build_dataset
from perigee.dynamics.groups import (
    QUANTITIES,
    next_individual_effective_learning_rates,
    total_effective_learning_rate,
    total_squared_effective_step_size,
)
from perigee.errors import PerigeeError
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Moment, Trainer
from perigee.measures.filters import Filters
from perigee.spec import RunSpec
from support.synthetic_runs import write_measure, write_run

RATE = 0.004
TINY = 1e-300
"""An epsilon of BatchNorm that has no effect; PyTorch refuses 0."""


def _spec(**other: Any) -> RunSpec:
    return RunSpec.from_dict(
        {
            "dataset": {"name": "digits", "train_images": 300},
            "model": {"name": "convnet", "width": 2, "scale_invariant": True},
            "optimiser": {"name": "projected_sgd", "effective_learning_rate": RATE},
            "constraint": {"name": "fixed_norm"},
            "batch_size": 64,
            "seed": 100,
            "precision": "float64",
            **other,
        }
    )


def _trainer(spec: RunSpec, epsilon: float | None = None) -> Trainer:
    dataset = build_dataset(spec.dataset, Path("data"), download=False)
    trainer = Trainer(spec, dataset, prepare("cpu", spec.precision, dataset.image_shape))
    for module in trainer.model.modules():
        if epsilon is not None and isinstance(module, nn.BatchNorm2d):
            module.eps = epsilon
    return trainer


def _norms(trainer: Trainer, of: str) -> np.ndarray:
    """The norm of each filter, computed parameter by parameter."""
    found = []
    for name in trainer.parameters.filter_names:
        weight = trainer.model.get_parameter(name)
        value = weight.grad if of == "gradient" else weight.detach()
        assert value is not None
        found += [float(np.linalg.norm(one)) for one in value.numpy().reshape(len(value), -1)]
    return np.array(found)


@pytest.mark.parametrize(("epsilon", "tolerance"), [(None, 1e-4), (TINY, 1e-10)])
def test_the_equations_of_groups_hold_in_every_step(
    epsilon: float | None, tolerance: float
) -> None:
    trainer = _trainer(_spec(), epsilon)
    rates: list[np.ndarray] = []
    gradients: list[np.ndarray] = []
    for epoch in range(3):
        for moment in trainer.epoch(epoch):
            if moment is Moment.GRADIENT:
                norm = _norms(trainer, "values")
                rates.append(float(trainer.rate) / norm**2)
                gradients.append(_norms(trainer, "gradient") * norm)
    rate, gradient = np.array(rates), np.array(gradients)
    # eq. (3): the radius is kept to round-off
    np.testing.assert_allclose(total_effective_learning_rate(rate), RATE, rtol=1e-12)
    # eq. (4): the total effective gradient is rho * g of all weights together
    radius = float(trainer.constraint.state["radius"])
    total = radius * np.sqrt((gradient**2 * rate / (RATE * radius**2)).sum(axis=1))
    squared = total_squared_effective_step_size(rate, gradient)
    np.testing.assert_allclose(squared, (RATE * total) ** 2, rtol=1e-12)
    # eq. (5): it rests on gradients being orthogonal to their filters
    following = next_individual_effective_learning_rates(rate[:-1], gradient[:-1], squared[:-1])
    np.testing.assert_allclose(rate[1:], following, rtol=tolerance)


def test_a_row_has_means_and_root_mean_squares_over_the_steps_of_an_epoch() -> None:
    trainer = _trainer(_spec())
    measure = Filters(trainer)
    assert measure.after_epoch(0, last=False) is None
    for epoch in range(2):
        found: list[np.ndarray] = []
        for moment in trainer.epoch(epoch):
            if moment is Moment.GRADIENT:
                measure.before_update()
                norm, gradient = _norms(trainer, "values"), _norms(trainer, "gradient")
                rate = float(trainer.rate)
                found.append(
                    np.array(
                        [
                            norm,
                            gradient,
                            norm * gradient,
                            rate / norm**2,
                            rate / norm**2 * norm * gradient,
                        ]
                    )
                )
        row = measure.after_epoch(epoch + 1, last=False)
        assert row is not None
        assert row["epoch"] == epoch + 1
        values = np.array(found)
        for place, name in enumerate(QUANTITIES):
            of_steps = values[:, place]
            np.testing.assert_allclose(row[f"{name}_mean"][0], of_steps.mean(axis=0))
            root = np.sqrt((of_steps**2).mean(axis=0))
            np.testing.assert_allclose(row[f"{name}_rms"][0], root)
        # A job that is stopped while other measures take their rows takes them all again.
        np.testing.assert_array_equal(row, measure.after_epoch(epoch + 1, last=False))


def test_the_state_of_the_measure_carries_over_a_break_in_an_epoch() -> None:
    rows = []
    for breaks in (False, True):
        trainer = _trainer(_spec())
        measure = Filters(trainer)
        for step, moment in enumerate(trainer.epoch(0)):
            if moment is Moment.GRADIENT:
                measure.before_update()
                if breaks and step == 2:
                    other = Filters(trainer)
                    for name, value in measure.state.items():
                        other.state[name].copy_(value)
                    measure = other
        rows.append(measure.after_epoch(1, last=True))
    np.testing.assert_array_equal(*rows)


def test_weights_that_are_scale_invariant_only_together_are_one_group() -> None:
    spec = _spec(model={"name": "resnet18", "width": 1, "scale_invariant": True})
    trainer = _trainer(spec)
    measure = Filters(trainer)
    groups = measure.description["groups"]
    assert groups[-1] == ""
    assert groups.count("") == 1
    assert {name.rpartition("branch.")[2] for name in groups[:-1]} == {"0.weight"}
    for moment in trainer.epoch(0):
        if moment is Moment.GRADIENT:
            measure.before_update()
    row = measure.after_epoch(1, last=False)
    assert row is not None
    # eq. (3), the ends of which are constant on the sphere
    squares = row["weight_norm_rms"][0] ** 2
    assert squares.sum() == pytest.approx(float(trainer.constraint.state["radius"]) ** 2)


def test_a_network_without_scale_invariant_filters_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = _trainer(_spec())
    monkeypatch.setattr(trainer.parameters, "filter_names", ())
    with pytest.raises(PerigeeError, match=r"'filters' is of filters .* choose a network such as"):
        Filters(trainer)


def test_equal_norms_give_every_filter_the_same_rate() -> None:
    trainer = _trainer(_spec(constraint={"name": "equal_filter_norms"}))
    initial = float(trainer.constraint.state["radius"])
    for _ in trainer.epoch(0):
        pass
    norms = _norms(trainer, "values")
    np.testing.assert_allclose(norms, initial / np.sqrt(len(norms)), rtol=1e-12)
    assert float(trainer.rate) == pytest.approx(RATE * initial**2)


def test_equal_norms_need_networks_of_filters() -> None:
    model = {"name": "resnet18", "width": 1, "scale_invariant": True}
    with pytest.raises(PerigeeError, match="'equal_filter_norms' is of networks whose filters"):
        _trainer(_spec(model=model, constraint={"name": "equal_filter_norms"}))


EPOCHS, FILTERS = 20, 400


def _run(folder: Path, exponent: float, noise: float) -> Any:
    """A run whose filters have gradient norms c * rate**exponent times noise, from epoch 11 on."""
    draws = np.random.default_rng(3)
    rate = 10 ** draws.uniform(-3, -1, FILTERS)
    gradient = 5 * rate**exponent * np.exp(noise * draws.normal(size=FILTERS))
    learning_rate = 0.25
    norm = np.sqrt(learning_rate / rate)
    values = {
        "weight_norm": norm,
        "gradient_norm": gradient / norm,
        "effective_gradient_norm": gradient,
        "effective_learning_rate": rate,
        "effective_step_size": rate * gradient,
    }
    columns = [(f"{name}_{kind}", "<f8", (FILTERS,)) for kind in ("mean", "rms") for name in values]
    rows = np.zeros(EPOCHS, [("epoch", "<i4"), *columns])
    rows["epoch"] = np.arange(1, EPOCHS + 1)
    for name, value in values.items():
        rows[f"{name}_mean"][10:] = rows[f"{name}_rms"][10:] = value
    total = 1 / (1 / rate).sum()
    metrics = pd.DataFrame(
        {
            "epoch": np.arange(EPOCHS + 1),
            "learning_rate": learning_rate,
            "effective_learning_rate": total,
        }
    )
    run = write_run(folder, metrics, {"seed": 100})
    measure = write_measure(folder / "filters", rows, groups=["a"] * 100 + ["b"] * 299 + [""])
    return replace(run, measures={**run.measures, "filters": measure})


def test_statistics_tell_equal_steps_from_others(tmp_path: Path) -> None:
    equal = _run(tmp_path / "equal", exponent=-1, noise=0.1)
    other = _run(tmp_path / "other", exponent=0.5, noise=0.1)
    one, two = tabulate_statistics([equal, other], last_fraction=0.5).to_dict("records")
    assert one["slope"] == pytest.approx(-1, abs=0.02)
    assert one["step_spread"] == pytest.approx(0.1 / np.log(10), rel=0.1)
    assert one["step_to_rate_spread"] < 0.1
    assert two["slope"] == pytest.approx(0.5, abs=0.02)
    assert two["step_to_rate_spread"] == pytest.approx(1.5, rel=0.05)
    assert one["run"] == 0
    assert two["seed"] == 100


def test_values_are_averaged_over_the_last_part(tmp_path: Path) -> None:
    table = tabulate([_run(tmp_path / "run", -1, 0.3)], last_fraction=0.5)
    assert len(table) == FILTERS
    assert table["layer"].value_counts().to_dict() == {"b": 299, "a": 100, "": 1}
    assert table["is_filter"].sum() == 399
    np.testing.assert_allclose(table["effective_step_size"], table["effective_step_size_rms"])
    # eq. (4) again, from the individual values
    rate = table["effective_learning_rate"].to_numpy()
    share = (1 / rate) / (1 / rate).sum()
    squared = (share * table["effective_step_size"] ** 2).sum()
    assert table["total_effective_step_size_rms"].unique() == pytest.approx(np.sqrt(squared))
    halved = tabulate([_run(tmp_path / "longer", -1, 0.3)], last_fraction=1.0)
    np.testing.assert_allclose(halved["weight_norm"], table["weight_norm"] / 2)
