"""What a Program asks of this tier: code for a whole graph, for a region, for a loop, or None.

None on the NumPy tier, where nothing can be compiled, and for whatever has no rule. An error while
compiling is logged and is None too: it is nobody's fault who asked for a gradient.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from ...graph import Graph, Node, Ref, Type
from ...plan.plan import Tier
from ..executor import Array, Stop
from .loop import CompiledLoop, compile_loop
from .region import Kernel, compile_region
from .small import FINITE as FINITE
from .small import Small, compile_small

_log = logging.getLogger("backsweep")

Run = Callable[[Sequence[Array], Sequence[Array], Stop], None]


class Compiled(Protocol):
    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop) -> int:
        """Whether the outputs were filled; if not the NumPy tier is to do it. FINITE: and they are known to hold no infinity or NaN. Raises Cancelled."""
        ...


Bound = Callable[[Array], Compiled]
"""What works in memory of its own once it is given some: the same that the NumPy tier would work in there."""


class Part(Protocol):
    def bind(self, memory: Array, warm: bool = ...) -> Run: ...


class Falling(NamedTuple):
    """Compiled code, and the part of the NumPy tier that takes over where it gives up."""

    within: Bound
    part: Part

    def bind(self, memory: Array, warm: bool = True) -> Run:
        code, part = self.within(memory), self.part

        def run(inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop) -> None:
            if not code(inputs, outputs, stop):
                part.bind(memory, warm)(inputs, outputs, stop)

        return run


def whole_code(graph: Graph, tier: Tier, room: int) -> Compiled | None:
    """Of an expanded graph that is small scalar work, or one region; its outputs are apart from all else. `room`: bytes promised besides."""
    small: Small | None = _tried(tier, compile_small, graph)
    if small is not None and small.scratch_bytes <= room:
        return small.__call__  # a method is entered sooner than an object that has it
    kernel: Kernel | None = _tried(tier, compile_region, graph)
    return kernel.apart if kernel is not None else None


def summed(graph: Graph, outputs: Sequence[int]) -> Graph:
    """The graph with the sum over each of these outputs as one more, behind its own."""
    refs = [graph.outputs[k] for k in outputs]
    types = [graph.type_of(ref) for ref in refs]
    sums = [
        Node("sum", (ref,), (("axes", tuple(range(t.rank))),), (t.with_shape(()),), graph.nodes[ref.node].origin) for ref, t in zip(refs, types, strict=True)
    ]
    places = tuple([Ref(len(graph.nodes) + k) for k in range(len(sums))])
    names = tuple([f"sum.{k}" for k in outputs])
    return replace(graph, nodes=(*graph.nodes, *sums), outputs=(*graph.outputs, *places), output_names=(*graph.output_names, *names))


def region_code(graph: Graph, tier: Tier, lies: Sequence[tuple[int, ...]] | None, over: Mapping[int, int]) -> Bound | None:
    """`lies`: bytes between the elements of each input along its axes; None: not known. `over`: the inputs that an output is written over, and which."""
    if lies is not None:
        code: Kernel | None = _tried(tier, compile_region, graph, 0, lies)
        if code is not None and all(k in code.in_place[n] for n, k in over.items()):
            return lambda memory: code.apart  # to find it out anew takes a small region's time
    whole: Kernel | None = _tried(tier, compile_region, graph)
    return None if whole is None else lambda memory: whole


def loop_code(node: Node, types: Sequence[Type], tier: Tier, arrays: bool) -> CompiledLoop | None:
    code: CompiledLoop | None = _tried(tier, compile_loop, node, types, arrays)
    return code


def _tried(tier: Tier, compile: Callable[..., Any], *of: Any) -> Any:
    if tier is not Tier.NATIVE:
        return None
    try:
        return compile(*of)
    except Exception:
        _log.exception("a part of a program could not be compiled; NumPy runs it")
        return None
