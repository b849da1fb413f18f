"""A few numbers by which two answers are held to each other without sending them between processes.

A probe is a sum with fixed random weights of size 1 to 2 and random sign: an entry that is off shows in it with at least its own
size. There are two: errors that nearly cancel in one do not in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .workload import Array

Digest = Mapping[str, Any]

ENTRIES = 5


def digest(answer: Array) -> dict[str, Any]:
    """Of a vector; written with 17 digits, so nothing is lost on the way."""
    random = np.random.default_rng(len(answer))
    probes = [float(random.uniform(1, 2, len(answer)) * random.choice([-1.0, 1.0], len(answer)) @ answer) for _ in range(2)]
    places = np.linspace(0, len(answer) - 1, ENTRIES).astype(int)
    largest = float(np.max(np.abs(answer), initial=0.0))
    return {"size": len(answer), "norm": float(np.linalg.norm(answer)), "largest": largest, "probes": probes, "entries": answer[places].tolist()}


def differs(got: Digest, wanted: Digest, tolerance: float) -> str:
    """What is not equal to `tolerance`, relative to the norm (an entry: to the largest entry); "" if nothing."""
    if got["size"] != wanted["size"]:
        return f"{got['size']} entries, not {wanted['size']}"
    worst = max((abs(a - b) for a, b in zip(got["entries"], wanted["entries"], strict=True)), default=0.0) / max(wanted["largest"], 1e-300)
    # A probe of an error of the tolerance in norm is some 1.5 of it.
    off = {"norm": abs(got["norm"] - wanted["norm"])}
    off |= {f"probe {k}": abs(a - b) / 2 for k, (a, b) in enumerate(zip(got["probes"], wanted["probes"], strict=True), 1)}
    found = {name: by / max(wanted["norm"], 1e-300) for name, by in off.items()} | {"entries": worst}
    # Written so that a NaN differs.
    return ", ".join(f"{name} off by {by:.1e}" for name, by in found.items() if not by <= tolerance)
