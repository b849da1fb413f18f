"""A Graph becomes a Program: straight-line steps over preallocated buffers.

A Program is immutable and may be run by several threads at once: its buffers live in a Workspace,
one per running call, pooled. Results never alias a workspace or an input. NumPy's floating-point
warnings are off: NaN and infinity are answers, and who made them is found by nonfinite.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import Cancelled, Error, Fault
from ..graph import Graph, Node
from ..ops.op import Structured, lookup
from ..plan.cost import node_cost
from ..plan.memory import Layout, layout, places
from ..transforms.expand import expand
from .executor import Array, Stop, never
from .structured import Runner, runner

FLOPS_BETWEEN_STOPS = 10_000_000
"""stop() is asked at least this often (CONTRACT B7): some milliseconds of work."""

MAX_POOLED_BYTES = 256 << 20
"""Of all idle workspaces together; one that does not fit goes back to the system after its call."""


Workspace = list[tuple[Array, ...]]
"""For each node the views of its buffer that its results are written to, none where it has no buffer."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node: `run` on the values in slots `operands`, with `out=` the workspace's view (a tuple for several results) where it has a buffer."""

    node: int
    slot: int
    """of its first result; further ones follow"""
    operands: tuple[int, ...]
    run: Callable[..., Any]
    into: bool
    ask: bool
    """whether to ask stop() before it"""
    structured: Runner | None = None
    """what runs a node that holds graphs: all its results, allocated anew"""
    drops: tuple[int, ...] = ()
    """slots whose values are let go after it"""


class Program:
    """`run(inputs, stop)` -> the graph's outputs, as owned C-order arrays.

    It holds the graph's nodes but not the graph, by which `program_of` remembers it.
    """

    def __init__(self, graph: Graph) -> None:
        graph = expand(graph)
        self.layout: Layout = layout(graph)
        self.constants: dict[int, Array] = {}
        self.steps: list[Step] = []
        self._nodes = graph.nodes
        self._arity = graph.arity
        # Every result of every node has a slot; inputs come first and have one each.
        first = [0, *accumulate(len(node.types) for node in graph.nodes)]
        self._slots = first[-1]
        self._outputs = [(first[ref.node] + ref.result, self.layout.owned[ref.node]) for ref in graph.outputs]
        self._pool = _Pool(sum(self.layout.sizes))
        flops = 0
        programs: dict[str, Program] = {}

        def shared(held: Graph) -> Program:
            if held.fingerprint not in programs:
                programs[held.fingerprint] = program_of(held)
            return programs[held.fingerprint]

        for i in range(graph.arity, len(graph.nodes)):
            node = graph.nodes[i]
            op, attributes = lookup(node.op), dict(node.attributes)
            operands = tuple([first[n] + r for n, r in node.operands])
            drops = tuple([slot for n in self.layout.dropped[i] for slot in range(first[n], first[n + 1])])
            if isinstance(op.derivative, Structured):
                self.steps.append(Step(i, first[i], operands, _never_called, False, True, runner(node, shared), drops))
                continue
            assert op.apply is not None, f"{node.op} should have been expanded"
            run = partial(op.apply, **attributes) if attributes else op.apply
            if not node.operands:
                self.constants[first[i]] = run()
                continue
            flops += node_cost(graph, node).flops
            ask = flops > FLOPS_BETWEEN_STOPS
            flops = 0 if ask else flops
            copied = self.layout.copied[i]
            self.steps.append(Step(i, first[i], operands, _copied if copied else run, copied or not op.view, ask, None, drops))

    def run(self, inputs: Sequence[Array], stop: Stop = never) -> list[Array]:
        """`inputs` in the graph's order, of its types and C-contiguous. Raises Cancelled if stop() says so."""
        workspace = self._pool.take() or self._workspace()
        values: list[Any] = [None] * self._slots
        values[: self._arity] = inputs
        for slot, array in self.constants.items():
            values[slot] = array
        owned = self.layout.owned
        step = None
        try:
            with np.errstate(all="ignore"):
                for step in self.steps:
                    if step.ask and stop():
                        raise Cancelled("the work was stopped")
                    operands = [values[slot] for slot in step.operands]
                    if step.structured is not None:
                        results = step.structured([np.asarray(x, order="C") for x in operands], stop)
                        values[step.slot : step.slot + len(results)] = results
                        del results
                    elif not step.into:
                        values[step.slot] = step.run(*operands)
                    else:
                        out = _empty(self._nodes[step.node]) if owned[step.node] else workspace[step.node]
                        step.run(*operands, out=out if len(out) > 1 else out[0])
                        values[step.slot : step.slot + len(out)] = out
                    for slot in step.drops:
                        values[slot] = None
            return self._results(values)
        except Error as error:
            if step is not None and step.structured is not None and not isinstance(error, Cancelled):
                # It arose inside: of the nodes round it the outermost is one of the caller's graph.
                error.node, error.op = self._nodes[step.node].origin, self._nodes[step.node].op
            raise
        except MemoryError:
            raise
        except Exception as error:
            node = self._nodes[step.node] if step else None
            raise Fault(f"a kernel failed: {type(error).__name__}: {error}", node=node.origin if node else None, op=node.op if node else "") from error
        finally:
            self._pool.give_back(workspace)

    def _results(self, values: list[Any]) -> list[Array]:
        """Outputs the steps allocated go out as they are, once; everything else is copied."""
        given: set[int] = set()
        results = []
        for slot, owned in self._outputs:
            fresh = owned and slot not in given
            results.append(values[slot] if fresh else np.array(values[slot], order="C"))
            given.add(slot)
        return results

    def _workspace(self) -> Workspace:
        """Views of its buffer for every node that has one."""
        buffers = [np.empty(n, np.uint8) for n in self.layout.sizes]
        return [_views(buffers[b], node) if b >= 0 else () for b, node in zip(self.layout.buffer, self._nodes, strict=True)]


