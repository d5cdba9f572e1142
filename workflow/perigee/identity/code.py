"""Digests of the code that makes a product.

What counts is parsed source, of the modules that make the numbers and of all that they import from
this package, or from the package of the user's own blocks. Comments, docstrings and layout do not
count, nor do annotations outside class bodies, calls that log, the words of errors, and imports
that serve none but these: none of them moves a number. Where it cannot be told whether something
moves a number, it counts.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from types import MappingProxyType
from typing import Any

import perigee
from perigee.errors import PerigeeError
from perigee.paths import OWN_PACKAGES

PACKAGE = "perigee"
PACKAGE_FOLDER = Path(perigee.__file__).parent

HARMLESS = (
    "perigee",
    "perigee.blocks",
    "perigee.data.downloading",
    "perigee.errors",
    "perigee.interruption",
    "perigee.paths",
    "perigee.registry",
    "perigee.spec",
)
"""Modules (with all below them) that cannot change a number, and so are left out of digests.

They declare parameters, whose values are in the spec, name files, download files that are verified,
and receive requests to stop.
"""

LOGGERS = ("logger", "logging", "warnings")
LOGGING = ("critical", "debug", "error", "exception", "info", "log", "warn", "warning")
"""Calls of these functions of these objects are messages; other calls, such as of
`logging.disable`, are not."""

BLIND_DECORATORS = (
    "abstractmethod",
    "cache",
    "cached_property",
    "classmethod",
    "contextmanager",
    "no_grad",
    "once_differentiable",
    "property",
    "staticmethod",
    "wraps",
)
"""Decorators that do not look at annotations, unlike `functools.singledispatch` for example."""

NAMESPACES = ("eval", "exec", "globals", "locals", "vars")
"""Functions that may find an imported name that the source does not show."""

SIDE_EFFECTS = (ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom)


def code_digest(roots: Iterable[str], *, words: bool = False) -> str:
    """The digest of some modules and of all that they import from this package.

    Args:
        roots: names of modules.
        words: whether the texts of errors count, since they become part of the product.
    """
    lines = (f"{module} {found}" for module, found in module_digests(roots, words=words).items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def module_digests(roots: Iterable[str], *, words: bool = False) -> Mapping[str, str]:
    """The digest of each module that the roots reach through imports, in alphabetical order.

    Packages count with each of their modules, since importing a module runs its packages too.
    `HARMLESS` modules are left out.

    Args:
        roots, words: see `code_digest`.
    """
    return _closure_digests(frozenset(roots), words)


def program_digest(program: Path) -> str:
    """The digest of a file outside the package, such as a notebook's, with all that it imports.

    Args:
        program: a Python file. Its whole text counts, including prose.
    """
    text = hashlib.sha256(read_source(program).encode()).hexdigest()
    return hashlib.sha256(f"{text} {code_digest(imported_modules(program))}".encode()).hexdigest()


def source_digest(source: str, *, words: bool = False) -> str:
    """The digest of one parsed source, the same in every version of Python.

    Args:
        source: Python source.
        words: see `code_digest`.
    """
    tree = _Stripping(words).visit(ast.parse(source))
    return _digest(_UsedImports(tree).visit(tree))


def read_source(path: Path) -> str:
    """Read a source file in UTF-8, with uniform line ends whatever the file has.

    Raises:
        PerigeeError: the file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PerigeeError(f"{path} is not UTF-8 ({error}); save it as UTF-8.") from error


@cache
def imported_modules(program: Path) -> frozenset[str]:
    """The modules of this package that a file outside it imports."""
    return frozenset(_imports(_Stripping(words=False).visit(_parsed(program)), package=""))


@cache
def _closure_digests(roots: frozenset[str], words: bool) -> Mapping[str, str]:
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found and not _is_harmless(name):
            found[name], imports = _module(name, words)
            parts = name.split(".")
            above = (".".join(parts[:end]) for end in range(1, len(parts)))
            # What declares the user's blocks counts only if something is imported from it.
            waiting += [*imports, *(package for package in above if package not in OWN_PACKAGES)]
    return MappingProxyType(dict(sorted(found.items())))


@cache
def _module(name: str, words: bool) -> tuple[str, frozenset[str]]:
    """A module's digest, and the modules of this package that it imports.

    Modules imported only for annotations are included: objects of their classes are passed in, and
    their methods count. Modules imported only for type checkers are not.
    """
    file = _module_file(name)
    if file is None:
        raise PerigeeError(f"There is no module '{name}'; mend the registry or the import.")
    tree = _Stripping(words).visit(_parsed(file))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imports = frozenset(_imports(tree, package))
    return _digest(_UsedImports(tree).visit(tree)), imports


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(read_source(path))
    except SyntaxError as error:
        raise PerigeeError(f"{path}, line {error.lineno}: {error.msg}; mend that line.") from error


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The modules of this package that a tree imports, anywhere in the file."""
    names: set[str] = set()
    waiting = [tree]
    for node in waiting:
        # Most of a tree are expressions, and these contain no imports.
        waiting += [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.expr)]
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            imported = [f"{module}.{alias.name}" for alias in node.names]
            names.update(imported)
            if module not in OWN_PACKAGES or any(_module_file(one) is None for one in imported):
                names.add(module)
    return (name for name in names if _module_file(name) is not None)


@cache
def _module_file(name: str) -> Path | None:
    """The file of a module of this package or the user's; None if there is none of this name."""
    first, *rest = name.split(".")
    folder = PACKAGE_FOLDER if first == PACKAGE else OWN_PACKAGES.get(first)
    if folder is None:
        return None
    path = folder.joinpath(*rest)
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _is_harmless(module: str) -> bool:
    # The package itself is harmless, its other modules are not.
    return module == PACKAGE or any(
        module == name or module.startswith(f"{name}.") for name in HARMLESS if name != PACKAGE
    )


