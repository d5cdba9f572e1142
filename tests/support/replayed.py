"""A stand-in for CUDA graphs on the CPU: recorded calls, made again on the same memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RecordedGraphs:
    """Records the ATen calls of a function; a replay makes them again, and nothing else.

    As in a CUDA graph, tensors are memory: a replay reads and writes the memory of the capture,
    and knows the numbers that Python had then. So what a function takes from Python objects that
    change, or does in Python alone, is not in a replay.

    Attributes:
        captures: the number of captures.
        replays: the number of replays.
    """

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def try_out(self, function: Callable[[], None]) -> None:
        """See `perigee.kernel.graphs.Graphs.try_out`."""
        function()

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """See `perigee.kernel.graphs.Graphs.capture`; unlike a GPU's, the function is run."""
        with _Calls() as calls:
            function()
        with torch.no_grad():
            for tensor, numbers in reversed(calls.before):
                tensor.copy_(numbers)
        self.captures += 1

        def replay() -> None:
            calls.make_again()
            self.replays += 1

        return replay


class _Calls(TorchDispatchMode):
    """Keeps all calls with their very arguments and results, and so the memory of these."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        """Arguments that were changed in place, and copies of what they held before."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = list(_tensors((args, kwargs)))
        copies = [one.clone() for one in given]
        result = func(*args, **kwargs)
        for one, copy in zip(given, copies, strict=True):
            if not one.equal(copy):
                self.before.append((one, copy))
        self.made.append((func, args, kwargs, result))
        return result

    @torch.no_grad()
    def make_again(self) -> None:
        """Make the calls again; new results overwrite those of the capture."""
        for func, args, kwargs, kept in self.made:
            known = {_place(one) for one in _tensors((args, kwargs))}
            result = func(*args, **kwargs)
            for old, new in zip(_tensors(kept), _tensors(result), strict=True):
                if _place(new) not in known:  # else a view, or an argument changed in place
                    old.copy_(new)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
