"""A Graph becomes a Program: straight-line steps over one arena of memory.

A Program is immutable and may be run by several threads at once: each running call has a Workspace
of its own, an arena with the views of it that the steps write to, and workspaces are pooled. Results
never alias a workspace or an input. The first call interprets the steps; from the second on, and in
loops, they are generated Python (CONTRACT B6), the same kernels on the same memory and so the same
bits. NumPy's floating-point warnings are off: NaN and infinity are answers, and who made them is
found by nonfinite.py.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, cast

import numpy as np

from ..errors import Cancelled, Error, Fault
from ..graph import Graph, Node, Ref, Type, results_of
from ..ops.op import Structured, lookup
from ..plan.cost import costs
from ..plan.loops import relieved
from ..plan.memory import Layout, Unit, layout, lies_of
from ..plan.plan import Tier
from ..plan.regions import FINE, TILE, TILES, Grain, Region
from ..plan.scalars import scalar_graph
from ..plan.strips import stripped
from ..stopping import paced, stoppable
from ..transforms.expand import expand
from .executor import Array, Finite, Once, Run, Stop, never
from .kernels import completed, kernel, put, reshaped
from .native.loop import CompiledLoop
from .native.parts import FINITE, Falling, loop_code, region_code, summed, whole_code
from .norms import bounding, factors_of
from .scalars import Straight, straight
from .source import Place, halt, place_in, place_of
from .structured import Runner, runner
from .tiles import FLOPS_BETWEEN_STOPS, Tiled
from .workspace import LARGE_RESULTS, LARGE_TEMPORARIES, Pool, keep_freed_memory
from .written import Bind, Step, written

STEP_FLOPS = 2000
"""What entering a kernel takes the time of: stop() is asked between many small ones too."""

SMALL_CHANGE = 64 << 10
"""Bytes by which compiled code may pass the promise, as what NumPy allocates besides arrays does: smaller regions keep a vector or two longer."""

UNKNOWN: Finite = frozenset()


class Program:
    """`run(inputs, stop)` -> the graph's outputs, as owned C-order arrays.

    It holds the graph's nodes but not the graph, by which `program_of` remembers it. `loops_whole`: whether loops are run as they
    stand, not relieved; None: where all of them are compiled. `grain`: of its regions, None: as suits the tier.
    """

    def __init__(self, graph: Graph, tier: Tier = Tier.NUMPY, loops_whole: bool | None = False, grain: Grain | None = None) -> None:
        graph = expand(graph)
        promised = layout(graph)
        watched = [k for k, type in enumerate(graph.output_types) if tier is Tier.NATIVE and type.is_float and type.size > TILE]
        self._watched = [(k, graph.output_types[k].dtype) for k in watched]
        """outputs that the whole graph's code sums up while it has them, which tells that they are finite"""
        self._whole = whole_code(summed(graph, watched) if watched else graph, tier, promised.arena_bytes + promised.temporary_bytes)
        """the whole graph in one call; its parts are then run only where a loop passes its bound"""
        self._tier = tier if self._whole is None else Tier.NUMPY
        codes = {} if loops_whole is False else _loop_codes(graph, self._tier, arrays=False)
        self._loops_whole = bool(codes) and all(codes.values()) if loops_whole is None else loops_whole
        if grain is None:
            fine = self._tier is Tier.NATIVE and layout(graph, self._loops_whole, FINE).peak_bytes <= promised.peak_bytes + SMALL_CHANGE
            grain = FINE if fine else TILES
        self._grain = grain if self._tier is Tier.NATIVE else TILES
        self.layout: Layout = layout(graph, self._loops_whole, self._grain)
        runs = graph if self._loops_whole else relieved(graph)
        strips = stripped(runs)
        if not self._loops_whole or strips is not None:
            graph = runs if strips is None else strips.graph
            codes = _loop_codes(graph, self._tier, not self._loops_whole, frozenset() if strips is None else strips.loops)
        self._loop_codes = codes
        # Every result of every node has a slot; inputs come first and have one each.
        self._first = [0, *accumulate(len(node.types) for node in graph.nodes)]
        self._arity = graph.arity
        self._outs = [(t.shape, t.dtype) for t in graph.output_types]
        self._results = {self._slot(ref): k for ref, k in self.layout.result.items()}
        self.constants: dict[int, Array] = {}
        self._views: list[tuple[int, int, Type]] = []
        """(slot, where in the arena, type) of what lives there"""
        self._fixed: list[Step] = []
        """views of the arena and of constants: made once per workspace"""
        self._steps: list[Step] = []
        self._bounds: list[tuple[int, int, Step]] = []
        """of outputs that are judged by norms: which, how many steps are before, and the step that bounds it"""
        self._runners: list[tuple[Runner, tuple[int, int]]] = []
        self._programs: dict[str, Program] = {}
        self._lay_out(graph)
        numbers = scalar_graph(graph)
        self._straight: Straight | None = None if numbers is None else straight(graph, numbers)()
        """on Python's numbers: no memory, and nothing of NumPy's that could warn"""
        self._runs = 0
        self._pool = Pool(self.layout.arena_bytes, len(self._bounds))
        if sum(t.nbytes for t in graph.output_types) >= LARGE_RESULTS or self.layout.temporary_bytes >= LARGE_TEMPORARIES:
            keep_freed_memory()

    def _slot(self, ref: Ref) -> int:
        return self._first[ref.node] + ref.result

    def _lay_out(self, graph: Graph) -> None:
        kept = set(range(self._arity)) | set(self._results)
        """slots that are there only once a call runs"""
        spent, flops = costs(graph), 0
        for unit in paced(self.layout.units):
            node = graph.nodes[unit.nodes[0]]
            if not node.operands:
                self.constants[self._slot(Ref(unit.nodes[0]))] = kernel(graph, node)[0]()
                continue
            step = self._step(graph, unit)
            for i in unit.nodes:
                for ref in results_of(i, len(graph.nodes[i].types)):
                    if ref in self.layout.place:
                        self._views.append((self._slot(ref), self.layout.place[ref], graph.type_of(ref)))
            if step.form == "view":
                if step.operands[0] not in kept:
                    self._fixed.append(step)
                    continue
                kept.update(step.results)
            if step.form != "runner":
                flops += STEP_FLOPS + spent[unit.nodes[0] - self._arity].flops
            ask = step.form == "runner" or flops > FLOPS_BETWEEN_STOPS
            flops = 0 if ask else flops
            self._steps.append(step._replace(ask=True) if ask else step)
            self._bound(graph, unit.nodes[0], step.place)
        given = {k: slot for slot, k in self._results.items()}
        for k, ref in enumerate(graph.outputs):
            if k not in given:
                slot = self._results_slot(k)
                self._steps.append(Step("ufunc", put, (self._slot(ref),), (slot,), place_of(graph.nodes[ref.node])))
                self._results[slot] = k

    def _bound(self, graph: Graph, node: int, place: Place) -> None:
        """Notes the step that bounds what the node, the last one laid out, gives: its factors are there, and nobody else has their places yet."""
        factors = factors_of(graph, Ref(node), self.layout.contiguous) if Ref(node) in graph.outputs else None
        if factors is not None:
            slots = tuple([self._slot(ref) for ref in factors])
            step = Step("ufunc", bounding(graph, *factors), slots, (self._mark_slot(len(self._bounds)),), place)
            self._bounds.append((graph.outputs.index(Ref(node)), len(self._steps), step))

    def _results_slot(self, k: int) -> int:
        """A slot of its own for an output that is copied."""
        return self._first[-1] + k

    def _mark_slot(self, k: int) -> int:
        """The slot of a bound, behind those."""
        return self._results_slot(len(self._outs)) + k

    def _step(self, graph: Graph, unit: Unit) -> Step:
        node = graph.nodes[unit.nodes[0]]
        if unit.region is not None and unit.tiles is not None:
            tiled = Tiled(unit.region.graph, unit.tiles)
            lies = [lies_of(graph, ref, self.layout) for ref in unit.region.inputs]
            known = None if None in lies else [strides for strides in lies if strides is not None]
            code = region_code(unit.region.graph, self._tier, known, self._written_over(unit.region))
            self._runners.append((Falling(code, tiled) if code else tiled, unit.scratch))
            slots = [tuple([self._slot(ref) for ref in refs]) for refs in (unit.region.inputs, unit.region.outputs)]
            return Step("runner", len(self._runners) - 1, slots[0], slots[1], place_of(node)._replace(inside=True))
        i = unit.nodes[0]
        operands = tuple([self._slot(ref) for ref in node.operands])
        results = tuple(range(self._first[i], self._first[i + 1]))
        op = lookup(node.op)
        if isinstance(op.derivative, Structured):
            contiguous = [self.layout.contiguous[ref.node] for ref in node.operands]
            part = runner(node, self._held)
            loop = self._loop_codes.get(i)
            if loop is not None and loop.scratch_bytes <= unit.scratch[1]:  # what wants more than was promised is not run
                part = Falling(loop.within, part)
            self._runners.append((_Contiguous(part, contiguous), unit.scratch))
            return Step("runner", len(self._runners) - 1, operands, results, place_of(node, structured=True))
        if self.layout.copied[i]:
            return Step("ufunc", reshaped, operands, results, place_of(node))
        if self.layout.hosted and any(self._is_part(ref, i) for ref in node.operands):
            rest, call = completed(graph, node, [self._is_part(ref, i) for ref in node.operands])
            return Step("ufunc", call, tuple([operands[k] for k in rest]), results, place_of(node))
        call, positional = kernel(graph, node)
        return Step("view" if op.view else "ufunc" if positional else "kernel", call, operands, results, place_of(node))

    def _written_over(self, region: Region) -> dict[int, int]:
        """The inputs whose places outputs have, and which. What is read lives, so else they are apart."""
        layout, places = self.layout, {self.layout.place[ref]: k for k, ref in enumerate(region.outputs) if ref in self.layout.place}
        held = {n: layout.place.get(Ref(layout.root[ref.node])) for n, ref in enumerate(region.inputs)}
        return {n: places[at] for n, at in held.items() if at is not None and at in places}

    def _is_part(self, ref: Ref, whole: int) -> bool:
        """Whether a value was computed straight into its part of a pad or concat."""
        return self.layout.hosted.get(ref.node, (-1,))[0] == whole

    def _held(self, held: Graph) -> Program:
        """Equal graphs have one program, wherever in this graph they are held."""
        if held.fingerprint not in self._programs:
            # Compiled code is this program's alone, so that it goes with it.
            native = self._tier is Tier.NATIVE
            self._programs[held.fingerprint] = Program(held, self._tier, self._loops_whole, self._grain) if native else program_of(held)
        return self._programs[held.fingerprint]

    def run(self, inputs: Sequence[Array], stop: Stop = never) -> list[Array]:
        """`inputs` in the graph's order, of its types and C-contiguous. Raises Cancelled if stop() says so."""
        return self.ready()(inputs, stop)[0]

    def ready(self) -> Once:
        """`run`, all told that does not change from call to call. It holds the program; the program does not hold it."""
        empty, types, watched = np.empty, self._outs, self._watched
        whole, straight, stepped = self._whole, self._straight, self._stepped
        every = frozenset(range(len(types)))
        alone = types[0] if len(types) == 1 else None

        def by_steps(inputs: Sequence[Array], stop: Stop) -> tuple[list[Array], Finite]:
            outs = [empty(*alone)] if alone is not None else [empty(shape, dtype) for shape, dtype in types]
            return outs, stepped(inputs, outs, stop)

        if straight is not None:

            def by_numbers(inputs: Sequence[Array], stop: Stop) -> tuple[list[Array], Finite]:
                outs = [empty(*alone)] if alone is not None else [empty(shape, dtype) for shape, dtype in types]
                return outs, every if straight(inputs, outs, stop) else UNKNOWN

        if whole is None:
            return by_steps if straight is None else by_numbers

        def by_code(inputs: Sequence[Array], stop: Stop) -> tuple[list[Array], Finite]:
            outs = [empty(*alone)] if alone is not None else [empty(shape, dtype) for shape, dtype in types]
            filled = whole(inputs, outs, stop)
            if not filled:
                stepped(inputs, outs, stop)
            return outs, every if filled == FINITE else UNKNOWN

        def by_watching_code(inputs: Sequence[Array], stop: Stop) -> tuple[list[Array], Finite]:
            outs, sums = [empty(shape, dtype) for shape, dtype in types], [empty((), dtype) for _, dtype in watched]
            if whole(inputs, [*outs, *sums], stop):
                return outs, frozenset([k for (k, _), total in zip(watched, sums, strict=True) if math.isfinite(total)])
            stepped(inputs, outs, stop)
            return outs, UNKNOWN

        return by_watching_code if watched else by_code

    def _stepped(self, inputs: Sequence[Array], outs: Sequence[Array], stop: Stop) -> Finite:
        """The steps in a workspace, and what is known of the outputs by their bounds."""
        workspace = self._pool.take()
        warm, self._runs = self._runs > 0, 1
        try:
            if workspace.run is None or warm > workspace.warm:
                with stoppable(stop):
                    workspace.run, workspace.warm = self.bind(workspace.memory, warm, workspace.marks), warm
            workspace.context.run(workspace.run, inputs, outs, stop)
            if not self._bounds:
                return UNKNOWN
            return frozenset([k for (k, _, _), mark in zip(self._bounds, workspace.marks.tolist(), strict=True) if math.isfinite(mark)])
        except Error as error:
            raise _located(error) from None
        except MemoryError:
            raise
        except Exception as error:
            place = place_in(error.__traceback__)
            node, op = (place.origin, place.op) if place else (None, "")
            raise Fault(f"a kernel failed: {type(error).__name__}: {error}", node=node, op=op) from error
        finally:
            self._pool.give_back(workspace)

    def bind(self, memory: Array, warm: bool = True, marks: Array | None = None) -> Run:
        """The function on inputs and outputs that works in this memory, `layout.arena_bytes` of it. One call at a time.

        `marks`: where the bounds of outputs go, for whoever reads them.
        """
        if self._straight is not None:
            return cast("Run", self._straight)  # that it returns something need not concern anybody
        values: list[Any] = [None] * self._mark_slot(len(self._bounds))
        for slot, array in self.constants.items():
            values[slot] = array
        for slot, at, type in paced(self._views):
            values[slot] = np.ndarray(type.shape, type.dtype, memory, at)
        with np.errstate(all="ignore"):
            for step in self._fixed:
                values[step.results[0]] = step.call(*[values[slot] for slot in step.operands])
        bound = [part.bind(memory[at : at + size], warm) for part, (at, size) in self._runners]
        if marks is not None:
            for k in range(len(self._bounds)):
                values[self._mark_slot(k)] = marks[k : k + 1]
        bounded = marks is not None and bool(self._bounds)
        if not warm:
            return self._interpreter(self._bounded if bounded else self._steps, values, bound)
        return (self._written_bounded if bounded else self._written)(values, bound)

    def _interpreter(self, steps: Sequence[Step], ready: Sequence[Any], bound: Sequence[Run]) -> Run:
        """The steps one by one, for the call that would not wait for generated code."""
        # Without self, which holds the workspace that holds this: memory must go when the program does, not when the collector comes.
        arity, given_out = self._arity, self._results

        def interpreted(inputs: Sequence[Array], outs: Sequence[Array], stop: Stop) -> None:
            values = list(ready)
            values[:arity] = inputs
            for slot, k in given_out.items():
                values[slot] = outs[k]
            for form, call, operands, results, place, ask in steps:  # noqa: B007  # place_in reads place
                if ask and stop():
                    halt()
                given = [values[slot] for slot in operands]
                if form == "ufunc":
                    call(*given, values[results[0]])
                elif form == "view":
                    values[results[0]] = call(*given)
                elif form == "kernel":
                    call(*given, out=values[results[0]] if len(results) == 1 else tuple([values[slot] for slot in results]))
                else:
                    bound[call](given, [values[slot] for slot in results], stop)

        return interpreted

    @cached_property
    def _bounded(self) -> list[Step]:
        """The steps with those that bound outputs."""
        steps = list(self._steps)
        for _, before, step in reversed(self._bounds):
            steps.insert(before, step)
        return steps

    @cached_property
    def _written(self) -> Bind:
        return self._as_code(self._steps)

    @cached_property
    def _written_bounded(self) -> Bind:
        return self._as_code(self._bounded)

    def _as_code(self, steps: Sequence[Step]) -> Bind:
        standing = {slot for slot, _, _ in self._views} | set(self.constants) | {step.results[0] for step in self._fixed}
        return written(steps, self._arity, self._results, standing | {self._mark_slot(k) for k in range(len(self._bounds))})


