"""An editable copy of the package, from whose sources digests are computed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perigee.identity import code
from perigee.paths import WORKFLOW


@contextmanager
def package_copy(folder: Path, empty: bool = False) -> Iterator[PackageCopy]:
    """Compute digests from a copy of the package, which is not imported."""
    original = code.PACKAGE_FOLDER
    root = folder / "perigee"
    if empty:
        root.mkdir()
    else:
        shutil.copytree(
            WORKFLOW / "perigee", root, ignore=shutil.ignore_patterns("__pycache__", "*.typed")
        )
    code.PACKAGE_FOLDER = root
    forget()
    try:
        yield PackageCopy(root)
    finally:
        code.PACKAGE_FOLDER = original
        forget()


class PackageCopy:
    """A copy of the package.

    Args:
        root: the folder of the copied package itself.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, module: str) -> Path:
        """The file of a module such as "kernel.trainer"."""
        path = self.root.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def write(self, module: str, source: str) -> None:
        """Write a module, with the packages that it is in."""
        path = self.root.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in [path.parent, *path.parent.parents]:
            if folder.is_relative_to(self.root):
                (folder / "__init__.py").touch()
        path.write_text(source, encoding="utf-8")
        forget()

    def append(self, module: str, source: str) -> None:
        """Add statements at a module's end."""
        with self.path(module).open("a", encoding="utf-8") as file:
            file.write(f"\n{source}\n")
        forget()

    def edit(self, module: str, old: str, new: str) -> None:
        """Replace a text that occurs in a module once."""
        source = self.path(module).read_text(encoding="utf-8")
        assert source.count(old) == 1, f"'{old}' stands {source.count(old)} times in {module}"
        self.path(module).write_text(source.replace(old, new), encoding="utf-8")
        forget()


def forget() -> None:
    """Make the sources be read again."""
    for function in (
        code._closure_digests,
        code._module,
        code._module_file,
        code.imported_modules,
    ):
        function.cache_clear()
