"""Tiling: how a region is cut into tiles, and where in the scratch each of its values is while a tile is in work.

Axes that every operand and reduction treats alike are joined first, so that most regions have one
or two. The first axis whose rest fits into a tile is cut; axes before it are looped over. The
order of a reduction follows from this alone: equal regions give equal bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..graph import DTYPES, Graph, Node, Ref, Type
from ..ops.op import lookup
from .regions import REDUCTIONS, SMALLEST_TILE, TILE, TILE_BYTES, padded_sums

ALIGNMENT = 64
FLOAT64 = DTYPES["float64"]


@dataclass(frozen=True, slots=True)
class Angle:
    """A node that is computed from one tangent (execute/half_angle.py): of `factor` times node `of`, together with the node `other`, or itself.

    `product`: it is the square of the sine, or (`mixed`) the sine times the cosine; else the sine, or (`mixed`) the cosine.
    """

    of: Ref
    factor: float
    other: int
    product: bool
    mixed: bool


@dataclass(frozen=True, slots=True)
class Tiling:
    """`shape`: that of the iteration, alike axes joined. `axis` is cut into tiles of `rows`. `elements`: of a tile, at most.

    `forms[k]`: the shape that operand k (an input or a constant) of the region is given, with a 1 where it is broadcast.
    `kept[i]`: for a reduction node, its axes that stay. `register[i]`: the number of the register node i is computed into;
    -1: an operand, an output or a reduction. `angles`: nodes that are a sine, cosines that are factors, and products of them;
    they work in register `spare`. `sums[i]`: for an output that is a sum of paddings, the nodes and where in it they begin,
    the last place first. `hosted[i]`: of a node computed straight into such a sum, which, and where. `absent`: nodes that are not
    computed, `sources[i]`: what node i is computed from. `offsets`, `scratch_bytes`: where registers begin, and all of them.
    `temporary_bytes`: the most a kernel allocates on a tile.
    """

    shape: tuple[int, ...]
    axis: int
    rows: int
    elements: int
    forms: dict[int, tuple[int, ...]]
    kept: dict[int, tuple[int, ...]]
    register: tuple[int, ...]
    angles: dict[int, Angle]
    sums: dict[int, tuple[tuple[int, int], ...]]
    hosted: dict[int, tuple[int, int]]
    absent: frozenset[int]
    sources: tuple[tuple[int, ...], ...]
    spare: int
    offsets: tuple[int, ...]
    scratch_bytes: int
    temporary_bytes: int


def tiling(graph: Graph, contiguous: Sequence[bool]) -> Tiling:
    """The tiling of a region's graph. `contiguous`: for each input, whether it is known to be C-contiguous."""
    full = next(node.types[0] for node in graph.nodes[graph.arity :] if lookup(node.op).pointwise).shape
    operands = {i: _source_shape(node) for i, node in enumerate(graph.nodes) if node.op in ("input", "constant")}
    reductions = {i: dict(node.attributes)["axes"] for i, node in enumerate(graph.nodes) if node.op in REDUCTIONS}
    groups = _joined(full, list(operands.values()), list(reductions.values()), all(contiguous))
    shape = tuple([math.prod(full[a] for a in group) for group in groups])
    forms = {i: tuple([math.prod(_along(source, full, a) for a in group) for group in groups]) for i, source in operands.items()}
    kept = {i: tuple([g for g, group in enumerate(groups) if group[0] not in axes]) for i, axes in reductions.items()}

    sums, between = _sums(graph, full)
    angles, unread = _angles(graph)
    absent = between | unread
    sources = _sources(graph, angles, absent, sums)
    hosted = _hosted(graph, sums, angles, sources)
    register, sizes = _registers(graph, angles, absent, hosted, sources)
    spare = len(sizes)
    if angles:
        sizes.append(8)
    whole = sum(forms[i] == shape for i in operands) + len(graph.outputs) - len(reductions)
    live = 8 * whole + sum(sizes)
    # What is below a tile is for compiled code, which needs no registers; kernels that take its place do with little.
    most = TILE if math.prod(full) > TILE else SMALLEST_TILE
    while most > SMALLEST_TILE and most * live > TILE_BYTES:
        most //= 2
    axis = next(a for a in range(len(shape)) if math.prod(shape[a + 1 :]) <= most)
    inner = math.prod(shape[axis + 1 :])
    rows = min(shape[axis], max(1, most // inner))
    elements = rows * inner
    offsets, at = [], 0
    for size in sizes:
        offsets.append(at)
        at += -(-size * elements // ALIGNMENT) * ALIGNMENT
    return Tiling(
        shape, axis, rows, elements, forms, kept, register, angles, sums, hosted, absent, sources, spare, tuple(offsets), at, _temporary_bytes(graph, elements)
    )


def _source_shape(node: Node) -> tuple[int, ...]:
    return np.shape(dict(node.attributes)["value"]) if node.op == "constant" else node.types[0].shape


def _along(source: tuple[int, ...], full: tuple[int, ...], axis: int) -> int:
    """How long an operand is along an axis of the iteration: 1 where it is broadcast."""
    place = axis - (len(full) - len(source))
    return source[place] if place >= 0 else 1


def _joined(full: tuple[int, ...], sources: Sequence[tuple[int, ...]], reductions: Sequence[tuple[int, ...]], join: bool) -> list[list[int]]:
    """Axes of length above 1, those together that follow each other and are alike for every operand and reduction."""
    groups: list[list[int]] = []
    before: object = None
    for a in range(len(full)):
        if full[a] == 1:
            continue
        key = ([_along(source, full, a) > 1 for source in sources], [a in axes for axes in reductions])
        if groups and join and key == before:
            groups[-1].append(a)
        else:
            groups.append([a])
        before = key
    return groups


def _angles(graph: Graph) -> tuple[dict[int, Angle], frozenset[int]]:
    """What is computed from one tangent, in float64, and what is not computed since only that read it."""
    given = {ref.node for ref in graph.outputs}
    readers: dict[int, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        for n in dict.fromkeys(ref.node for ref in node.operands):
            readers.setdefault(n, []).append(i)
    found: dict[Ref, dict[str, int]] = {}
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if node.op in ("sin", "cos") and node.types[0].dtype == FLOAT64:
            found.setdefault(node.operands[0], {})[node.op] = i
    angles: dict[int, Angle] = {}
    absent: set[int] = set()
    for ref, functions in found.items():
        sine, cosine = functions.get("sin", -1), functions.get("cos", -1)
        uses = {i: _product(graph.nodes[i], sine, cosine) for n in functions.values() for i in readers.get(n, ())}
        kinds = list(uses.values())
        if sine >= 0 and kinds and None not in kinds and len(set(kinds)) == len(kinds) and not given.intersection(functions.values()):
            mates = {i: (bool(mixed), True) for i, mixed in uses.items()}
            absent.update(functions.values())
        else:
            mates = {i: (op == "cos", False) for op, i in functions.items() if op == "sin" or "cos" in graph.factors}
        node = graph.nodes[ref.node]
        factor, of = 1.0, ref
        if node.op == "multiply" and ref.node not in given and all(i in absent or i in mates for i in readers[ref.node]):
            number = graph.nodes[node.operands[0].node]
            value = dict(number.attributes)["value"] if number.op == "constant" else None
            if mates and value is not None and value.size == 1 and ref.node not in angles and absent.isdisjoint(n for n, _ in node.operands):
                factor, of = float(value.reshape(())), node.operands[1]
                absent.add(ref.node)
        for i, (mixed, product) in mates.items():
            angles[i] = Angle(of, factor, next((j for j in mates if j != i), i), product, mixed)
    return angles, frozenset(absent)


def _product(node: Node, sine: int, cosine: int) -> bool | None:
    """False: the square of the sine; True: the sine times the cosine; None: neither."""
    operands = [ref.node for ref in node.operands]
    if node.op == "square" or node.op == "multiply":
        return False if set(operands) == {sine} else True if sorted(operands) == sorted((sine, cosine)) else None
    return None


def _sums(graph: Graph, full: tuple[int, ...]) -> tuple[dict[int, tuple[tuple[int, int], ...]], frozenset[int]]:
    """The outputs that are sums of paddings, and the nodes that only say so."""
    inner = {i for i in range(graph.arity, len(graph.nodes)) if graph.nodes[i].types[0].shape == full}
    found = padded_sums(graph, range(graph.arity, len(graph.nodes)), inner)
    sums = {i: tuple(sorted(found[i][0], key=lambda part: -part[1])) for i, _ in graph.outputs if i in found}
    return sums, frozenset(n for i in sums for n in found[i][1])


def _sources(graph: Graph, angles: dict[int, Angle], absent: frozenset[int], sums: dict[int, tuple[tuple[int, int], ...]]) -> tuple[tuple[int, ...], ...]:
    def of(i: int) -> tuple[int, ...]:
        if i in sums:
            return tuple([n for n, _ in sums[i]])
        return () if i in absent else (angles[i].of.node,) if i in angles else tuple([ref.node for ref in graph.nodes[i].operands])

    return tuple([of(i) for i in range(len(graph.nodes))])


def _hosted(
    graph: Graph, sums: dict[int, tuple[tuple[int, int], ...]], angles: dict[int, Angle], sources: Sequence[tuple[int, ...]]
) -> dict[int, tuple[int, int]]:
    """The first part of each sum where nothing reads it later than the sum does."""
    given = {ref.node for ref in graph.outputs}
    last = {n: i for i, read in enumerate(sources) for n in read}
    found: dict[int, tuple[int, int]] = {}
    for i, parts in sums.items():
        n, low = parts[0]
        if n >= graph.arity and last[n] == i and n not in given and n not in angles and sources[i].count(n) == 1:
            found.setdefault(n, (i, low))
    return found


def may_be_written_over(graph: Graph, tiles: Tiling) -> dict[int, tuple[int, ...]]:
    """For each output of a region that is no reduction: the inputs of its very type that nothing reads in a tile once it is written."""
    last: dict[int, int] = {}
    late: set[int] = set()
    """inputs that are read by the last to do so while it writes"""
    for i in range(graph.arity, len(graph.nodes)):
        node, angle = graph.nodes[i], tiles.angles.get(i)
        for place, n in enumerate(tiles.sources[i]):
            last[n] = i
            late.discard(n)
            elementwise = isinstance(lookup(node.op).apply, np.ufunc) or (node.op == "scale" and place == 0 and tiles.sources[i].count(n) == 1)
            if angle is not None or not elementwise:
                late.add(n)
    found = {}
    for k, (i, _) in enumerate(graph.outputs):
        if i not in tiles.kept and i not in tiles.angles and i not in tiles.sums:
            alike = [n for n in range(graph.arity) if n in last and graph.nodes[n].types[0] == graph.nodes[i].types[0]]
            found[k] = tuple([n for n in alike if last[n] < i or (last[n] == i and n not in late)])
    return found


def _registers(
    graph: Graph, angles: dict[int, Angle], absent: frozenset[int], hosted: dict[int, tuple[int, int]], sources: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], list[int]]:
    """The register of each node, and the bytes of an element of each register. A ufunc may write over an operand it reads last."""
    given = {ref.node for ref in graph.outputs}
    # The second of a pair is computed with the first, and so from then on in its place.
    at = {i: min(i, angle.other) for i, angle in angles.items()}
    last: dict[int, int] = {}
    for i, read in enumerate(sources):
        for n in read:
            last[n] = max(last.get(n, 0), at.get(i, i))
    register = [-1] * len(graph.nodes)
    sizes: list[int] = []
    free: dict[int, list[int]] = {}
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        op = lookup(node.op)
        dying = [n for n in dict.fromkeys(sources[i]) if register[n] >= 0 and last[n] == i]
        mates = sorted({i, angles[i].other}) if i in angles else [i]
        for j in mates if op.pointwise and i not in absent and mates[0] == i else ():
            if j in given or j in hosted:
                continue
            size = node.types[0].dtype.itemsize
            over = next((n for n in dying if isinstance(op.apply, np.ufunc) and graph.nodes[n].types[0] == node.types[0]), -1)
            if over >= 0:
                register[j] = register[over]
                dying.remove(over)
            elif free.get(size):
                register[j] = free[size].pop()
            else:
                register[j] = len(sizes)
                sizes.append(size)
        for n in dying:
            free.setdefault(sizes[register[n]], []).append(register[n])
    return tuple(register), sizes


def _temporary_bytes(graph: Graph, elements: int) -> int:
    most = 0
    for node in graph.nodes[graph.arity :]:
        op = lookup(node.op)
        if op.pointwise:
            types = [Type(graph.type_of(ref).dtype, (elements,)) for ref in node.operands]
            most = max(most, op.cost(tuple(types), (Type(node.types[0].dtype, (elements,)),), **dict(node.attributes)).workspace)
        elif node.op in REDUCTIONS:
            most = max(most, elements * node.types[0].dtype.itemsize)
    return most
