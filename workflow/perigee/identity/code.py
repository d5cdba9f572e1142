"""Digests of the code that makes a product, over the import closure of its program.

What counts is parsed source without comments, docstrings and positions, of every module of this
package that the program reaches through imports: those it imports itself, and those its spec
names through the registry. A change elsewhere changes no digest.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import grimp

import perigee
from perigee.errors import PerigeeError

PACKAGE = "perigee"
PACKAGE_FOLDER = Path(perigee.__file__).parent

HARMLESS = (
    "perigee",
    "perigee.cli",
    "perigee.configuration",
    "perigee.data.downloading",
    "perigee.errors",
    "perigee.failures",
    "perigee.gpus",
    "perigee.identity",
    "perigee.interruption",
    "perigee.paths",
    "perigee.plan",
    "perigee.progress",
    "perigee.registry",
    "perigee.slurm",
    "perigee.spec",
    "perigee.stamp",
    "perigee.store",
)
"""Modules (with all below them) that cannot touch a number, and so are left out of digests.

They read the command line and the configuration, fetch, name and move files, print progress, wait
for a free GPU. What a spec holds and a registry's line decides is in the spec itself, or adds a
module to the closure.
"""


def code_digest(program: Path, components: Iterable[str] = ()) -> str:
    """The digest of a program's import closure.

    Args:
        program: a Python file outside the package that imports from it. A command-line program
            does nothing but read arguments and call the library, so its own text does not count.
        components: further modules that the product's spec names.
    """
    modules = module_digests(program, components)
    lines = (f"{module} {found}" for module, found in modules.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def module_digests(program: Path, components: Iterable[str] = ()) -> Mapping[str, str]:
    """The digest of each module of a program's import closure, in the alphabet's order.

    Args:
        program, components: as for `code_digest`.
    """
    return _closure_digests(_imported_modules(program) | frozenset(components))


def source_digest(source: str) -> str:
    """The digest of one parsed source: what comments, docstrings and layout cannot change."""
    return hashlib.sha256(_normalised(source).encode()).hexdigest()


def closure(roots: frozenset[str]) -> tuple[str, ...]:
    """All modules of the package that the roots reach, themselves included, harmless ones left out.

    Packages count with each of their modules, since importing a module runs its packages too.
    """
    graph = _import_graph()
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in reached or _is_harmless(module):
            continue
        reached.add(module)
        waiting.extend(graph.find_modules_directly_imported_by(module))
        waiting.extend(_packages_of(module))
    return tuple(sorted(reached))


@cache
def _closure_digests(roots: frozenset[str]) -> Mapping[str, str]:
    return MappingProxyType({module: _module_digest(module) for module in closure(roots)})


@cache
def _import_graph() -> grimp.ImportGraph:
    try:
        return grimp.build_graph(PACKAGE, cache_dir=None)
    except grimp.exceptions.SourceSyntaxError as error:
        raise PerigeeError(
            f"{error.filename}, line {error.lineno}: invalid Python; mend that line."
        ) from error


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text())
    except SyntaxError as error:
        raise PerigeeError(f"{path}, line {error.lineno}: {error.msg}; mend that line.") from error


@cache
def _module_digest(module: str) -> str:
    return source_digest(_module_file(module).read_text())


def _module_file(module: str) -> Path:
    relative = Path(*module.split(".")[1:])
    package = PACKAGE_FOLDER / relative / "__init__.py"
    return package if package.is_file() else PACKAGE_FOLDER / relative.with_suffix(".py")


def _packages_of(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _is_harmless(module: str) -> bool:
    # The package itself is harmless, its other modules are not.
    return module == PACKAGE or any(
        module == name or module.startswith(f"{name}.") for name in HARMLESS if name != PACKAGE
    )


@cache
def _imported_modules(program: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(_parsed(program)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names & _import_graph().modules)


def _normalised(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_bare_text(line)]
    return _dump(tree)


def _is_bare_text(statement: ast.stmt) -> bool:
    """A docstring, of a definition or below an attribute: text that nothing reads."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _dump(node: object) -> str:
    """Like `ast.dump`, but equal in every Python version: empty fields are always left out."""
    if isinstance(node, ast.JoinedStr):
        # Python 3.12.0 and 3.12.1 parse an empty text into nested format specifications.
        parts = (part for part in node.values if getattr(part, "value", None) != "")
        return f"JoinedStr({','.join(map(_dump, parts))})"
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        kept = (f"{name}={_dump(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({','.join(kept)})"
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    return repr(node)
