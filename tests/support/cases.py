"""What the tests of the op table run over: every op's examples, and MORE where an op has shapes its examples do not show.

`retyped` asks for the same application in another float or integer type. Adding an op adds its cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, FLOATS, Graph, Type
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.op import POSITIVE, REALS, Domain, Example, Op, check

from .draw import Array, draw
from .graphs import BOOL, F64, I32, I64, apply
from .matrices import MORE_MATRICES
from .windows import MORE_WINDOWS

MORE: dict[str, tuple[Example, ...]] = {
    **MORE_MATRICES,
    **MORE_WINDOWS,
    "update": (
        Example((F64[()], F64[()]), {"start": (), "step": ()}),
        Example((F64[4], F64[0]), {"start": (9,), "step": (2,)}),
        Example((BOOL[4], BOOL[2]), {"start": (1,), "step": (2,)}),
    ),
    "scatter_set": (
        Example((F64[4, 3], I64[2, 3], F64[2, 3, 3]), {"axis": 0}),
        Example((F64[2, 3, 2], I32[5], F64[2, 5, 2]), {"axis": 1}),
        Example((F64[4], I64[()], F64[()]), {"axis": 0}),
        Example((F64[4], I64[0], F64[0]), {"axis": 0}),
    ),
    "scatter_max": (Example((F64[4, 3], I64[2, 2], F64[2, 2, 3]), {"axis": 0}), Example((F64[4], I64[()], F64[()]), {"axis": 0})),
    "ravel_index": (Example((I32[3],), {"dims": (4,)}), Example((I64[()],) * 3, {"dims": (3, 0, 2)})),
    "searchsorted": (Example((F64[2, 3], F64[2, 4]), {"right": True}), Example((F64[0], F64[3]), {"right": False}), Example((I64[4], I64[6]), {"right": True})),
    "tril": (Example((F64[2, 3, 3],), {"k": 0}), Example((F64[4, 2],), {"k": -2}), Example((F64[2, 0],), {"k": 5})),
    "triu": (Example((F64[2, 3, 3],), {"k": 0}), Example((F64[4, 2],), {"k": -2})),
    "einsum": (
        Example((F64[2, 3, 4], F64[2, 4, 2]), {"labels": (0, 1, 2, 0, 2, 3), "output": (0, 1, 3)}),  # products of matrices
        Example((F64[3, 2, 4], F64[4, 2, 2]), {"labels": (0, 1, 2, 2, 1, 3), "output": (3, 0)}),  # summed axes that do not lie together
        Example((F64[3, 2, 3],), {"labels": (0, 1, 0), "output": (1, 0)}),
        Example((F64[3, 3],), {"labels": (0, 0), "output": ()}),
        Example((F64[2, 2, 2],), {"labels": (0, 0, 0), "output": ()}),
        Example((F64[2], F64[3]), {"labels": (0, 1), "output": (1, 0)}),
        Example((F64[2, 3], F64[2, 3]), {"labels": (0, 1, 0, 1), "output": (0,)}),
        Example((F64[2, 3], F64[2, 4], F64[5]), {"labels": (0, 1, 0, 2, 3), "output": (1,)}),
        Example((F64[()], F64[2]), {"labels": (0,), "output": (0,)}),
        Example((F64[2, 0], F64[0, 3]), {"labels": (0, 1, 1, 2), "output": (0, 2)}),
    ),
    "bessel_i": tuple(Example((F64[4],), {"order": n}) for n in (0, 1)),
    "bessel_ie": tuple(Example((F64[4],), {"order": n}) for n in (0, 1)),
    "bessel_j": tuple(Example((F64[4],), {"order": n}) for n in (0, 1, 5)),
    "bessel_k": tuple(Example((F64[4],), {"order": n}) for n in (0, 1)),
    "bessel_ke": tuple(Example((F64[4],), {"order": n}) for n in (0, 1)),
    "bessel_y": tuple(Example((F64[4],), {"order": n}) for n in (0, 1)),
    "mean_excess": (Example((F64[()],)),),
    "polygamma": (Example((F64[()],), {"order": 3}),),
    "spherical_j": tuple(Example((F64[4],), {"order": n}) for n in (0, 1)),
    "linear_recurrence": (Example((F64[5], F64[5]), {"axis": 0}), Example((F64[4, 2, 5],) * 2, {"axis": 0}), Example((F64[0, 2],) * 2, {"axis": 0})),
    "cumsum": (Example((F64[4],), {"axis": 0}), Example((F64[2, 3, 2],), {"axis": 1}), Example((F64[0, 2],), {"axis": 0})),
    "cumprod": (Example((F64[4],), {"axis": 0}), Example((F64[2, 3, 2],), {"axis": 1}), Example((F64[0, 2],), {"axis": 0})),
    "cummax": (Example((F64[5],), {"axis": 0}), Example((F64[3, 2, 2],), {"axis": 0}), Example((F64[0, 2],), {"axis": 0})),
    "cummin": (Example((F64[5],), {"axis": 0}),),
    "any": (Example((BOOL[0, 2],), {"axes": (0,)}), Example((BOOL[()],), {"axes": ()})),
    "all": (Example((BOOL[0, 2],), {"axes": (0,)}),),
    "argmax": (Example((F64[3],), {"axis": 0}), Example((F64[2, 3],), {"axis": 1})),
    "norm": (
        Example((F64[12],), {"axes": (0,), "order": 3.0}),  # long enough for differences to stay far from 0
        Example((F64[2, 3],), {"axes": (0, 1), "order": 2.0}),
        Example((F64[0, 2],), {"axes": (0,), "order": 2.0}),
        Example((F64[()],), {"axes": (), "order": 2.0}),
    ),
    "var": (Example((F64[5],), {"axes": (0,), "ddof": 0.0}),),
    "std": (Example((F64[5],), {"axes": (0,), "ddof": 0.5}),),
    "ptp": (Example((F64[5],), {"axes": (0,)}),),
    "sort": (Example((F64[5],), {"axis": 0}), Example((F64[3, 2, 2],), {"axis": 0}), Example((F64[0, 2],), {"axis": 0})),
    "argsort": (Example((F64[5],), {"axis": 0}),),
    "top_k": (Example((F64[5],), {"k": 5, "axis": 0}), Example((F64[3, 2],), {"k": 1, "axis": 0}), Example((F64[3, 2],), {"k": 0, "axis": 0})),
    "median": (Example((F64[5],), {"axes": (0,)}), Example((F64[2, 2],), {"axes": (1,)}), Example((F64[3],), {"axes": ()})),
    "quantile": (
        Example((F64[5],), {"axes": (0,), "q": np.array(0.35)}),
        Example((F64[2, 4],), {"axes": (1,), "q": np.array([[0.0, 1 / 3], [0.5, 1.0]])}),
        Example((F64[2, 4],), {"axes": (0,), "q": np.zeros(0)}),
    ),
    "convolve": (
        Example((F64[5], F64[3]), {"valid": True}),
        Example((F64[2], F64[4]), {"valid": False}),
        Example((F64[2, 2, 3], F64[2, 2, 3]), {"valid": True}),
    ),
    "cross": (Example((F64[3], F64[3])),),
    "add": (Example((F64[()], F64[()])), Example((F64[0, 2], F64[0, 2]))),
    "scale": (Example((F64[()], F64[()])),),
    "power": (Example((F64[()], F64[()])),),
    "integer_power": tuple(Example((F64[4],), {"exponent": e}) for e in (-2, -1, 0, 1, 2)),
    "sigmoid": (Example((F64[()],)),),
    "where": (Example((BOOL[()], F64[()], F64[()])),),
    "cast": (Example((I64[3],), {"dtype": DTYPES["float64"]}), Example((F64[3],), {"dtype": DTYPES["int32"]}), Example((BOOL[4],), {"dtype": FLOATS[0]})),
    "constant": (Example((), {"value": np.array([True, False]), "shape": (3, 2)}),),
    "broadcast": (Example((F64[()],), {"shape": (2, 3)}), Example((F64[1, 3],), {"shape": (2, 3)}), Example((F64[1],), {"shape": (0,)})),
    "reshape": (Example((F64[6],), {"shape": (2, 1, 3)}), Example((F64[1],), {"shape": ()}), Example((F64[0, 3],), {"shape": (5, 0)})),
    "transpose": (Example((F64[()],), {"axes": ()}),),
    "flip": (Example((F64[2, 3],), {"axes": (0, 1)}), Example((F64[2],), {"axes": ()}), Example((F64[()],), {"axes": ()})),
    "slice": (Example((F64[()],), {"start": (), "stop": (), "step": ()}), Example((F64[7],), {"start": (2,), "stop": (2,), "step": (3,)})),
    "pad": (
        Example((F64[()],), {"low": (), "high": (), "interior": ()}),
        Example((F64[0],), {"low": (1,), "high": (2,), "interior": (3,)}),
        Example((F64[3],), {"low": (2,), "high": (0,), "interior": (2,)}),
    ),
    "concat": (Example((F64[2], F64[0], F64[3]), {"axis": 0}), Example((F64[2, 2],), {"axis": 1})),
    "sum": (Example((F64[2, 3],), {"axes": ()}), Example((F64[0, 3],), {"axes": (0,)}), Example((F64[()],), {"axes": ()})),
    "max": (Example((F64[2, 3],), {"axes": (1,)}), Example((F64[5],), {"axes": (0,)})),
    "prod": tuple(Example((F64[n, 2],), {"axes": (0,)}) for n in (0, 1, 3, 5)) + (Example((F64[2, 3],), {"axes": ()}),),
    "matmul": (Example((F64[2, 0], F64[0, 3])), Example((F64[2, 2, 1, 3], F64[2, 2, 3, 2])), Example((F64[1, 3], F64[3, 1]))),
    "take": (
        Example((F64[5, 3], I64[2, 2]), {"axis": 0}),
        Example((F64[3, 4, 2], I32[3]), {"axis": 1}),
        Example((F64[4], I64[()]), {"axis": 0}),
        Example((F64[3, 4], I64[2, 2]), {"axis": 1}),
        Example((F64[4], I64[0]), {"axis": 0}),
    ),
    "put_add": (
        Example((F64[2, 2, 3], I64[2, 2]), {"axis": 0, "size": 4}),
        Example((F64[2, 3, 2], I32[3]), {"axis": 1, "size": 4}),
        Example((F64[()], I64[()]), {"axis": 0, "size": 4}),
        Example((F64[3, 2, 2], I64[2, 2]), {"axis": 1, "size": 3}),
    ),
    "logsumexp": (Example((F64[2, 2, 3],), {"axes": (0, 2)}), Example((F64[3],), {"axes": (0,)})),
    "softmax": (Example((F64[2, 2, 3],), {"axes": (0, 2)}),),
    "log_softmax": (Example((F64[2, 2, 3],), {"axes": (0, 2)}),),
    "iota": (Example((), {"size": 0}),),
}

SMOOTH: dict[str, tuple[Domain, ...]] = dict.fromkeys(("floor_divide", "fmod", "remainder"), (REALS, Domain(1.0)))
"""Where an op's domain holds kinks that no draw from it would miss, a part without."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One application of an op: an example, perhaps in another dtype. Its attributes have no hash, so it goes by identity."""

    op: Op
    types: tuple[Type, ...]
    attributes: dict[str, object]

    def __str__(self) -> str:
        return f"{self.op.name}-{','.join(map(str, self.types))}-{self.number}"

    @property
    def number(self) -> str:
        shown = (int, float, str, tuple, np.dtype, np.ndarray)
        return ",".join(v.name if isinstance(v, np.dtype) else str(v).replace(" ", "") for v in self.attributes.values() if isinstance(v, shown))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One per operand: a variadic op's last domain stands for the rest; a negative exponent has a pole at 0."""
        known = (POSITIVE,) if self.attributes.get("exponent") in (-2, -1) else SMOOTH.get(self.op.name, self.op.domain)
        return tuple(known[min(i, len(known) - 1)] for i in range(len(self.types)))

    @property
    def floating(self) -> list[int]:
        return [i for i, t in enumerate(self.types) if t.is_float]

    @property
    def results(self) -> tuple[Type, ...]:
        return check(self.op, self.types, self.attributes)

    def graph(self) -> Graph:
        return apply(self.op.name, self.types, self.attributes)

    def draw(self, seed: int = 0) -> list[Array]:
        return draw(self.types, self.domains, seed)

    def retyped(self, **to: str) -> Case | None:
        """The same application with dtypes replaced (float64="float32"), or None if the op does not take them."""
        change = {DTYPES[old]: DTYPES[new] for old, new in to.items()}
        types = tuple(Type(change.get(t.dtype, t.dtype), t.shape) for t in self.types)
        attributes = {k: change.get(v, v) if isinstance(v, np.dtype) else v for k, v in self.attributes.items()}
        try:
            check(self.op, types, attributes)
        except GraphError:
            return None
        return Case(self.op, types, attributes)


def every() -> Iterator[Case]:
    """Each op's examples and MORE, as they stand (floats are float64). reverse_only is never run: it has tests of its own."""
    for name in sorted(TABLE.keys() - {"reverse_only"}):
        for example in TABLE[name].examples + MORE.get(name, ()):
            yield Case(TABLE[name], example.types, dict(example.attributes))


def differentiable() -> list[Case]:
    """The cases with a floating operand."""
    return [case for case in every() if case.floating]


def single() -> list[Case]:
    """The float32 counterparts of those ops that take float32 throughout."""
    return [c for case in differentiable() if (c := case.retyped(float64="float32")) is not None]
