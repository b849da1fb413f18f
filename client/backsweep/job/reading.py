"""A suite file -> Suite. Every typo is named with file and line; a case with one is kept, as not runnable.

Nothing is opened here but the suite itself. Keys stand in KEYS, once, each with what it may hold.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from backsweep_engine.errors import Error
from backsweep_engine.query import Judge, Subject

from .positions import positions
from .suite import DOMAINS, Case, Domain, Sample, Spec, Suite

MAX_SUITE_BYTES = 16 << 20
MAX_CASES = 100_000
MAX_TEXT = 4096
MAX_SAMPLES = 10_000
"""Points drawn for one case."""

# What a key may hold. Each takes the TOML value and gives that of the record, or raises ValueError(what is allowed).


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or "\0" in value:
        raise ValueError(f"a text of 1 to {MAX_TEXT} characters")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    several = value if isinstance(value, list) else [value]
    if not several:
        raise ValueError("a text, or a list of texts")
    try:
        return tuple([_text(one) for one in several])
    except ValueError:
        raise ValueError("a text, or a list of texts") from None


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def take(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return take


def _positive(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError("a number above 0")
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def _subject(value: Any) -> str:
    allowed = [s for s in get_args(Subject) if s != "given"]
    if value not in allowed:
        raise ValueError(", ".join(allowed) + "; for a gradient of yours, gradient = FILE")
    return str(value)


def _judges(value: Any) -> tuple[str, ...]:
    try:
        several = _texts(value)
    except ValueError:
        several = ()
    if not several or not set(several) <= set(get_args(Judge)) or len(set(several)) < len(several):
        raise ValueError(f"one of {', '.join(get_args(Judge))}, or a list of them")
    return several


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table")
    return value


def _domain(value: Any) -> Domain:
    if isinstance(value, str) and value in DOMAINS:
        return value
    numbers = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not numbers or not -math.inf < value[0] <= value[1] < math.inf:
        raise ValueError(f"one of {', '.join(DOMAINS)}, or an interval [low, high]")
    return (value[0], value[1])


def _sample(value: Any) -> Sample:
    table = dict(_table(value))
    parts: dict[str, Any] = {}
    for key, take in (("count", _whole(1, MAX_SAMPLES)), ("seed", _SEED)):
        if key in table:
            try:
                parts[key] = take(table.pop(key))
            except ValueError as error:
                raise ValueError(f"for its {key}, {error}") from None
    domain = table.pop("domain", {})
    if table:
        raise ValueError(f"count, seed and domain; not {', '.join(map(repr, table))}")
    named = domain if isinstance(domain, dict) else {"": domain}
    return Sample(**parts, domain={name: _domain(one) for name, one in named.items()})


_SEED = _whole(0, (1 << 63) - 1)

KEYS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "graph": _text,
    "digest": _text,
    "function": _text,
    "inputs": _table,
    "bind": _text,
    "points": _texts,
    "sample": _sample,
    "wrt": _texts,
    "subject": _subject,
    "gradient": _texts,
    "judge": _judges,
    "seed": _SEED,
    "directions": _whole(1, 1024),
    "max_worst": _whole(1, 64),
    "block": _whole(0, 1 << 31),
    "coordinates": _flag,
    "blame": _flag,
    "bound": _positive,
    "timeout": _positive,
}
_OF_ONE_CASE = ("name", "graph", "digest", "function")
_TOP = {"title": _text, "seed": _SEED, "defaults": _table, "case": None}


def read_suite(path: Path) -> Suite:
    """The suite in a file; raises Error only if no case of it can be told: no such file, no TOML, no [[case]]."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SUITE_BYTES + 1)
    except OSError as error:
        raise Error("the suite cannot be read", reason="NO_FILE", got=str(path), hint=error.strerror or "") from None
    if len(raw) > MAX_SUITE_BYTES:
        raise Error("the suite is too large", reason="SUITE", got=f"more than {MAX_SUITE_BYTES} bytes", allowed=f"{MAX_SUITE_BYTES}", source=path.name)
    try:
        text = raw.decode()
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Error("the suite is not TOML", reason="SUITE", got=str(error), source=path.name) from None
    try:
        return _Reader(path, document, text).suite()
    except RecursionError:
        raise Error("the suite is nested too deep", reason="SUITE", source=path.name) from None


