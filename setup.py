"""The part of the build that pyproject.toml cannot say: the wheel carries the rules' files.

Rules, notebooks, configuration and profiles lie beside the library in a checkout, and in a wheel in
perigee/_carried, in the same tree.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = (
    "Snakefile",
    "config",
    "profiles",
    "slurm",
    "workflow/Snakefile",
    "workflow/calibrations.json",
    "workflow/equivalences.json",
    "workflow/notebooks",
    "workflow/project",
    "workflow/report",
    "workflow/rules",
)
"""Files, and folders with all that is in them."""


class BuildWithCarried(build_py):
    """Builds the packages and puts the carried files into perigee/_carried."""

    def run(self) -> None:
        """Build; an editable installation takes the files from the checkout."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "perigee", "_carried")
        shutil.rmtree(target, ignore_errors=True)
        for name in CARRIED:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, target / name)


setup(cmdclass={"build_py": BuildWithCarried})
