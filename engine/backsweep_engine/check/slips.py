"""Slips: the likely mistake behind wrong entries, told from what they are and what they should be.

A slip is a guess that helps a reader; it never changes an outcome. An entry is compared with its own
expected value, then with those of its partners: the transposed entry, and the same entry of another input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .verdict import Entry, Slip

Key = tuple[str, str, tuple[int, ...]]
"""Output, input, index."""

_NEAR = 1e-4
"""Relative: a wrong entry is as near as this to what it is taken for, or within its bound."""

_SIMPLE = (*range(2, 13), 24, 60, 100, 180, 360, 1000)


def key_of(entry: Entry) -> Key:
    return entry.output, entry.input, entry.index


def partners(entry: Entry, shapes: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]) -> list[tuple[Slip, Key]]:
    """Entries whose value this one may hold by mistake. `shapes`: of the wrt inputs; `outputs`: of named outputs."""
    found: list[tuple[Slip, Key]] = []
    turned = entry.index[::-1]
    shape = shapes[entry.input]
    if len(shape) == 2 and shape[0] == shape[1] and turned != entry.index:
        found.append((Slip.TRANSPOSED, (entry.output, entry.input, turned)))
    found += [(Slip.SWAPPED, (entry.output, name, entry.index)) for name, other in shapes.items() if name != entry.input and other == shape]
    name, _, place = entry.output.partition("[")
    at = tuple([int(i) for i in place.rstrip("]").split(", ") if i])
    if len(at) == 1 and len(entry.index) == 1 and outputs.get(name) == shape and at != entry.index:
        found.append((Slip.TRANSPOSED, (f"{name}[{entry.index[0]}]", entry.input, at)))
    return found


def slips(entries: Sequence[Entry], partnered: Mapping[Key, Sequence[tuple[Slip, float]]], size: int) -> tuple[tuple[Entry, ...], Slip | None]:
    """The entries with a slip each where one can be told, and the slip of all. `partnered`: what the partners
    should be; `size`: entries of wrt in all (1/n is a simple number: a mean for a sum)."""
    told = _swapped([replace(entry, slip=_of(entry, partnered.get(key_of(entry), ()), size)) for entry in entries])
    if not told:
        return (), None
    kinds = {entry.slip for entry in told}
    ratios = [entry.ratio for entry in told]
    common = len(told) > 1 and all(math.isfinite(r) and abs(r - ratios[0]) <= _tolerance(e) * max(1, abs(ratios[0])) for r, e in zip(ratios, told, strict=True))
    if len(kinds) == 1 and None not in kinds:
        return tuple(told), kinds.pop()
    if common:
        return tuple(told), Slip.SCALED
    if len(told) > 1 and None in kinds:
        return tuple(told), Slip.MISSING_TERM
    return tuple(told), None


def _tolerance(entry: Entry) -> float:
    return _NEAR + (entry.bound / abs(entry.expected) if entry.expected else math.inf)


def _of(entry: Entry, partnered: Sequence[tuple[Slip, float]], size: int) -> Slip | None:
    got, expected = entry.got, entry.expected
    if not math.isfinite(got):
        return Slip.NOT_FINITE
    if abs(got + expected) <= entry.bound + _NEAR * abs(expected):
        return Slip.SIGN
    for slip, value in partnered:
        if abs(got - value) <= 2 * entry.bound + 1e-7 * abs(value):
            return slip
    if got == 0:
        return Slip.MISSING_TERM
    if expected and entry.bound < 0.01 * abs(expected):
        ratio, near = abs(got / expected), _NEAR + entry.bound / abs(expected)
        for k in (*_SIMPLE, math.pi, 2 * math.pi, math.sqrt(2), math.log(2), size):
            if k != 1 and any(abs(ratio / simple - 1) <= near for simple in (k, 1 / k)):
                return Slip.FACTOR
    return None


def _swapped(entries: list[Entry]) -> list[Entry]:
    """Two entries that hold each other's values are swapped (or transposed, where partners said so)."""
    told = list(entries)
    for i, a in enumerate(entries):
        for j, b in enumerate(entries):
            near = a.bound + b.bound
            if i != j and told[i].slip in (None, Slip.FACTOR) and abs(a.got - b.expected) <= near and abs(b.got - a.expected) <= near:
                told[i] = replace(a, slip=Slip.SWAPPED)
    return told
