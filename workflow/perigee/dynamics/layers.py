"""Norms, angular update and momentum of every scale-invariant weight tensor in a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

LONGEST_PRODUCT = 2**17
"""The number of values up to which an inner product in float32 on a CPU loses at most its last
digit; longer tensors are cut into blocks of so many, which also stay in the processor's cache."""

LONGEST_ROW = 1024
"""The number of values summed in the precision of the weights, so that float32 loses at most its
last digit; sums of rows are float64."""


class Layers:
    """Tensors that follow one another in a flat vector, measured all at once.

    On GPUs the vector is read as a matrix each of whose rows belongs to one tensor. Sums over rows
    then take few operations for all tensors, and few numbers are left to be added up tensor by
    tensor. Rows are as long as the greatest common divisor of the lengths allows. Convolutions
    share their channels and kernels, so it is 64 for ResNet-50; without a common divisor everything
    is correct but slower.

    Nothing waits for the device, no shape depends on values, and sums are the same in every run:
    for `torch.segment_reduce` on GPUs, CUB promises that (on the same GPU).

    Args:
        lengths: numbers in each tensor, in the order of the vector.
        device: the device of the vectors.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        divisor = math.gcd(*lengths)
        self._row = max(n for n in range(1, LONGEST_ROW + 1) if divisor % n == 0)
        rows = [length // self._row for length in lengths]
        self._tensors = len(rows)
        self._tensor_of_row = torch.repeat_interleave(torch.tensor(rows, dtype=torch.int64)).to(
            device
        )
        blocks = [
            [
                slice(begin, min(begin + LONGEST_PRODUCT, end))
                for begin in range(first, end, LONGEST_PRODUCT)
            ]
            for first, end in pairwise(accumulate(lengths, initial=0))
        ]
        self._blocks = [block for of_tensor in blocks for block in of_tensor]
        self._first_blocks = list(accumulate(map(len, blocks[:-1]), initial=0))
        self._bounds = torch.tensor(list(accumulate(rows * 4, initial=0)), device=device)

    def quantities(
        self, before: Tensor, after: Tensor, gradient: Tensor, velocity: Tensor | None = None
    ) -> Tensor:
        """The weight norm, gradient norm, angular update and <velocity, gradient> of each tensor.

        The angular update Delta_t (Wan et al. 2021, Definition 3, eq. (13)) is computed from the
        parts of w_{t+1} - w_t along and across w_t, so that it keeps its digits where the cosine
        has lost them. Its error is at most 1e-6 of itself and 2e-7 of |w_{t+1} - w_t| / |w_{t+1}|
        in float32, 1e-14 and 4e-16 in float64: if the norm changes by 0.1 %, an angle of 1e-4 loses
        at most its sixth digit. It is NaN where w_t is zero, and 0 where w_{t+1} is.

        Squares must be in the range of the numbers' type: float32 takes entries of 1e-18 to 1e18.

        Args:
            before: w_t, the weights before the step, (P,), contiguous.
            after: w_{t+1}, (P,).
            gradient: g_t, the gradient at w_t, (P,).
            velocity: v_{t-1}, the velocity before the step, (P,).

        Returns:
            ||w_t||, ||g_t||, Delta_t in radians and, if there is a velocity, <v_{t-1}, g_t>;
            float64, (tensors, 3) or (tensors, 4).
        """
        if before.device.type == "cpu" and self._blocks:
            with np.errstate(all="ignore"):  # A run that overflows is a result.
                return self._block_by_block(before, after, gradient, velocity)
        return self.all_at_once(before, after, gradient, velocity)

    def _block_by_block(
        self, before: Tensor, after: Tensor, gradient: Tensor, velocity: Tensor | None
    ) -> Tensor:
        """Compute the quantities by inner products in NumPy.

        In a training step of a small ConvNet this costs a quarter of what `all_at_once` costs:
        calling PyTorch's operations takes longer than the sums. For ResNet-50 it costs less since a
        block is read from memory once.
        """
        old, new, slopes = before.numpy(), after.numpy(), gradient.numpy()
        speeds = None if velocity is None else velocity.numpy()
        rows = []
        for block in self._blocks:
            weights, slope = old[block], slopes[block]
            change = new[block] - weights
            square = float(weights.dot(weights))
            product = float(change.dot(weights))
            growth = product / square if square else math.nan
            change -= weights * weights.dtype.type(growth)
            row = [square, float(slope.dot(slope)), product, growth, float(change.dot(change))]
            rows.append(row if speeds is None else [*row, float(speeds[block].dot(slope))])
        square, slope_square, along, growth, across, *products = np.array(rows).T
        total, slope_square, along, *products = (
            np.add.reduceat(of_blocks, self._first_blocks)
            for of_blocks in (square, slope_square, along, *products)
        )
        growths = along / total
        # What lies across the weights of each block, and what the blocks' own growths differ by.
        sizes = np.diff([*self._first_blocks, len(square)])
        across += (growth - np.repeat(growths, sizes)) ** 2 * square
        across = np.add.reduceat(across, self._first_blocks)
        norm = np.sqrt(total)
        angle = np.arctan2(np.sqrt(across), norm * (1 + growths))
        return torch.from_numpy(np.stack([norm, np.sqrt(slope_square), angle, *products], axis=1))

    def all_at_once(
        self, before: Tensor, after: Tensor, gradient: Tensor, velocity: Tensor | None = None
    ) -> Tensor:
        """Compute the `quantities` by operations on whole vectors; the arguments are the same."""
        weights = before.view(-1, self._row)
        gradients = gradient.view(-1, self._row)
        change = (after - before).view(-1, self._row)
        products = [
            _row_sums(weights, weights),
            _row_sums(gradients, gradients),
            _row_sums(change, weights),
        ]
        if velocity is not None:
            products.append(_row_sums(velocity.view(-1, self._row), gradients))
        sums = self._sums_by_tensor(torch.stack(products))
        growth = sums[2] / sums[0]
        growth_of_row = growth.to(change.dtype).index_select(0, self._tensor_of_row)
        across = change.addcmul_(weights, growth_of_row.unsqueeze(1), value=-1)
        squares = _row_sums(across, across).unsqueeze(0)
        across_norm = self._sums_by_tensor(squares)[0].sqrt_()
        norms = sums[:2].sqrt_()
        torch.atan2(across_norm, norms[0] * (1 + growth), out=sums[2])
        return sums.t()

    def _sums_by_tensor(self, of_rows: Tensor) -> Tensor:
        """Sum over each tensor's rows: (k, rows) to float64 (k, tensors)."""
        kinds = len(of_rows)
        return torch.segment_reduce(
            of_rows.double().view(-1),
            "sum",
            offsets=self._bounds[: kinds * self._tensors + 1],
            unsafe=True,  # the checks of the offsets would wait for the device
        ).view(kinds, self._tensors)


def _row_sums(first: Tensor, second: Tensor) -> Tensor:
    """The inner products of the rows of two matrices: twice (rows, n) to (rows,)."""
    return (first * second).sum(dim=1)
