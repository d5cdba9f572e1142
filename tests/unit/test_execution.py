"""perigee.kernel.execution: what a device and a precision mean."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch

from perigee.errors import PerigeeError
from perigee.kernel import execution
from perigee.kernel.graphs import CudaGraphs


@pytest.fixture(autouse=True)
def _settings_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These settings belong to the process; other tests of it are to see none of them."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    flags = [
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.utils.deterministic, "fill_uninitialized_memory"),
    ]
    before = [getattr(owner, name) for owner, name in flags]
    threads = torch.get_num_threads()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(execution, "_keep_allocations", lambda: None)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
    for (owner, name), value in zip(flags, before, strict=True):
        setattr(owner, name, value)


@pytest.mark.parametrize(
    ("precision", "dtype", "tf32"),
    [
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.float32, False),
        ("float64", torch.float64, False),
    ],
)
def test_precision_settles_type_and_matrix_units(
    precision: str, dtype: torch.dtype, tf32: bool
) -> None:
    assert execution.prepare("cpu", precision, (1, 8, 8)).dtype == dtype
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert not torch.backends.cuda.matmul.allow_tf32, "PyTorch's own default"


def test_kernels_are_deterministic_and_on_one_thread() -> None:
    torch.set_num_threads(2)
    execution.prepare("cpu", "float32", (1, 8, 8))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert torch.get_num_threads() == 1


def test_so_are_the_libraries_below_pytorch() -> None:
    """OpenMP's and MKL's own counts."""
    torch.set_num_threads(2)
    assert _threads_of_libraries()["omp"] == 2
    execution.prepare("cpu", "float32", (1, 8, 8))
    assert set(_threads_of_libraries().values()) == {1}


def _threads_of_libraries() -> dict[str, int]:
    told = re.findall(r"(\w+)_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
    return {library: int(threads) for library, threads in told}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 8, 8), torch.channels_last),
        ((1, 16, 16), torch.channels_last),
        ((3, 32, 32), torch.contiguous_format),
        ((3, 16, 17), torch.contiguous_format),
    ],
)
def test_small_images_are_laid_out_channels_last_on_a_cpu(
    shape: tuple[int, int, int], expected: torch.memory_format
) -> None:
    assert execution.prepare("cpu", "float32", shape).memory_format == expected


def test_auto_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert execution.prepare("auto", "float32", (1, 8, 8)).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "told", "expected"),
    [
        ("float32", "auto", torch.contiguous_format),
        ("float32", "always", torch.channels_last),
        ("tf32", "auto", torch.channels_last),
        ("bfloat16", "auto", torch.channels_last),
        ("float64", "auto", torch.contiguous_format),
        ("tf32", "never", torch.contiguous_format),
    ],
)
def test_images_are_laid_out_channels_last_on_a_gpu(
    precision: str, told: str, expected: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    prepared = execution.prepare("auto", precision, (3, 32, 32), channels_last=told)
    assert prepared.device == torch.device("cuda")
    assert prepared.memory_format == expected


@pytest.mark.parametrize("told", ["auto", "always", "never"])
def test_the_layout_on_a_cpu_depends_on_the_images_alone(told: str) -> None:
    for shape, expected in (
        ((1, 8, 8), torch.channels_last),
        ((3, 32, 32), torch.contiguous_format),
    ):
        prepared = execution.prepare("cpu", "float32", shape, channels_last=told)
        assert prepared.memory_format == expected


@pytest.mark.parametrize(
    ("device", "told", "expected"),
    [("cuda", "auto", True), ("cuda", "never", False), ("cpu", "auto", False)],
)
def test_steps_are_captured_on_a_gpu_unless_told_not_to(
    device: str, told: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    graphs = execution.prepare(device, "float32", (1, 8, 8), capture=told).graphs
    assert (graphs is not None) == expected
    assert graphs is None or isinstance(graphs(), CudaGraphs)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PerigeeError, match=r"'device' is 'cuda:1'.*'cpu' or 'auto'"):
        execution.prepare("cuda:1", "float32", (1, 8, 8))
