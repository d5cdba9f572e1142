"""A real SLURM of one node, started for these tests and stopped after them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "workflow"))

from cluster import Cluster

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all of them: there is one cluster."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("slurm"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        reason = f"needs root and {', '.join(missing) or 'nothing else'} (slurm-wlm, munge)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # A short path: munge's socket must fit into 108 characters.
    root = Path("/tmp/perigee-slurm")
    subprocess.run([HERE / "start-cluster.sh"], check=True, timeout=90)
    try:
        yield Cluster(root)
    finally:
        subprocess.run([HERE / "stop-cluster.sh"], check=True, timeout=90)
