"""Blocks computed in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..errors import Cancelled
from ..graph import Graph
from ..plan.plan import Axis, Plan, Sweep
from ..plan.seeds import made
from ..stopping import stoppable
from ..transforms.batch import batch
from ..transforms.remember import remembered
from .executor import Array, Block, Once, Stop, Values
from .program import program_of


@remembered
def of_block(each: Graph, shared: int, width: int) -> Graph:
    """What a block runs: `each` with `width` rows of the inputs after the first `shared`."""
    mask = tuple(i >= shared for i in range(each.arity))
    return replace(batch(each, mask, width), factors=each.factors)


def once_of(plan: Plan) -> Once:
    """`once` on the plan's tier: who holds it holds its program, whatever is evicted meanwhile."""
    return program_of(plan.once, plan.tier).ready()


def run_once(plan: Plan, values: Values, stop: Stop) -> tuple[list[Block], dict[str, Array]]:
    """Runs `once`: the blocks it answers, and everything the sweeps may share, by name."""
    once = plan.once
    with stoppable(stop):
        run = once_of(plan)
    results, finite = run([values[name] for name in once.input_names], stop)
    blocks = [Block(p.query, p.part, Axis.WHOLE, 0, 1, results[p.output], finite=p.output in finite) for p in plan.parts]
    return blocks, {**values, **dict(zip(once.output_names, results, strict=True))} if plan.sweeps else {}


def shared_of(sweep: Sweep, pool: Values) -> tuple[Array, ...]:
    """The shared inputs of a sweep, from what `run_once` returned."""
    return tuple(pool[name] for name in sweep.shared)


def rows_of(sweep: Sweep, pool: Values, start: int, stop: int) -> tuple[Array, ...]:
    """The per-row inputs of one block where they are given; () where they are made."""
    return tuple(np.ascontiguousarray(pool[name][start:stop]) for name in sweep.given)


def compute(sweep: Sweep, shared: Sequence[Array], rows: Sequence[Array], start: int, stop: int, halt: Stop) -> Array:
    """One block: the pure function that local and cluster both call. Returns (stop - start, length)."""
    if not sweep.given:
        rows = (made(sweep.seeds, start, stop, sweep.length, sweep.each.input_types[-1].dtype),)
    with stoppable(halt):
        program = program_of(of_block(sweep.each, len(sweep.shared), stop - start), sweep.tier)
    (array,) = program.run([*shared, *rows], halt)
    return array


class Local:
    """The executor without workers."""

    lanes = 1

    def once(self, plan: Plan) -> Once:
        return once_of(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        whole, pool = run_once(plan, values, stop)
        yield from whole
        for sweep in plan.sweeps:
            shared = shared_of(sweep, pool)
            for start, end in sweep.ranges():
                if stop():
                    raise Cancelled("the work was stopped")
                array = compute(sweep, shared, rows_of(sweep, pool, start, end), start, end, stop)
                yield Block(sweep.query, sweep.part, sweep.axis, start, end, array)

    def close(self) -> None:
        """Nothing is held."""
