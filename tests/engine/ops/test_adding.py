"""Adding an op touches one file: one record, here arctan, and everything else follows from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import backsweep as bs
from backsweep.wire.graphs import decode_graph, encode_graph
from backsweep_engine.ops import SPELLINGS, TABLE
from backsweep_engine.ops.pointwise import pointwise


@pytest.fixture
def without() -> Iterator[None]:
    """The table before arctan."""
    record, spelling = TABLE.pop("arctan"), SPELLINGS.pop(np.arctan)
    yield
    TABLE["arctan"], SPELLINGS[np.arctan] = record, spelling


@pytest.fixture
def arctan(without: None) -> None:
    pointwise("arctan", np.arctan, lambda y, x: (1 / (1 + x * x),), flops=20)


@pytest.mark.usefixtures("arctan")
def test_one_record_gives_tracing_every_derivative_batching_and_the_wire() -> None:
    x, t = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, -1.0])
    slope, bend = 1 / (1 + x**2), -2 * x / (1 + x**2) ** 2
    with bs.local() as service:
        f = service.submit(lambda x: np.sum(np.arctan(x)), x=bs.float64[3])
        closed = {
            "value": (f(x), np.sum(np.arctan(x))),
            "gradient": (f.gradient(x), slope),
            "jvp": (f.jvp(x, tangent=t), slope @ t),
            "vjp": (f.vjp(x, cotangent=3.0), 3 * slope),
            "hvp": (f.hvp(x, tangent=t), bend * t),
            "hessian, batched": (f.hessian(x), np.diag(bend)),
        }
        for verb, (got, right) in closed.items():
            np.testing.assert_allclose(got, right, rtol=1e-14, atol=1e-15, err_msg=verb)  # a few roundings
        assert f.check(x).right
        assert decode_graph(encode_graph(f.graph)).fingerprint == f.graph.fingerprint


@pytest.mark.usefixtures("without")
def test_before_its_record_the_op_is_refused_by_name() -> None:
    with bs.local() as service, pytest.raises(bs.GraphError, match=r"np\.arctan is not among"):
        service.submit(lambda x: np.arctan(x), x=bs.float64[3])
