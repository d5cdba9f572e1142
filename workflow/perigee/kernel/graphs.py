"""Functions of tensors whose kernels are captured once, and then started by a single call.

A step of a small network starts some hundred short kernels, and a GPU waits for the processor
between them. A CUDA graph holds them all, with the addresses that they work on. So a captured
function has arguments of its own, which are overwritten before each replay; all else that it reads
or changes has to stay where it is, and a Python number that it uses is the one of its capture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

logger = logging.getLogger("perigee")

TRIALS = 3
"""The calls before a capture, in which libraries set themselves up (as many as in PyTorch's
manual)."""


class Graphs(Protocol):
    """A way to capture functions."""

    def try_out(self, function: Callable[[], None]) -> None:
        """Call a function that is about to be captured, so that nothing is set up within."""

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Return what starts the function's kernels again, on the same tensors.

        Raises:
            RuntimeError: the function cannot be captured.
        """


class CudaGraphs:
    """The CUDA graphs of one run, which share their memory: they never work at the same time.

    Args:
        device: the GPU.

    Attributes:
        has_failed: whether a capture failed in this process, after which PyTorch's records of
            memory that is being captured are not to be relied on, and no other is begun.
    """

    has_failed: ClassVar[bool] = False

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # One for all trials and captures: libraries keep memory for every stream that they see.
        self._aside = torch.cuda.Stream(device)
        self._pool: Any = None

    def try_out(self, function: Callable[[], None]) -> None:
        """See `Graphs.try_out`: a capture needs a stream that is not the default one."""
        usual = torch.cuda.current_stream(self._device)
        self._aside.wait_stream(usual)
        with torch.cuda.stream(self._aside):
            function()
        usual.wait_stream(self._aside)

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """See `Graphs.capture`."""
        if CudaGraphs.has_failed:
            raise RuntimeError("another capture failed before")
        with torch.cuda.device(self._device):
            usual = torch.cuda.current_stream(self._device)
            pool = self._pool or torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # A thread that puts images in page-locked memory may go on meanwhile.
            mode = "thread_local"
            try:
                with torch.cuda.graph(graph, pool, self._aside, capture_error_mode=mode):
                    function()
            except RuntimeError:
                CudaGraphs.has_failed = True
                torch.cuda.set_stream(usual)  # PyTorch leaves the other one set
                raise
            self._pool = pool  # which a graph that failed would not keep alive
        replay: Callable[[], None] = graph.replay
        return replay


class Captured:
    """A function that is captured for each shape of its arguments, and then replayed.

    Whatever is not a tensor among the arguments is part of the shape. Where a capture fails, the
    function is called as it is from then on.

    Args:
        function: changes tensors in place and returns nothing; it is the same work for arguments
            of the same shape, and waits for the device nowhere.
        graphs: captures it; None calls it as it is.
        changed: names the tensors that it changes, which are put back after the calls before a
            capture.
    """

    def __init__(
        self,
        function: Callable[..., None],
        graphs: Graphs | None,
        changed: Callable[[], Sequence[Tensor]],
    ) -> None:
        self._function, self._graphs, self._changed = function, graphs, changed
        self._captured: dict[Any, tuple[list[Any], Callable[[], None]]] = {}
        self._has_failed = False

    @property
    def has_failed(self) -> bool:
        """True if a capture failed, so that the function is called as it is."""
        return self._has_failed

    @property
    def shapes(self) -> int:
        """The number of shapes that are captured."""
        return len(self._captured)

    def __call__(self, *arguments: Any) -> None:
        """Do the work of the function for these arguments."""
        if self._graphs is None or not all(map(_is_simple, arguments)):
            self._function(*arguments)
            return
        shape = tuple(map(_shape, arguments))
        if shape not in self._captured and not self._capture(self._graphs, shape, arguments):
            self._function(*arguments)
            return
        own, replay = self._captured[shape]
        for mine, given in zip(own, arguments, strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)
        replay()

    def _capture(self, graphs: Graphs, shape: Any, arguments: Sequence[Any]) -> bool:
        """Capture the function; if that fails, return False, and do not try again."""
        own = [_copy(value) for value in arguments]
        before = list(self._changed())
        kept = [value.clone() for value in before]
        try:
            for _ in range(TRIALS):
                graphs.try_out(lambda: self._function(*own))
            self._put_back(kept)
            if any(now is not then for now, then in zip(self._changed(), before, strict=True)):
                raise RuntimeError("it replaces tensors instead of changing them")
            self._captured[shape] = own, graphs.capture(lambda: self._function(*own))
        except RuntimeError as error:
            self._put_back(kept)
            self._graphs = None
            self._has_failed = True
            self._captured.clear()
            logger.warning(
                "%s cannot be captured, so its kernels are started one by one: %s",
                getattr(self._function, "__name__", "a function"),
                str(error.__context__ or error).partition("\n")[0],  # what the end of it hides
            )
        return self._graphs is not None

    def _put_back(self, numbers: Sequence[Tensor]) -> None:
        for value, kept in zip(self._changed(), numbers, strict=True):
            value.copy_(kept)


def _is_simple(value: Any) -> bool:
    return isinstance(value, Tensor | int | float)


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return value


def _copy(value: Any) -> Any:
    """A tensor with the same numbers and strides; anything else is returned."""
    if not isinstance(value, Tensor):
        return value
    own = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
    return own.copy_(value)
