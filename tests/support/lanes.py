"""What lanes cost, measured: `python -m support.lanes [efficiency] [overhead] [growth]` prints the figures asked for, or all.

Ratios and differences only, interleaved, medians. Wall times mean little on a machine that does something else; CPU time
tells more then. The peer of the efficiency is two bare processes that compute the same blocks at once in the same run, without Ray.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backsweep_engine.execute.cluster import session
from backsweep_engine.execute.cluster.cluster import Cluster
from backsweep_engine.execute.cluster.platform import pin_threads
from backsweep_engine.execute.executor import Executor, never
from backsweep_engine.execute.local import Local, compute, run_once, shared_of
from backsweep_engine.graph import Builder, Type
from backsweep_engine.ops.term import Term
from backsweep_engine.plan.plan import Axis, Part, Plan, Promise, Sweep
from backsweep_engine.plan.seeds import Coloured
from support.plans import FLOAT64, jacobian_plan, jacobian_values
from support.rays import command, drivers

LANES = 2
SIZE, WIDTH = 600, 75
"""8 blocks of the Jacobian of tanh(A x)."""
ROUNDS = 3


def light_plan(blocks: int, kibibytes: int) -> Plan:
    """Blocks of so many KiB that are next to no work: one product an element. Nothing of that size is sent to the lanes."""
    length = 128
    vector = Type(FLOAT64, (length,))
    builder = Builder()
    x: Any = Term(builder, builder.input("x", vector))
    once = builder.build([("p", (2 * x).ref)])
    builder = Builder()
    p, t = (Term(builder, builder.input(name, vector)) for name in ("p", "t"))
    each = builder.build([("", (p * t).ref)])
    width = max(1, (kibibytes << 10) // vector.nbytes)
    rows = blocks * width
    seeds = Coloured(np.arange(length, dtype=np.int32))
    sweep = Sweep(1, each, ("p",), (), rows, width, Axis.ROW, vector, seeds=seeds)
    return Plan(once, (Part(0, 0, 0, vector),), (sweep,), Promise(0, 0, 0, blocks))


LIGHT = {"x": np.ones(128)}


def seconds(executor: Executor, plan: Plan, values: Any) -> float:
    before = time.monotonic()
    for _ in executor.blocks(plan, values, never):
        pass
    return time.monotonic() - before


def products_a_second() -> int:
    """Matrix products in a block that takes about a second here."""
    trial = jacobian_plan(SIZE, WIDTH, products=50)
    values = jacobian_values(SIZE)
    seconds(Local(), trial, values)
    before = time.process_time()
    seconds(Local(), trial, values)
    block = (time.process_time() - before) / trial.sweeps[0].blocks
    return max(1, round(50 / block))


def _bare(products: int, share: int) -> None:
    """The process of the peer: its share of the blocks, each time it is told to. Says when it is ready, and how long each took."""
    pin_threads()
    plan, values = jacobian_plan(SIZE, WIDTH, products=products), jacobian_values(SIZE)
    sweep = plan.sweeps[0]
    _, pool = run_once(plan, values, never)
    ranges = list(sweep.ranges())[share::LANES]
    compute(sweep, shared_of(sweep, pool), (), *ranges[0], never)
    print("ready", flush=True)
    for _ in sys.stdin:
        for start, stop in ranges:
            compute(sweep, shared_of(sweep, pool), (), start, stop, never)
        print("done", flush=True)


def efficiency() -> None:
    products = products_a_second()
    plan, values = jacobian_plan(SIZE, WIDTH, products=products), jacobian_values(SIZE)
    peer_command = [sys.executable, "-m", "support.lanes", "bare", str(products)]
    peers = [subprocess.Popen([*peer_command, str(k)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for k in range(LANES)]
    cluster = Cluster(LANES, 128 << 20)
    try:
        for peer in peers:
            _line(peer)
        seconds(cluster, plan, values)  # starts Ray and makes the program
        (driver,) = drivers(os.getpid())
        bare, lanes, bare_cpu, lanes_cpu = [], [], [], []
        for _ in range(ROUNDS):
            before, spent = time.monotonic(), _cpu([peer.pid for peer in peers])
            for peer in peers:
                assert peer.stdin is not None
                peer.stdin.write("go\n")
                peer.stdin.flush()
            for peer in peers:
                _line(peer)
            bare.append(time.monotonic() - before)
            bare_cpu.append(_cpu([peer.pid for peer in peers]) - spent)
            spent = _cpu([os.getpid(), *session.members(driver)])
            lanes.append(seconds(cluster, plan, values))
            lanes_cpu.append(_cpu([os.getpid(), *session.members(driver)]) - spent)
    finally:
        cluster.close()
        for peer in peers:
            peer.communicate("", timeout=60)
    ratio = statistics.median([b / c for b, c in zip(bare, lanes, strict=True)])
    blocks = plan.sweeps[0].blocks
    worked = statistics.median([b / c for b, c in zip(bare_cpu, lanes_cpu, strict=True)])
    print(f"efficiency: {blocks} blocks of {statistics.median(bare_cpu) / blocks:.2f} CPU seconds, two bare processes / two lanes:")
    print(f"  wall time {ratio:.3f} ({_list(bare, lanes)}); CPU time, all of Ray's processes counted, {worked:.3f} ({_list(bare_cpu, lanes_cpu)})")


def _line(peer: subprocess.Popen[str]) -> None:
    assert peer.stdout is not None
    if not peer.stdout.readline():
        raise AssertionError("a bare process ended")


def _list(above: Sequence[float], below: Sequence[float]) -> str:
    return ", ".join(f"{a:.2f}/{b:.2f} s" for a, b in zip(above, below, strict=True))


def overhead() -> None:
    """Of a block on one lane, beyond computing it here."""
    cluster = Cluster(1, 128 << 20)
    try:
        for kibibytes, blocks in ((1, 1000), (1 << 10, 200), (4 << 10, 60), (8 << 10, 30)):
            plan = light_plan(blocks, kibibytes)
            for executor in (cluster, Local()):
                seconds(executor, plan, LIGHT)
            more = [(seconds(cluster, plan, LIGHT) - seconds(Local(), plan, LIGHT)) / blocks for _ in range(ROUNDS)]
            megabytes = plan.sweeps[0].block_type(0, plan.sweeps[0].width).nbytes / 1e6
            print(f"overhead: {blocks} blocks of {megabytes:.3g} MB: {1e3 * statistics.median(more):.2f} ms a block; allowed {3 + 3 * megabytes:.2f}")
    finally:
        cluster.close()


def growth() -> None:
    """Resident memory before and after 10,000 blocks in one run."""
    cluster = Cluster(LANES, 128 << 20)
    try:
        seconds(cluster, light_plan(1000, 1), LIGHT)
        before = resident()
        taken = seconds(cluster, light_plan(10_000, 1), LIGHT)
        after = resident()
    finally:
        cluster.close()
    print(f"growth: 10,000 blocks in one run, {taken:.1f} s; resident MiB before and after:")
    for name, value in after.items():
        print(f"  {name:<12} {before.get(name, 0) / 1024:7.1f} {value / 1024:7.1f}  {(value - before.get(name, 0)) / 1024:+.1f}")


def resident() -> dict[str, int]:
    """KiB of this process, and of those of its driver's session, by what they are. Pages shared with the object store are left out."""
    (driver,) = drivers(os.getpid())
    found: dict[str, int] = {}
    for pid in (os.getpid(), *session.members(driver)):
        name = "this process" if pid == os.getpid() else "driver" if pid == driver else _name(pid)
        words = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        found[name] = found.get(name, 0) + int(words["RssAnon"].split()[0])
    return found


def _cpu(pids: Sequence[int]) -> float:
    """CPU seconds these processes have used."""
    ticks = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text()
        ticks += sum(map(int, stat[stat.rindex(")") + 1 :].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _name(pid: int) -> str:
    name = command(pid).split(b"\0")[0].decode(errors="replace")
    return "lanes" if name.startswith("ray::Lane") else Path(name.split()[0]).name if name else str(pid)


FIGURES = {"efficiency": efficiency, "overhead": overhead, "growth": growth}


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["bare"]:
        _bare(*map(int, arguments[1:]))
        return
    pin_threads()
    for name in arguments or FIGURES:
        FIGURES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