class _StatementTransformer(ast.NodeTransformer):
    """A transformer that skips expressions: most of a tree, without statements in them."""

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, ast.expr) else super().visit(node)


class _Stripping(_StatementTransformer):
    """A transformer that removes from a tree what cannot change a number."""

    def __init__(self, words: bool) -> None:
        self._words = words
        self._in_class = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._visit_within(node, in_class=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if all(_last_name(decorator) in BLIND_DECORATORS for decorator in node.decorator_list):
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        return self._visit_within(node, in_class=False)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if self._in_class:
            return node  # a field of a dataclass is made of its annotation
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        self.generic_visit(node)
        is_logger = _last_name(node.targets[0]) == "logger" and len(node.targets) == 1
        return None if is_logger and _last_name(node.value) == "getLogger" else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) or _is_message(node.value):
            return None  # a constant is a docstring, of a definition or below an attribute
        self.generic_visit(node)
        return node

    def visit_Pass(self, node: ast.Pass) -> None:
        """Remove ``pass``: a body from which all statements were removed is empty, too."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if _last_name(node.test) == "TYPE_CHECKING" else node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if not self._words:
            node.exc, node.cause = _without_words(node.exc), _without_words(node.cause)
        self.generic_visit(node)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if not self._words:
            node.msg = None
        self.generic_visit(node)
        return node

    def _visit_within(self, node: ast.AST, in_class: bool) -> ast.AST:
        outer, self._in_class = self._in_class, in_class
        self.generic_visit(node)
        self._in_class = outer
        return node


class _UsedImports(_StatementTransformer):
    """A transformer that removes unused imports: those for annotations and words of errors.

    Names that others may import from the module are kept: those in ``__all__`` and those that are
    imported under their own name, ``import x as x`` (mypy refuses to have others imported).
    """

    def __init__(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        self._used = {node.id for node in nodes if isinstance(node, ast.Name)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # It may be looked up by its name, or in a field's annotation.
                self._used.update(re.findall(r"\w+", node.value))
        self._all_used = not self._used.isdisjoint(NAMESPACES)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        node.names = [alias for alias in node.names if self._is_used(alias)]
        return node if node.names else None

    visit_ImportFrom = visit_Import  # type: ignore[assignment]  # noqa: N815

    def _is_used(self, alias: ast.alias) -> bool:
        bound = alias.asname or alias.name.partition(".")[0]
        return self._all_used or bound in self._used or bound == "*" or alias.name == alias.asname


def _last_name(node: ast.AST) -> str | None:
    """The last name of ``a.b.c`` or of a call of it; None for another expression."""
    if isinstance(node, ast.Call):
        node = node.func
    return getattr(node, "attr", getattr(node, "id", None))


def _is_message(node: ast.expr) -> bool:
    """Return whether an expression is a call like ``logger.info(...)`` that does nothing else."""
    function = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LOGGING
        and isinstance(function.value, ast.Name)
        and function.value.id in LOGGERS
        and not _has_effects(node)
    )


def _without_words(raised: ast.expr | None) -> ast.expr | None:
    """Return a raised error without its arguments. Other exceptions may carry numbers."""
    if not isinstance(raised, ast.Call) or _has_effects(raised):
        return raised
    is_error = (_last_name(raised) or "").lower().endswith("error")
    return ast.Call(raised.func, [], []) if is_error else raised


def _has_effects(node: ast.AST) -> bool:
    """Return whether an expression assigns, awaits, yields, or changes a tensor in place."""
    return any(
        isinstance(part, SIDE_EFFECTS)
        or (isinstance(part, ast.Attribute) and re.search(r"[^_]_$", part.attr) is not None)
        for part in ast.walk(node)
    )


def _digest(tree: ast.AST) -> str:
    return hashlib.sha256(_dump(tree).encode()).hexdigest()


def _dump(node: object) -> str:
    """Write a tree as text like `ast.dump`, but identically in every Python version.

    Empty fields are always left out, and texts are written in ASCII, since the Unicode characters
    that are not escaped depend on the version.
    """
    if isinstance(node, ast.JoinedStr):
        # Python 3.12.0 and 3.12.1 parse empty texts into nested format specifications.
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
    return ascii(node)
