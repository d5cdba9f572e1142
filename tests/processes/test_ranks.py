"""perigee.kernel.ranks: processes that share a run, tried with real ones on this machine."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from datetime import timedelta

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed as dist

from perigee.errors import PerigeeError
from perigee.kernel import ranks as ranks_module
from perigee.kernel.ranks import SET_BY_TORCHRUN, Ranks
from support.rank_processes import answer, on_ranks, start_ranks

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of the first of two processes on a node."""
    for name, value in zip(SET_BY_TORCHRUN, ("0", "2", "0", "2", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    return monkeypatch


# A share of each mini-batch


@given(images=st.integers(0, 50), world=st.integers(1, 9))
def test_the_shares_are_the_mini_batch_cut_as_evenly_as_can_be(images: int, world: int) -> None:
    indices = np.random.default_rng(0).permutation(images)
    everyone = [Ranks(rank, world) for rank in range(world)]
    shares = [ranks.share(indices) for ranks in everyone]
    assert np.concatenate(shares).tolist() == indices.tolist()
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1
    of_tensor = [ranks.share(torch.from_numpy(indices)) for ranks in everyone]
    assert torch.cat(of_tensor).tolist() == indices.tolist()


def test_a_process_that_is_alone_communicates_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SET_BY_TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    ranks = Ranks.of_environment(CUDA)
    assert ranks == Ranks.alone()
    assert ranks.is_main
    tensor = torch.arange(3.0)
    assert ranks.sum_(tensor) is tensor
    assert tensor.tolist() == [0, 1, 2]
    assert ranks.any(True)
    assert not ranks.any(False)
    assert ranks.of_main(lambda: "value") == "value"
    ranks.close()
    assert not dist.is_initialized()


# Together


def numbers(rank: int) -> torch.Tensor:
    return torch.randn(1001, generator=torch.Generator().manual_seed(rank))


def meet(ranks: Ranks) -> dict[str, object]:
    tensor = numbers(ranks.rank)
    return {
        "is_main": ranks.is_main,
        "same": ranks.sum_(tensor) is tensor,
        "sum": tensor.numpy(),
        "none": ranks.any(False),
        "last": ranks.any(ranks.rank == ranks.world - 1),
        "all": ranks.any(True),
        "main": ranks.of_main(lambda: {"rank": ranks.rank}),
    }


@pytest.mark.parametrize("world", [2, 3])
def test_all_ranks_get_the_same_from_each_other(world: int) -> None:
    results = on_ranks(meet, world)
    summed = [result.pop("sum") for result in results]
    expected = sum(numbers(rank).double().numpy() for rank in range(world))
    np.testing.assert_allclose(summed[0], expected, rtol=1e-5, atol=1e-6)
    assert {one.tobytes() for one in summed} == {summed[0].tobytes()}
    assert [result.pop("is_main") for result in results] == [True] + [False] * (world - 1)
    told = {"same": True, "none": False, "last": True, "all": True, "main": {"rank": 0}}
    assert results == [told] * world


def wait_for_main(ranks: Ranks, seconds: float) -> tuple[str, float]:
    start = time.monotonic()

    def make() -> str:
        time.sleep(seconds)
        return f"made by {ranks.rank}"

    return ranks.of_main(make), time.monotonic() - start


def test_the_others_wait_for_rank_0_for_longer_than_in_a_collective() -> None:
    with ExitStack() as stack:
        started = start_ranks(stack, wait_for_main, 2, 2.5, patience=1)
        for _, receiving in started:
            value, seconds = answer(receiving)
            assert value == "made by 0"
            assert seconds > 1.5


def fail_on_main(ranks: Ranks) -> list[str]:
    def make() -> None:
        raise FileNotFoundError(f"nothing for {ranks.rank}")

    with pytest.raises((PerigeeError, FileNotFoundError)) as caught:
        ranks.of_main(make)
    # And they still hear each other.
    return [type(caught.value).__name__, str(caught.value), ranks.of_main(lambda: "on")]


def test_what_fails_on_rank_0_fails_everywhere() -> None:
    told = [[kind, "nothing for 0", "on"] for kind in ("FileNotFoundError", "PerigeeError")]
    assert on_ranks(fail_on_main, 2) == told


# What goes wrong


def lose_the_other(ranks: Ranks, received: signal.Signals) -> tuple[float, str]:
    ranks.any(False)
    if ranks.rank == 1:
        os.kill(os.getpid(), received)
    start = time.monotonic()
    with pytest.raises(PerigeeError) as caught:
        ranks.any(False)
    return time.monotonic() - start, str(caught.value)


@pytest.mark.parametrize(
    ("received", "patience", "within"), [(signal.SIGKILL, 60, 20), (signal.SIGSTOP, 3, 23)]
)
def test_a_rank_that_is_gone_ends_the_others(
    received: signal.Signals, patience: float, within: float
) -> None:
    with ExitStack() as stack:
        first, _ = start_ranks(stack, lose_the_other, 2, received, patience=patience)
        seconds, message = answer(first[1])
    assert seconds < within
    assert message.startswith("Process 0 of this run lost another one")


def test_nobody_waits_for_a_minute() -> None:
    assert ranks_module.PATIENCE < 60


def test_a_rank_that_does_not_come_is_not_awaited_for_ever(torchrun: pytest.MonkeyPatch) -> None:
    torchrun.setattr(ranks_module, "JOINING", 0.5)
    store = dist.TCPStore(
        "localhost", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=10)
    )
    torchrun.setenv("MASTER_PORT", str(store.port))
    torchrun.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    with pytest.raises(PerigeeError, match="lost another one"):
        Ranks.of_environment(CPU)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("device", "gpus", "told"),
    [
        ("cuda", 1, "2 on this node, but 1 for 'device: cuda'.*--nproc-per-node 1"),
        ("cuda:3", 8, "2 on this node, but 1 for 'device: cuda:3'"),
        ("cuda", 0, "2 on this node, but 0 for"),
    ],
)
def test_more_processes_than_gpus_are_refused(
    torchrun: pytest.MonkeyPatch, device: str, gpus: int, told: str
) -> None:
    torchrun.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(PerigeeError, match=f"more processes than GPUs: {told}"):
        Ranks.of_environment(torch.device(device))


def test_each_process_gets_the_gpu_of_its_number(torchrun: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    torchrun.setattr(torch.cuda, "device_count", lambda: 2)
    torchrun.setattr(torch.cuda, "set_device", chosen.append)
    torchrun.setattr(ranks_module, "rendezvous", lambda *_, **__: pytest.fail("far enough"))
    torchrun.setenv("LOCAL_RANK", "1")
    with pytest.raises(pytest.fail.Exception, match="far enough"):
        Ranks.of_environment(CUDA)
    assert chosen == [1]


def test_an_environment_that_torchrun_did_not_make_is_refused(
    torchrun: pytest.MonkeyPatch,
) -> None:
    torchrun.delenv("RANK")
    torchrun.delenv("MASTER_ADDR")
    with pytest.raises(PerigeeError, match="WORLD_SIZE is '2' but RANK, MASTER_ADDR has no value"):
        Ranks.of_environment(CPU)
