"""A region's code: nested loops over tiles, in which every node is one call of its kernel.

Which tiles, and where values are kept meanwhile, says plan/tiling.py. A whole output is written tile
by tile and read from there; a reduction adds what each tile yields to its output, tile after tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..plan.cost import node_cost
from ..plan.tiling import Tiling
from . import half_angle
from .executor import Array, Run
from .kernels import kernel
from .source import Source, names, place_of, unpacked

FLOPS_BETWEEN_STOPS = 10_000_000
"""stop() is asked at least this often (CONTRACT B7): some milliseconds of work."""

ANGLES = {(False, False): half_angle.sine, (False, True): half_angle.cosine, (True, False): half_angle.squared_sine, (True, True): half_angle.mixed}
"""By whether it is a product, and whether of the other kind (plan/tiling.py, Angle)."""

_REDUCE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class Tiled:
    """Runs a region: `bind(memory)` gives the function on its inputs and outputs."""

    def __init__(self, graph: Graph, tiling: Tiling) -> None:
        self.graph = graph
        self.tiling = tiling

    def bind(self, memory: Array, warm: bool = True) -> Run:
        tiling, inner = self.tiling, self.tiling.shape[self.tiling.axis + 1 :]
        whole, rest = [], []
        for i, number in enumerate(tiling.register):
            if number >= 0:
                dtype, at = self.graph.nodes[i].types[0].dtype, tiling.offsets[number]
                view = memory[at : at + tiling.elements * dtype.itemsize].view(dtype).reshape((tiling.rows, *inner))
                whole.append(view)
                rest.append(view[: tiling.shape[tiling.axis] % tiling.rows])
        if tiling.angles:
            at = tiling.offsets[tiling.spare]
            spare = memory[at : at + 8 * tiling.elements].view(np.float64).reshape((tiling.rows, *inner))
            whole.append(spare)
            rest.append(spare[: tiling.shape[tiling.axis] % tiling.rows])
        run: Run = self._make(tuple(whole), tuple(rest))
        return run

    @cached_property
    def _make(self) -> Callable[..., Run]:
        return _written(self.graph, self.tiling).compiled()


def _written(graph: Graph, tiling: Tiling) -> Source:
    source = Source()
    full, axis = tiling.shape, tiling.axis
    given = {ref.node: k for k, ref in enumerate(graph.outputs)}
    registers = [i for i, number in enumerate(tiling.register) if number >= 0]
    swept = {i: form for i, form in tiling.forms.items() if any(d > 1 for d in form)}
    source.line(0, "def make(whole, rest):")
    source.line(1, "def run(inputs, outputs, stop):")
    source.line(2, unpacked("x", range(graph.arity), "inputs"))
    source.line(2, unpacked("o", range(len(graph.outputs)), "outputs"))
    for i, form in tiling.forms.items():
        shape = form if i in swept else ()
        if i >= graph.arity:
            constant = dict(graph.nodes[i].attributes)["value"].reshape(shape)
            source.line(2, f"x{i} = {source.give(constant)}")
        elif graph.nodes[i].types[0].shape != shape:
            source.line(2, f"x{i} = x{i}.reshape({_tuple(shape)})")
    for i, k in given.items():
        if i in tiling.kept:
            source.line(2, f"o{k} = o{k}.reshape({_tuple([full[g] for g in tiling.kept[i]])})")
            source.line(2, f"o{k}.fill({source.give(_identity(graph.nodes[i]))})")
        elif i in tiling.sums:
            low = tiling.sums[i][0][1]
            source.line(2, f"o{k}[:{low}].fill(0)")
            source.line(2, f"o{k}[{low + full[0]}:].fill(0)")
        else:
            source.line(2, f"o{k} = o{k}.reshape({_tuple(full)})")
    depth = 2
    for g in range(axis):
        source.line(depth, f"for i{g} in range({full[g]}):")
        depth += 1
    outer = {i: f"x{i}" for i in swept}
    targets = {k: f"o{k}" for k in given.values()}
    if axis:
        for i, form in swept.items():
            outer[i] = f"y{i}"
            source.line(depth, f"y{i} = x{i}[{names('', [f'i{g}' if form[g] > 1 else 0 for g in range(axis)])}...]")
        for i, k in given.items():
            kept = [g for g in tiling.kept.get(i, range(axis)) if g < axis]
            targets[k] = f"p{k}"
            source.line(depth, f"p{k} = o{k}[{names('i', kept)}...]")
    length, rows = full[axis], tiling.rows
    source.line(depth, f"for a in range(0, {length}, {rows}):")
    depth += 1
    source.line(depth, "if stop(): halt()")
    source.line(depth, f"b = a + {rows}")
    if tiling.sums:
        source.line(depth, f"e = b if b <= {length} else {length}")
    if registers or tiling.angles:
        source.line(
            depth,
            unpacked("", [*[f"r{i}" for i in registers], *["spare"] * bool(tiling.angles)], f"whole if b <= {length} else rest" if length % rows else "whole"),
        )
    for i, form in swept.items():
        source.line(depth, f"t{i} = {outer[i]}[a:b]" if form[axis] > 1 else f"t{i} = {outer[i]}")
    flops = 0
    value: dict[int, str] = {i: f"t{i}" if i in swept else f"x{i}" for i in tiling.forms}
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if node.op == "broadcast":
            value[i] = value[node.operands[0].node]
        elif i in tiling.sums:
            _add_up(source, depth, node, tiling, i, value, targets[given[i]])
        elif i in tiling.kept:
            _reduce(source, depth, node, tiling.kept[i], tiling, value[node.operands[0].node], targets[given[i]])
        elif i not in tiling.forms:
            flops += node_cost(graph, node).flops * tiling.elements // max(1, node.types[0].size)
            if flops > FLOPS_BETWEEN_STOPS:
                source.line(depth, "if stop(): halt()")
                flops = 0
            angle = tiling.angles.get(i)
            if i in tiling.absent or (angle is not None and angle.other < i):
                continue  # not computed, or with the other of its pair
            for j in sorted({i, angle.other if angle else i}):
                value[j] = f"r{j}"
                if j in given:
                    value[j] = f"q{j}"
                    source.line(depth, f"q{j} = {targets[given[j]]}[a:b]")
                elif j in tiling.hosted:
                    host, low = tiling.hosted[j]
                    value[j] = f"q{j}"
                    source.line(depth, f"q{j} = {targets[given[host]]}[a + {low}:e + {low}]")
            if angle is not None:
                j = angle.other
                first, second = (j, i) if angle.mixed else (i, j)
                both = half_angle.products if angle.product else half_angle.both
                call, results = (both, [value[first], value[second]]) if i != j else (ANGLES[angle.product, angle.mixed], [value[i]])
                text = f"{source.give(call)}({value[angle.of.node]}, {source.give(angle.factor)}, {names('', results)}spare)"
                source.line(depth, text, place_of(node))
                continue
            call, positional = kernel(graph, node)
            operands = names("", [value[ref.node] for ref in node.operands])
            source.line(depth, f"{source.give(call)}({operands}{'' if positional else 'out='}{value[i]})", place_of(node))
    source.line(1, "return run")
    return source


def _add_up(source: Source, depth: int, node: Node, tiling: Tiling, i: int, value: Mapping[int, str], target: str) -> None:
    """A sum of paddings: its last part comes first, where no tile has added anything yet."""
    for n, low in tiling.sums[i]:
        part = f"{target}[a + {low}:e + {low}]"
        if (n, low) == tiling.sums[i][0]:
            if n not in tiling.hosted or tiling.hosted[n][0] != i:
                source.line(depth, f"{source.give(np.copyto)}({part}, {value[n]})", place_of(node))
        else:
            source.line(depth, f"{source.give(np.add)}({part}, {value[n]}, {part})", place_of(node))


def _reduce(source: Source, depth: int, node: Node, kept: tuple[int, ...], tiling: Tiling, value: str, target: str) -> None:
    ufunc, axis = _REDUCE[node.op], tiling.axis
    reduced = [g for g in range(len(tiling.shape)) if g not in kept]
    within = _tuple([g - axis for g in reduced if g >= axis])
    place = f"{target}[a:b]" if axis in kept else target
    dtype = source.give(node.types[0].dtype)
    reduce = source.give(ufunc.reduce)
    # Sums of many short rows by a product with ones: NumPy's own take 2 to 20 times as long (measured, rows of 2 to 4096).
    last, product = len(tiling.shape) - 1, node.op == "sum" and node.types[0].dtype.kind == "f"
    if all(g > axis for g in reduced):
        if product and reduced == [last]:
            source.line(depth, f"{source.give(_across)}({value}, {place})", place_of(node))
        else:
            source.line(depth, f"{reduce}({value}, {within}, {dtype}, {place})", place_of(node))
        return
    source.line(depth, f"u = {place}")
    part = f"{reduce}({value}, {within}, {dtype})" if within != "()" else value
    if product and within == "(0, )" and axis < last and tiling.rows > 1:
        part = f"{source.give(_down)}({value})"
    source.line(depth, f"{source.give(ufunc)}(u, {part}, out=u)", place_of(node))


@lru_cache(maxsize=256)
def _ones(length: int, dtype: np.dtype[Any]) -> Array:
    return np.ones(length, dtype)


def _across(x: Array, out: Array) -> None:
    """The sum over the last axis."""
    length = x.shape[-1]
    np.matmul(x.reshape(-1, length), _ones(length, x.dtype), out.reshape(-1))


def _down(x: Array) -> Array:
    """The sum over the first axis."""
    total: Array = np.matmul(_ones(len(x), x.dtype), x.reshape(len(x), -1))
    return total.reshape(x.shape[1:])


def _identity(node: Node) -> Any:
    dtype = node.types[0].dtype
    if node.op == "sum":
        return dtype.type(0)
    if dtype.kind == "f":
        return dtype.type(-np.inf if node.op == "max" else np.inf)
    if dtype.kind == "b":
        return node.op == "min"
    return np.iinfo(dtype).min if node.op == "max" else np.iinfo(dtype).max


def _tuple(numbers: Sequence[int]) -> str:
    return f"({names('', numbers)})"
