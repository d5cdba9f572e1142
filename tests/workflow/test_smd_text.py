"""The figures of Wan et al. 2021 at smoke scale: Figure 5, with a network that detects objects."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.timeout(1500)  # one test waits until all figures are made


def test_fig5_shows_a_network_that_classifies_and_one_that_detects(all_figures: Path) -> None:
    table = pd.read_csv(all_figures / "smd_fig5.csv")
    assert set(table["network"]) == {"ResNet", "Mask R-CNN"}
    for _, of_network in table.groupby("network"):
        assert set(of_network["label"]) == {"standard", "rescaled"}
        assert "layer1.0.conv2" in set(of_network["layer"])
    detecting = table[table["network"] == "Mask R-CNN"]
    layers = set(detecting["layer"])
    assert {"pyramid.inner_blocks.0.0", "heads.box_head.0.0", "heads.mask_head.3.0"} <= layers
    assert detecting["angular_update"].gt(0).all()
    norms = detecting[detecting["layer"] == "layer1.0.conv2"].groupby("label")["norm"]
    assert norms.last()["rescaled"] < 0.65 * norms.last()["standard"], "10 to the power of -1/2"
