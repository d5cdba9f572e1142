"""benchmarks/gpu_floors.py: what is counted of a step, and the floor that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from support.benchmarks import load


@pytest.fixture
def floors(monkeypatch: pytest.MonkeyPatch) -> Any:
    return load("gpu_floors", monkeypatch)


def test_bytes_and_arithmetic_of_a_convolution_and_its_gradients(floors: Any) -> None:
    images = torch.zeros(2, 3, 8, 8)
    weight = torch.zeros(5, 3, 3, 3, requires_grad=True)
    with floors.Counted() as counted:
        functional.conv2d(images, weight, padding=1).view(-1)
    (forward,) = counted.operations  # a view moves nothing
    assert forward.size == 4 * (2 * 3 * 64 + 5 * 3 * 9 + 2 * 5 * 64)
    assert forward.arithmetic == 2 * (2 * 5 * 64) * (3 * 9)
    assert forward.is_convolution
    outputs = functional.conv2d(images, weight, padding=1)
    with floors.Counted() as counted:
        torch.autograd.grad(outputs, weight, torch.zeros_like(outputs))
    backward = next(one for one in counted.operations if one.arithmetic)
    assert backward.arithmetic == forward.arithmetic  # the images need no gradient
    assert backward.is_convolution


def test_an_operation_takes_the_longer_of_moving_and_computing(floors: Any) -> None:
    rates = {"TB/s": 2.0, "float32": 10.0, "tf32": 100.0, "bfloat16": 200.0}
    moving = floors.Operation(4 * 10**9, 0, False)
    convolution = floors.Operation(2 * 10**9, 10**11, True)
    product = floors.Operation(10, 10**10, False)
    found = [moving, convolution, product]
    assert floors.floor([moving], "float32", rates) == pytest.approx(2)
    assert floors.floor(found, "float32", rates) == pytest.approx(2 + 10 + 1)
    # In TF32 the convolution is bound by its bytes, and the matrix product is one of float32.
    assert floors.floor(found, "tf32", rates) == pytest.approx(2 + 1 + 1)
    assert floors.floor(found, "bfloat16", rates) == pytest.approx(2 + 1 + 0.05)


def test_a_step_has_the_arithmetic_of_its_layers(floors: Any) -> None:
    size = floors.Size(batch=2, divisor=32)  # one, two, four and eight filters
    found = floors.operations("convnet-32", "float32", size, 1)
    convolutions = [one.arithmetic for one in found if one.is_convolution]
    shapes = ((1, 1, 32), (1, 2, 32), (2, 4, 16), (4, 8, 8))
    layers = [2 * 9 * 2 * ins * outs * side**2 for ins, outs, side in shapes]
    # The first layer's images need no gradient; every other layer has two.
    assert sum(convolutions) == sum(layers) + layers[0] + 2 * sum(layers[1:])
    half = floors.operations("convnet-32", "bfloat16", size, 1)
    assert sum(one.size for one in half) < 0.8 * sum(one.size for one in found)


def test_steps_of_all_cards_are_read_and_drawn(floors: Any, tmp_path: Path) -> None:
    for name in (floors.PLAIN, floors.OWN_OLD):
        (tmp_path / name).write_bytes((floors.CARDS / name).read_bytes())
    told = {
        "tiny": False,
        "card": "NVIDIA H100 80GB HBM3",
        "conditions": {"shape": [1, 32, 32]},
        "items": {
            "step: convnet-32 tf32 captured": {
                "status": "measured",
                "figures": {"ms per step": {"median": 0.5}},
            },
            "step: convnet-32 float32 captured": {"status": "not measured", "reason": "none left"},
            "resume: killed twice": {"status": "measured", "figures": {}},
        },
    }
    (tmp_path / "gpu_h100.json").write_text(json.dumps(told))
    (tmp_path / "gpu_tiny.json").write_text(json.dumps({**told, "tiny": True}))
    without_card = {key: value for key, value in told.items() if key != "card"}
    (tmp_path / "gpu_cpu.json").write_text(json.dumps(without_card))
    found = floors.measured_steps(tmp_path)
    assert [one for one in found if one.card != "NVIDIA H200"] == [
        floors.Measured(
            "NVIDIA H100 80GB HBM3",
            "convnet-32",
            "tf32",
            "Perigee, captured",
            0.5,
            1,
        )
    ]
    own = {(one.network, one.precision): one.milliseconds for one in found if "Perigee" in one.way}
    assert own["resnet18-16", "float32"] == 7.433
    rows = [
        {**vars(one), "ms per step": one.milliseconds, "floor": 0.3, "fused floor": 0.1}
        for one in found
    ]
    panels = floors.picture(rows).axes
    assert len(panels) == 6  # a row of networks for each card
    points = [line.get_ydata()[0] for panel in panels for line in panel.get_lines()]
    assert sorted(points) == sorted(one.milliseconds for one in found)
