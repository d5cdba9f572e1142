"""The judged seeds, and those that were looked at while settings and rules were chosen.

Runs of judged seeds are trained, drawn and judged alike. Their number is the setting ``seeds``, so
that more of them only add runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from perigee.configuration.models import FIRST_SEED
from perigee.configuration.overlays import SWEEP
from perigee.configuration.requests import RunRequest
from perigee.configuration.validation import wrong

SEED, JUDGED = "seed", "judged"
"""A sweep's key, and the word that stands there for all judged seeds."""

SEEDS = 3
"""The number of judged seeds where no setting says another."""


def judged_seeds(number: int) -> list[int]:
    """So many seeds from the first on: 10, 11 and so on."""
    return list(range(FIRST_SEED, FIRST_SEED + number))


def with_seeds(document: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """A document of a figure or a study with the judged seeds in its sweeps.

    Args:
        document: what the file holds, which is not changed.
        seeds: what the word "judged" stands for.
    """
    found: dict[str, Any] = _with_seeds(document, seeds)
    runs = found.get("runs")
    if isinstance(runs, Mapping):
        found["runs"] = {name: _with_seeds(group, seeds) for name, group in runs.items()}
    return found


def _with_seeds(group: Any, seeds: Sequence[int]) -> Any:
    if not isinstance(group, Mapping):
        return group  # which is refused later
    found = dict(group)
    sweep = found.get(SWEEP)
    if isinstance(sweep, Mapping) and sweep.get(SEED) == JUDGED:
        found[SWEEP] = {**sweep, SEED: list(seeds)}
    return found


def require_unexplored(
    runs: Iterable[RunRequest], explored: Mapping[str, Iterable[int]], key: str, file: str
) -> None:
    """Refuse runs of seeds that were looked at while settings and rules were chosen.

    Args:
        runs: those of a figure.
        explored: the explored seeds by the file that declares them.
        key, file: the sweep and its file, for messages.

    Raises:
        PerigeeError: there is such a run.
    """
    seeds = sorted({run.spec.seed for run in runs})
    for source, looked_at in explored.items():
        both = [seed for seed in seeds if seed in set(looked_at)]
        if both:
            told = f"has seed {both[0]}, which is among 'explored_seeds' in {source}; "
            raise wrong(file, key, f"{told}judge on seeds that were not looked at: {JUDGED}.")
