"""BatchNorm's statistics over the whole training set, at fixed weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from perigee.kernel.ranks import Ranks
    from perigee.kernel.trainer import Trainer

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
TRACKING = (*STATISTICS, "momentum", "track_running_stats")
"""The attributes of a BatchNorm layer that say what it tracks, and how."""


class MeanStatistics:
    """The means over mini-batches of the statistics by which BatchNorm normalises them.

    The running statistics of eval mode are moving averages over some ten steps. Where a few steps
    change the weights much, they belong to networks of the past. These means belong to the
    present weights: what the running statistics would tend to if training went on without moving
    the weights. They are kept apart from the network's own statistics, which never change.

    A mini-batch counts by its number of images, so that the mean is that of all images together.
    The variance is the mean of the mini-batches' unbiased variances, as in PyTorch's running
    statistics (`torch.optim.swa_utils.update_bn` differs only in that a smaller last mini-batch
    counts as much as another). A network without BatchNorm has no statistics, and stays as it is.

    Args:
        model: the network.
        ranks: the processes that share each mini-batch.
    """

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        self._layers: list[Any] = [
            module for module in model.modules() if getattr(module, "track_running_stats", False)
        ]
        self._sums: dict[Any, tuple[int, Tensor, Tensor]] = {}

    @contextmanager
    def collected(self) -> Iterator[None]:
        """While the context is active, mini-batches that pass in train mode are counted.

        Those of an earlier context are forgotten. All ranks have to take part. Eval mode makes no
        sense meanwhile: the layers track other tensors than their own.
        """
        self._sums.clear()
        own = [{name: getattr(layer, name) for name in TRACKING} for layer in self._layers]
        hooks = []
        try:
            for layer in self._layers:
                for name in STATISTICS:
                    setattr(layer, name, torch.zeros_like(getattr(layer, name)))
                layer.momentum = 1.0  # so that the layer has those of the latest mini-batch alone
                hooks.append(layer.register_forward_pre_hook(_track))
                hooks.append(layer.register_forward_hook(self._add))
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for layer, values in zip(self._layers, own, strict=True):
                for name, value in values.items():
                    setattr(layer, name, value)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the context is active, the network has these statistics in eval mode.

        Its own are put aside and afterwards back: the same tensors, which nothing has written to.
        """
        own = [(layer, layer.running_mean, layer.running_var) for layer in self._sums]
        try:
            for layer, (count, means, variances) in self._sums.items():
                _give(layer, means / count, variances / count)
            yield
        finally:
            for layer, mean, variance in own:
                layer.running_mean, layer.running_var = mean, variance

    def _add(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Add the statistics of the mini-batch that the layer has normalised."""
        if not layer.training:
            return
        images = int(self._ranks.sum_(torch.tensor(len(inputs[0]))))
        count, means, variances = self._sums.get(layer, (0, 0, 0))
        self._sums[layer] = (
            count + images,
            means + images * layer.running_mean.double(),
            variances + images * layer.running_var.double(),
        )


@torch.no_grad()
def statistics_of_training_set(trainer: Trainer) -> MeanStatistics:
    """The mean statistics over the training set, in one pass at the present weights.

    Mini-batches are taken in stored order and without augmentation, as for the metrics.

    Args:
        trainer: the run; its weights and running statistics stay as they are.
    """
    model = trainer.model
    statistics = MeanStatistics(model, trainer.ranks)
    model.train()
    with statistics.collected():
        for batch in trainer.task.batches("train"):
            model(batch.inputs)
    return statistics


def _track(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Have a layer track, even where `running_statistics_left_alone` told it not to."""
    layer.track_running_stats = True


def _give(layer: Any, mean: Tensor, variance: Tensor) -> None:
    """Put other tensors in the place of a layer's running statistics, in the same precision."""
    layer.running_mean = mean.to(layer.running_mean.dtype)
    layer.running_var = variance.to(layer.running_var.dtype)