class _Reader:
    """One document, with the lines of its keys."""

    def __init__(self, path: Path, document: dict[str, Any], text: str) -> None:
        self.path, self.document = path, document
        self.lines = positions(text)

    def suite(self) -> Suite:
        tables = self.document.get("case", [])
        if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
            raise Error("the suite has no cases", reason="SUITE", source=self.path.name, allowed="at least one [[case]]")
        above: list[str] = []
        top = self._taken(self.document, (), _TOP, above)
        defaults = self._taken(top.get("defaults", {}), ("defaults",), {k: t for k, t in KEYS.items() if k not in _OF_ONE_CASE}, above)
        defaults.setdefault("seed", top.get("seed", 0))
        cases = [Case("(the suite itself)", Spec("(the suite itself)", self.path.name, problems=tuple(above)), 0, "")] if above else []
        names = {case.name for case in cases}
        for k, table in enumerate(tables):
            for case in self._cases(self._spec(table, k, defaults)):
                first = case.name
                if first in names:
                    n = next(n for n in range(2, len(names) + 3) if f"{first} ({n})" not in names)
                    problem = f"{case.spec.place}: a case of this name stands above: {first!r}"
                    case = replace(case, name=f"{first} ({n})", spec=replace(case.spec, problems=(*case.spec.problems, problem)))
                names.add(case.name)
                cases.append(case)
            if len(cases) > MAX_CASES:
                raise Error("the suite has too many cases", reason="SUITE", allowed=f"{MAX_CASES}", source=self._place(("case", k)))
        return Suite(str(top.get("title", self.path.stem)), self.path, tuple(cases))

    def _place(self, path: tuple[str | int, ...]) -> str:
        """file:line of a key, or of the table round it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path.name}:{self.lines[path]}" if path else self.path.name

    def _taken(self, table: Mapping[str, Any], path: tuple[str | int, ...], allowed: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
        """What a table sets; what it may not set is added to the problems."""
        taken: dict[str, Any] = {}
        for key, value in table.items():
            place = self._place((*path, key))
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(allowed)}"
                problems.append(f"{place}: unknown key {key!r}{hint}")
            elif allowed[key] is None:
                taken[key] = value
            else:
                try:
                    taken[key] = allowed[key](value)
                except ValueError as error:
                    problems.append(f"{place}: {key} = {_short(value)}; allowed: {error}")
        return taken

    def _spec(self, table: Mapping[str, Any], k: int, defaults: Mapping[str, Any]) -> Spec:
        place, problems = self._place(("case", k)), list[str]()
        own = self._taken(table, ("case", k), KEYS, problems)
        taken = {**defaults, **own}
        # One case says how its point is had, or what is judged: a default about the other does not hold for it.
        for one, other in (("points", "sample"), ("subject", "gradient")):
            for mine, theirs in ((one, other), (other, one)):
                if mine in own and theirs not in own:
                    taken.pop(theirs, None)
        if "name" not in table:
            problems.append(f"{place}: a case needs a name")
        if sum(key in table for key in ("graph", "digest", "function")) != 1:
            problems.append(f"{place}: a case needs one of graph, digest and function")
        if "points" in taken and "sample" in taken:
            problems.append(f"{place}: points are read or drawn: give points or sample, not both")
        if "gradient" in taken and "subject" in taken:
            problems.append(f"{place}: gradient is the subject: give gradient or subject, not both")
        if ("inputs" in taken) != ("function" in taken) and not problems:
            problems.append(f"{place}: inputs says the types of a function's arguments, and of nothing else")
        given, points = taken.get("gradient", ()), len(taken.get("points", ()))
        if len(given) > 1 and len(given) != points and not problems:
            problems.append(f"{self._place(('case', k, 'gradient'))}: {len(given)} gradients for {points} points; allowed: one for all, or one for each")
        known = {f.name for f in fields(Spec)}
        name = str(taken.pop("name", f"case {k + 1}"))
        return Spec(name, place, **{key: value for key, value in taken.items() if key in known}, problems=tuple(problems))

    def _cases(self, spec: Spec) -> list[Case]:
        if spec.problems:
            return [Case(spec.name, spec, 0, spec.judge[0])]
        points = len(spec.points) or (spec.sample or Sample()).count
        cases = []
        for point in range(points):
            for judge in spec.judge:
                name = spec.name + (f"/{point}" if points > 1 else "") + (f"/{judge}" if len(spec.judge) > 1 else "")
                cases.append(Case(name, spec, point, judge))
        return cases


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
