"""python -m peers checkers [SEEDS] [CPU_SECONDS]: what each checker of gradients lets pass of the catalogue, as a Markdown table.

A process for each checker and size, bounded in CPU time, wall time and memory, so that the whole ends: what a
checker has not finished by then is said to be too slow, with how many cases it had judged.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

from support.catalogue import FAULTS, SIZES, SOUND

from .checkers import PEERS

SEEDS = 5
CPU_SECONDS = 300
"""A checker and size; three times as much of wall time."""

MEMORY_BYTES = 10 * 2**30
"""Of a process's own data."""


@dataclass(frozen=True, slots=True)
class Round:
    """One checker at one size: `lines` of what it judged, of `seeds` seeds; `ended`: "" if of all, else why not."""

    lines: list[tuple[str, bool, int, bool, float]]
    seeds: int
    ended: str

    @property
    def wrong_passed(self) -> Counter[str]:
        return Counter(kind for kind, sound, _, passed, _ in self.lines if passed and not sound)

    @property
    def sound_refused(self) -> Counter[str]:
        return Counter(kind for kind, sound, _, passed, _ in self.lines if sound and not passed)

    @property
    def seconds(self) -> float:
        """CPU time of the median case."""
        times = sorted(line[4] for line in self.lines)
        return times[len(times) // 2] if times else 0.0

    def __str__(self) -> str:
        if not self.ended:
            return f"{self.wrong_passed.total()} / {self.sound_refused.total()}"
        return f"{self.ended}: {len(self.lines)} of {self.seeds * (len(FAULTS) + len(SOUND))} cases"


def judged(name: str, n: int, seeds: int, cpu_seconds: int) -> Round:
    """Runs the checker in a process of its own."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))

    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    command = [sys.executable, "-m", "peers.checkers", name, str(n), str(seeds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, preexec_fn=limits, text=True)
    ended = ""
    try:
        text, _ = process.communicate(timeout=3 * cpu_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        ended = f"too slow ({3 * cpu_seconds} s)"
    lines = [tuple(json.loads(line)) for line in text.splitlines() if line.endswith("]")]
    if process.returncode and not ended:
        # The last seconds of a limit are the kernel's: SIGXCPU, or SIGKILL where soft and hard limit are one.
        slow = sum(line[4] for line in lines) >= cpu_seconds / 2 or process.returncode in (-24, -9)
        ended = f"too slow ({cpu_seconds} s of CPU)" if slow else f"stopped (status {process.returncode})"
    return Round(lines, seeds, ended)


def main(seeds: int = SEEDS, cpu_seconds: int = CPU_SECONDS) -> None:
    """The progress on stderr, the table and what is to be known with it on stdout."""
    rounds: dict[tuple[str, int], Round] = {}
    for n in SIZES:
        for name in PEERS:
            rounds[name, n] = found = judged(name, n, seeds, cpu_seconds)
            print(f"n = {n}, {name}: {found}; {found.seconds:.3g} s of CPU a case", file=sys.stderr, flush=True)
    print("| wrong passed / sound refused |", *[f" n = {n:,} |" for n in SIZES], sep="")
    print("|---|", "---|" * len(SIZES), sep="")
    for name in PEERS:
        print(f"| {name} |", *[f" {rounds[name, n]} |" for n in SIZES], sep="")
    print(f"\n{seeds} seeds: of {seeds * len(FAULTS)} wrong and {seeds * len(SOUND)} sound gradients of each size.")
    print('Each is given, with its own defaults (an exception, and ours "cannot tell", is no pass):')
    for name, peer in PEERS.items():
        print(f"- {name}: {peer.given}")
    for name in PEERS:
        of_all = [rounds[name, n] for n in SIZES]
        for title, kinds in ("lets pass", sum((r.wrong_passed for r in of_all), Counter())), ("refuses", sum((r.sound_refused for r in of_all), Counter())):
            if kinds:
                print(f"\n{name} {title}: " + "; ".join(f"{kind} ({count})" for kind, count in kinds.most_common()))
