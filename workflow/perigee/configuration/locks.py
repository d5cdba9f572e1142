"""claims.lock: the rules of a paper's claims, each with the day on which it was locked.

A rule is locked before runs of judged seeds are looked at for it. The file holds a line for every
rule that ever was locked, so that a rule that was changed afterwards is told from one that was not;
`perigee claims lock` adds those that are new.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perigee import paths
from perigee.configuration import models
from perigee.configuration.reading import read_shared, yaml_files
from perigee.configuration.seeds import judged_seeds, with_seeds
from perigee.configuration.validation import checked
from perigee.errors import PerigeeError
from perigee.identity.canonical import DIGEST_LENGTH, digest
from perigee.paths import shown

LOCK = "claims.lock"

HEADER = """\
# The rules of the paper's claims, and when each was locked: before any run of a judged seed was
# looked at for it. Written by `perigee claims lock`, which adds lines and changes none.
"""

LINE = re.compile(
    rf"([0-9a-f]{{{DIGEST_LENGTH}}}) (\d{{4}}-\d\d-\d\d) (\d+\.\d+\.\d+) (\w+)\.(\w+)"
)


@dataclass(frozen=True)
class Lock:
    """A rule that was locked.

    Attributes:
        rule: the rule's digest.
        date: the day, such as "2026-01-31".
        version: the version of Perigee that first had the rule.
        figure, claim: the figure and the claim's name on that day.
    """

    rule: str
    date: str
    version: str
    figure: str
    claim: str

    @property
    def line(self) -> str:
        """The line of the file."""
        return f"{self.rule} {self.date} {self.version} {self.figure}.{self.claim}"


@dataclass(frozen=True)
class Locks:
    """The locked rules of a figure's claims.

    Attributes:
        figure: the figure's name.
        written: the figure's file, without the overlay of a scale.
        locks: the locked rules of its paper.
    """

    figure: str
    written: Mapping[str, Any]
    locks: Sequence[Lock]

    def told(self, name: str, claim: models.Claim) -> str:
        """When a claim's rule was first locked: the day and the version; or that it is not.

        Args:
            name: the claim's name.
            claim: its rule.
        """
        rule = rule_digest(self.figure, claim, self.written)
        locks = [lock for lock in self.locks if lock.figure == self.figure]
        found = next((lock for lock in locks if lock.rule == rule), None)
        if found is not None:
            return f"{found.date}, {found.version}"
        earlier = [lock.date for lock in locks if lock.claim == name]
        return f"not locked: changed since {earlier[-1]}" if earlier else "not locked"


def locks_of(paper: str) -> list[Lock]:
    """The locked rules of a paper: those that come with Perigee, and those of the project.

    Raises:
        PerigeeError: a line of a file is not as `perigee claims lock` writes it.
    """
    files = [folder / "papers" / paper / LOCK for folder in reversed(paths.config_folders())]
    return [lock for file in files if file.is_file() for lock in read_locks(file)]


def read_locks(path: Path) -> list[Lock]:
    """The locks of a file, in their order.

    Raises:
        PerigeeError: see `locks_of`.
    """
    locks = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise PerigeeError(
                f"{shown(path)}, line {number}: '{line}' is not a locked rule; restore the line, "
                "or remove it and lock the rule anew with 'perigee claims lock'."
            )
        locks.append(Lock(*match.groups()))
    return locks


def lock_rules(paper: str, date: str, version: str) -> dict[Path, list[Lock]]:
    """Lock the rules of a paper's claims that are not locked yet.

    The lines are added to claims.lock beside the folder in which the claims stand.

    Args:
        paper: the paper's folder below ``config/papers``.
        date, version: the day and the version that the new lines have.

    Returns:
        The new locks by the file that they were added to.

    Raises:
        PerigeeError: a file of claims or of a figure is wrong, or claims.lock cannot be written.
    """
    locked = {lock.rule for lock in locks_of(paper)}
    figures = yaml_files("papers", paper)
    added: dict[Path, list[Lock]] = {}
    for figure, path in yaml_files("papers", paper, "claims").items():
        claims = checked(models.Claims, read_shared(path), shown(path)).claims
        written = _figure(figures[figure]) if figure in figures else {}
        rules = {name: rule_digest(figure, claim, written) for name, claim in claims.items()}
        added.setdefault(path.parents[1] / LOCK, []).extend(
            Lock(rule, date, version, figure, name)
            for name, rule in rules.items()
            if rule not in locked
        )
    for path, locks in added.items():
        if locks:
            _add(path, locks)
    return added


def _figure(path: Path) -> Mapping[str, Any]:
    """A figure's file, checked."""
    written = with_seeds(read_shared(path), judged_seeds(1))
    checked(models.Figure, written, shown(path))
    return written


def _add(path: Path, locks: Iterable[Lock]) -> None:
    """Add lines to a file, which is begun if it is not there."""
    try:
        header = "" if path.is_file() else HEADER
        with path.open("a", encoding="utf-8") as file:
            file.write(header + "".join(f"{lock.line}\n" for lock in locks))
    except OSError as error:
        raise PerigeeError(
            f"{shown(path)} cannot be written ({error.strerror}); make its folder writable."
        ) from error


def rule_digest(figure: str, claim: models.Claim, written: Mapping[str, Any]) -> str:
    """The digest of a claim's rule; no wording is in it.

    It is that of the rule as written, with names for settings, so that it is the same at every
    scale: the kind, the quantity with all parameters, premise and bound, and of each table that
    these are measured on the analysis with its arguments and the runs that it reads, by their
    names. What these runs are set to, such as a learning rate, is not part of a rule.

    Args:
        figure: the figure's name.
        claim: the rule.
        written: the figure's file, without the overlay of a scale.
    """
    optional = {"margin": None, "pooled": False, "draws": "seed", "shared": None}
    given = {key: getattr(claim, key) for key in optional}
    rule = {
        "kind": claim.kind,
        "unit": claim.unit,
        **_expectation(claim),
        **{key: value for key, value in given.items() if value != optional[key]},
    }
    if claim.given is not None:
        rule["given"] = _expectation(claim.given)
    names = {claim.table, *([claim.given.table] if claim.given else [])}
    tables = {name: _table(name, written) for name in sorted(names)}
    return digest({"figure": figure, "rule": rule, "tables": tables})


def _table(name: str, written: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a rule that a table is; of one that the figure lacks, which is refused, none."""
    table = written.get("tables", {}).get(name, {})
    groups = {run: written.get("runs", {}).get(run, {}) for run in table.get("runs", [])}
    runs = {
        run: {key: group[key] for key in ("run", "label") if key in group}
        for run, group in groups.items()
    }
    return {"analysis": table.get("analysis"), "runs": runs}


def _expectation(expectation: models.Expectation) -> dict[str, Any]:
    expected: Mapping[str, Any] = expectation.expected.model_dump(exclude_unset=True)
    found = {"table": expectation.table, "quantity": expectation.quantity, "expected": expected}
    if expectation.within_seed is not None:
        found["within_seed"] = expectation.within_seed
    return found
