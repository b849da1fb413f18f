"""Hot plans move to the native tier: a plan of their own, made behind the answers, that agrees to rounding."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled, GraphError
from backsweep_engine.execute import hot
from backsweep_engine.execute.executor import Block, Stop, never
from backsweep_engine.execute.hot import HOT_CALLS, HOT_LOOP_CALLS, Hot, Steady, compile_plan
from backsweep_engine.execute.local import Local
from backsweep_engine.execute.native.machine import Machine
from backsweep_engine.execute.native.parts import whole_code
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.plan import Plan, Tier
from backsweep_engine.query import Gradient, Jacobian, Value, ValueAndGradient
from support.graphs import F64, I64, build, named, scan

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")

Array = np.ndarray[Any, Any]


class Noted:
    """An Executor that notes the tier of each run."""

    lanes = 1

    def __init__(self) -> None:
        self.tiers: list[Tier] = []
        self._local = Local()

    def blocks(self, plan: Plan, values: Mapping[str, Array], stop: Stop) -> Iterator[Block]:
        self.tiers.append(plan.tier)
        assert all(s.tier is plan.tier for s in plan.sweeps)
        return self._local.blocks(plan, values, stop)

    def close(self) -> None: ...


def planned(graph: Graph, query: Any) -> Plan:
    return make_plan(graph, [Ask(query, {})], Budget())


def arrays(executor: Any, plan: Plan, values: Mapping[str, Array], stop: Stop = never) -> list[Array]:
    blocks = sorted(executor.blocks(plan, values, stop), key=lambda b: (b.query, b.part, b.start))
    return [b.array for b in blocks]


def loop(x: Any, a: Any) -> Any:
    return scan(lambda s, a: (s + 1e-3 * np.sin(s * a),), [x], [], [a], length=2000)[0]


CASES: dict[str, tuple[Graph, Any, int]] = {
    "a small gradient": (named("rosenbrock"), Gradient(("x",)), HOT_CALLS),
    "a gradient through a loop": (build(loop, x=F64[()], a=F64[()]), ValueAndGradient(("x", "a")), HOT_LOOP_CALLS),
    "a Jacobian in blocks": (build(lambda x: np.tanh(x) * np.sin(x), x=F64[40]), Jacobian(("x",), block=16), HOT_CALLS),
    "a large region": (build(lambda x, y: (np.mean(np.exp(-x * x) * y), np.sin(x) + y), x=F64[100, 500], y=F64[500]), Value(), HOT_CALLS),
}


@pytest.mark.parametrize("name", CASES)
def test_a_plan_asked_often_runs_on_the_native_tier_and_agrees(name: str) -> None:
    graph, query, needed = CASES[name]
    plan = planned(graph, query)
    values = {n: np.random.default_rng(1).normal(size=t.shape) for n, t in zip(graph.input_names, graph.input_types, strict=True)}
    noted = Noted()
    executor = Hot(noted)
    before = [arrays(executor, plan, values) for _ in range(needed)]
    assert noted.tiers == [Tier.NUMPY] * needed
    hot._waiting.join()
    after = [arrays(executor, plan, values) for _ in range(2)]
    assert noted.tiers[needed:] == [Tier.NATIVE] * 2
    for a, b, c in zip(before[0], after[0], after[1], strict=True):
        np.testing.assert_array_equal(b, c)
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-14 * np.max(np.abs(a), initial=0))


def test_a_plan_asked_seldom_stays() -> None:
    plan, noted = planned(named("chain"), Gradient(("x",))), Noted()
    executor = Hot(noted)
    for _ in range(HOT_CALLS - 1):
        arrays(executor, plan, {"x": np.ones(6)})
    hot._waiting.join()
    arrays(executor, plan, {"x": np.ones(6)})
    assert set(noted.tiers) == {Tier.NUMPY}


def heated(executor: Any, noted: Noted, plan: Plan, values: Mapping[str, Array]) -> list[Tier]:
    """Asked until it is hot, compiled behind the answers, asked once more: the tiers of all runs."""
    begun = len(noted.tiers)
    for _ in range(HOT_CALLS):
        arrays(executor, plan, values)
    hot._waiting.join()
    arrays(executor, plan, values)
    return noted.tiers[begun:]


def test_a_plan_whose_code_made_room_answers_with_numpy_until_it_is_hot_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "MAX_NATIVE", 1)
    threads = set()
    compiled = Machine.compile

    def compile(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.current_thread().name)
        return compiled(*args, **kwargs)

    monkeypatch.setattr(Machine, "compile", compile)
    noted = Noted()
    executor, values = Hot(noted), {"x": np.linspace(0.1, 0.9, 40)}
    # One of each has sweeps, whose programs have code of their own.
    first = planned(build(lambda x: np.tanh(x) * np.sin(x), x=F64[40]), Jacobian(("x",), block=16))
    second = planned(build(lambda x: np.sum(np.tanh(x) * x), x=F64[40]), Gradient(("x",)))
    cold = np.concatenate(arrays(executor, first, values))
    assert heated(executor, noted, first, values)[-1] is Tier.NATIVE
    warm = np.concatenate(arrays(executor, first, values))
    assert heated(executor, noted, second, values)[-1] is Tier.NATIVE
    before = len(noted.tiers)
    np.testing.assert_array_equal(np.concatenate(arrays(executor, first, values)), cold)
    assert noted.tiers[before:] == [Tier.NUMPY]
    assert heated(executor, noted, first, values)[-1] is Tier.NATIVE
    np.testing.assert_array_equal(np.concatenate(arrays(executor, first, values)), warm)
    assert threads == {"backsweep-native"}, "an answer waited for the compiler"


def test_a_run_keeps_its_code_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot, "MAX_NATIVE", 1)
    noted = Noted()
    executor, values = Hot(noted), {"x": np.linspace(0.1, 0.9, 40)}
    first = planned(build(lambda x: np.tanh(x) * np.sin(x), x=F64[40]), Jacobian(("x",), block=16))
    second = planned(build(lambda x: np.sum(np.tanh(x) * x), x=F64[40]), Gradient(("x",)))
    heated(executor, noted, first, values)
    running = executor.blocks(first, values, never)
    next(running)
    monkeypatch.setattr(Machine, "compile", None)  # whoever compiles now fails
    hot._natives.add(hot._Heat(1), [second.once])
    assert len(list(running)) == 2 and noted.tiers[-1] is Tier.NATIVE


def test_code_that_wants_more_memory_than_the_plan_promises_is_not_used() -> None:
    def rows(x: Any) -> Any:
        ys = scan(lambda s: (np.sin(s), s), [x], length=500)[1]
        return scan(lambda s, y: (s * 0.5 + y,), [x], [ys], length=500)[0]

    graph = build(rows, x=F64[()])
    assert (small := whole_code(graph, Tier.NATIVE, 1 << 20)) is not None
    assert small.__self__.scratch_bytes == 500 * 8  # type: ignore[attr-defined]
    assert whole_code(graph, Tier.NATIVE, 500 * 8 - 1) is None
    assert layout(graph).arena_bytes >= 500 * 8, "what it wants NumPy would want as well"
    assert Program(graph, Tier.NATIVE)._whole is not None


def test_the_tier_stands_in_the_plan_and_its_key() -> None:
    plan = planned(named("network"), Jacobian(("A",)))
    native = plan.on(Tier.NATIVE)
    assert native.key != plan.key and native.on(Tier.NUMPY).key == plan.key
    assert describe(native) == describe(plan) + "\ntier: native"


def test_results_of_the_native_tier_are_owned_and_apart() -> None:
    graph = build(lambda x: (x, np.sin(x), np.sin(x), x[::-1]), x=F64[5])
    plan = planned(graph, Value()).on(Tier.NATIVE)
    values = {"x": np.arange(5.0)}
    first = arrays(Local(), plan, values)
    kept = [y.copy() for y in first]
    for k, y in enumerate(first):
        assert y.flags.owndata and y.flags.writeable and not any(np.shares_memory(y, z) for z in [values["x"], *first[:k]])
        y.fill(7)
    for y, z in zip(arrays(Local(), plan, values), kept, strict=True):
        np.testing.assert_array_equal(y, z)


def test_a_loop_past_its_bound_says_so_on_both_tiers() -> None:
    graph = build(lambda n, x: scan(lambda c: (c * 0.5,), [x], length=400_000, trips=n)[0], n=I64[()], x=F64[()])
    values = {"n": np.array(400_001), "x": np.array(1.0)}
    told = []
    for tier in Tier:
        with pytest.raises(GraphError, match="within its bound") as caught:
            arrays(Local(), planned(graph, Value()).on(tier), values)
        told.append((caught.value.reason, caught.value.node, caught.value.op, caught.value.got))
    assert told[0] == told[1]


def test_a_long_native_loop_can_be_stopped() -> None:
    graph = build(lambda x: scan(lambda c: (np.sin(c) + 0.1,), [x], length=5_000_000)[0], x=F64[()])
    plan = planned(graph, Value()).on(Tier.NATIVE)
    compile_plan(plan)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    with pytest.raises(Cancelled):
        arrays(Local(), plan, {"x": np.array(0.0)}, stop)


def test_without_llvmlite_plans_stay_with_numpy() -> None:
    script = """
        import sys
        sys.modules["llvmlite"] = None
        import numpy as np
        import backsweep as bs
        from backsweep_engine.execute import hot
        from backsweep_engine.execute.native.machine import machine
        from backsweep_engine.execute.native.small import compile_small
        f = lambda x: bs.fori_loop(0, 50_000, lambda i, s: s * 0.999 + 1e-3 * x, x)
        with bs.local() as service:
            g = service.submit(f, x=bs.float64)
            assert len({float(g(2.0)) for _ in range(hot.HOT_LOOP_CALLS + 1)}) == 1
            hot._waiting.join()
            assert abs(float(g(2.0)) - 2.0) < 1e-9
        assert machine() is None
        from backsweep_engine.execute.cluster.platform import numeric_platform
        assert "no native tier" in numeric_platform()
    """
    subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_a_steady_plan_keeps_its_tier_however_often_it_is_asked() -> None:
    graph = named("rosenbrock")
    noted, plan = Noted(), planned(graph, Gradient(("x",)))
    executor = Steady(Hot(noted))
    values = {n: np.ones(t.shape) for n, t in zip(graph.input_names, graph.input_types, strict=True)}
    for _ in range(2 * HOT_CALLS):
        arrays(executor, plan, values)
    hot._waiting.join()
    arrays(executor, plan, values)
    assert set(noted.tiers) == {Tier.NUMPY}


@pytest.mark.parametrize("functions", [1, 6])
def test_the_compiler_has_ended_when_the_process_does(functions: int) -> None:
    # After one function it is still importing LLVM when the process ends. What is registered first runs last: LLVM's own end comes after it.
    program = f"""
        import atexit, threading
        atexit.register(lambda: print([t.name for t in threading.enumerate() if t is not threading.current_thread()]))
        import numpy as np, backsweep as bs
        with bs.local() as service:
            for n in range(3, 3 + {functions}):
                f = service.submit(lambda x: np.sum(np.sin(x[1:] * x[:-1]) + np.exp(-x[:-1] ** 2)), x=bs.float64[n])
                for _ in range({HOT_CALLS + 1}):
                    f.gradient(np.ones(n))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[]\n", "")
