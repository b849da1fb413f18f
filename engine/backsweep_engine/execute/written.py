"""Written: the steps of a program as generated Python, in parts that are compiled one by one.

Python's compiler takes ever longer for a name the more of them a function has (35,000 steps at once 3.5 s, in parts 0.4 s)
and nobody can stop it meanwhile, which one can between parts. Most programs are one part, which is then what is run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..stopping import paced
from .executor import Array, Run, Stop
from .source import Place, Source, names, unpacked

STEPS_OF_A_PART = 500


class Step(NamedTuple):
    """`form` on the values in slots `operands`, results to slots `results`.

    "ufunc": call(*operands, result). "kernel": call(*operands, out=result), a tuple for several. "view": the result is what
    call(*operands) returns. "runner": the runner number `call`, bound to the workspace, on both as sequences and on stop.
    """

    form: str
    call: Any
    operands: tuple[int, ...]
    results: tuple[int, ...]
    place: Place
    ask: bool = False
    """whether stop() is asked before it"""


Bind = Callable[[Sequence[Any], Sequence[Run]], Run]
"""From the values by slot, those that stand as long as a workspace, and its runners, to what works in it."""


def written(steps: Sequence[Step], arity: int, results: Mapping[int, int], standing: Collection[int]) -> Bind:
    """The steps as code. Slots: inputs come first; `results`: those of the outputs, and which; `standing`: of what is there before a call."""
    given = [*range(arity), *sorted(results, key=results.__getitem__)]
    if len(steps) <= STEPS_OF_A_PART:
        unpacking = [unpacked("v", given[:arity], "inputs"), unpacked("v", given[arity:], "outputs")]
        return _part(steps, standing, "inputs, outputs, stop", unpacking, [])
    # What comes with a call, and views made of it, go from part to part.
    moving = {slot: k for k, slot in enumerate([*given, *[step.results[0] for step in steps if step.form == "view"]])}
    parts = [_moving_part(steps[k : k + STEPS_OF_A_PART], standing, moving) for k in paced(range(0, len(steps), STEPS_OF_A_PART), 1)]
    blank = [None] * (len(moving) - len(given))

    def bind(values: Sequence[Any], runners: Sequence[Run]) -> Run:
        runs: list[Callable[..., None]] = [part(values, runners) for part in paced(parts, 4)]

        def run(inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop) -> None:
            carried = [*inputs, *outputs, *blank]
            for part in runs:
                part(carried, stop)

        return run

    return bind


def _moving_part(steps: Sequence[Step], standing: Collection[int], moving: Mapping[int, int]) -> Bind:
    made = {step.results[0] for step in steps if step.form == "view"}
    read = {slot for step in steps for slot in (*step.operands, *step.results) if slot in moving and slot not in made}
    return _part(
        steps, standing, "carried, stop", [f"v{s} = carried[{moving[s]}]" for s in sorted(read)], [f"carried[{moving[s]}] = v{s}" for s in sorted(made)]
    )


def _part(steps: Sequence[Step], standing: Collection[int], parameters: str, before: Sequence[str], after: Sequence[str]) -> Bind:
    held = sorted({slot for step in steps for slot in (*step.operands, *step.results) if slot in standing})
    numbers = sorted({step.call for step in steps if step.form == "runner"})
    source = Source()
    source.line(0, "def make(held, bound):")
    source.line(1, unpacked("v", held, "held"))
    source.line(1, unpacked("b", numbers, "bound"))
    source.line(1, f"def run({parameters}):")
    for text in before:
        source.line(2, text)
    for step in steps:
        if step.ask:
            source.line(2, "if stop(): halt()")
        operands, results = names("v", step.operands), names("v", step.results)
        call = f"b{step.call}" if step.form == "runner" else source.give(step.call)
        text = {
            "ufunc": f"{call}({operands}{results})",
            "view": f"{results.rstrip(', ')} = {call}({operands})",
            "kernel": f"{call}({operands}out={results.rstrip(', ') if len(step.results) == 1 else f'({results})'})",
            "runner": f"{call}(({operands}), ({results}), stop)",
        }[step.form]
        source.line(2, text, step.place)
    for text in after:
        source.line(2, text)
    source.line(1, "return run")
    make = source.compiled()
    return lambda values, runners: make([values[slot] for slot in held], [runners[k] for k in numbers])