def _loop_codes(graph: Graph, tier: Tier, arrays: bool, strips: frozenset[int] = frozenset()) -> dict[int, CompiledLoop | None]:
    """The loops of a graph but those over strips, by node, and their code. `arrays`: whether on arrays too, which is for loops that are relieved."""
    loops = [(i, node) for i, node in enumerate(graph.nodes) if node.op in ("scan", "while_loop") and i not in strips]
    return {i: loop_code(node, [graph.type_of(ref) for ref in node.operands], tier, arrays) for i, node in loops}


def _located(error: Error) -> Error:
    """With the outermost node of those it arose in: that one is of the caller's graph."""
    place = place_in(error.__traceback__)
    if place is not None and place.structured and not isinstance(error, Cancelled):
        error.node, error.op = place.origin, place.op
    return error


class _Contiguous(NamedTuple):
    """A runner whose operands are made C-contiguous where they may not be."""

    runner: Runner
    known: Sequence[bool]

    def bind(self, memory: Array, warm: bool = True) -> Run:
        run, known = self.runner.bind(memory, warm), self.known
        if all(known):
            return run

        def copied(x: Sequence[Array], outs: Sequence[Array], stop: Stop) -> None:
            run([a if k else np.asarray(a, order="C") for a, k in zip(x, known, strict=True)], outs, stop)

        return copied


