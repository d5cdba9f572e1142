"""The sentence that answers a target which does not exist."""

from __future__ import annotations

from collections.abc import Collection

from perigee.configuration.scales import papers
from perigee.configuration.settings import SETTINGS
from perigee.configuration.validation import suggestion
from perigee.paths import STUDY

OTHERS = ("claims", "data", "plan", "report")
"""The targets that stand for no figures."""


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
