"""One set of versions: lock file, conda environment, and what is installed."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def locked_versions() -> dict[str, str]:
    """Versions in the lock file that hold for this Python."""
    found = {}
    for line in (ROOT / "envs/perigee.lock.txt").read_text().splitlines():
        if "==" in line and not line.startswith(" "):
            requirement = Requirement(line.rstrip(" \\"))
            if requirement.marker is None or requirement.marker.evaluate():
                (specifier,) = requirement.specifier
                found[canonicalize_name(requirement.name)] = specifier.version
    return found


def test_every_requirement_is_locked_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = locked_versions()
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (line, version)


def test_what_is_installed_is_what_is_locked() -> None:
    locked = locked_versions()
    differing = {
        name: (metadata.version(name), version)
        for name, version in locked.items()
        if metadata.version(name) != version
    }
    assert not differing


def test_the_conda_environment_has_the_locked_versions() -> None:
    environment = yaml.safe_load((ROOT / "envs/perigee.yaml").read_text())
    locked = locked_versions()
    pinned = dict(line.split("=") for line in environment["dependencies"])
    assert pinned.pop("python") == "3.11"
    assert {CONDA_NAMES.get(name, name): version for name, version in pinned.items()} == {
        name: locked[name] for name in (CONDA_NAMES.get(name, name) for name in pinned)
    }


def test_the_conda_environment_has_all_that_the_programs_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {Requirement(line).name for line in project["dependencies"]}
    # Snakemake itself runs outside the environments of its jobs.
    needed -= {"snakemake", "snakemake-executor-plugin-slurm"}
    environment = yaml.safe_load((ROOT / "envs/perigee.yaml").read_text())
    named = {line.split("=")[0] for line in environment["dependencies"]} - {"python"}
    assert {CONDA_NAMES.get(name, name) for name in named} == needed


def test_the_lock_file_names_no_registry() -> None:
    text = (ROOT / "envs/perigee.lock.txt").read_text()
    assert not re.search(r"https?://|index-url|find-links", text)
    pins = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
    assert text.count("--hash=sha256:") >= len(pins)
