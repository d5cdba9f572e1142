"""The digest of a source: what moves a number counts, what cannot does not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.errors import PerigeeError
from perigee.identity import code
from perigee.identity.code import imported_modules, module_digests, program_digest, source_digest
from perigee.paths import WORKFLOW
from support.package_copies import PackageCopy, forget, package_copy

STEP = '''
def step(weights, rate):
    """Docstring."""
    return weights * (1 - rate)
'''
FIELD = "class Row:\n    width: int\n    other: float = 1\n"
METHOD = "class A:\n    def f(self, x):\n        y = x\n        return y\n"
RAISE = "def f(x):\n    raise KeyError(x)\n"

SAME = {
    "a comment": (STEP, STEP + "# a remark\n"),
    "another docstring": (STEP, STEP.replace("Docstring", "Another text")),
    "no docstring": (STEP, STEP.replace('    """Docstring."""\n', "")),
    "a module's docstring": (STEP, '"""A module."""\n\n\n' + STEP),
    "layout": (STEP, STEP.replace("weights * (1 - rate)", "(weights*(1-rate))")),
    "lines": (STEP, STEP.replace("weights, rate):", "weights,\n    rate,\n):")),
    "quotes": ("x = 'a'", 'x = "a"'),
    "an attribute's docstring": ("x = 1\n", 'x = 1\n"""Documented."""\n'),
    "a docstring alone or pass": ("def f():\n    '''Doc.'''\n", "def f():\n    pass\n"),
    "a docstring or an ellipsis": ("class A:\n    '''Doc.'''\n", "class A: ...\n"),
    "pass beside something": ("def f():\n    g()\n", "def f():\n    pass\n    g()\n"),
    # Annotations outside class bodies, with their imports.
    "annotations": (
        STEP,
        STEP.replace("weights, rate)", "weights: Tensor, rate: float) -> Tensor"),
    ),
    "of a method": (METHOD, METHOD.replace("self, x)", "self: A, x: int) -> 'int'")),
    "of all arguments": (
        "def f(a, /, b, *c, d=1, **e): pass",
        "def f(a: int, /, b: int, *c: int, d: int = 1, **e: int) -> None: pass",
    ),
    "of an async function": ("async def f(x): g()", "async def f(x: int) -> None: g()"),
    "of a variable": ("x = g()\n", "x: int = g()\n"),
    "of a variable in a method": (METHOD, METHOD.replace("y = x", "y: int = x")),
    "of an attribute": ("def f(a):\n    a.b = 1\n", "def f(a):\n    a.b: int = 1\n"),
    "of a variable without value": (METHOD, METHOD.replace("y = x", "z: int\n        y = x")),
    "in a body that is then empty": ("def f(): pass", "def f():\n    x: int\n"),
    "of a nested function": (
        "class A:\n    def f(self):\n        def g(x): return x\n",
        "class A:\n    def f(self):\n        def g(x: int) -> int: return x\n",
    ),
    "below a decorator": (
        "class A:\n    @property\n    def f(self): return 1\n",
        "class A:\n    @property\n    def f(self) -> int: return 1\n",
    ),
    "below a called decorator": (
        "@torch.no_grad()\ndef f(x): return x\n",
        "@torch.no_grad()\ndef f(x: int) -> int: return x\n",
    ),
    "an import for an annotation": (
        "def f(x): return x",
        "from torch import Tensor\ndef f(x: Tensor): return x",
    ),
    "an import for an annotation in quotes": (
        "def f(x): return x",
        "import torch\ndef f(x: 'torch.Tensor'): return x",
    ),
    "imports for type checkers": (
        "x = 1",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import Tensor\nx = 1",
    ),
    "imports for type checkers, otherwise named": (
        "x = 1",
        "import typing\nif typing.TYPE_CHECKING:\n    import torch\nx = 1",
    ),
    "imports for others than type checkers": (
        "y = 2",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    y = 1\nelse:\n    y = 2",
    ),
    "from __future__": ("x = 1", "from __future__ import annotations\nx = 1"),
    # Messages.
    "a log line": (STEP, STEP.replace("    return", "    logger.info('at %s', rate)\n    return")),
    "a module's first log line": (
        STEP,
        "import logging\n\nlogger = logging.getLogger('perigee')\n"
        + STEP.replace("    return", "    logger.info('at %s', len(rate))\n    return"),
    ),
    "a warning": (STEP, "import warnings\n" + STEP + "warnings.warn('new', stacklevel=2)\n"),
    "a body of log lines": ("def f(): pass", "def f():\n    logging.debug('f')\n"),
    "a log line elsewhere": (
        "if x:\n    g()\n",
        "if x:\n    g()\nelse:\n    logger.info('not x')\n",
    ),
    "an error's words": (RAISE, RAISE.replace("KeyError(x)", "KeyError(f'no {x}', y)")),
    "an error's words and their import": (
        RAISE,
        "from perigee.paths import shown\n"
        + RAISE.replace("KeyError(x)", "KeyError(shown(x), hint='there')"),
    ),
    "the words of a function's error": (
        "raise _departure_error(a)",
        "raise _departure_error(a, 'more')",
    ),
    "a cause's words": (
        "raise KeyError(1) from ValueError(2)",
        "raise KeyError(1) from ValueError(3)",
    ),
    "an assertion's words": ("assert x", "assert x, f'no {x}'"),
}

DIFFERENT = {
    "a number": (STEP, STEP.replace("1 - rate", "2 - rate")),
    "a number's type": (STEP, STEP.replace("1 - rate", "1.0 - rate")),
    "a truth value": ("x = 1", "x = True"),
    "an operator": (STEP, STEP.replace("1 - rate", "1 + rate")),
    "precedence": (STEP, STEP.replace("weights * (1 - rate)", "weights * 1 - rate")),
    "a name": (STEP, STEP.replace("step", "stride")),
    "a statement": (STEP, STEP + "x = 1\n"),
    "a text that is assigned": (STEP, STEP.replace('"""Doc', 'rate = """Doc')),
    "a default": ("def f(x=1): return x", "def f(x=2): return x"),
    "a default by name": ("def f(*, x=1): return x", "def f(*, x=2): return x"),
    "a lambda's default": ("f = lambda x=1: x", "f = lambda x=2: x"),
    "a decorator": ("def f(): g()", "@cache\ndef f(): g()"),
    "a decorator's argument": ("@a(1)\ndef f(): g()", "@a(2)\ndef f(): g()"),
    "the order of decorators": ("@a\n@b\ndef f(): g()", "@b\n@a\ndef f(): g()"),
    "an assertion": ("assert x", "assert y"),
    "a case": (
        "match x:\n    case 1: g()",
        "match x:\n    case 2: g()",
    ),
    "a case's class": (
        "match x:\n    case A(y=1): g()",
        "match x:\n    case B(y=1): g()",
    ),
    "an f-string": ("x = f'{y:.3f}'", "x = f'{y:.4f}'"),
    "an f-string's conversion": ("x = f'{y!r}'", "x = f'{y!s}'"),
    "an f-string's text": ("x = f'a{y}'", "x = f'b{y}'"),
    "an f-string's text after": ("x = f'{y}a'", "x = f'{y}b'"),
    "a text outside of ASCII": ("x = 'ä'", "x = 'ö'"),
    # Annotations that something looks at.
    "a field's annotation": (FIELD, FIELD.replace("int", "float")),
    "a field's default": (FIELD, FIELD.replace("= 1", "= 2")),
    "a field": (FIELD, FIELD.replace("    width: int\n", "")),
    "a nested class's field": (
        "class A:\n    class B:\n        x: int\n",
        "class A:\n    class B:\n        x: float\n",
    ),
    "the field of a class in a method": (
        "class A:\n    def f(self):\n        class B:\n            x: int\n",
        "class A:\n    def f(self):\n        class B:\n            x: float\n",
    ),
    "a field below a method": (
        "class A:\n    def f(self): g()\n    x: int\n",
        "class A:\n    def f(self): g()\n    x: float\n",
    ),
    "a conditional field": (
        "class A:\n    if X:\n        x: int\n",
        "class A:\n    if X:\n        x: float\n",
    ),
    "the import of a field's type": (
        "from a import T\nclass A:\n    x: T\n",
        "from b import T\nclass A:\n    x: T\n",
    ),
    "the import of a field's type in quotes": (
        "from a import T\nclass A:\n    x: 'list[T]'\n",
        "from b import T\nclass A:\n    x: 'list[T]'\n",
    ),
    "an annotation that a decorator dispatches by": (
        "@f.register\ndef _(x: int): g(x)\n",
        "@f.register\ndef _(x: float): g(x)\n",
    ),
    # Imports that something uses.
    "an import": ("from a import f\nf()", "from b import f\nf()"),
    "an import by another name": ("import a as f\nf.g()", "import b as f\nf.g()"),
    "an import in a function": (
        "def f():\n    from a import g\n    g()",
        "def f():\n    from b import g\n    g()",
    ),
    "a conditional import": (
        "try:\n    from a import g\nexcept ImportError:\n    g = None",
        "try:\n    from b import g\nexcept ImportError:\n    g = None",
    ),
    "all that a module has": ("from a import *", "from b import *"),
    "an import for others": ("from a import f as f", "from b import f as f"),
    "an import for others in a list": (
        "from a import f\n__all__ = ['f']",
        "from b import f\n__all__ = ['f']",
    ),
    "an import found by its name": (
        "from a import f\ngetattr(me, 'f')()",
        "from b import f\ngetattr(me, 'f')()",
    ),
    "an import found among all names": (
        "from a import f\nglobals()[name]()",
        "from b import f\nglobals()[name]()",
    ),
    "an import used only where it is raised": (
        "from a import KindError\nraise KindError(1)",
        "from b import KindError\nraise KindError(1)",
    ),
    # What looks like a message, or like an error's words.
    "a log call inside an expression": ("x = logger.info(1)", "x = logger.info(2)"),
    "a log call with an assignment": ("logger.info(x := 1)", "logger.info(x := 2)"),
    "a log call that changes a tensor": ("logger.info(w.mul_(2))", "logger.info(w.mul_(3))"),
    "a log call that waits": (
        "async def f():\n    logger.info(await g(1))",
        "async def f():\n    logger.info(await g(2))",
    ),
    "a log call that yields": (
        "def f():\n    logger.info((yield 1))",
        "def f():\n    logger.info((yield 2))",
    ),
    "a log line's condition": ("if g(1):\n    logger.info(1)", "if g(2):\n    logger.info(1)"),
    "how warnings are treated": ("warnings.simplefilter('a')", "warnings.simplefilter('b')"),
    "a method of something else": ("log.info(1)", "log.info(2)"),
    "another assignment to logger": ("logger = f(1)", "logger = f(2)"),
    "the class of an error": (RAISE, RAISE.replace("KeyError", "ValueError")),
    "the cause of an error": ("raise KeyError(1) from e", "raise KeyError(1) from None"),
    "which error is raised": ("raise f(1) if x else y", "raise f(2) if x else y"),
    "an exception that carries a number": ("raise StopIteration(1)", "raise StopIteration(2)"),
    "an error's words with an assignment": ("raise KeyError(x := 1)", "raise KeyError(x := 2)"),
    "an error that is caught": (
        "try:\n    f()\nexcept KeyError:\n    g()",
        "try:\n    f()\nexcept ValueError:\n    g()",
    ),
}


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_count(change: str) -> None:
    one, other = SAME[change]
    assert one != other
    assert source_digest(one) == source_digest(other)


@pytest.mark.parametrize("change", DIFFERENT)
def test_what_counts(change: str) -> None:
    one, other = DIFFERENT[change]
    assert source_digest(one) != source_digest(other)


@pytest.mark.parametrize(
    "change", ["an error's words", "the words of a function's error", "an assertion's words"]
)
def test_words_count_where_they_become_part_of_a_product(change: str) -> None:
    one, other = SAME[change]
    assert source_digest(one, words=True) != source_digest(other, words=True)
    log, without = SAME["a log line"]
    assert source_digest(log, words=True) == source_digest(without, words=True)


@given(number=st.floats(allow_nan=False, allow_infinity=False) | st.integers(), text=st.text())
def test_every_constant_is_told_from_its_neighbour(number: float, text: str) -> None:
    found = {
        source_digest(f"x = {constant!r}")
        for constant in (number, text, text + "a", f"{number!r}", text.encode("utf-8", "replace"))
    }
    assert len(found) == 5


TRICKY = """
match x:
    case {"a": [1, *rest], **more} if rest: f(f"{x!r:>{width}}{{}}{y = }" "tail" f"{x:}")
    case A(1, b=2) | None: pass
