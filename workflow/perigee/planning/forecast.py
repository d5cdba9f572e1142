"""Forecasts: what is still to be trained or measured, its cost, and what was trained before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perigee.blocks.measures import Checkpoints
from perigee.errors import PerigeeError
from perigee.identity.canonical import DIGEST_LENGTH, canonical_json
from perigee.identity.products import measure_identity
from perigee.planning.costs import Cost, Record, estimate, total
from perigee.planning.layout import Layout
from perigee.planning.products import Product, RunProduct
from perigee.store.provenance import FORMAT, Provenance
from perigee.store.runs import versions


@dataclass(frozen=True)
class Training:
    """The training that a planned run still needs.

    Attributes:
        epochs, steps: how many are to be trained, excluding those of a shorter version that
            training continues from, but including those that are trained again for measures which
            the shorter version lacks.
        cost: the cost of these.
        is_replay: whether the run is complete, and trained again only for its measures.
    """

    epochs: int
    steps: int
    cost: Cost
    is_replay: bool = False


def trainings(
    layout: Layout, targets: Iterable[Product], records: list[Record] | None = None
) -> dict[str, Training]:
    """The training of all runs that targets still need, by folder.

    Runs whose missing measures are computed at kept checkpoints are not among them.

    Args:
        layout: the plan's layout, newly made, since it depends on the store's contents.
        targets: products of the plan.
        records: the records of finished runs and of calibrations; None takes the layout's.
    """
    store = Path(layout.store)
    products = layout.outstanding(targets).items()
    waiting = [folder for folder, product in products if isinstance(product, RunProduct)]
    # Records are read only if there is something to estimate from them.
    known = (layout.records if records is None else records) if waiting else []
    found = {}
    for folder in waiting:
        run = layout.runs[folder]
        epochs = _epochs_to_train(run, store)
        if epochs:
            cost = estimate(run, epochs, known)
            steps = epochs * run.steps_per_epoch
            found[folder] = Training(epochs, steps, cost, run.is_trained(store))
    return found


def _epochs_to_train(run: RunProduct, store: Path) -> int:
    """The epochs that the job of a run trains, as `perigee.jobs.training` does it.

    A missing run is trained first, from the end of the longest shorter version; then it is trained
    again for those of its measures that this version lacks.
    """
    wanted = run.measure_identities
    kept = versions(store / run.identity.folder)
    shorter = [
        (version.epochs, {n for n, one in wanted.items() if (version.folder / one.label).is_dir()})
        for version in kept
        if version.epochs < run.epochs
    ]
    if run.shorter is not None:
        shorter.append((run.shorter.epochs, set(wanted)))
    if run.is_trained(store):
        first = 0
        same = [version for version in kept if version.epochs == run.epochs][:1]
        every_epoch = measure_identity(Checkpoints(), run.identity)
        there = {n for n, one in wanted.items() if same and same[0].measure(one, run.epochs)}
        all_kept = bool(same and same[0].measure(every_epoch, run.epochs))
    else:
        begun, there = max(shorter, key=lambda one: (one[0], len(one[1])), default=(0, set(wanted)))
        first = run.epochs - begun
        all_kept = Checkpoints.name in there and Checkpoints() in run.measures
    missing = set(wanted) - there
    if all_kept:
        missing -= {measure.name for measure in run.measures if measure.at_epochs}
    if not missing:
        return first
    return first + run.epochs - max((n for n, taken in shorter if missing <= taken), default=0)


def retraining_warning(layout: Layout, hours: float) -> str | None:
    """A warning if a change of code would cause much training again.

    Args:
        layout: the plan's layout; its reported figures are the targets.
        hours: the hours of one device up to which no warning is given.

    Returns:
        How much is trained again, which modules were changed and what to do if no number was meant
        to change; None if there is nothing to warn of. An unknown cost counts as large.
    """
    store = Path(layout.store)
    if not (store / "run").is_dir():
        return None
    costs = trainings(layout, layout.reported.figures.values())
    earlier = _made_by_other_code(store, {folder: layout.runs[folder] for folder in costs})
    again = {f: t for f, t in costs.items() if f in earlier or (t.is_replay)}
    if not earlier and not again:
        return None
    seconds = total(training.cost for training in again.values()).seconds
    if seconds is not None and seconds <= 3600 * hours:
        return None
    changed = sorted(
        {name for folder, made in earlier.items() for name in _changed(layout.runs[folder], made)}
    )
    runs = "1 run" if len(again) == 1 else f"{len(again)} runs"
    commit = _common_commit(list(earlier.values()))
    why = "Since code was changed" if earlier else "For measures that they lack"
    proof = (
        " If the change alters no number, 'perigee equivalence record"
        f"{f' --old {commit}' if commit else ''}' proves it, and the finished runs stay valid."
        if earlier
        else ""
    )
    modules = (
        f" Changed: {', '.join(changed) or 'modules that were not recorded then'}."
        if earlier
        else ""
    )
    return (
        f"{why}, {runs} that the store holds would be trained again, for "
        f"{_in_hours(seconds)} on one device.{modules}{proof}"
    )


def _in_hours(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    hours = seconds / 3600
    return f"about {hours:,.1f} hours" if hours >= 1 else f"about {hours:.2g} hours"


def _made_by_other_code(store: Path, runs: Mapping[str, RunProduct]) -> dict[str, Provenance]:
    """The newest provenance, by folder, of runs that the store holds only from other code."""
    kept: dict[str, list[Path]] = {}
    for path in (store / "run").iterdir():
        kept.setdefault(path.name[: -DIGEST_LENGTH - 1], []).append(path)
    found = {}
    for folder, run in runs.items():
        if versions(store / run.identity.folder):
            continue  # begun with the present code
        spec = canonical_json(run.identity.spec)
        made = [
            provenance
            for other in kept.get(run.identity.name, [])
            if other.name != run.identity.label
            for provenance in _provenances(other)
            if canonical_json(provenance.spec) == spec
        ]
        if made:
            found[folder] = max(made, key=lambda provenance: provenance.started)
    return found


def _provenances(run_folder: Path) -> list[Provenance]:
    found = []
    for version in versions(run_folder):
        with suppress(PerigeeError):
            found.append(version.provenance)
    return [provenance for provenance in found if provenance.format == FORMAT]


def _changed(run: RunProduct, made: Provenance) -> set[str]:
    """The modules that have changed since a run was made, those of its data set included."""
    now = run.identity.modules
    both = {**made.modules, **now} if made.modules else {}
    changed = {name for name in both if made.modules.get(name) != now.get(name)}
    if made.inputs.get("dataset") != run.dataset.identity.digest:
        changed.add(run.dataset.dataset.module)
    return changed


def _common_commit(made: list[Provenance]) -> str | None:
    """The commit, shortened, at which all were made with no file changed; None without one."""
    states = [provenance.git or {"commit": None, "dirty": True} for provenance in made]
    commits = {None if state["dirty"] else state["commit"] for state in states}
    commit = commits.pop() if len(commits) == 1 else None
    return commit[:12] if commit else None
