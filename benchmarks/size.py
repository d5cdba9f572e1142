"""The size of the machinery: statements of Python, without docstrings, package by package.

The machinery is everything in workflow/perigee, the executor plugin, quickstart.py and setup.py (in
older revisions also workflow/scripts) but the rooms that hold science. A statement is a node of the
syntax tree that is one, however many lines it has; texts that stand for themselves are none.

    python benchmarks/size.py
    python benchmarks/size.py --revision 726be71      # only the table, of another revision
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator

from common import ROOT, Report, Summary, Target, main

BEFORE, MACHINERY_BEFORE = "726be71", 4366
"""The commit that the target is relative to, and this program's count there."""

SMALLER = 0.82
"""The target: 18 % fewer."""

SCIENCE = (
    "analysis",
    "claims",
    "data",
    "dynamics",
    "evaluation",
    "kernel",
    "measures",
    "models",
    "tasks",
    "training",
)
"""The packages of the library that are not machinery."""

TOP = ("quickstart.py", "setup.py")
FOLDERS = ("workflow/perigee", "workflow/scripts", "workflow/snakemake_executor_plugin")


def statements(source: str) -> int:
    """The number of statements of a source, nested ones included, without bare strings."""
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))
    return sum(not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)) for n in nodes)


def room(path: str) -> str | None:
    """The package that a file of the repository is in; None if it is not counted."""
    folders = path.split("/")
    if path in TOP:
        return path
    if not path.endswith(".py") or not path.startswith(FOLDERS):
        return None
    if folders[1] != "perigee":
        return folders[1]
    return folders[2] if len(folders) > 3 else "perigee, modules of their own"


def working_tree() -> Iterator[tuple[str, str]]:
    """Paths and sources of all Python files."""
    for path in sorted([*(ROOT / name for name in TOP), *(ROOT / "workflow").rglob("*.py")]):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def revision(name: str) -> Iterator[tuple[str, str]]:
    """The same of a git revision."""
    command = ["git", "-C", str(ROOT), "archive", name]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            content = files.extractfile(member)
            if content is not None and member.name.endswith(".py"):
                yield member.name, content.read().decode()


def counted(files: Iterator[tuple[str, str]]) -> dict[str, int]:
    """The statements by package, largest first within machinery and science, and in total."""
    rooms: Counter[str] = Counter()
    for path, source in files:
        place = room(path)
        if place is not None:
            rooms[place] += statements(source)
    machinery = {name: n for name, n in rooms.most_common() if name not in SCIENCE}
    science = {name: n for name, n in rooms.most_common() if name in SCIENCE}
    totals = {"machinery": sum(machinery.values()), "science": sum(science.values())}
    return machinery | science | totals


def measure(repetitions: int) -> Report:
    found = counted(working_tree())
    ratio = f"machinery / at {BEFORE}"
    figures = {name: Summary.of([number]) for name, number in found.items()}
    return Report(
        figures=figures | {ratio: Summary.of([found["machinery"] / MACHINERY_BEFORE])},
        target=Target(ratio, "<=", SMALLER),
        conditions={f"machinery at {BEFORE}": MACHINERY_BEFORE, "science": list(SCIENCE)},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--revision")
    told, others = parser.parse_known_args()
    if told.revision is None:
        main(__doc__ or "", repetitions=1, measure=measure)
    else:
        if others:
            sys.exit(f"{others[0]} does not go with --revision.")
        for name, number in counted(revision(told.revision)).items():
            print(f"{name:40}{number:6}")
