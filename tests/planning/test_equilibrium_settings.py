"""Tables on equilibrium, and settings of which is known beforehand that they have none."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.configuration.requests import FigureRequest, RunRequest
from perigee.configuration.runs import resolved_run
from perigee.configuration.theorems import doubts, doubts_of, exclusion
from perigee.errors import PerigeeError
from perigee.planning.plan import read_requests
from support.configuration import SCALES, figure_of

SGDM = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.0001, "momentum": 0.9}
RUN = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 2, "scale_invariant": True},
    "optimiser": SGDM,
    "gradient": "full_batch",  # a step an epoch
    "batch_size": 128,
    "seed": 0,
}
ENOUGH = 10**6
"""Epochs, and so steps, in which every run comes to its equilibrium."""


def run_with(*, epochs: int = ENOUGH, constraint: str = "none", **optimiser: Any) -> RunRequest:
    """A run whose optimiser has some values in the place of those of `SGDM`."""
    rule = {**SGDM, **optimiser}
    run = {**RUN, "optimiser": rule, "constraint": {"name": constraint}}
    return RunRequest(resolved_run(run, "run", "f"), epochs, {})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        # (1 - sqrt(0.9))^2 = 1.9 - 2 * 0.9486833 = 0.0026334
        ({"learning_rate": 1.0, "weight_decay": 0.002633}, None),
        ({"learning_rate": 1.0, "weight_decay": 0.002634}, "less than (1 - sqrt(momentum))^2"),
        ({"learning_rate": 0.02634, "weight_decay": 0.1}, "= 0.00263"),
        # (1 - sqrt(0.64))^2 = 0.04
        ({"learning_rate": 0.39, "weight_decay": 0.1, "momentum": 0.64}, None),
        ({"learning_rate": 0.41, "weight_decay": 0.1, "momentum": 0.64}, "= 0.04"),
        ({"learning_rate": 0.99, "weight_decay": 1.0, "momentum": 0.0}, None),
        ({"learning_rate": 1.01, "weight_decay": 1.0, "momentum": 0.0}, "has to be less than 1"),
        ({"momentum": 0.51}, None),
        ({"momentum": 0.5}, "momentum 0.5, and Theorem 2 needs more than 0.5"),
        ({"weight_decay": 0.0}, "no weight decay on scale-invariant weights"),
        ({"undecayed": ["normalisation"]}, None),
        ({"undecayed": ["scale_invariant"]}, "no weight decay on scale-invariant weights"),
        ({"constraint": "fixed_norm"}, "constraint 'fixed_norm'"),
    ],
)
def test_what_settings_exclude(settings: Mapping[str, Any], told: str | None) -> None:
    found = exclusion(run_with(**settings).spec)
    assert found is None if told is None else told in (found or "")


def test_another_update_rule_is_excluded() -> None:
    rule = {"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.1}
    assert "'adamw'" in (exclusion(resolved_run({**RUN, "optimiser": rule}, "run", "f")) or "")


@given(
    momentum=st.floats(0.501, 0.999),
    decay=st.floats(1e-9, 0.99),
    rate=st.floats(1e-3, 10),
)
def test_weights_that_decay_alone_have_to_do_so_without_oscillating(
    momentum: float, decay: float, rate: float
) -> None:
    """Without gradients w' = (1 + alpha - lambda eta) w - alpha w_before, from eqs. (10) and (11).

    Assumption 5 says that the roots of its polynomial are real, and not both negative.
    """
    product = decay * rate
    discriminant = (1 + momentum - product) ** 2 - 4 * momentum
    if abs(discriminant) < 1e-9:
        return
    is_inside = discriminant > 0 and product < 1
    found = exclusion(run_with(learning_rate=rate, weight_decay=decay, momentum=momentum).spec)
    assert (found is None) == is_inside


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        # 2 (6 x / (0.1^3 * 1.9 - 0.8 x))^2 = 1 at x = 0.0019 / (6 sqrt(2) + 0.8) = 2.0462e-4
        ({"learning_rate": 1.0, "weight_decay": 2.04e-4}, None),
        ({"learning_rate": 1.0, "weight_decay": 2.05e-4}, "can fulfil assumption 8"),
        (
            {"learning_rate": 1.0, "weight_decay": 2.5e-3},
            "weight decay of 0.0025 with momentum 0.9",
        ),
        # 2 (2 x / (1 - 2 x))^2 = 1 at x = 1 / (2 + 2 sqrt(2)) = 0.20711
        ({"learning_rate": 0.207, "weight_decay": 1.0, "momentum": 0.0}, None),
        ({"learning_rate": 0.208, "weight_decay": 1.0, "momentum": 0.0}, "fulfil assumption 4"),
        # (1 - alpha) / (2 lambda eta): 0.1 / 2e-5 = 5,000, and 1 / 2e-5 = 50,000
        ({"epochs": 5001}, None),
        ({"epochs": 4999}, "only 4,999 steps, in less than the 5,000 of them"),
        ({"epochs": 50001, "momentum": 0.0}, None),
        ({"epochs": 49999, "momentum": 0.0}, "only 49,999 steps"),
    ],
)
def test_what_settings_make_doubtful(settings: Mapping[str, Any], told: str | None) -> None:
    found = list(doubts_of(run_with(**settings)))
    assert len(found) == (told is not None), found
    assert (told or "") in "".join(found)


def test_a_fork_may_begin_in_equilibrium() -> None:
    run = run_with(epochs=1)
    parent = {"run": RUN, "epochs": 3, "at": {"name": "at_epoch", "epoch": 1}}
    forked = replace(run, spec=resolved_run({**RUN, "parent": parent}, "run", "f"))
    assert list(doubts_of(run))
    assert not list(doubts_of(forked))


# A figure

CLAIM = {
    "says": "s",
    "place": "p",
    "kind": "rate",
    "unit": "run",
    "table": "equilibrium",
    "quantity": {"column": "angular_update_deviation"},
    "within_seed": "median",
    "expected": {"at_most": 0.1},
}
REASON = "To see what becomes of it."


def figure(
    folder: Path,
    overlay: Mapping[str, Any] | None = None,
    analysis: str = "equilibrium",
    scale: str = "laptop",
    **optimiser: Any,
) -> FigureRequest:
    """A figure of runs with one table, on which it has a claim."""
    paper = {
        "citation": "me",
        "runs": {"base": {**RUN, "optimiser": {**SGDM, **optimiser}}},
        "figures": {
            "fig1": {
                "title": "t",
                "runs": {"all": {"run": "base", "epochs": 4000, "sweep": {"seed": [20, 21]}}},
                "tables": {"equilibrium": {"analysis": {"name": analysis}, "runs": ["all"]}},
                "claims": {"claim": CLAIM},
            }
        },
        "overlays": {"laptop": {"fig1": dict(overlay or {})}},
    }
    return figure_of(folder, {"mine": copy.deepcopy(paper)}, "mine_fig1", scale)


@pytest.mark.parametrize("analysis", ["equilibrium", "equilibrium_runs", "stages"])
def test_a_table_on_equilibrium_is_refused(tmp_path: Path, analysis: str) -> None:
    with pytest.raises(PerigeeError) as caught:
        figure(tmp_path, analysis=analysis, weight_decay=0.5)
    sentence = str(caught.value)
    assert sentence.startswith(
        "config/papers/mine/fig1.yaml: key 'tables.equilibrium.analysis.name' names "
        f"'{analysis}', which is on the equilibrium of Wan et al. 2021, but some of its runs have "
        "learning rate times weight decay of 0.05 with momentum 0.9, which has to be less than "
    )
    assert sentence.endswith("say why under key 'outside_theorems'.")
    assert "\n" not in sentence


def test_a_table_that_draws_layers_alone_is_not(tmp_path: Path) -> None:
    assert figure(tmp_path, analysis="layer_courses", weight_decay=0.5).tables


def test_a_figure_may_say_why_it_is_outside(tmp_path: Path) -> None:
    """At a scale; at the others its runs are inside."""
    outside = {"runs": {"all": {"set": {"optimiser.weight_decay": 0.5}}}}
    found = figure(tmp_path, {**outside, "outside_theorems": REASON})
    assert found.outside_theorems == REASON
    assert [(n.told, n.file) for n in found.notes if n.key == "outside_theorems"] == [
        (REASON, "config/scales/laptop/mine/fig1.yaml")
    ]
    with pytest.raises(PerigeeError, match="has to be less than"):
        figure(tmp_path, outside)


def test_doubts_are_told_where_a_scale_tests_claims(tmp_path: Path) -> None:
    """The runs have 4,000 steps, where 5,000 are needed."""
    (told,) = doubts(figure(tmp_path))
    assert told.startswith(
        "config/papers/mine/fig1.yaml: claims of mine_fig1 are on equilibrium, but 2 of their 2 "
        "runs have only 4,000 steps, "
    )
    assert not list(doubts(figure(tmp_path, scale="smoke")))
    assert not list(doubts(figure(tmp_path, {"untestable": {"claim": "Too short."}})))
    assert not list(doubts(figure(tmp_path, {"outside_theorems": REASON})))
    assert not list(doubts(figure(tmp_path, {"runs": {"all": {"epochs": 5001}}})))


@pytest.mark.parametrize("scale", SCALES)
def test_what_comes_with_perigee_has_no_doubts_that_it_does_not_tell(scale: str) -> None:
    _, figures = read_requests(["smd"], scale)
    assert not [told for one in figures for told in doubts(one)]
    for one in figures:
        assert bool(one.outside_theorems) == any(doubts(replace(one, outside_theorems="")))