class A:
    x: "int | None" = u"\\U0001fae8 \\u200b \\xe4"
    def f(self, a, /, *b: int, c: float = 1e300, **d): return a @ b, a[1:, ...], -1, 1j, b"\\xff"
async def g():
    async with a as b, c: return [x async for x in y if (z := await x)]
try: f()
except* KeyError as e: raise StopIteration(1) from e
"""


def test_the_digest_of_a_source_is_stable() -> None:
    """Found by Python 3.11.7, 3.12.1 and 3.13.0: another one trains every run again."""
    found = "701513d3bbbdc10609a410609c37d93440c9c63f0adff482048d4ab0a173a695"
    assert source_digest(TRICKY) == found


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_version_of_python_gives_the_same_digests(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    program = (
        "import sys\n"
        "from perigee.identity.code import module_digests, source_digest\n"
        "print(source_digest(sys.stdin.read()), *module_digests(sys.argv[1:]).values())\n"
    )
    roots = ["perigee.kernel.trainer", "perigee.identity.code", "perigee.plotting.notebook"]
    found = subprocess.run(
        [python, "-c", program, *roots],
        env={"PYTHONPATH": str(WORKFLOW), "PYTHONDONTWRITEBYTECODE": "1"},
        input=TRICKY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == [source_digest(TRICKY), *module_digests(roots).values()]


def interpreter(version: str) -> str | None:
    """An executable of a version of Python, of this environment or of the machine."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"))
    folders = [folder for folder in folders if folder.name != "shims"]
    found = (folder / f"python{version}" for folder in folders)
    return next((str(path) for path in found if path.is_file()), None)


