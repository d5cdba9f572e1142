"""Nothing that is read can run code: no source unpickles, and what readers are given is data."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from numpy.lib.format import open_memmap
from safetensors.torch import load_file

from perigee.configuration.reading import read_yaml
from perigee.data.manifest import MANIFEST
from perigee.data.saving import load_dataset
from perigee.errors import PerigeeError
from perigee.store.provenance import PROVENANCE, read_provenance

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "workflow").rglob("*.py"))

FORBIDDEN_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "_pickle"}
FORBIDDEN_NAMES = {
    "torch.load",
    "pandas.read_pickle",
    "torchvision.datasets.CIFAR10",
    "torchvision.datasets.CIFAR100",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "eval",
    "exec",
}
ALLOWED = {
    # Reads with a loader of its own, made of yaml.SafeLoader.
    "perigee/configuration/reading.py": {"yaml.load"},
    # Torchvision unpickles archives whose checksums were verified.
    "perigee/data/cifar.py": {"torchvision.datasets.CIFAR10", "torchvision.datasets.CIFAR100"},
}


def forbidden(source: str) -> set[str]:
    """The means by which a source could unpickle: modules, functions, and ``allow_pickle``."""
    tree = ast.parse(source)
    meaning: dict[str, str] = {}
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
            for alias in node.names:
                first = alias.name.partition(".")[0]
                meaning |= {alias.asname: alias.name} if alias.asname else {first: first}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            meaning |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    used = {name for node in ast.walk(tree) for name in _dotted(node, meaning)}
    switched_on = {
        "allow_pickle"
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle"
        if not (isinstance(node.value, ast.Constant) and node.value.value is False)
    }
    bad_modules = {m for m in modules if m.partition(".")[0] in FORBIDDEN_MODULES}
    return bad_modules | (used | set(meaning.values())) & FORBIDDEN_NAMES | switched_on


def _dotted(node: ast.AST, meaning: dict[str, str]) -> Iterator[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield ".".join([meaning.get(node.id, node.id), *parts])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_unpickles(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(ROOT / "workflow")), set())
    assert forbidden(path.read_text()) - allowed == set()


def test_no_rule_unpickles() -> None:
    for path in (
        ROOT / "Snakefile",
        ROOT / "workflow/Snakefile",
        *(ROOT / "workflow/rules").glob("*.smk"),
    ):
        assert "pickle" not in path.read_text()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "pickle"),
        ("from dill import loads as read", "dill"),
        ("import joblib.memory", "joblib.memory"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import torch as t\nread = t.load", "torch.load"),
        ("from torch import load as read", "torch.load"),
        ("import pandas as pd\npd.read_pickle('x')", "pandas.read_pickle"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle"),
        ("import numpy as np\nnp.load('x', allow_pickle=chosen)", "allow_pickle"),
        ("import yaml\nyaml.load(x, yaml.Loader)", "yaml.load"),
        ("from torchvision.datasets import CIFAR10", "torchvision.datasets.CIFAR10"),
        ("eval(text)", "eval"),
    ],
)
def test_what_unpickles_is_found(source: str, found: str) -> None:
    assert forbidden(source) == {found}


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import yaml\nyaml.safe_load('x')",
        "import torch\ntorch.utils.data.load",
        "from safetensors.torch import load_file",
    ],
)
def test_what_does_not_is_let_pass(source: str) -> None:
    assert forbidden(source) == set()


class Trap:
    """Its pickle makes a file when it is read."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.sprung,)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    return tmp_path / "sprung"


def test_the_trap_works(sprung: Path) -> None:
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


@pytest.mark.parametrize("read", [np.load, lambda path: open_memmap(path, mode="r")])
def test_an_array_file_with_a_pickled_object_is_refused(
    read: Callable[[Path], object], tmp_path: Path, sprung: Path
) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        read(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "name", ["data.safetensors", "table.parquet", "rows.npy", MANIFEST, PROVENANCE]
)
def test_a_pickle_under_another_name_is_refused(name: str, tmp_path: Path, sprung: Path) -> None:
    readers: dict[str, tuple[Callable[[Path], object], ...]] = {
        ".safetensors": (load_file,),
        ".parquet": (pd.read_parquet,),
        ".npy": (np.load,),
        ".json": (
            lambda path: read_provenance(path.parent),
            lambda path: load_dataset(path.parent),
        ),
    }
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap(sprung)))
    for read in readers[path.suffix]:
        with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own
            read(path)
    assert not sprung.exists()


def test_a_table_with_pickles_inside_gives_them_as_bytes(tmp_path: Path, sprung: Path) -> None:
    """A pickle may be a value, or describe a column's type, which old versions unpickled."""
    trap = pickle.dumps(Trap(sprung))
    description = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": trap,
    }
    field = pa.field("value", pa.binary(), metadata=description)
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table([pa.array([trap])], schema=pa.schema([field])), path)
    table = pd.read_parquet(path)
    assert bytes(table["value"].iloc[0]) == trap
    assert not sprung.exists()


def test_yaml_that_names_a_python_object_is_refused(tmp_path: Path, sprung: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.dump({"study": Trap(sprung)}, Dumper=yaml.Dumper))
    assert "!!python/object/apply" in path.read_text()
    with pytest.raises(PerigeeError, match="not valid YAML"):
        read_yaml(path)
    assert not sprung.exists()
