"""The study of precisions, trained at smoke scale."""

from __future__ import annotations

import numpy as np

import perigee
from perigee.planning.plan import read_requests


def test_the_precisions_of_the_study() -> None:
    _, requests = read_requests(["periodic"], "smoke")
    (study,) = (one for one in requests if one.key == "study_precision")
    table = next(one for one in study.tables if one.name == "periods")
    specs = {run.spec.precision: run.spec for run in table.runs}
    assert set(specs) == {"float32", "tf32", "bfloat16"}
    assert len({str(spec.to_dict() | {"precision": ""}) for spec in specs.values()}) == 1
    trained = {name: perigee.train(spec.to_dict(), 2) for name, spec in specs.items()}
    strict, half = trained["float32"].losses, trained["bfloat16"].losses
    np.testing.assert_array_equal(trained["tf32"].losses, strict)  # on a CPU, that has no TF32
    np.testing.assert_allclose(half[0], strict[0], rtol=0.01)
    np.testing.assert_allclose(half[:3], strict[:3], rtol=0.05)
    assert (half != strict).all()
    types = {value.dtype for value in trained["bfloat16"].state.values()}
    assert types == {np.dtype("float32"), np.dtype("int64")}
