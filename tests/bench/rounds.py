"""One workload, all tools: each in a process of its own, taking turns for as many rounds as asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from .digest import Digest, differs
from .process import Failed, Process
from .tools import TOOLS
from .workload import Workload

MOST_CALLS = 20_000


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure. `rounds`: turns of each tool; `turn_seconds`: CPU of one turn; `most_seconds`: of all turns of a part."""

    rounds: int = 9
    turn_seconds: float = 0.04
    warm_seconds: float = 0.2
    most_seconds: float = 8.0


@dataclass(slots=True)
class Result:
    """What one tool did with one workload. Seconds are CPU, one list entry a round; bytes above what was held before."""

    tool: str
    version: str = ""
    problem: str = ""
    note: str = ""
    import_seconds: float = 0.0
    first_seconds: float = 0.0
    first_wall_seconds: float = 0.0
    bytes: int = 0
    digest: Digest | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, part: str = "derivative") -> float | None:
        times = self.seconds.get(part)
        return median(times) if times and not self.problem else None


def measure(workload: Workload, tools: Sequence[str], effort: Effort, small: bool = False) -> dict[str, Result]:
    """A result per tool. The first tool's digest judges the others: that of `hand`, if it takes part."""
    results = {tool: Result(tool) for tool in tools if TOOLS[tool].programs in workload.programs}
    with ExitStack() as stack:
        turns: list[tuple[Process, str, int, int]] = []
        for tool, result in results.items():
            process = stack.enter_context(Process(tool))
            try:
                turns += _first(process, workload, result, effort, small)
            except Failed as failed:
                result.problem = str(failed)
        for k in range(effort.rounds):
            for process, part, calls, rounds in turns:
                result = results[process.tool]
                if k < rounds and not result.problem:
                    try:
                        result.seconds[part].append(process.ask("time", part=part, calls=calls)["seconds"] / calls)
                        if k == rounds - 1:
                            result.bytes = max(result.bytes, process.ask("memory")["bytes"])
                    except Failed as failed:
                        result.problem = str(failed)
    answered = [result for result in results.values() if result.digest is not None and not result.problem]
    for result in answered:
        off = differs(result.digest or {}, answered[0].digest or {}, workload.tolerance)
        result.problem = f"DIFFERS from {answered[0].tool}: {off}" if off else ""
    return results


def _first(process: Process, workload: Workload, result: Result, effort: Effort, small: bool) -> list[tuple[Process, str, int, int]]:
    """The first call and the warm-up of one tool: for each part, how many calls a turn and how many turns."""
    started = process.ask("start")
    if "absent" in started:
        raise Failed(f"absent: {started['absent']}")
    result.version, result.import_seconds = started["version"], started["import_seconds"]
    made = process.ask("prepare", workload=workload.name, small=small)
    result.first_seconds, result.first_wall_seconds, result.bytes = made["first_seconds"], made["first_wall_seconds"], made["bytes"]
    result.digest, result.note = made["digest"], made["note"]
    warm = max(effort.warm_seconds, TOOLS[result.tool].settle_seconds)
    turns = []
    for part in made["parts"] if effort.rounds else ():
        # What a part does only once (compile, plan) must not pass for what it costs.
        process.ask("time", part=part, calls=1)
        calls, spent, each = 1, 0.0, 0.0
        while spent < warm:
            took = process.ask("time", part=part, calls=calls)["seconds"]
            spent, each = spent + took, took / calls
            calls = min(MOST_CALLS, max(2 * calls, calls + 1))
        result.seconds[part] = []
        each = max(each, 1e-7)
        turns.append((process, part, max(1, min(MOST_CALLS, round(effort.turn_seconds / each))), max(1, min(effort.rounds, int(effort.most_seconds / each)))))
    return turns
