"""Settings of runs that leave them no equilibrium, told before a step is taken (Wan et al. 2021).

Of the theorems' assumptions these follow from learning rate, weight decay and momentum alone; the
others are measured (`perigee.analysis.equilibrium`). The learning rate is the one that the schedule
multiplies, the largest of a run whose rate only falls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from perigee.blocks.optimisers import SGD
from perigee.configuration.requests import FigureRequest, RunRequest, TableRequest
from perigee.configuration.validation import wrong
from perigee.data.order import steps_per_epoch
from perigee.dynamics.equilibrium import approach_rate, largest_decay, least_unit_gradient
from perigee.spec import RunSpec

LEAST_MOMENTUM = 0.5
"""Alpha has to be larger in Theorem 2, and smaller than 1."""

OUTSIDE = "outside_theorems"
"""The key of a figure that says why its runs are outside."""


def require_equilibrium(table: TableRequest, file: str, key: str) -> None:
    """Refuse a table on equilibrium of runs that have none by the theorems.

    Args:
        table: an analysis with its runs.
        file, key: where the analysis is named, for messages.

    Raises:
        PerigeeError: the settings of a run are excluded.
    """
    if not table.analysis.needs_equilibrium:
        return
    excluded = next(filter(None, (exclusion(run.spec) for run in table.runs)), None)
    if excluded is not None:
        raise wrong(
            file,
            key,
            f"names '{table.analysis.name}', which is on the equilibrium of Wan et al. 2021, but "
            f"some of its runs have {excluded}; change that, or say why under key '{OUTSIDE}'.",
        )


def exclusion(run: RunSpec) -> str | None:
    """The reason, in words, for which Theorems 1 to 3 exclude a run; None if they do not."""
    rule = run.optimiser
    if not isinstance(rule, SGD):
        return f"optimiser '{rule.name}', and the theorems are on SGD"
    if run.constraint.is_sphere:
        return f"constraint '{run.constraint.name}', so that their norm is fixed"
    if not rule.weight_decay or "scale_invariant" in rule.undecayed:
        return "no weight decay on scale-invariant weights, whose norm then only grows"
    if 0 < rule.momentum <= LEAST_MOMENTUM:
        return f"momentum {rule.momentum:g}, and Theorem 2 needs more than {LEAST_MOMENTUM:g}"
    largest = largest_decay(rule.momentum)
    if rule.learning_rate * rule.weight_decay >= largest:
        bound = f"(1 - sqrt(momentum))^2 = {largest:.3g}" if rule.momentum else "1"
        return f"{_decay_of(rule)}, which has to be less than {bound}"
    return None


def doubts(figure: FigureRequest) -> Iterator[str]:
    """Sentences on runs for which claims on equilibrium ask too much, though they may hold.

    Tables without a claim that the scale tests are left out, and so are figures that say themselves
    why their runs are outside.
    """
    if figure.outside_theorems:
        return
    expected = (one for claim in figure.claims if claim.testable for one in (claim, claim.given))
    judged = {one.table for one in expected if one is not None}
    runs = {
        (run.spec, run.epochs): run
        for table in figure.tables
        if table.name in judged and table.analysis.needs_equilibrium
        for run in table.runs
    }
    found = Counter(told for run in runs.values() for told in doubts_of(run))
    for told, count in found.items():
        yield (
            f"{figure.file}: claims of {figure.key} are on equilibrium, but {count} of their "
            f"{len(runs)} runs have {told}; change that, or say why under key '{OUTSIDE}'."
        )


def doubts_of(run: RunRequest) -> Iterator[str]:
    """Reasons, in words, to doubt that a run comes to its equilibrium.

    The theorems are sufficient: without their assumption on unit gradients the equilibrium may be
    there all the same. That a run is too short is told of those that start at their initialisation,
    and takes the time in which the mean squared error of the squared norm falls to 1/e, eqs. (8)
    and (12): our choice, since the norm that a run begins with is not known.
    """
    rule = run.spec.optimiser
    if exclusion(run.spec) is not None or not isinstance(rule, SGD):
        return
    settings = rule.learning_rate, rule.weight_decay, rule.momentum
    # The smallest unit gradient is at most the mean one.
    if least_unit_gradient(*settings) >= 1:
        number = 8 if rule.momentum else 4
        yield f"{_decay_of(rule)}, where no unit gradients can fulfil assumption {number}"
    needed = 1 / approach_rate(*settings)
    images = run.spec.dataset.train_images
    steps = run.epochs * steps_per_epoch(images, run.spec.batch_size, run.spec.gradient)
    if steps < needed and run.spec.parent is None:
        yield (
            f"only {steps:,} steps, in less than the {needed:,.0f} of them in which the mean "
            "squared error of the squared norm falls to 1/e"
        )


def _decay_of(rule: SGD) -> str:
    product = f"learning rate times weight decay of {rule.learning_rate * rule.weight_decay:.3g}"
    return f"{product} with momentum {rule.momentum:g}" if rule.momentum else product
