"""The table: a line a workload, and what the lines say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .rounds import Result
from .targets import FIRST_CALL, GRADIENT_TO_VALUE, RATIOS
from .tools import TOOLS
from .workload import Workload

OURS = ("backsweep", "native")


@dataclass(frozen=True, slots=True)
class Line:
    """One workload's results by tool, and the figures read from them."""

    workload: Workload
    results: dict[str, Result]

    def seconds(self, tool: str, part: str = "derivative") -> float | None:
        return self.results[tool].median(part) if tool in self.results else None

    @property
    def best(self) -> tuple[str, float] | None:
        """The fastest peer whose answer is right."""
        times = [(t, name) for name, tool in TOOLS.items() if tool.peer and (t := self.seconds(name)) is not None]
        return (min(times)[1], min(times)[0]) if times else None

    def ratio(self, tool: str, part: str = "derivative") -> float | None:
        """CPU time a call, to the best peer's."""
        time, best = self.seconds(tool, part), self.best
        return time / best[1] if time is not None and best is not None else None

    def target(self, tool: str) -> float | None:
        return dict(zip(OURS, RATIOS[self.workload.name], strict=True)).get(tool) if self.workload.name in RATIOS else None

    def gradient_to_value(self, tool: str = "backsweep") -> float | None:
        gradient, value = self.seconds(tool), self.seconds(tool, "value")
        return gradient / value if self.workload.scalar and gradient is not None and value else None

    @property
    def first(self) -> float | None:
        """backsweep's first call, to JAX's."""
        ours, theirs = self.results.get("backsweep"), self.results.get("jax")
        if ours is None or theirs is None or not ours.first_seconds or not theirs.first_seconds:
            return None
        return ours.first_seconds / theirs.first_seconds

    @property
    def wrong(self) -> bool:
        """Whether an answer differs, or a tool that is not a peer fails."""
        return any(r.problem.startswith("DIFFERS") or (r.problem and not TOOLS[t].peer and not r.problem.startswith("absent")) for t, r in self.results.items())

    @property
    def remarks(self) -> list[str]:
        said = [(tool, r.problem or r.note) for tool, r in self.results.items()]
        return [f"{self.workload.name}: {tool}: {text}" for tool, text in said if text and not text.startswith("absent")]

    def __str__(self) -> str:
        ours, jax = (r.first_seconds if (r := self.results.get(tool)) else None for tool in ("backsweep", "jax"))
        peers = [r.bytes for tool, r in self.results.items() if TOOLS[tool].peer and r.bytes and not r.problem]
        held = [f"{b / 2**20:.0f}" if b else "-" for b in (self.results["backsweep"].bytes if ours else 0, min(peers, default=0))]
        return _row(
            self.workload.name,
            [_ms(self.seconds(tool)) for tool in TOOLS] + [_ms(self.seconds("backsweep", "program"))],
            self.best[0] if self.best else "-",
            [_judged(self.ratio(tool), self.target(tool)) for tool in OURS],
            [_short(self.gradient_to_value()), _ms(ours or None) + "/" + _ms(jax or None), "/".join(held)],
        )

    def as_json(self) -> dict[str, Any]:
        best = self.best
        return {
            "workload": self.workload.name,
            "best_peer": best[0] if best else None,
            "ratio": {tool: self.ratio(tool) for tool in self.results},
            "program_ratio": self.ratio("backsweep", "program"),
            "target": {tool: self.target(tool) for tool in OURS},
            "gradient_to_value": {tool: self.gradient_to_value(tool) for tool in self.results},
            "first_call_to_jax": self.first,
            "results": {tool: asdict(result) for tool, result in self.results.items()},
        }


def head() -> str:
    """What the columns are, and their names."""
    said = (
        "CPU ms a call, median, one thread; (program: backsweep's plan without its Python interface). To best: ratio to the best peer (figure to reach).\n"
        "grad/f: gradient to value. First: CPU ms of the first call, backsweep/JAX. MiB: peak memory, backsweep/the least of the peers.\n\n"
    )
    return said + _row("", [*TOOLS, "(program)"], "best peer", ["backsweep to best", "native to best"], ["grad/f", "first", "MiB"])


def _row(name: str, times: Sequence[str], best: str, ratios: Sequence[str], rest: Sequence[str]) -> str:
    return f"{name:37}" + "".join(f"{t:>10}" for t in times) + f"  {best:9}" + "".join(f"{r:>20}" for r in ratios) + _last(rest)


def _last(rest: Sequence[str]) -> str:
    return "".join(f"{text:>{width}}" for text, width in zip(rest, (7, 13, 11), strict=True))


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """The figures over all lines."""
    firsts = [line.first for line in lines if line.first is not None]
    ratios = {line.workload.name: r for line in lines if (r := line.gradient_to_value()) is not None}
    worst = max(ratios, key=lambda name: ratios[name], default="")
    judged = {t: [r <= goal for line in lines if (r := line.ratio(t)) is not None and (goal := line.target(t)) is not None] for t in OURS}
    return {
        "first_call_to_jax_median": median(firsts) if firsts else None,
        "gradient_to_value_worst": {"workload": worst, "ratio": ratios[worst]} if worst else None,
        "figures_met": {tool: f"{sum(met)} of {len(met)}" for tool, met in judged.items()},
        "versions": {tool: r.version for line in lines for tool, r in line.results.items() if r.version},
        "import_seconds": {
            t: median([line.results[t].import_seconds for line in lines if t in line.results]) for t in TOOLS if t != "hand" and t in lines[0].results
        },
        "absent": {tool: r.problem.removeprefix("absent: ") for line in lines for tool, r in line.results.items() if r.problem.startswith("absent")},
    }


def foot(lines: Sequence[Line]) -> str:
    said = summary(lines)
    worst = said["gradient_to_value_worst"]
    text = [
        "",
        f"first call, median of the ratios to JAX: {_judged(said['first_call_to_jax_median'], FIRST_CALL)}",
        f"gradient to value, worst: {_judged(worst['ratio'] if worst else None, GRADIENT_TO_VALUE)}{' - ' + worst['workload'] if worst else ''}",
        "figures met: " + ", ".join(f"{tool} {count}" for tool, count in said["figures_met"].items()),
        "tools: " + ", ".join(said["versions"].values()),
        "import, CPU ms: " + ", ".join(f"{tool} {t * 1e3:.0f}" for tool, t in said["import_seconds"].items() if t),
        *[f"absent: {tool}: {why}" for tool, why in said["absent"].items()],
        *[remark for line in lines for remark in line.remarks],
    ]
    return "\n".join(text)


def _short(x: float | None) -> str:
    return "-" if x is None else f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else _short(seconds * 1e3)


def _judged(ratio: float | None, target: float | None) -> str:
    if ratio is None or target is None:
        return _short(ratio)
    return f"{_short(ratio)} ({target:g}) {'met' if ratio <= target else 'NOT MET'}"