@pytest.fixture
def package(tmp_path: Path) -> Iterator[PackageCopy]:
    """An empty folder that stands in for the package's."""
    with package_copy(tmp_path, empty=True) as copy:
        yield copy


def write(package: PackageCopy, **sources: str) -> None:
    for name, source in sources.items():
        package.write(name.replace("__", "."), source)


def reached(*roots: str) -> set[str]:
    return {
        name.removeprefix("perigee.") for name in module_digests([f"perigee.{r}" for r in roots])
    }


def test_which_modules_are_reached(package: PackageCopy) -> None:
    write(
        package,
        a__one="from perigee.b import two\nimport perigee.c.three as three\ntwo.f(), three.f()",
        a__other="x = 1",
        b__two="def f():\n    from perigee.d.four import g\n    g()",
        c__three="from ..e import five\nfrom . import beside\nfive.f(), beside.f()",
        c__beside="from perigee.blocks import base\nfrom perigee.errors import PerigeeError",
        d__four="import numpy\nfrom perigee.d import name_of_no_module\nname_of_no_module()",
        e__five="import typing\nif typing.TYPE_CHECKING:\n    from perigee.f.six import S",
        f__six="x = 1",
        blocks__base="from perigee.f.six import x\nx",
        errors="class PerigeeError(Exception): pass",
    )
    assert reached("a.one") == {
        *("a", "a.one", "b", "b.two", "c", "c.three", "c.beside", "d", "d.four", "e", "e.five")
    }


