"""Digests of the code that makes a product.

What counts is parsed source, of the modules that make the numbers and of all that they import from
this package. Comments, docstrings and layout do not count, nor do annotations outside class bodies,
calls that log, and the words of errors: none of them moves a number.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grimp

import perigee
from perigee.errors import PerigeeError

PACKAGE = "perigee"
PACKAGE_FOLDER = Path(perigee.__file__).parent

HARMLESS = (
    "perigee",
    "perigee.blocks",
    "perigee.data.downloading",
    "perigee.errors",
    "perigee.paths",
    "perigee.registry",
    "perigee.spec",
)
"""Modules (with all below them) that cannot move a number, and so are left out of digests.

They declare parameters, whose values are in the spec, name files, and fetch what is verified.
"""


def code_digest(roots: Iterable[str], *, words: bool = False) -> str:
    """The digest of some modules and of all that they import from this package.

    Args:
        roots: names of modules.
        words: whether the texts of errors count, since they become part of the product.
    """
    lines = (f"{module} {found}" for module, found in module_digests(roots, words=words).items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def module_digests(roots: Iterable[str], *, words: bool = False) -> Mapping[str, str]:
    """The digest of each module that the roots reach through imports, in the alphabet's order.

    Args:
        roots, words: as for `code_digest`.
    """
    return _closure_digests(frozenset(roots), words)


def program_digest(program: Path) -> str:
    """The digest of a file outside the package, such as a notebook's, with all that it imports.

    Args:
        program: a Python file. Its whole text counts, prose included.
    """
    text = hashlib.sha256(read_source(program).encode()).hexdigest()
    return hashlib.sha256(f"{text} {code_digest(imported_modules(program))}".encode()).hexdigest()


def source_digest(source: str, *, words: bool = False) -> str:
    """The digest of one parsed source.

    Args:
        source: Python.
        words: as for `code_digest`.
    """
    return hashlib.sha256(_dump(_normalised(ast.parse(source), words)).encode()).hexdigest()


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
        waiting += graph.find_modules_directly_imported_by(module)
        waiting += _packages_of(module)
    return tuple(sorted(reached))


def read_source(path: Path) -> str:
    """The text of a source file, with line ends of one kind whatever the file has."""
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")


@cache
def imported_modules(program: Path) -> frozenset[str]:
    """The modules of this package that a file outside it imports."""
    names: set[str] = set()
    for node in ast.walk(_parsed(program)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names & _import_graph().modules)


@cache
def _closure_digests(roots: frozenset[str], words: bool) -> Mapping[str, str]:
    return MappingProxyType({module: _module_digest(module, words) for module in closure(roots)})


@cache
def _import_graph() -> grimp.ImportGraph:
    try:
        return grimp.build_graph(PACKAGE, cache_dir=None, exclude_type_checking_imports=True)
    except grimp.exceptions.SourceSyntaxError as error:
        raise PerigeeError(
            f"{error.filename}, line {error.lineno}: invalid Python; mend that line."
        ) from error


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(read_source(path))
    except SyntaxError as error:
        raise PerigeeError(f"{path}, line {error.lineno}: {error.msg}; mend that line.") from error


@cache
def _module_digest(module: str, words: bool) -> str:
    return source_digest(read_source(_module_file(module)), words=words)


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


def _normalised(tree: ast.Module, words: bool) -> ast.AST:
    stripped = _Stripping(words).visit(tree)
    used = {node.id for node in ast.walk(stripped) if isinstance(node, ast.Name)}
    return _UsedImports(used).visit(stripped)  # type: ignore[no-any-return]


class _StatementTransformer(ast.NodeTransformer):
    """Passes over expressions: most of a tree, and no statement stands in one."""

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, ast.expr) else super().visit(node)


class _Stripping(_StatementTransformer):
    """Removes from a tree what cannot move a number."""

    def __init__(self, words: bool) -> None:
        self._words = words
        self._in_class = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self._in_class = self._in_class, True
        self.generic_visit(node)
        self._in_class = outer
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer, self._in_class = self._in_class, False
        node.returns = None
        self.generic_visit(node)
        self._in_class = outer
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if self._in_class:
            return node  # a field of a dataclass is made of its annotation
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None  # a docstring, of a definition or below an attribute
        if not self._words and _is_logging(node.value):
            return None
        self.generic_visit(node)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if not self._words and isinstance(node.exc, ast.Call):
            node.exc = ast.Call(node.exc.func, [], [])
        self.generic_visit(node)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        self.generic_visit(node)
        return node


class _UsedImports(_StatementTransformer):
    """Removes imported names that nothing uses: those of annotations and of errors' words."""

    def __init__(self, used: set[str]) -> None:
        self._used = used

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        node.names = [
            name for name in node.names if (name.asname or name.name.split(".")[0]) in self._used
        ]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        node.names = [name for name in node.names if (name.asname or name.name) in self._used]
        return node if node.names else None


def _is_logging(call: ast.expr) -> bool:
    """Whether an expression is a call such as ``logger.info(...)`` or ``warnings.warn(...)``."""
    function = call.func if isinstance(call, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id in ("logger", "logging", "warnings")
    )


def _dump(node: object) -> str:
    """Like `ast.dump`, but equal in every Python version: empty fields are always left out."""
    if isinstance(node, ast.JoinedStr):
        # Python 3.12.0 and 3.12.1 parse an empty text into nested format specifications.
        parts = (part for part in node.values if getattr(part, "value", None) != "")
        return f"JoinedStr({','.join(map(_dump, parts))})"
    if isinstance(node, ast.AST):
        kept = [
            f"{name}={_dump(value)}"
            for name in node._fields
            if (value := getattr(node, name, None)) is not None and value != []
        ]
        return f"{type(node).__name__}({','.join(kept)})"
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    return repr(node)
