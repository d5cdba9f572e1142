"""From a run and its sweep, as files have them, to validated specs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import getitem
from typing import Any

from perigee.blocks.base import Block
from perigee.blocks.forks import AtEpoch, Fork
from perigee.blocks.measures import ThinnedLayers
from perigee.configuration import models
from perigee.configuration.overlays import flattened
from perigee.configuration.requests import RunRequest
from perigee.configuration.validation import checked, refusal, validated_block, wrong
from perigee.identity.canonical import canonical_json
from perigee.spec import BLOCK_FIELDS, Parent, RunSpec

Names = Mapping[str, Mapping[str, Any]]
"""Values of sweeps by their names, by dotted key."""


@dataclass(frozen=True)
class SweptRuns:
    """Runs that differ in swept values.

    Attributes:
        requests: the runs.
        names: at the present scale.
        known_names: the same of the paper's file, which an overlay may have dropped.
    """

    requests: tuple[RunRequest, ...]
    names: Names
    known_names: Names


def swept_runs(
    base: Mapping[str, Any],
    group: models.Runs | models.Study,
    plain_sweep: Mapping[str, Any],
    where: str,
    file: str,
) -> SweptRuns:
    """A run for every combination of the swept values; equal runs are given once.

    The first key in the alphabet varies slowest, in whichever order the file has them.

    Args:
        base: the run that all else is taken from.
        group: epochs, sweep and what is set.
        plain_sweep: the sweep without an overlay.
        where, file: where it stands, for messages.

    Raises:
        PerigeeError: a key or value is wrong.
    """
    run = copy.deepcopy(dict(base))
    for dotted, value in group.set.items():
        set_value(run, dotted, copy.deepcopy(value), f"{where}.set".removeprefix("."), file)
    sweep = dict(sorted(group.sweep.items()))
    lists = [list(v.values()) if isinstance(v, Mapping) else v for v in sweep.values()]
    label = getattr(group, "label", "")
    interval = group.checkpoint_interval or None
    layers = _thinned(group.layers) if isinstance(group, models.Runs) else None
    requests: dict[str, RunRequest] = {}
    for values in itertools.product(*lists):
        one = copy.deepcopy(run)
        for dotted, value in zip(sweep, values, strict=True):
            set_value(one, dotted, value, f"{where}.sweep".removeprefix("."), file)
        spec = resolved_run(one, where, file)
        plain = {"parent": None, **spec.full_dict()}
        swept = {"label": label} if label else {}
        swept |= {key: column_value(reduce(getitem, key.split("."), plain)) for key in sweep}
        request = RunRequest(spec, group.epochs, swept, interval, layers)
        requests.setdefault(canonical_json(spec.to_dict()), request)
    names, known_names = (
        {key: value for key, value in given.items() if isinstance(value, Mapping)}
        for given in (group.sweep, plain_sweep)
    )
    return SweptRuns(tuple(requests.values()), names, known_names)


def _thinned(kept: models.KeptLayers) -> ThinnedLayers | None:
    """The measure that keeps these steps; None if all are kept."""
    if kept.every == 1:
        return None
    return ThinnedLayers(every=kept.every, in_full=tuple(sorted(set(kept.in_full))))


def told_apart(requests: Iterable[RunRequest]) -> tuple[RunRequest, ...]:
    """The runs of a table, with the values of their specs that differ between them.

    What they descend from is left out, and so are values that one column could not hold.
    """
    runs = tuple(requests)
    swept = {key for run in runs for key in run.swept}
    specs: list[dict[str, Any]] = [{} for _ in runs]
    for name in RunSpec.model_fields.keys() - {"parent"}:
        values = [getattr(run.spec, name) for run in runs]
        if not all(value is values[0] or value == values[0] for value in values):
            for spec, value in zip(specs, values, strict=True):
                plain = value.full_dict() if isinstance(value, Block) else value
                spec |= {key: column_value(item) for key, item in flattened({name: plain}).items()}
    differing = [
        key
        for key in sorted({key for spec in specs for key in spec} - swept)
        if len({spec.get(key) for spec in specs}) > 1
        and len({is_number(spec[key]) for spec in specs if spec.get(key) is not None}) == 1
    ]
    return tuple(
        replace(run, swept={**run.swept, **{k: spec[k] for k in differing if k in spec}})
        for run, spec in zip(runs, specs, strict=True)
    )


def with_precision(runs: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """The runs of a paper in the scale's precision; those that name one keep it.

    A fork has its parent's.
    """
    return {
        name: run if "parent" in run else {"precision": precision, **run}
        for name, run in runs.items()
    }


def with_parents(runs: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The runs of a paper with the parents of forked ones written out.

    A run with the key ``parent`` names another entry there, and has all values of that one that it
    does not give itself.

    Raises:
        PerigeeError: a run descends from nobody, or from itself.
    """

    def written(name: str, descendants: tuple[str, ...] = ()) -> Any:
        run = runs[name]
        if "parent" not in run:
            return run
        place = f"runs.{name}.parent.run"
        key, line = run["parent"]["run"], (*descendants, name)
        if key not in runs:
            raise wrong(
                file,
                place,
                f"is '{key}', which is not an entry of 'runs'; known are "
                f"{', '.join(sorted(runs))}.",
            )
        if key in line:
            raise wrong(
                file,
                place,
                f"is '{key}', which descends from it: {' from '.join((*line, key))}; let one of "
                "them start without a parent.",
            )
        inherited = written(key, line)
        parent = {**run["parent"], "run": copy.deepcopy(inherited)}
        # Copied twice: a value put into the fork is not put into its parent.
        return {**copy.deepcopy(inherited), **run, "parent": parent}

    return {name: written(name) for name in runs}


