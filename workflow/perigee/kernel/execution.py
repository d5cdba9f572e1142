"""The one place that settles how numbers are computed: device, precision, determinism."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from perigee.errors import PerigeeError
from perigee.kernel.graphs import CudaGraphs, Graphs

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.float32,
    "float64": torch.float64,
}
"""The type of weights and images in each precision."""

TENSOR_CORES = ("tf32", "bfloat16")
"""The precisions in which a GPU's tensor cores compute, which read channels-last images faster."""

CHANNELS_LAST_PIXELS = 16 * 16
"""The largest number of pixels for which images are laid out channels-last on a CPU.

For these, the layout saves more than a third of a step, and BatchNorm's statistics stay accurate
(2e-6 of the gradient at 8x8). At 32x32 they lose too much (1e-3), so larger images keep the
contiguous layout.
"""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Execution:
    """Where and how a run computes.

    Attributes:
        device: where the data set, the network and all metrics live.
        dtype: the type of weights and images.
        memory_format: the layout of images and activations.
        workers, prefetch, pin_memory: how image files are read, see
            `perigee.tasks.streaming.StreamedSplit`; each process of a run has its own workers.
        graphs: makes what captures the steps of one run; None starts their kernels one by one.
    """

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format
    workers: int = 0
    prefetch: int = 2
    pin_memory: bool = False
    graphs: Callable[[], Graphs] | None = None


def prepare(
    device: str,
    precision: str,
    image_shape: tuple[int, int, int],
    workers: int = 0,
    prefetch: int = 2,
    pin_memory: bool | None = None,
    capture: str = "auto",
    channels_last: str = "auto",
) -> Execution:
    """Set PyTorch up for reproducible runs: one thread, deterministic kernels, stated precision.

    The same run on the same hardware and versions then gives the same bits. Convolutions use
    TF32 only where ``precision`` says so (PyTorch's own default is to use it on GPUs), and matrix
    products never (which is its default, too). The algorithms of convolutions are those that
    cuDNN's rules choose among the deterministic ones: a benchmark may choose others at each start.

    Args:
        device: "cpu", "cuda", "cuda:1", ..., or "auto": a GPU if there is one.
        precision: a key of `DTYPES`.
        image_shape: (channels, height, width), which settles the memory layout.
        workers, prefetch, pin_memory: see `Execution`; they change no number. ``pin_memory`` None
            puts images in page-locked memory where there is a GPU to copy them to.
        capture: on a GPU, "auto" captures steps and passes as CUDA graphs, "never" does not.
        channels_last: on a GPU, "auto" lays images, activations and weights out channels-last in
            the precisions of `TENSOR_CORES`, "always" in all, "never" in none.

    Raises:
        PerigeeError: a GPU is requested and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise PerigeeError(
            f"'{device}' is not a device; known are auto, cpu, cuda, cuda:1 and so on."
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise PerigeeError(
            f"Key 'device' is '{device}' but PyTorch finds no GPU on this machine; set it to "
            "'cpu' or 'auto' in config/config.yaml."
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms(True), which also imports PyTorch's compiler: a third of
    # all the time that a job takes to start.
    torch.set_deterministic_debug_mode("error")
    # Filling memory that nothing reads uninitialised would cost a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_num_threads(1)
    if chosen.type == "cpu":
        _keep_allocations()
    _, height, width = image_shape
    if chosen.type == "cpu":
        is_channels_last = height * width <= CHANNELS_LAST_PIXELS
    else:
        is_faster = channels_last == "auto" and precision in TENSOR_CORES
        is_channels_last = channels_last == "always" or is_faster
    is_captured = chosen.type == "cuda" and capture == "auto"
    return Execution(
        device=chosen,
        dtype=DTYPES[precision],
        memory_format=torch.channels_last if is_channels_last else torch.contiguous_format,
        workers=workers,
        prefetch=prefetch,
        pin_memory=chosen.type == "cuda" if pin_memory is None else pin_memory,
        graphs=partial(CudaGraphs, chosen) if is_captured else None,
    )


def _keep_allocations() -> None:
    """Make glibc keep freed memory: mapping large activations again costs a third of a step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library: correct all the same, only slower
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
