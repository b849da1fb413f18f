"""A plan as text for people: what runs once, what is swept, and what it promises."""

from __future__ import annotations

from ..text import summary
from .plan import Axis, Plan, Promise, Sweep, Tier

_WHAT = {Axis.ROW: "row", Axis.COLUMN: "column", Axis.POINT: "point", Axis.WHOLE: "answer"}


def describe(plan: Plan) -> str:
    """Some lines; their form may change between versions."""
    lines = [f"promise: {promise(plan.promise)}", f"once: {summary(plan.once)}"]
    residuals = [(n, t) for n, t in zip(plan.once.output_names, plan.once.output_types, strict=True) if not n.startswith("answer.")]
    if residuals:
        kept = ", ".join(str(t) for _, t in residuals)
        lines.append(f"  keeps {_count(len(residuals), 'residual')}, {bytes_text(sum(t.nbytes for _, t in residuals))}: {kept}")
    for sweep in plan.sweeps:
        lines += _sweep(sweep)
    if plan.tier is not Tier.NUMPY:
        lines.append(f"tier: {plan.tier.value}")
    return "\n".join(lines)


def _sweep(sweep: Sweep) -> list[str]:
    return [
        f"sweep: {sweep.note}; {_count(sweep.rows, _WHAT[sweep.axis])} in {_count(sweep.blocks, 'block')} of {sweep.width}",
        f"  each: {summary(sweep.each)}",
        f"  shares {len(sweep.shared)} values, yields {sweep.row_type} a row",
    ]


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
