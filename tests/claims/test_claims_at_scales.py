"""Every configured claim has the same rule at every scale, and runs with the settings it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from perigee.configuration.reading import read_yaml
from perigee.paths import CARRIED
from perigee.spec import Claim
from support.configuration import SCALES
from support.configured_claims import AT, LAPTOP, Place, every_claim
from support.periodic_tables import PREMISES
from support.synthetic_tables import RATE

WHERE = ("where", "over", "under", "plus", "minus")
"""Parameters of quantities that name settings."""


def is_setting(key: str, value: Any) -> bool:
    """Return whether a condition is on a setting that has different values at other scales."""
    return "." in key or key == "effective_learning_rate" or isinstance(value, float)


def bounds(condition: Any) -> list[Any]:
    """The values in a condition on a column, which has relations or is a value."""
    return list(condition.values()) if isinstance(condition, Mapping) else [condition]


def parameters_of(claim: Claim) -> list[Mapping[str, Any]]:
    """The parameters of the quantities of a claim and its premise."""
    expectations = [claim, *([claim.given] if claim.given else [])]
    return [one.quantity.parameters for one in expectations]


def settings_named(claim: Claim) -> set[tuple[str, Any]]:
    """The columns and values, such as a learning rate, that the claim's quantities need."""
    found = set()
    for given in parameters_of(claim):
        found |= {(RATE, rate) for rate in given.get("learning_rates", [])}
        for key, condition in (item for name in WHERE for item in (given.get(name) or {}).items()):
            if key == "label" or is_setting(key, condition):
                found |= {(key, value) for value in bounds(condition)}
    return found


def left_open(key: str, condition: Any) -> Any:
    """A condition, of which the number is left open if it is a setting."""
    if isinstance(condition, str) or not is_setting(key, condition):
        return condition
    return [*condition] if isinstance(condition, Mapping) else "differs"


def without_settings(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule whose settings are left open."""
    plain = dict(rule)
    quantity = dict(plain["quantity"])
    for name in {"learning_rates", "weight_decay"} & set(quantity):
        quantity[name] = "differs"
    for name in {*WHERE} & set(quantity):
        quantity[name] = {key: left_open(key, one) for key, one in (quantity[name] or {}).items()}
    plain["quantity"] = quantity
    if plain.get("given"):
        plain["given"] = without_settings(plain["given"])
    return plain


UNTESTABLE = {
    ("smd_fig3", "before_the_loss"),
    ("smd_fig5", "coco_falls_below_equilibrium_at_once"),
    ("smd_fig5", "coco_does_not_arrive_in_the_second_stage"),
    ("smd_fig5", "coco_does_not_arrive_in_the_third_stage"),
    ("smd_fig5", "coco_stays_in_equilibrium_if_rescaled"),
    ("smd_fig5", "coco_nearer_to_equilibrium_if_rescaled"),
    ("study_precision", "periods_in_tf32"),
    ("study_precision", "as_many_in_tf32"),
}
"""The claims that the laptop's data or runs cannot test; its overlays tell why."""


@every_claim
def test_its_rule_is_the_same_at_paper_scale(place: Place) -> None:
    (here, _), (there, _) = LAPTOP[place], AT["paper"][place]
    assert here.testable == (place not in UNTESTABLE)
    assert without_settings({**here.rule, "testable": True}) == without_settings(there.rule)


@pytest.mark.parametrize("scale", SCALES)
def test_the_weight_decay_it_names_is_that_of_its_runs(scale: str) -> None:
    named = 0
    for claim, table in AT[scale].values():
        decay = claim.quantity.parameters.get("weight_decay")
        if decay is not None:
            assert {run.spec.optimiser.parameters["weight_decay"] for run in table.runs} == {decay}
            named += 1
    assert named


LEFT_OUT: dict[str, set[Place]] = {
    "smoke": {
        ("periodic_fig5", "near_forks_destabilise_more"),
        ("regimes_fig7", "third_regime_is_there"),
        ("regimes_fig7", "better_than_at_a_lower_rate_of_the_first_regime"),
        ("regimes_fig7", "overflows_at_a_very_high_rate"),
        ("regimes_fig7", "better_from_a_medium_start_than_from_a_low_one"),
        ("regimes_fig7", "better_from_a_medium_start_than_from_a_high_one"),
        ("regimes_fig7", "too_little_time_from_a_high_start"),
        ("regimes_fig7", "better_from_a_higher_start_of_the_first_regime"),
    }
}
"""The claims that name a setting which no run of a scale has."""


@every_claim
@pytest.mark.parametrize("scale", SCALES)
def test_its_table_has_the_settings_it_names(scale: str, place: Place) -> None:
    claim, table = AT[scale][place]
    claim = replace(claim, given=None) if place in PREMISES else claim  # of another table
    of_formula = table.analysis.parameters.get("effective_learning_rates", [])
    settings = {("effective_learning_rate", rate) for rate in of_formula}
    settings |= {item for run in table.runs for item in run.swept.items()}
    assert (settings_named(claim) <= settings) == (place not in LEFT_OUT.get(scale, ()))


def test_no_claim_of_a_paper_repeats_a_number_of_its_runs() -> None:
    """It names the setting, so that its rule is the same at every scale."""
    for path in sorted((CARRIED / "config/papers").glob("*/claims/*.yaml")):
        figure = read_yaml(path.parents[1] / path.name)
        for name, claim in read_yaml(path)["claims"].items():
            if "runs" not in figure["tables"][claim["table"]]:
                continue
            for quantity in (one["quantity"] for one in (claim, claim.get("given")) if one):
                told = [quantity.get("weight_decay"), *quantity.get("learning_rates", [])]
                for key, condition in (c for w in WHERE for c in quantity.get(w, {}).items()):
                    told += bounds(condition) if is_setting(key, condition) else []
                numbers = [one for one in told if isinstance(one, int | float)]
                assert not numbers, (path.stem, name)