class _Pool:
    """The idle workspaces of one program. All pools share MAX_POOLED_BYTES."""

    _lock = threading.Lock()
    _held_bytes = 0

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self._idle: list[Workspace] = []

    def take(self) -> Workspace | None:
        with _Pool._lock:
            if not self._idle:
                return None
            _Pool._held_bytes -= self._nbytes
            return self._idle.pop()

    def give_back(self, workspace: Workspace) -> None:
        with _Pool._lock:
            if _Pool._held_bytes + self._nbytes <= MAX_POOLED_BYTES:
                _Pool._held_bytes += self._nbytes
                self._idle.append(workspace)

    def __del__(self) -> None:
        # No lock: the collector may run this in a thread that holds it; nobody else has this pool now.
        _Pool._held_bytes -= self._nbytes * len(self._idle)


def _empty(node: Node) -> tuple[Array, ...]:
    return tuple([np.empty(t.shape, t.dtype) for t in node.types])


def _views(buffer: Array, node: Node) -> tuple[Array, ...]:
    return tuple([buffer[at : at + t.nbytes].view(t.dtype).reshape(t.shape) for at, t in zip(places(node)[:-1], node.types, strict=True)])


def _copied(x: Array, out: Array) -> None:
    """A reshape that cannot be a view: the elements in C order into a contiguous place."""
    np.copyto(out.reshape(x.shape), x)


def _never_called(*_: Any) -> Any:
    raise AssertionError("a structured step has a runner")


_programs: WeakKeyDictionary[Graph, Program] = WeakKeyDictionary()


def program_of(graph: Graph) -> Program:
    """The program of a graph, made once for as long as the graph lives."""
    program = _programs.get(graph)
    if program is None:
        # Two threads may make it at once; both are equal and one is kept.
        program = _programs.setdefault(graph, Program(graph))
    return program