def with_defaults(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run with the blocks that it leaves out, so that a sweep can reach into them."""
    fields = RunSpec.model_fields
    left_out = {
        kind: fields[kind].default.to_dict()
        for kind in BLOCK_FIELDS
        if not fields[kind].is_required()
    }
    return {**left_out, **run}


def resolved_run(run: Mapping[str, Any], where: str, file: str) -> RunSpec:
    """A run's spec with everything checked.

    Args:
        run: as under ``runs`` of a paper, its parent written out.
        where, file: where the run stands, for messages.

    Raises:
        PerigeeError: a key or value is wrong.
    """
    run = dict(run)
    parent = run.pop("parent", None)
    blocks = {}
    for kind in BLOCK_FIELDS:
        if kind not in run:
            continue
        key = f"{where}.{kind}".removeprefix(".")
        if not isinstance(run[kind], Mapping):
            raise wrong(file, key, f"is {run[kind]!r}; it must be of type mapping.")
        if "name" not in run[kind]:
            raise refusal(file, key, f"key 'name' in '{key}' is missing; add it.")
        blocks[kind] = validated_block(kind, run[kind], file, key)
    resolved = None if parent is None else _resolved_parent(parent, run, where, file)
    return checked(RunSpec, {**run, **blocks, "parent": resolved}, file, where)


def _resolved_parent(parent: Any, run: Mapping[str, Any], where: str, file: str) -> Parent:
    """The key ``parent`` of a forked run, checked.

    A checkpoint fits only a network of the same shape with the same frozen head on the same data,
    so a sweep over those sweeps the parent too.
    """
    key = f"{where}.parent".removeprefix(".")
    given = checked(models.ToldParent, parent, file, key)
    shared = {name: run[name] for name in ("dataset", "model", "seed") if name in run}
    at: Fork = validated_block("fork", given.at, file, f"{key}.at")
    if isinstance(at, AtEpoch) and at.epoch > given.epochs:
        raise wrong(
            file,
            f"{key}.at.epoch",
            f"is {at.epoch}, but of the parent only {given.epochs} epochs are trained; raise "
            f"'{key}.epochs' or fork earlier.",
        )
    spec = resolved_run({**given.run, **shared}, f"{key}.run", file)
    return Parent(spec, given.epochs, at)


def set_value(run: dict[str, Any], dotted: str, value: Any, where: str, file: str) -> None:
    """Put a value in its place in a run, by dotted key.

    Raises:
        PerigeeError: the key leads nowhere; the message says that it stands in ``where``.
    """
    *parents, last = dotted.split(".")
    for parent in parents:
        if not isinstance(run.get(parent), dict):
            raise wrong(
                file,
                f"{where}.{dotted}",
                f"leads nowhere: a run has no '{parent}' with keys of its own; name a key such as "
                "'optimiser.learning_rate'.",
            )
        run = run[parent]
    run[last] = value


def is_number(value: Any) -> bool:
    """True for a number; true and false are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def column_value(value: Any) -> Any:
    """Return a value as a column holds it: lists and mappings as text."""
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else canonical_json(value)
