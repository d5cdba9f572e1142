"""Fixtures of tests that train and measure in their own process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from perigee.data.arrays import ArrayDataset
from support import runs


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    # Sums depend on their order; bit-for-bit comparisons need one order.
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Skip fsync, since what tests write need not survive a crash of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def few_images() -> ArrayDataset:
    """See `support.runs.few_images`."""
    return runs.few_images()
