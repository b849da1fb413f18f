"""Runs the judge over the table of ops and the zoo, and prints what it found, a line for an op or a problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from backsweep_engine.ops import TABLE
from support.cases import Case, every
from support.zoo import ZOO

from .exact import exact
from .judge import QUANTITIES, TOLERANCE, WELL, Finding, Pair, condition, distance
from .listed import ILL_CONDITIONED, KINKS, LESS_ACCURATE
from .missing import NoPeer
from .zoo import traced

SEEDS = range(8)


@dataclass(slots=True)
class Line:
    """What was found for one op or problem. `off`: disagreements; `excused`: those that are JAX's, by mpmath."""

    name: str
    cases: int = 0
    found: list[Finding] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)

    def cell(self, quantity: str, dtype: str) -> str:
        worst = [f.distance for f in self.found if (f.quantity, f.dtype) == (quantity, dtype)]
        return f"{max(worst):.0e}" if worst else "-"

    def __str__(self) -> str:
        cells = "".join(f"{self.cell(q, dtype):>7}" for dtype in TOLERANCE for q in QUANTITIES)
        verdict = "OFF" if self.off else "JAX off" if self.excused else "ok"
        return f"{self.name:30}{self.cases:>5}{condition(self.found):>9.3g}  {cells}  {verdict}"


At = Callable[[str, int, dict[str, float] | None], list[Finding] | None]
"""The findings in a dtype at the point of a seed, or None if it does not take the dtype; with the conditions in the other dtype."""


def judged(at: At) -> list[Finding]:
    """In float64 at the first seed where all is finite and the condition at most WELL, else where it is smallest; in float32 there too."""
    best: list[Finding] = []
    place = 0
    for seed in SEEDS:
        found = at("float64", seed, None)
        if found is None:
            break
        if _finite(found) and (not best or condition(found) < condition(best)):
            best, place = found, seed
        if best and condition(best) <= WELL:
            break
    else:
        if not best:
            raise ValueError("no value is finite wherever it is drawn")
    return best + (at("float32", place, {f.quantity: f.condition for f in best}) or [])


def _finite(found: Iterable[Finding]) -> bool:
    return all(np.isfinite(y).all() for f in found if f.quantity == "value" for y in f.ours if y.dtype.kind == "f")


def op_line(name: str) -> Line:
    line = Line(name)
    for case in every():
        if case.op.name == name:
            _op_case(line, case)
    return line


def _op_case(line: Line, case: Case) -> None:
    single = case.retyped(float64="float32") if case.floating else None
    pairs: dict[str, tuple[Case, Pair]] = {}

    def at(dtype: str, seed: int, conditions: dict[str, float] | None) -> list[Finding] | None:
        chosen = case if dtype == "float64" else single
        if chosen is None:
            return None
        if dtype not in pairs:
            pairs[dtype] = chosen, Pair(chosen.graph())
        return pairs[dtype][1].at(chosen.draw(seed), conditions)

    for f in _tried(line, str(case), at):
        text = f"{case} {f}"
        truth = None if f.agrees else exact(case.op.name, f.quantity, f.points, len(case.types), case.attributes)
        if truth is not None:
            ours, theirs = (max(distance(y.astype(float), t) for y, t in zip(side, truth, strict=True)) for side in (f.ours, f.theirs))
            text += f"; off mpmath: ours {ours:.1e}, JAX's {theirs:.1e}"
            if ours <= f.allowed and line.name in LESS_ACCURATE:
                line.excused.append(text)
                continue
        if not f.agrees and str(case) in KINKS:
            line.excused.append(text)
        elif not f.agrees:
            line.off.append(text)
        elif f.condition > WELL and str(case) not in ILL_CONDITIONED:
            line.off.append(f"{text}: not named as ill-conditioned")


def zoo_line(name: str) -> Line:
    line = Line(name)

    def at(dtype: str, seed: int, conditions: dict[str, float] | None) -> list[Finding] | None:
        if dtype == "float32" and not ZOO[name].single:
            return None
        graph, inputs, moving = traced(name, dtype, seed)
        return Pair(graph, moving).at(inputs, conditions)

    for f in _tried(line, name, at):
        if not f.agrees:
            line.off.append(f"{name} {f}")
        elif f.condition > WELL and name not in ILL_CONDITIONED:
            line.off.append(f"{name} {f}: not named as ill-conditioned")
    return line


def _tried(line: Line, what: str, at: At) -> list[Finding]:
    """What is found; nothing if JAX has no peer, and an error of either side is a disagreement."""
    try:
        found = judged(at)
    except NoPeer:
        return []
    except Exception as error:
        line.off.append(f"{what}: {type(error).__name__}: {str(error).splitlines()[0]}")
        return []
    line.cases += 1
    line.found += found
    return found


def main(names: list[str]) -> int:
    """All of the table and the zoo, or the ops and problems named."""
    columns = "".join(f"{q:>7}" for _ in TOLERANCE for q in QUANTITIES)
    print(f"{'':46}{'float64, normwise':^28}{'float32, normwise':^28}\n{'':30}{'cases':>5}{'cond':>9}  {columns}")
    lines, alone = [], []
    for name in names or [*sorted(TABLE), *ZOO]:
        line = op_line(name) if name in TABLE else zoo_line(name)
        if line.cases or line.off:
            print(line, flush=True)
            lines.append(line)
        else:
            alone.append(name)
    off = [text for line in lines for text in line.off]
    print(f"\nJAX has no peer of {len(alone)}: {', '.join(alone)}")
    for line in lines:
        if line.excused:
            print(f"{line.name}: {LESS_ACCURATE.get(line.name, 'at a documented kink')}", *line.excused, sep="\n    ")
    print(*[f"OFF {text}" for text in off], f"{len(lines)} compared, {len(off)} disagreements", sep="\n")
    return 1 if off else 0
