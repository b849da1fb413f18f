"""Plans made by hand, for tests of executors: the Jacobian of tanh(A x) by columns, with as much work a block as wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from backsweep_engine.execute.executor import Array, Block
from backsweep_engine.graph import Builder, Type
from backsweep_engine.ops.term import Term
from backsweep_engine.plan.plan import Axis, Part, Plan, Promise, Sweep

FLOAT64 = np.dtype("float64")

Key = tuple[int, int, int, int]
"""query, part, start and stop of a block."""


def jacobian_plan(n: int, width: int, *, products: int = 1, given: bool = False) -> Plan:
    """`products`: matrix products a block. `given`: the seeds are the rows of the value `seeds`, not unit vectors."""
    vector, matrix = Type(FLOAT64, (n,)), Type(FLOAT64, (n, n))
    builder = Builder()
    # Any: NumPy's types do not know that its functions return Terms for Terms.
    a: Any = Term(builder, builder.input("A", matrix))
    x: Any = Term(builder, builder.input("x", vector))
    y = np.tanh(a @ x)
    once = builder.build([("y", y.ref), ("p", (1 - y * y).ref)])
    builder = Builder()
    t: Any
    p, a, t = (Term(builder, builder.input(name, type)) for name, type in (("p", vector), ("A", matrix), ("t", vector)))
    for _ in range(products - 1):
        t = np.sin(a @ t)
    each = builder.build([("", (p * (a @ t)).ref)])
    sweep = Sweep(1, each, ("p", "A"), ("seeds",) if given else (), n, width, Axis.COLUMN, vector)
    return Plan(once, (Part(0, 0, 0, vector),), (sweep,), Promise(0, 0, 0, sweep.blocks))


def jacobian_values(n: int) -> dict[str, Array]:
    draw = np.random.default_rng(0)
    return {"A": draw.standard_normal((n, n)) / np.sqrt(n), "x": draw.standard_normal(n), "seeds": draw.standard_normal((n, n))}


def collected(blocks: Iterable[Block]) -> dict[Key, Array]:
    """The arrays of the blocks; a block that comes twice is an error."""
    found: dict[Key, Array] = {}
    for block in blocks:
        key = (block.query, block.part, block.start, block.stop)
        assert key not in found, f"block {key} came twice"
        found[key] = block.array
    return found


def assert_same_bits(got: dict[Key, Array], wanted: dict[Key, Array]) -> None:
    assert got.keys() == wanted.keys()
    for key, array in wanted.items():
        assert (got[key].dtype, got[key].shape) == (array.dtype, array.shape), key
        assert got[key].tobytes() == array.tobytes(), f"block {key} has other bits"
