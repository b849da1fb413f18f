"""A plan as text for people: what runs once, what is swept, and what it promises."""

from __future__ import annotations

from ..graph import Graph
from ..ops.op import lookup
from ..text import summary
from .loops import relieved
from .memory import layout
from .plan import Axis, Plan, Promise, Sweep, Tier
from .recovery import Form, Recovery
from .seeds import Coloured, Signs
from .strips import stripped

_WHAT = {Axis.ROW: "row", Axis.COLUMN: "column", Axis.POINT: "point", Axis.WHOLE: "answer"}


def describe(plan: Plan) -> str:
    """Some lines; their form may change between versions."""
    lines = [f"promise: {promise(plan.promise)}", f"once: {summary(plan.once)}", *_cuts(plan.once)]
    residuals = [(n, t) for n, t in zip(plan.once.output_names, plan.once.output_types, strict=True) if not n.startswith("answer.")]
    if residuals:
        kept = ", ".join(str(t) for _, t in residuals)
        lines.append(f"  keeps {_count(len(residuals), 'residual')}, {bytes_text(sum(t.nbytes for _, t in residuals))}: {kept}")
    lines += [f"  yields {note}" for note in dict.fromkeys(part.note for part in plan.parts) if note]
    for sweep in plan.sweeps:
        lines += _sweep(sweep)
    lines += [_recovery(r) for r in plan.recoveries]
    if plan.read:
        lines.append(f"holds for the values of {', '.join(sorted(plan.read))} only, which the pattern depends on")
    if plan.tier is not Tier.NUMPY:
        lines.append(f"tier: {plan.tier.value}")
    return "\n".join(lines)


def _cuts(graph: Graph) -> list[str]:
    """What of a graph runs a part at a time, strips of rows and tiles of elements: part of what shapes its bits."""
    strips = stripped(relieved(graph))
    if strips is None:
        return _tiles(graph)
    lines = []
    for i in sorted(strips.loops):
        attributes = dict(strips.graph.nodes[i].attributes)
        loop = attributes["body"]
        ops = sum(not lookup(node.op).view for node in loop.nodes[loop.arity :])
        lines.append(
            f"  {_count(ops, 'op')} row by row in {_count(attributes['length'], 'strip')} of {_count(loop.input_types[attributes['carries']].shape[0], 'row')}"
        )
    return [*lines, *_tiles(graph)]


def _tiles(graph: Graph) -> list[str]:
    found = [unit.tiles for unit in layout(graph).units if unit.tiles is not None]
    ops = sum(len(unit.nodes) for unit in layout(graph).units if unit.tiles is not None)
    sizes = ", ".join(map(str, sorted({tiles.elements for tiles in found})))
    return [f"  {_count(len(found), 'region')} of {_count(ops, 'op')} in tiles of {sizes}"] if found else []


def _sweep(sweep: Sweep) -> list[str]:
    return [
        f"sweep: {sweep.note}; {_count(sweep.rows, _what(sweep))} in {_count(sweep.blocks, 'block')} of {sweep.width}",
        f"  each: {summary(sweep.each)}",
        f"  shares {len(sweep.shared)} values, yields {sweep.row_type} a row",
    ]


def _what(sweep: Sweep) -> str:
    match sweep.seeds:
        case Coloured():
            return "colour"
        case Signs():
            return "sample"
    return _WHAT[sweep.axis]


def _recovery(recovery: Recovery) -> str:
    what = {Form.SPARSE: "delivered sparse", Form.DENSE: "delivered dense", Form.DIAGONAL: "its diagonal delivered"}
    return f"pattern: {recovery.note}, {what[recovery.form]}; {bytes_text(recovery.result_bytes)}"


def promise(promised: Promise) -> str:
    held, results = bytes_text(promised.peak_bytes), bytes_text(promised.result_bytes)
    return f"{_prefixed(promised.flops)}flop, {held} at the peak, {results} of results, {_count(promised.blocks, 'block')}"


def bytes_text(count: int) -> str:
    """A number of bytes with a binary prefix."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _prefixed(number: int) -> str:
    size = float(number)
    for prefix in ("", "k", "M", "G"):
        if size < 1000:
            return f"{size:.3g} {prefix}"
        size /= 1000
    return f"{size:.3g} T"
