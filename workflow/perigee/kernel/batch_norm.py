"""BatchNorm over a mini-batch that several processes share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from perigee.kernel.ranks import Ranks


def synchronise(model: nn.Module, ranks: Ranks, device: torch.device) -> None:
    """Have every BatchNorm inside a network normalise by the global mini-batch in train mode.

    Parameters and buffers stay the same objects under the same names. On the CPU the new modules
    are `GlobalBatchNorm`, on GPUs PyTorch's own, `torch.nn.SyncBatchNorm`, which never refuses a
    mini-batch with one value a channel. A process that is alone keeps its network as it is.

    Args:
        model: the network, changed in place. `torch.fx` cannot trace it afterwards, so find the
            scale-invariant parameters first.
        ranks: the processes that share each mini-batch.
        device: where the network is.
    """
    if ranks.world == 1:
        return
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, GlobalBatchNorm(child, ranks))


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm by the mean and variance of the mini-batch that all ranks share.

    Together the ranks compute what one process computes from the whole mini-batch. In train mode
    each of them has to take part, forward and backward, even one without images; in eval mode
    nothing is communicated.

    Args:
        original: the layer whose parameters, buffers and settings are taken over.
        ranks: the processes that share each mini-batch.
    """

    def __init__(self, original: _BatchNorm, ranks: Ranks) -> None:
        super().__init__(
            original.num_features,
            original.eps,
            original.momentum,
            original.affine,
            original.track_running_stats,
        )
        self.weight, self.bias = original.weight, original.bias
        self.running_mean, self.running_var = original.running_mean, original.running_var
        self.num_batches_tracked = original.num_batches_tracked
        self.training = original.training
        self.ranks = ranks

    def forward(self, input: Tensor) -> Tensor:
        """Return normalised activations, in the shape and memory layout of the input.

        Args:
            input: this rank's share, (images, channels, ...).

        Raises:
            ValueError: the global mini-batch has fewer than two values a channel.
        """
        if not self.training:
            normalised: Tensor = super().forward(input)
            return normalised
        if input.dtype is torch.bfloat16:  # statistics are float32, as PyTorch's layers have them
            return self.forward(input.float()).to(input.dtype)
        with torch.no_grad():
            count, mean, variance = global_moments(input, self.ranks)
            if count < 2:
                raise ValueError(
                    f"Expected more than 1 value per channel when training, got {count}"
                )
            if self.track_running_stats:
                self._track(mean, variance * (count / (count - 1)))
            scale = torch.rsqrt(variance + self.eps)
        outputs: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, mean, scale, count, self.ranks
        )
        return outputs

    def _check_input_dim(self, input: Tensor) -> None:
        """All shapes (images, channels, ...) are accepted, as by `torch.nn.SyncBatchNorm`."""

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # the mean over all mini-batches
            momentum = 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased_variance, momentum)


def global_moments(inputs: Tensor, ranks: Ranks) -> tuple[int, Tensor, Tensor]:
    """The number of values per channel, their mean and their biased variance, over all ranks.

    Each rank r gives its count n_r, its mean m_r and its sum of squares about that mean, s_r.
    With n the sum of all n_r, the mean is m = Σ n_r m_r / n and the variance
    Σ (s_r + n_r (m_r - m)²) / n (Chan, Golub and LeVeque 1983). Unlike the mean of squares minus
    the square of the mean, this does not lose the variance where the mean is large. All ranks
    calculate it from the same numbers, so they get the same bits.

    Args:
        inputs: this rank's share, (images, channels, ...), possibly without images.
        ranks: the processes that share the mini-batch.

    Returns:
        The count, and mean and variance, (channels,), in the precision of the inputs. Without any
        value they are NaN.
    """
    channels = inputs.shape[1]
    count = inputs.numel() // channels
    # One row per rank, added to zeros: all ranks then have all rows.
    table = torch.zeros(ranks.world, 2 * channels + 1, device=inputs.device, dtype=torch.float64)
    if count:
        others = _all_but_channels(inputs)
        mean = inputs.mean(others)
        squares = (inputs - _by_channel(mean, inputs)).square_().sum(others)
        table[ranks.rank] = torch.cat((mean, squares, mean.new_tensor([count])))
    means, squares, counts = ranks.sum_(table).split((channels, channels, 1), dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (squares + counts * (means - mean).square()).sum(0) / total
    return int(total), mean.to(inputs.dtype), variance.to(inputs.dtype)


class _Normalise(torch.autograd.Function):
    """y = w x̂ + b with x̂ = (x - m) σ, where m and σ = 1 / sqrt(variance + ε) depend on all x.

    With n values a channel on all ranks, and sums over all of them, the gradient with respect to
    x is w σ (dy - (Σ dy + x̂ Σ dy x̂) / n) (Ioffe and Szegedy 2015, Section 3). The gradients with
    respect to w and b are the sums over this rank's values: those of all ranks add up.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        scale: Tensor,
        count: int,
        ranks: Ranks,
    ) -> Tensor:
        normalised = (inputs - _by_channel(mean, inputs)).mul_(_by_channel(scale, inputs))
        ctx.save_for_backward(normalised, weight, scale)
        ctx.count, ctx.ranks = count, ranks
        if weight is None or bias is None:
            return normalised
        return (normalised * _by_channel(weight, inputs)).add_(_by_channel(bias, inputs))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        normalised, weight, scale = ctx.saved_tensors
        others = _all_but_channels(gradient)
        sums = torch.stack((gradient.sum(others), (gradient * normalised).sum(others)))
        for_bias, for_weight = (None, None) if weight is None else sums.clone()
        for_inputs = None
        if ctx.needs_input_grad[0]:
            mean, slope = ctx.ranks.sum_(sums).div_(ctx.count)
            factor = scale if weight is None else scale * weight
            # In place: a temporary as large as the activations costs more than a pass over them.
            for_inputs = normalised * _by_channel(-slope, gradient)
            for_inputs.add_(gradient).sub_(_by_channel(mean, gradient))
            for_inputs.mul_(_by_channel(factor, gradient))
        return for_inputs, for_weight, for_bias, None, None, None, None


def _all_but_channels(activations: Tensor) -> tuple[int, ...]:
    return (0, *range(2, activations.dim()))


def _by_channel(values: Tensor, activations: Tensor) -> Tensor:
    """Values (channels,), shaped so that they meet those of activations (images, channels, ...)."""
    return values.view(-1, *[1] * (activations.dim() - 2))
