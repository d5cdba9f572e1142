"""The part of a run that decides what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perigee.blocks.measures import Checkpoints
from perigee.identity.canonical import canonical_json
from perigee.registry import REGISTRY

RATES = ("learning_rate", "effective_learning_rate", "weight_decay")
"""Parameters of update rules on which the cost of a step does not depend."""

COSTLESS = {
    "optimiser": RATES,
    "constraint": ("norm",),
    "dataset": ("label_noise", "noise_seed"),
    "model": ("head_seed",),
}
"""Parameters of blocks on which the cost of a run does not depend, by the key of the block."""


def shape_of(spec: Mapping[str, Any]) -> str:
    """The part of a spec that the cost depends on.

    Seed, parent, schedule and the parameters in `COSTLESS` are left out.
    """
    kept = {k: value for k, value in spec.items() if k not in ("seed", "parent", "schedule")}
    for key, costless in COSTLESS.items():
        if key in kept:
            kept[key] = {k: value for k, value in kept[key].items() if k not in costless}
    return canonical_json(kept)


def of_steps(measures: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The measures that look at steps, as canonical JSON in the order of their names.

    Args:
        measures: names and parameters.
    """
    return canonical(one for one in measures if _looks_at_steps(one["name"]))


def canonical(measures: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """All measures, in the same form."""
    return tuple(map(canonical_json, sorted(measures, key=lambda one: str(one["name"]))))


def _looks_at_steps(name: str) -> bool:
    block = REGISTRY["measure"].get(name)
    return name != Checkpoints.name and not getattr(block, "at_epochs", False)
