"""What of a plan is still to be trained, what that will cost, and what was trained before."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perigee.data.order import steps_per_epoch
from perigee.errors import PerigeeError
from perigee.identity.canonical import DIGEST_LENGTH, canonical_json
from perigee.identity.products import Identity
from perigee.plan import Plan, PlannedRun
from perigee.registry import registration
from perigee.store.costs import Cost, Record, estimate, read_records, total
from perigee.store.provenance import PROVENANCE, Provenance, read_provenance
from perigee.store.runs import (
    METRICS,
    continuable_epochs,
    kept_versions,
    longer_versions,
    planned_epochs,
)


@dataclass(frozen=True)
class Training:
    """Training that a planned run still needs.

    Attributes:
        epochs, steps: those of a shorter version that it goes on from not counted.
        cost: of these.
    """

    epochs: int
    steps: int
    cost: Cost


def runs_to_train(plan: Plan, store: Path) -> dict[str, PlannedRun]:
    """Runs by folder that are neither in the store nor to be read off a longer version."""
    missing = {f: run for f, run in plan.runs.items() if not (store / f / METRICS).exists()}
    read_off = longer_versions(store, missing)
    return {folder: run for folder, run in missing.items() if folder not in read_off}


def predictions_to_make(plan: Plan, store: Path) -> list[str]:
    """Folders of the predictions that are not in the store."""
    return [folder for folder in plan.predictions if not (store / folder / PROVENANCE).exists()]


def trainings(
    plan: Plan, store: Path, runs: Mapping[str, PlannedRun], records: Sequence[Record]
) -> dict[str, Training]:
    """What runs that are to be trained will cost, by folder.

    Args:
        plan: that they are part of; a run goes on from a shorter version of itself in it.
        store: the store's folder.
        runs: some of `runs_to_train`.
        records: of finished runs.
    """
    planned = planned_epochs(plan.runs.values())
    found = {}
    for folder, run in runs.items():
        images = registration("dataset", run.spec.dataset).train_images
        steps = steps_per_epoch(images, run.spec.batch_size, run.spec.gradient)
        done = continuable_epochs(store / run.identity.folder, run.keep_every)
        if run.keep_every is None:
            done += planned[run.identity.folder]
        epochs = run.epochs - max((e for e in done if e < run.epochs), default=0)
        cost = estimate(run.spec.to_dict(), epochs, steps, records, run.keep_every)
        found[folder] = Training(epochs, epochs * steps, cost)
    return found


def retraining_warning(plan: Plan, store: Path, hours: float) -> str | None:
    """A warning if much would be trained again only because code was changed.

    Args:
        plan: what is wanted.
        store: the store's folder.
        hours: of one device; up to so many are no matter.

    Returns:
        How much, which modules were changed and what to do if no number was meant to change; None
        without need. A cost that no finished run tells counts as large.
    """
    to_train = runs_to_train(plan, store)
    earlier = _made_by_other_code(store, to_train)
    if not earlier:
        return None
    again = {folder: run for folder, run in to_train.items() if folder in earlier}
    costs = trainings(plan, store, again, read_records(store))
    seconds = total(training.cost for training in costs.values()).seconds
    if seconds is not None and seconds <= 3600 * hours:
        return None
    changed = sorted(
        {name for folder, made in earlier.items() for name in _changed(store, again[folder], made)}
    )
    runs = "1 run" if len(again) == 1 else f"{len(again)} runs"
    commit = _common_commit(list(earlier.values()))
    return (
        f"Since code was changed, {runs} that the store holds would be trained again, for "
        f"{_in_hours(seconds)} on one device. Changed: "
        f"{', '.join(changed) or 'modules that were not recorded then'}. If the change alters no "
        "number, 'python workflow/scripts/record_equivalence.py"
        f"{f' --old {commit}' if commit else ''}' proves it, and the finished runs stay valid."
    )


def _in_hours(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    hours = seconds / 3600
    return f"about {hours:,.1f} hours" if hours >= 1 else f"about {hours:.2g} hours"


def _made_by_other_code(store: Path, runs: Mapping[str, PlannedRun]) -> dict[str, Provenance]:
    """Of those runs that the store holds by other code only, the newest provenance, by folder."""
    if not runs or not (store / "run").is_dir():
        return {}
    kept: dict[str, list[Path]] = {}
    for entry in os.scandir(store / "run"):
        name, digest = entry.name[: -DIGEST_LENGTH - 1], entry.name[-DIGEST_LENGTH:]
        kept.setdefault(name, []).append(store / "run" / f"{name}-{digest}")
    found = {}
    for folder, run in runs.items():
        if kept_versions(store / run.identity.folder):
            continue  # begun with the present code
        spec = canonical_json(run.identity.spec)
        made = [
            provenance
            for other in kept.get(run.identity.name, [])
            if other.name != Path(run.identity.folder).name
            for provenance in _provenances(other)
            if canonical_json(provenance.spec) == spec
        ]
        if made:
            found[folder] = max(made, key=lambda provenance: provenance.started)
    return found


def _provenances(run_folder: Path) -> list[Provenance]:
    found = []
    for path in run_folder.glob(f"e*/{PROVENANCE}"):
        try:
            found.append(read_provenance(path.parent))
        except PerigeeError:
            continue
    return found


def _changed(store: Path, run: PlannedRun, made: Provenance) -> set[str]:
    """Modules that differ from those that a run was made by, its data set's included."""
    changed = _differing(run.identity, made)
    dataset = run.dataset.identity
    if made.inputs.get("dataset") != dataset.digest:
        try:
            folder = store / "dataset" / f"{dataset.name}-{made.inputs.get('dataset')}"
            changed |= _differing(dataset, read_provenance(folder))
        except PerigeeError:
            pass  # the data set is gone, and nothing else tells
    return changed


def _differing(identity: Identity, made: Provenance) -> set[str]:
    if not made.modules:
        return set()
    both = {**made.modules, **identity.modules}
    return {name for name in both if made.modules.get(name) != identity.modules.get(name)}


def _common_commit(made: Sequence[Provenance]) -> str | None:
    """The one commit that all were made at with no file changed, shortened; None without one."""
    states = [provenance.git or {"commit": None, "dirty": True} for provenance in made]
    commits = {None if state["dirty"] else state["commit"] for state in states}
    commit = commits.pop() if len(commits) == 1 else None
    return commit[:12] if commit else None