def test_what_is_imported_for_an_annotation_is_reached(package: PackageCopy) -> None:
    """Its objects are passed in, and what their methods do may count."""
    write(
        package,
        a="from perigee.b import Rows\ndef f(rows: Rows): return rows.sum()",
        b="class Rows:\n    def sum(self): return 1",
    )
    before = code.code_digest(["perigee.a"])
    write(package, b="class Rows:\n    def sum(self): return 2")
    assert code.code_digest(["perigee.a"]) != before


def test_a_packages_own_code_counts(package: PackageCopy) -> None:
    write(package, a__one="x = 1")
    before = code.code_digest(["perigee.a.one"])
    (package.root / "a" / "__init__.py").write_text("import torch\ntorch.set_num_threads(2)\n")
    forget()
    assert code.code_digest(["perigee.a.one"]) != before


def test_what_else_a_file_of_the_package_has_does_not_count(package: PackageCopy) -> None:
    write(package, a__one="x = 1", a__two="x = 1")
    before = code.code_digest(["perigee.a.one"])
    write(package, a__two="x = 2", a__three="x = 3", b="x = 4")
    assert code.code_digest(["perigee.a.one"]) == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"x = (\n", r"one\.py, line 1: .+; mend that line\."),
        (b"x = '\xe4'\n", r"one\.py is not UTF-8 .+; save it as UTF-8\."),
    ],
)
def test_a_source_that_cannot_be_read_is_named(
    package: PackageCopy, content: bytes, told: str
) -> None:
    (package.root / "one.py").write_bytes(content)
    with pytest.raises(PerigeeError, match=told):
        module_digests(["perigee.one"])