_programs: dict[int, Program] = {}
_natives: dict[int, Program] = {}
"""By the id of a graph that lives: an entry goes when its graph does. (A WeakKeyDictionary costs 0.3 us more a look.)"""


def program_of(graph: Graph, tier: Tier = Tier.NUMPY) -> Program:
    """The program of a graph, made once for as long as the graph lives; on the native tier, until it is forgotten."""
    made = _programs if tier is Tier.NUMPY else _natives
    program = made.get(id(graph))
    if program is None:
        program = Program(graph) if tier is Tier.NUMPY else Program(graph, tier, None)
        # Two threads may make it at once; both are equal and either is kept.
        made[id(graph)] = program
        weakref.finalize(graph, made.pop, id(graph), None).atexit = False
    return program


def forget_native(graph: Graph) -> None:
    """Frees the code of a graph. Nobody may be running it who would ask for it again."""
    _natives.pop(id(graph), None)


def alone(graph: Graph, node: Node) -> Program:
    """The program of one node of a graph: its operands in, its results out."""
    inputs = tuple([Node("input", (), (("name", str(k)),), (graph.type_of(ref),), node.origin) for k, ref in enumerate(node.operands)])
    results = range(len(node.types))
    only = node._replace(operands=tuple([Ref(k) for k in range(len(inputs))]))
    return Program(Graph((*inputs, only), len(inputs), tuple([Ref(len(inputs), r) for r in results]), tuple([str(r) for r in results])))
