"""Runs on the sphere as the papers' files have them, and mistakes in such runs."""

from __future__ import annotations

from typing import Any

import pytest

from perigee.blocks.measures import Checkpoints
from perigee.blocks.optimisers import ProjectedSGD
from perigee.configuration.runs import resolved_run, with_parents
from perigee.errors import PerigeeError
from perigee.planning.plan import Plan, make_plan
from perigee.planning.products import RunProduct

SPHERE: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 4, "scale_invariant": True},
    "optimiser": {"name": "projected_sgd", "effective_learning_rate": 0.002},
    "constraint": {"name": "fixed_norm"},
    "batch_size": 128,
    "seed": 100,
}


def resolved(**changes: Any) -> Any:
    return resolved_run({**SPHERE, **changes}, "runs.one", "paper.yaml")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(["regimes"], "laptop", 1)


def forks(plan: Plan, figure: str) -> list[RunProduct]:
    return [run for run in plan.figures[figure].runs if run.parent is not None]


@pytest.mark.parametrize("figure", ["regimes_fig3", "regimes_fig5"])
def test_a_fork_has_a_rate_of_its_own_and_shares_its_parent(plan: Plan, figure: str) -> None:
    starts = {run.identity.digest for run in plan.figures["regimes_fig1"].runs}
    found = {(fork.spec.parent.run.optimiser, fork.spec.optimiser) for fork in forks(plan, figure)}
    assert len(found) == len({run.identity.digest for run in forks(plan, figure)})
    for fork in forks(plan, figure):
        parent = fork.spec.parent
        assert parent is not None
        assert fork.parent is not None
        assert isinstance(fork.spec.optimiser, ProjectedSGD)
        assert fork.spec.optimiser != parent.run.optimiser
        assert parent.run.model_copy(
            update={"optimiser": fork.spec.optimiser, "parent": parent}
        ) == (fork.spec)
        assert fork.parent.identity.digest in starts, "nothing is trained twice"


def test_the_parent_of_forks_at_its_end_keeps_two_checkpoints(plan: Plan) -> None:
    for fork in forks(plan, "regimes_fig5"):
        assert fork.parent is not None
        kept = [one for one in fork.parent.measures if isinstance(one, Checkpoints)]
        assert kept == [Checkpoints(interval=fork.parent.epochs)]


def test_all_runs_of_a_figure_share_one_head(plan: Plan) -> None:
    for number in (1, 3, 4, 5, 6):
        heads = {run.spec.model.head_seed for run in plan.figures[f"regimes_fig{number}"].runs}
        assert len(heads) == 1
        assert None not in heads


def test_figure_7_shares_the_runs_of_figure_3_on_periods() -> None:
    both = make_plan(["periodic", "regimes"], "laptop", 2)
    shared = {
        run.identity.digest
        for run in both.figures["regimes_fig7"].runs
        if run.spec.model.name == "convnet"
    } & {run.identity.digest for run in both.figures["periodic_fig3"].runs}
    assert len(shared) == 8, "four rates of two seeds"


def test_a_value_put_into_a_fork_is_not_put_into_its_parent() -> None:
    at = {"name": "at_epoch", "epoch": 1}
    runs = {"start": SPHERE, "fork": {"parent": {"run": "start", "epochs": 2, "at": at}}}
    fork = with_parents(runs, "paper.yaml")["fork"]
    fork["optimiser"]["effective_learning_rate"] = 0.1
    assert fork["parent"]["run"]["optimiser"]["effective_learning_rate"] == 0.002
    assert SPHERE["optimiser"]["effective_learning_rate"] == 0.002


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimiser": {**SPHERE["optimiser"], "weight_decay": 0.001}},
            "by effective_learning_rate, without .* leave out weight_decay",
        ),
        (
            {"optimiser": {**SPHERE["optimiser"], "momentum": 0.9}},
            "leave out momentum",
        ),
        ({"optimiser": {**SPHERE["optimiser"], "effective_learning_rate": -0.1}}, "greater than 0"),
        (
            {"constraint": {"name": "none"}},
            "set constraint.name to equal_filter_norms or fixed_norm",
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PerigeeError, match=message):
        resolved(**changes)