def test_a_module_that_is_not_there_is_named(package: PackageCopy) -> None:
    with pytest.raises(PerigeeError, match=r"no module 'perigee\.absent'"):
        module_digests(["perigee.absent"])


@pytest.mark.parametrize("other", [b"\xef\xbb\xbf%s", b"%s"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_how_a_file_is_stored_does_not_count(
    package: PackageCopy, other: bytes, line_end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'x = "ä"\ny = """one\ntwo"""\n'.encode()
    (package.root / "one.py").write_bytes(text)
    (package.root / "other.py").write_bytes(other % text.replace(b"\n", line_end))
    found = [module_digests([f"perigee.{name}"]).values() for name in ("one", "other")]
    assert list(found[0]) == list(found[1])
    programs = [program_digest(package.root / f"{name}.py") for name in ("one", "other")]
    assert programs[0] == programs[1]
    assert list(found[0]) == [source_digest(text.decode())]


def test_all_of_a_programs_text_counts_with_what_it_imports(package: PackageCopy) -> None:
    write(package, a="x = 1", b="x = 1")
    program = package.root / "notebook.py"
    program.write_text("from perigee.a import x\nprint(x)\n")
    assert imported_modules(program) == {"perigee.a"}
    found = [program_digest(program)]
    write(package, b="x = 2")
    assert program_digest(program) == found[0]
    write(package, a="x = 2")
    found.append(program_digest(program))
    program.write_text(program.read_text() + "# %% [markdown]\n# Another caption.\n")
    forget()
    found.append(program_digest(program))
    assert len(set(found)) == 3


def trees() -> dict[str, ast.Module]:
    """Every module of the package."""
    folder = WORKFLOW / "perigee"
    return {
        ".".join(("perigee", *path.relative_to(folder).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text(encoding="utf-8"))
        for path in folder.rglob("*.py")
    }


def test_names_are_imported_from_where_they_are_made() -> None:
    """An import that only serves other modules would not count in the digest of its own."""
    imported = {
        module: {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Import)
            for alias in node.names
            if alias.asname != alias.name
        }
        for module, tree in trees().items()
    }
    wrong = [
        f"{module} imports {alias.name} from {node.module}, which imports it"
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in imported.get(node.module or "", ())
    ]
    assert wrong == []


def test_only_the_registry_imports_by_name() -> None:
    """Other imports by name would be missing from closures; the package's own serve users."""
    found = [
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "import_module")
        or (isinstance(node, ast.Name) and node.id in ("__import__", "import_module"))
    ]
    assert sorted(found) == ["perigee", "perigee.__main__", "perigee.registry"]
