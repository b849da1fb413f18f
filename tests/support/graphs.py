"""Small graphs for tests, from plain functions on Terms.

`build(f, x=F64[3])` traces f into a Graph as a transform or a client would; NAMED holds the graphs
that more than one test runs over. Add one there if it has a shape no other has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from backsweep_engine.graph import DTYPES, Builder, Graph, Type
from backsweep_engine.ops.build import call, call_several, lift
from backsweep_engine.ops.term import Term


@dataclass(frozen=True, slots=True)
class Of:
    """`F64[3, 2]` is a Type; `F64[()]` the scalar."""

    dtype: str

    def __getitem__(self, shape: int | tuple[int, ...]) -> Type:
        return Type(DTYPES[self.dtype], (shape,) if isinstance(shape, int) else shape)


F64, F32, I64, I32, BOOL = Of("float64"), Of("float32"), Of("int64"), Of("int32"), Of("bool")


BOUND: WeakKeyDictionary[Graph, dict[str, Any]] = WeakKeyDictionary()
"""Arrays a built graph captured, by the names of the inputs that stand for them."""


def build(f: Callable[..., Any], /, **types: Type) -> Graph:
    """The graph of f on one Term per type. Outputs are named 0, 1, ... where f returns a tuple or list."""
    builder = Builder()
    value = f(*[Term(builder, builder.input(name, type)) for name, type in types.items()])
    if not isinstance(value, (tuple, list)):
        outputs = [("", lift(value, builder).ref)]
    else:
        outputs = [(str(i), lift(v, builder).ref) for i, v in enumerate(value)]
    graph = builder.build(outputs)
    BOUND[graph] = dict(builder.bound)
    return graph


def apply(name: str, types: Sequence[Type], attributes: Mapping[str, Any]) -> Graph:
    """The graph of one op on inputs of these types; several results are several outputs."""
    builder = Builder()
    operands = [Term(builder, builder.input(f"x{i}", type)) for i, type in enumerate(types)]
    results = call_several(builder, name, *operands, **attributes)
    return builder.build([(str(i) if len(results) > 1 else "", y.ref) for i, y in enumerate(results)])


def cond(condition: Term, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Term) -> Any:
    """The op cond with both branches traced from functions of the operands; a tuple if they return several values."""
    types = {f"x{i}": t.type for i, t in enumerate(operands)}
    branches = {"then": build(then, **types), "otherwise": build(otherwise, **types)}
    results = call_several(condition.builder, "cond", condition, *operands, **branches)
    return results[0] if len(results) == 1 else results


def scan(
    f: Callable[..., Any],
    carry: Sequence[Term],
    xs: Sequence[Term] = (),
    stays: Sequence[Term] = (),
    *,
    length: int = 0,
    reverse: bool = False,
    trips: Any = None,
    kept: tuple[int, ...] = (),
) -> tuple[Term, ...]:
    """The op scan of f(*carry, *slices, *stays) -> the next carry and what is stacked, in one tuple."""
    given = [*[t.type for t in carry], *[t.type.with_shape(t.shape[1:]) for t in xs], *[t.type for t in stays]]
    body = build(f, **{f"x{i}": type for i, type in enumerate(given)})
    attributes = {"carries": len(carry), "slices": len(xs), "length": xs[0].shape[0] if xs else length, "reverse": reverse, "kept": kept}
    operands = [*([] if trips is None else [trips]), *carry, *xs, *stays]
    return call_several(operands[0].builder, "scan", *operands, body=body, counted=trips is not None, **attributes)


def while_loop(
    condition: Callable[..., Any],
    f: Callable[..., Any],
    carry: Sequence[Term],
    stays: Sequence[Term] = (),
    *,
    max_trips: int,
    kept: tuple[int, ...] = (),
) -> tuple[Term, ...]:
    """The op while_loop: how many trips, the last carry, and what was stacked."""
    types = {f"x{i}": t.type for i, t in enumerate((*carry, *stays))}
    graphs = {"condition": build(condition, **types), "body": build(f, **types)}
    return call_several(carry[0].builder, "while_loop", *carry, *stays, **graphs, carries=len(carry), max_trips=max_trips, kept=kept)


def _logistic(w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z) + 0.5e-3 * np.sum(w * w)


def _network(x: Any, A: Any, b: Any, B: Any) -> Any:
    h = np.tanh(x @ A + b)
    return np.sum(call("log_softmax", h @ B, axes=(1,))[:, 0])


def _rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _pieces(x: Any) -> Any:
    return np.prod(np.concatenate([x[::-1], np.stack([np.max(x), np.sum(x**3)])])) / np.sqrt(1 + x @ x)


def _chosen(x: Any) -> Any:
    big = np.sum(x) > -1
    return np.sum(cond(big, lambda v: np.sin(v) * v, lambda v: np.exp(v), x))


def _chain(x: Any) -> Any:
    for _ in range(20):
        x = np.sin(x) * 1.1 + 0.1
    return np.sum(x)


def _gathered(x: Any) -> Any:
    return np.sum(np.exp(x[np.array([0, 2, 2, 5, -1])]) * np.arange(5.0)) + np.sum(np.where(x > 0, np.sqrt(1 + abs(x)), x))


SCALAR: dict[str, tuple[Callable[..., Any], dict[str, Type]]] = {
    "logistic": (_logistic, {"w": F64[4], "X": F64[7, 4], "y": F64[7]}),
    "network": (_network, {"x": F64[5, 3], "A": F64[3, 4], "b": F64[4], "B": F64[4, 2]}),
    "rosenbrock": (_rosenbrock, {"x": F64[6]}),
    "pieces": (_pieces, {"x": F64[6]}),
    "chosen": (_chosen, {"x": F64[6]}),
    "chain": (_chain, {"x": F64[6]}),
    "gathered": (_gathered, {"x": F64[6]}),
}
"""Functions with one floating scalar result, smooth where `draw` draws, and the types of their inputs."""


def named(name: str) -> Graph:
    f, types = SCALAR[name]
    return build(f, **types)
