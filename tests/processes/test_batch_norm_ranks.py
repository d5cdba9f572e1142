"""perigee.kernel.batch_norm: ranks together compute what one process computes alone.

Expected values are those of PyTorch's own BatchNorm in this process, with the whole mini-batch.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from perigee.errors import PerigeeError
from perigee.kernel.batch_norm import GlobalBatchNorm, global_moments, synchronise
from perigee.kernel.ranks import Ranks
from perigee.kernel.running_statistics import running_statistics_left_alone
from perigee.models import convnet, resnet18
from support.rank_processes import answer, on_ranks, start_ranks

CPU = torch.device("cpu")
STEPS = 2
CLASSES = 4

Build = Callable[[], nn.Module]


def randomised(model: nn.Module) -> nn.Module:
    """The same network, in float64, with location, scale and running statistics unlike 0 and 1."""
    draws = torch.Generator().manual_seed(1)
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if module.affine:
                nn.init.uniform_(module.weight, -2, 2, generator=draws)
                nn.init.uniform_(module.bias, -2, 2, generator=draws)
            nn.init.uniform_(module.running_mean, -2, 2, generator=draws)
            nn.init.uniform_(module.running_var, 1, 2, generator=draws)
    return model


def small(affine: bool, momentum: float | None) -> nn.Module:
    torch.manual_seed(0)
    return randomised(
        nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1, bias=False),
            nn.BatchNorm2d(5, affine=affine, momentum=momentum),
            nn.ReLU(),
            nn.Conv2d(5, 6, 3, bias=False),
            nn.BatchNorm2d(6, affine=affine, momentum=momentum, eps=1e-3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(6 * 9, 7),
            nn.BatchNorm1d(7, affine=affine, momentum=momentum),
            nn.Linear(7, CLASSES),
        )
    )


def affine_network() -> nn.Module:
    return small(affine=True, momentum=0.1)


def plain_network() -> nn.Module:
    return small(affine=False, momentum=0.1)


def averaging_network() -> nn.Module:
    return small(affine=True, momentum=None)


def scale_invariant_convnet() -> nn.Module:
    return randomised(
        convnet.build(
            (3, 8, 8), CLASSES, 0, width=2, scale_invariant=True, head_norm=10.0, head_seed=None
        )
    )


def standard_resnet() -> nn.Module:
    return randomised(
        resnet18.build(
            (3, 8, 8), CLASSES, 0, width=2, scale_invariant=False, head_norm=10.0, head_seed=None
        )
    )


def scale_invariant_resnet() -> nn.Module:
    return randomised(
        resnet18.build(
            (3, 8, 8), CLASSES, 0, width=2, scale_invariant=True, head_norm=10.0, head_seed=None
        )
    )


def mini_batch(images: int) -> tuple[Tensor, Tensor]:
    """Images whose mean and spread drift along the mini-batch, so that shares differ in both."""
    draws = torch.Generator().manual_seed(2)
    ramp = torch.arange(1.0, images + 1, dtype=torch.float64).view(-1, 1, 1, 1)
    noise = torch.randn(images, 3, 8, 8, generator=draws, dtype=torch.float64)
    return ramp * (noise + 1), torch.randint(CLASSES, (images,), generator=draws)


def steps(
    model: nn.Module, part: slice, images: int, memory_format: torch.memory_format
) -> dict[str, Any]:
    """Two steps' passes with a part of the mini-batch: everything that others can compare."""
    inputs, labels = mini_batch(images)
    inputs = inputs[part].contiguous(memory_format=memory_format).requires_grad_()
    model.train()
    outputs = []
    for step in range(STEPS):
        logits = model(inputs * (step + 1))
        loss = functional.cross_entropy(logits, labels[part], reduction="sum") / images
        loss.backward()
        outputs.append(logits.detach())
    return {
        "outputs": torch.cat(outputs, dim=1).numpy(),
        "inputs": inputs.grad.numpy(),
        "gradients": {name: p.grad for name, p in model.named_parameters() if p.requires_grad},
        "buffers": {name: buffer.numpy() for name, buffer in model.named_buffers()},
    }


def share_steps(
    ranks: Ranks, build: Build, sizes: tuple[int, ...], memory_format: torch.memory_format
) -> dict[str, Any]:
    model = build()
    synchronise(model, ranks, CPU)
    start = sum(sizes[: ranks.rank])
    part = slice(start, start + sizes[ranks.rank])
    measured = steps(model, part, sum(sizes), memory_format)
    measured["gradients"] = {n: ranks.sum_(g).numpy() for n, g in measured["gradients"].items()}
    return measured


