"""A real SLURM of one node, started for these tests and stopped after them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from support.cluster import SCRIPTS, Cluster


@pytest.fixture(scope="session")
def turn() -> Iterator[FileLock]:
    """The lock by which one test process at a time uses the cluster."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        reason = f"needs root and {', '.join(missing) or 'nothing else'} (slurm-wlm, munge)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    lock = FileLock("/tmp/perigee-slurm.lock")  # the cluster's ports and files are the machine's
    yield lock
    with lock:
        subprocess.run([SCRIPTS / "stop-cluster.sh"], check=True, timeout=90)


@pytest.fixture
def cluster(turn: FileLock) -> Iterator[Cluster]:
    with turn.acquire(timeout=1500):
        subprocess.run([SCRIPTS / "start-cluster.sh"], check=True, timeout=90)
        # A short path: munge's socket must fit into 108 characters.
        cluster = Cluster(Path("/tmp/perigee-slurm"))
        yield cluster
        cluster.clear()
