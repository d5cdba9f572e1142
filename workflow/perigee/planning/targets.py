"""Targets: the figures named beside those that plan, and the answer to one that does not exist."""

from __future__ import annotations

import sys
from collections.abc import Collection

from perigee.configuration.scales import papers
from perigee.configuration.settings import SETTINGS
from perigee.configuration.validation import suggestion
from perigee.paths import STUDY

PLANNING = frozenset({"plan", "calibrate"})
"""The targets beside which figures and papers are named that are not to be made."""

OTHERS = ("calibrate", "claims", "data", "plan", "report")
"""The targets that stand for no figures."""


def targets_beside(targets: Collection[str], named: Collection[str]) -> list[str]:
    """The targets named beside one of `PLANNING`; `everything` if there is none.

    Args:
        targets: those that Snakemake is asked for, one of `PLANNING` among them.
        named: the targets that stand for figures.

    Raises:
        SystemExit: one does not stand for figures.
    """
    beside = sorted(set(targets) - PLANNING)
    unknown = next((name for name in beside if name not in named), None)
    if unknown is not None:
        asked = min(PLANNING & set(targets))
        sys.exit(f"Error: '{asked}' cannot {asked} '{unknown}'; name figures or papers beside it.")
    return beside or ["everything"]


def not_a_target(name: str, named: Collection[str], included: Collection[str]) -> str:
    """The reason why nothing makes a target, and what was probably meant.

    Args:
        name: the target.
        named: the targets that stand for figures.
        included: the papers whose figures are planned.
    """
    paper, _, rest = name.partition("_")
    if paper == STUDY and rest:
        known = [one.removeprefix(f"{STUDY}_") for one in named if one.startswith(f"{STUDY}_")]
        return f"'{name}' needs a file config/studies/{rest}.yaml; {suggestion(rest, known)}"
    if paper in papers() and paper not in included:
        return (
            f"'{name}' belongs to the paper '{paper}', which key 'papers' of {SETTINGS} leaves "
            "out; add it there"
        )
    return f"'{name}' is not a target; {suggestion(name, (*named, *OTHERS))}"