def assert_equal(measured: np.ndarray, expected: np.ndarray) -> None:
    """Assert equality to 1e-10 of the largest number."""
    assert measured.shape == expected.shape
    assert expected.size == 0 or np.abs(expected).max() > 0 or expected.dtype == np.int64
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("build", "sizes", "memory_format"),
    [
        (affine_network, (5, 2), torch.contiguous_format),
        (affine_network, (7, 0), torch.channels_last),
        (plain_network, (0, 7), torch.contiguous_format),
        (plain_network, (4, 1, 3), torch.channels_last),
        (averaging_network, (4, 0, 3), torch.contiguous_format),
        (averaging_network, (0, 0, 2), torch.contiguous_format),
        (scale_invariant_convnet, (3, 0, 2), torch.channels_last),
        (standard_resnet, (3, 0, 2), torch.contiguous_format),
        (scale_invariant_resnet, (0, 1, 4), torch.channels_last),
    ],
)
def test_ranks_give_what_one_process_gives(
    build: Build, sizes: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    expected = steps(build(), slice(None), sum(sizes), torch.contiguous_format)
    results = on_ranks(share_steps, len(sizes), build, sizes, memory_format)
    for name in ("outputs", "inputs"):
        assert_equal(np.concatenate([result[name] for result in results]), expected[name])
    for result in results:
        assert list(result["buffers"]) == list(expected["buffers"])
        for name, buffer in expected["buffers"].items():
            assert_equal(result["buffers"][name], buffer)
            assert result["buffers"][name].tobytes() == results[0]["buffers"][name].tobytes()
        assert list(result["gradients"]) == list(expected["gradients"])
        for name, gradient in expected["gradients"].items():
            scale = max(g.abs().max() for g in expected["gradients"].values())
            # Biases before a BatchNorm have no gradient but rounding errors.
            np.testing.assert_allclose(
                result["gradients"][name], gradient, rtol=1e-10, atol=1e-12 * scale
            )


def measure(ranks: Ranks) -> list[Any]:
    model = affine_network()
    synchronise(model, ranks, CPU)
    inputs, _ = mini_batch(7)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    with torch.no_grad(), running_statistics_left_alone(model):
        normalised_by_batch = model(ranks.share(inputs))
    unchanged = all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    model.eval()
    # The other rank does not call it: were there any communication, this one would wait for it.
    alone = model(inputs).detach().numpy() if ranks.is_main else None
    return [normalised_by_batch.numpy(), unchanged, alone]


def test_measuring_leaves_running_statistics_alone_and_eval_mode_needs_nobody() -> None:
    model = affine_network()
    inputs, _ = mini_batch(7)
    in_eval_mode = model.eval()(inputs).detach().numpy()
    in_train_mode = model.train()(inputs).detach().numpy()
    (first, *others), (second, *_) = on_ranks(measure, 2)
    assert_equal(np.concatenate((first, second)), in_train_mode)
    assert others[0]
    assert_equal(others[1], in_eval_mode)


def normalise_vectors(ranks: Ranks, vectors: Tensor) -> np.ndarray | str:
    layer = GlobalBatchNorm(nn.BatchNorm1d(3).double(), ranks)
    try:
        outputs: Tensor = layer(ranks.share(vectors))
    except ValueError as error:
        return str(error)
    return outputs.detach().numpy()


def test_the_number_of_values_on_all_ranks_decides_whether_they_are_too_few() -> None:
    vectors = torch.tensor([[1.0, 2, 3], [5, 3, 1]], dtype=torch.float64)
    outputs = np.concatenate(on_ranks(normalise_vectors, 2, vectors))
    assert_equal(outputs, nn.BatchNorm1d(3).double()(vectors).detach().numpy())
    for images in (0, 1):
        told = on_ranks(normalise_vectors, 2, vectors[:images])
        assert told == [f"Expected more than 1 value per channel when training, got {images}"] * 2


def moments(ranks: Ranks, inputs: Tensor) -> tuple[int, np.ndarray, np.ndarray]:
    count, mean, variance = global_moments(ranks.share(inputs), ranks)
    return count, mean.numpy(), variance.numpy()


def test_a_large_mean_does_not_cost_the_variance_its_precision() -> None:
    draws = np.random.default_rng(0)
    inputs = 1e4 + draws.normal(size=(9, 2, 4, 4)).astype(np.float32)
    expected = inputs.astype(np.float64).var(axis=(0, 2, 3))
    for count, mean, variance in on_ranks(moments, 2, torch.from_numpy(inputs).float()):
        assert count == 9 * 16
        np.testing.assert_allclose(mean, inputs.astype(np.float64).mean((0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(variance, expected, rtol=1e-3)


def die_before_backward(ranks: Ranks) -> str:
    model = affine_network()
    synchronise(model, ranks, CPU)
    loss = model(mini_batch(4)[0]).sum()
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(PerigeeError) as caught:
        loss.backward()
    return str(caught.value)


def test_a_rank_that_dies_before_backward_ends_the_other() -> None:
    with ExitStack() as stack:
        (_, receiving), _ = start_ranks(stack, die_before_backward, 2)
        assert "lost another one" in answer(receiving)


def test_a_network_that_one_process_trains_is_left_as_it_is() -> None:
    model = affine_network()
    before = dict(model.named_modules())
    synchronise(model, Ranks.alone(), CPU)
    after = dict(model.named_modules())
    assert list(after) == list(before)
    assert all(after[name] is module for name, module in before.items())


@pytest.mark.parametrize(("device", "kind"), [("cpu", GlobalBatchNorm), ("cuda", nn.SyncBatchNorm)])
@pytest.mark.parametrize("build", [standard_resnet, scale_invariant_resnet])
def test_every_batch_norm_is_replaced_and_its_state_kept(
    device: str, kind: type[nn.Module], build: Build
) -> None:
    model = build()
    names = list(model.state_dict())
    tensors = [*model.parameters(), *model.buffers()]
    before = {
        name: (m.eps, m.momentum, m.affine, m.track_running_stats, m.training)
        for name, m in model.eval().named_modules()
        if isinstance(m, nn.BatchNorm2d)
    }
    synchronise(model, Ranks(0, 2), torch.device(device))
    after = {
        name: (m.eps, m.momentum, m.affine, m.track_running_stats, m.training)
        for name, m in model.named_modules()
        if isinstance(m, kind)
    }
    assert after == before
    assert not any(type(m) is nn.BatchNorm2d for m in model.modules())
    assert list(model.state_dict()) == names
    kept = [*model.parameters(), *model.buffers()]
    assert all(new is old for new, old in zip(kept, tensors, strict=True))
