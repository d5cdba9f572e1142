"""`perigee refine`: the choice of rates, what is trained, kept, printed and refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perigee.analysis import refining
from perigee.commands import refine
from perigee.configuration.reading import read_yaml
from perigee.errors import PerigeeError
from perigee.paths import CARRIED
from perigee.planning.plan import make_plan
from support.configuration import Documents, put, read_from, write
from support.planning import Project

RATE = "optimiser.effective_learning_rate"
FIRST, SECOND = 0.0137, 0.219
"""The borders of the made-up network."""


def regime_at(rate: float) -> str:
    return "convergence" if rate < FIRST else "equilibrium" if rate < SECOND else "divergence"


def refined(rates: list[float], ratio: float, most: int = 100) -> dict[float, str]:
    """The regimes at all rates that are tried, in that order."""
    found = {rate: regime_at(rate) for rate in rates}
    for _ in range(most):
        rate = refining.next_rate(found, ratio)
        if rate is None:
            break
        assert rate not in found
        found[rate] = regime_at(rate)
    return found


@given(
    rates=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=8, unique=True),
    ratio=st.floats(1.01, 10),
)
def test_both_borders_are_told_to_the_ratio(rates: list[float], ratio: float) -> None:
    found = refined(rates, ratio)
    assert set(rates) <= set(found)
    for border in (FIRST, SECOND):
        if min(rates) < border <= max(rates):
            below = max(rate for rate in found if rate < border)
            above = min(rate for rate in found if rate >= border)
            assert above / below <= ratio * 1.000001
    for rate in set(found) - set(rates):
        assert min(rates) < rate < max(rates)


@given(low=st.floats(1e-8, 1e3), factor=st.floats(1.000001, 1e6))
def test_a_rate_between_has_few_digits_and_lies_in_the_middle(low: float, factor: float) -> None:
    high = low * factor
    rate = refining.between(low, high)
    place = math.log(rate / low) / math.log(high / low)
    assert 0.39 < place < 0.61
    if factor > 1.5:
        assert float(f"{rate:.2g}") == pytest.approx(rate, rel=1e-12)


def test_the_widest_interval_comes_first() -> None:
    found = refined([0.001, 0.1, 0.2, 0.3], 1.2, most=3)
    assert list(found)[4:] == [0.01, 0.03, 0.017]
    assert refining.borders(found) == [(0.01, 0.017), (0.2, 0.3)]


def test_only_neighbours_of_different_regimes_count() -> None:
    assert refining.next_rate({1e-6: "convergence", 1.0: "convergence"}, 1.5) is None
    assert refining.next_rate({0.1: "convergence"}, 1.5) is None
    assert refining.next_rate({}, 1.5) is None
    # A run at the border differs from both of its neighbours, and so does one out of order.
    regimes = {1.0: "convergence", 2.0: "border_of_convergence", 4.0: "equilibrium"}
    assert refining.borders(regimes) == [(1, 2), (2, 4)]
    regimes = {1.0: "convergence", 2.0: "equilibrium", 4.0: "convergence", 64.0: "equilibrium"}
    assert refining.next_rate(regimes, 1.5) == 20


def test_an_interval_as_narrow_as_asked_is_left() -> None:
    regimes = {0.1: "convergence", 0.1 * 1.5: "equilibrium"}
    assert refining.next_rate(regimes, 1.5) is None
    assert refining.next_rate(regimes, 1.49) == 0.12


def test_what_is_told() -> None:
    regimes = {0.2: "equilibrium", 0.1: "convergence", 0.05: "convergence", 1e-5: "convergence"}
    regimes |= {0.15: "border_of_convergence"}
    assert refining.told(regimes) == (
        "convergence from 1e-05 to 0.1, border of convergence at 0.15, equilibrium at 0.2"
    )


def test_a_sweep_has_the_form_of_the_file_that_is_overlaid() -> None:
    assert refining.sweep_of([0.1, 0.2], [0.3, 0.4], [0.1]) == [0.1, 0.2]
    plain = {"low": 1e-3, "high": 1e-2, "highest": 1.0}
    found = refining.sweep_of([1e-5, 0.1, 0.25, 0.5], plain, {"low": 0.1, "high": 0.5})
    assert found == {
        "rate_1e_05": 1e-5,
        "low": 0.1,
        "rate_0_25": 0.25,
        "high": 0.5,
        "highest": None,
    }


# The command


def metrics_at(rate: float, epochs: int) -> pd.DataFrame:
    """Metrics of a made-up run: it converges, or is stuck at a level, perhaps until it stops."""
    epoch = np.arange(epochs + 1)
    wobble = np.exp(0.2 * np.random.default_rng(0).standard_normal(len(epoch)))
    loss, error = wobble, 0.2 * wobble
    if regime_at(rate) == "convergence":
        loss, error = 1 / (1 + epoch), np.where(epoch < 3, 0.5, 0)
    names = ("test_error", "effective_gradient_norm", "effective_learning_rate")
    others = {name: np.ones(len(epoch)) for name in names}
    return pd.DataFrame({"epoch": epoch, "train_loss": loss, "train_error": error, **others})


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    project = Project(tmp_path)
    paper = project.periodic
    paper["runs"]["sphere"] = paper["runs"]["base"] | {
        "optimiser": {"name": "projected_sgd", "effective_learning_rate": 0.1},
        "constraint": {"name": "fixed_norm"},
    }
    sweep = {RATE: [0.001, 0.004, 0.1, 1.0], "seed": "judged"}
    paper["figures"]["fig3"] = {
        "title": "Regimes",
        "runs": {"rates": {"run": "sphere", "epochs": 60, "sweep": sweep}},
        "tables": {"regimes": {"analysis": {"name": "regimes"}, "runs": ["rates"]}},
    }
    return project.documents


DATASET = SimpleNamespace(classes=10)

Refine = Callable[..., list[float]]


@pytest.fixture
def command(
    tmp_path: Path, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Refine]:
    """The command in a project with these documents; it gives the rates at which it trained."""
    trained: list[float] = []

    def train(spec: Any, epochs: int, *, dataset: Any, measures: Any, device: str) -> Any:
        assert (spec["seed"], dataset, device) == (100, DATASET, "auto")
        assert measures == [{"name": "metrics"}]
        trained.append(spec["optimiser"]["effective_learning_rate"])
        return SimpleNamespace(
            measures={"metrics": metrics_at(trained[-1], epochs)},
            stopped_at_step=7 if regime_at(trained[-1]) == "divergence" else None,
        )

    def run(figure: str = "periodic_fig3", **options: Any) -> list[float]:
        write(tmp_path, documents)
        carried = read_yaml(CARRIED / "config" / "config.yaml")
        put(tmp_path / "config" / "config.yaml", carried | {"papers": ["periodic"]})
        trained.clear()
        refine.main(figure, **options)
        return list(trained)

    monkeypatch.setattr(refine, "train", train)
    monkeypatch.setattr(refine, "build_dataset", lambda *_: DATASET)
    monkeypatch.chdir(tmp_path)
    with read_from(tmp_path):
        yield run


def test_swept_rates_are_trained_first_and_then_those_at_the_borders(command: Refine) -> None:
    trained = command()
    assert trained[:4] == [0.001, 0.004, 0.1, 1.0]
    assert 0 < len(trained) - 4 <= 8
    for border in (FIRST, SECOND):
        below, above = next((a, b) for a, b in pairwise(sorted(trained)) if a < border <= b)
        assert above / below <= 1.5


def test_finished_runs_are_kept(command: Refine, tmp_path: Path) -> None:
    few = command(runs=1)
    assert len(few) == 5
    assert len(list((tmp_path / "results/refine/periodic_fig3").iterdir())) == 5
    more = command()
    assert more
    assert not set(few) & set(more)
    assert command() == []


def test_the_lines_give_the_figure_these_rates(
    command: Refine, documents: Documents, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = command(scale="laptop")
    shown = capsys.readouterr().out
    before, _, lines = shown.partition("To be put into config/scales/laptop/periodic/fig3.yaml:\n")
    assert before.count("new") == len(trained) - 4
    # By hand: 0.02, 0.3, 0.009, 0.17, 0.013, 0.23, 0.016.
    assert "convergence up to 0.013, equilibrium from 0.016: 1.23 times" in before
    assert "equilibrium up to 0.17, divergence from 0.23: 1.35 times" in before
    overlay = yaml.safe_load(lines)
    note = overlay["seen"][f"runs.rates.sweep.{RATE}"]
    assert note["seeds"] == [100]
    assert note["saw"] == (
        "Convergence from 0.001 to 0.013, equilibrium from 0.016 to 0.17, "
        "divergence from 0.23 to 1."
    )
    documents["periodic"]["overlays"] = {"laptop": {"fig3": overlay}}
    write(tmp_path, documents)
    figure = make_plan(["periodic"], "laptop").figures["periodic_fig3"]
    rates = {run.spec.optimiser.parameters["effective_learning_rate"] for run in figure.runs}
    assert rates == set(trained)
    assert {run.spec.seed for run in figure.runs} == {10, 11, 12}


def test_names_of_rates_stay(
    command: Refine, documents: Documents, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = documents["periodic"]
    sweep = paper["figures"]["fig3"]["runs"]["rates"]["sweep"]
    sweep[RATE] = {"low": 0.001, "high": 0.1, "highest": 10.0}
    here = {"low": 0.002, "highest": None}
    paper["overlays"] = {"smoke": {"fig3": {"runs": {"rates": {"sweep": {RATE: here}}}}}}
    command(scale="smoke", runs=1)
    lines = capsys.readouterr().out.partition("fig3.yaml:\n\n")[2]
    assert lines.startswith(
        "# config/papers/periodic/fig3.yaml must have the names rate_0_01, too.\n"
    )
    overlay = yaml.safe_load(lines)
    assert overlay["runs"]["rates"]["sweep"][RATE] == {
        "low": 0.002,
        "rate_0_01": 0.01,
        "high": 0.1,
        "highest": None,
    }
    paper["overlays"] = {"smoke": {"fig3": overlay}}
    sweep[RATE]["rate_0_01"] = 7.0
    write(tmp_path, documents)
    runs = make_plan(["periodic"], "smoke").figures["periodic_fig3"].runs
    rates = {run.spec.optimiser.parameters["effective_learning_rate"] for run in runs}
    assert rates == {0.002, 0.01, 0.1}


def test_one_regime_has_no_border(
    command: Refine, documents: Documents, capsys: pytest.CaptureFixture[str]
) -> None:
    documents["periodic"]["figures"]["fig3"]["runs"]["rates"]["sweep"][RATE] = [0.001, 0.002]
    assert command() == [0.001, 0.002]
    assert "All runs are of one regime; sweep rates that are lower" in capsys.readouterr().out


@pytest.mark.parametrize("seed", [10, 12, 99])
def test_judged_seeds_are_refused(command: Refine, seed: int) -> None:
    with pytest.raises(PerigeeError, match=f"--seed is {seed}, but seeds 10 to 99 and those of"):
        command(seed=seed)


def test_seeds_of_the_figure_are_refused(command: Refine, documents: Documents) -> None:
    documents["periodic"]["figures"]["fig3"]["runs"]["rates"]["sweep"]["seed"] = [0, 100]
    with pytest.raises(PerigeeError, match="--seed is 100, but"):
        command()


@pytest.mark.parametrize("ratio", [1.0, 0.5, -2.0, math.nan])
def test_neighbours_cannot_be_nearer_than_equal(command: Refine, ratio: float) -> None:
    with pytest.raises(PerigeeError, match=r"--ratio is .*; it must be above 1"):
        command(ratio=ratio)


def test_figures_without_regimes_are_refused(command: Refine) -> None:
    with pytest.raises(PerigeeError, match="'periodic_fig9' is not a figure of the plan; known"):
        command("periodic_fig9")
    with pytest.raises(
        PerigeeError, match="periodic_fig4 has no table with the analysis 'regimes'"
    ):
        command("periodic_fig4")


def test_a_table_is_named_where_there_are_several(command: Refine, documents: Documents) -> None:
    figure = documents["periodic"]["figures"]["fig3"]
    figure["tables"]["wide"] = figure["tables"]["regimes"] | {"runs": ["wide"]}
    figure["runs"]["wide"] = figure["runs"]["rates"] | {"set": {"model.width": 5}}
    with pytest.raises(PerigeeError, match="has several tables of regimes; add --table"):
        command()
    with pytest.raises(PerigeeError, match="no table of regimes 'wid'; did you mean 'wide'"):
        command(table="wid")
    assert command(table="wide", runs=0) == [0.001, 0.004, 0.1, 1.0]
    figure["tables"]["regimes"]["runs"] = ["rates", "wide"]
    del figure["tables"]["wide"]
    with pytest.raises(PerigeeError, match=r"differ in more than 'optimiser.effective_learning"):
        command()


def test_a_rate_that_is_not_swept_is_refused(command: Refine, documents: Documents) -> None:
    figure = documents["periodic"]["figures"]["fig3"]
    figure["tables"]["regimes"]["analysis"]["rate"] = "optimiser.learning_rate"
    with pytest.raises(PerigeeError, match=r"has runs that have no 'optimiser.learning_rate'"):
        command()
    figure["tables"]["regimes"]["analysis"]["rate"] = "batch_size"
    with pytest.raises(PerigeeError, match="differ in more than 'batch_size'"):
        command()
    del figure["runs"]["rates"]["sweep"][RATE]
    with pytest.raises(PerigeeError, match=r"fig3.yaml: table 'regimes' has no runs that sweep"):
        command()
