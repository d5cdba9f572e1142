"""Which code changed, and the proof that its numbers did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perigee.equivalence import enlarged
from perigee.equivalence.comparing import first_difference
from perigee.equivalence.golden import DATASET, ENLARGED, GoldenRun, RunKind, golden_runs
from perigee.equivalence.trees import Tree
from perigee.errors import PerigeeError
from perigee.identity.products import Identity, dataset_identity, run_identity
from perigee.paths import EQUIVALENCES, shown
from perigee.spec import Component, RunSpec
from perigee.store.provenance import read_provenance


@dataclass(frozen=True)
class Change:
    """Code that is not what it was.

    Attributes:
        kind: of the products it makes, "dataset" or "run".
        components: the blocks it is for, by kind of block.
        old, new: its digests.
    """

    kind: str
    components: Mapping[str, str]
    old: str
    new: str

    def __str__(self) -> str:
        kind = "data set" if self.kind == "dataset" else self.kind
        return f"{kind} {', '.join(self.components.values())}"


Proof = tuple[Change, tuple[str, ...]]
"""A change that is proven harmless, and what was compared, in words."""


@dataclass(frozen=True)
class Bench:
    """Where old and new code are compared.

    Attributes:
        old, new: the two trees.
        folder: for what they make.
        downloads: folder of downloaded data sets.
        device: to train on.
    """

    old: Tree
    new: Tree
    folder: Path
    downloads: Path
    device: str

    def out(self, tree: Tree, name: str) -> Path:
        """Where a tree puts a product."""
        return self.folder / ("old" if tree == self.old else "new") / name

    def make(self, programs: Callable[[Tree], Sequence[Sequence[str]]]) -> list[str | None]:
        """Run each tree's programs, the trees beside each other.

        Returns:
            Of the old and the new tree why it failed, None if it did not.
        """

        def attempt(tree: Tree) -> str | None:
            try:
                tree.make(programs(tree))
            except PerigeeError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(max_workers=2) as pool:
            return list(pool.map(attempt, (self.old, self.new)))

    def require_same(self, change: Change, product: str, name: str) -> None:
        """Compare a product that both trees have made.

        Args:
            change: that is to be proven harmless.
            product: in words.
            name: of its folder.

        Raises:
            PerigeeError: the products differ, or were not made by the code in question.
        """
        folders = [self.out(tree, name) for tree in (self.old, self.new)]
        for folder, code in zip(folders, (change.old, change.new), strict=True):
            if read_provenance(folder).code != code:
                raise PerigeeError(
                    "Files of the working tree were changed during the comparison; start again."
                )
        difference = first_difference(*folders)
        if difference:
            raise PerigeeError(
                f"Nothing is recorded: the change alters what is computed. The first difference is "
                f"in {product}: {difference}."
            )


def changes(old: Tree, kinds: Iterable[RunKind], datasets: Iterable[str]) -> list[Change]:
    """Those data sets and kinds of run that both codes can make, but by another digest.

    Args:
        old: the old code.
        kinds, datasets: to look at, of the present code.

    Raises:
        PerigeeError: changed code counts as other old code already.
    """
    asked: list[tuple[str, Any, Mapping[str, str], Identity]] = []
    for name in datasets:
        identity = dataset_identity(Component(name))
        asked.append(("dataset", {"name": name}, {"dataset": name}, identity))
    for kind in kinds:
        identity = run_identity(RunSpec.from_dict(kind.any_spec), "")
        asked.append(("run", kind.any_spec, kind.components, identity))
    found = []
    answers = old.code_digests([(kind, spec) for kind, spec, _, _ in asked])
    for (what, _, components, identity), code in zip(asked, answers, strict=True):
        if code is None or code == identity.code:
            continue
        change = Change(what, components, code, identity.code)
        if identity.code_at_hand:
            raise PerigeeError(
                f"{change}: by {shown(EQUIVALENCES)} the present code counts as {identity.code}, "
                f"but that of the {old.name} is {code}; it cannot count as both. Remove the entry "
                "if this one is to count."
            )
        found.append(change)
    return found


def prove_dataset(bench: Bench, change: Change) -> str | None:
    """Build a data set with both codes and compare all of it.

    Returns:
        Why it cannot be built, with neither code; None if it is proven to be the same.

    Raises:
        PerigeeError: it is not the same, or one of the codes fails.
    """
    name = change.components["dataset"]
    failures = bench.make(lambda tree: [_build(bench, tree, name)])
    if all(failures):
        return failures[1]
    _require_success(failures)
    bench.require_same(change, f"the {change}", name)
    return None


def prove_runs(bench: Bench, changed: Sequence[Change]) -> list[Proof]:
    """Train all golden runs of some kinds with both codes, and compare everything.

    Returns:
        Each change with its golden runs, in words.

    Raises:
        PerigeeError: something differs, or one of the codes fails.
    """
    if not changed:
        return []
    runs = [(change, golden_runs(RunKind(**change.components))) for change in changed]
    named = {
        f"run{number}-{position}": (change, run)
        for number, (change, golden) in enumerate(runs)
        for position, run in enumerate(golden)
    }

    def programs(tree: Tree) -> list[list[str]]:
        trained = (
            _train(bench, tree, name, run, epochs)
            for name, (_, run) in named.items()
            for epochs in run.epochs
        )
        digits, larger = (str(bench.out(tree, name)) for name in (DATASET, ENLARGED))
        enlarge = [str(Path(enlarged.__file__)), digits, larger]
        return [_build(bench, tree, DATASET), enlarge, *trained]

    _require_success(bench.make(programs))
    for name, (change, run) in named.items():
        for epochs in run.epochs:
            product = f"the golden run '{run.words}' after {epochs} epochs"
            bench.require_same(change, product, f"{name}/e{epochs}")
    return [(change, tuple(run.words for run in golden)) for change, golden in runs]


def _require_success(failures: Iterable[str | None]) -> None:
    for failure in failures:
        if failure:
            raise PerigeeError(f"Nothing is recorded. {failure}")


def _build(bench: Bench, tree: Tree, name: str) -> list[str]:
    return tree.program(
        "build_dataset.py",
        f"--spec={json.dumps({'name': name})}",
        f"--out={bench.out(tree, name)}",
        f"--downloads={bench.downloads.absolute()}",
        "--no-download",
    )


def _train(bench: Bench, tree: Tree, name: str, run: GoldenRun, epochs: int) -> list[str]:
    goes_on = epochs < run.epochs[-1]
    return tree.program(
        "train.py",
        f"--spec={json.dumps(run.spec)}",
        f"--dataset={bench.out(tree, run.spec['dataset']['name'])}",
        f"--epochs={epochs}",
        f"--out={bench.out(tree, name)}/e{epochs}",
        f"--device={bench.device}",
        *(["--keep-every=1"] if goes_on else []),
    )
