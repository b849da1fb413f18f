"""The table as a picture: for each workload the tools on a logarithmic axis of CPU time, the best peer at 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .table import OURS, Line

# Colours that differ to the colour-blind too (Wong, Points of view: Color blindness, Nature Methods 8, 2011).
MARKS = {
    "hand": ("|", "#777777", 90),
    "jax": ("s", "#E69F00", 34),
    "torch": ("^", "#D55E00", 38),
    "autograd": ("v", "#CC79A7", 38),
    "casadi": ("P", "#009E73", 40),
    "backsweep": ("o", "#0072B2", 80),
    "native": ("D", "#003A5C", 56),
}

LABELS = {"hand": "by hand, NumPy", "jax": "JAX", "torch": "PyTorch", "casadi": "CasADi", "backsweep": "backsweep, NumPy", "native": "backsweep, native"}


def draw(lines: Sequence[Line], folder: Path) -> list[Path]:
    """bench.png and bench.svg; none without matplotlib, or without a peer to measure by."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    shown = [line for line in lines if line.best is not None]
    if not shown:
        return []
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.36 * len(shown)), layout="constrained")
    for k in range(0, len(shown), 2):
        axes.axhspan(k - 0.5, k + 0.5, color="#F3F5F7", zorder=0)
    axes.axvline(1, color="#444444", linewidth=1, zorder=1)
    for tool, (marker, colour, size) in MARKS.items():
        points = [(ratio, k) for k, line in enumerate(shown) if (ratio := line.ratio(tool)) is not None]
        if points:
            thin = 1.6 if marker == "|" else 0
            axes.scatter(*zip(*points, strict=True), marker=marker, c=colour, s=size, label=LABELS.get(tool, tool), zorder=4 if tool in OURS else 3, lw=thin)
    goals = [(goal, k) for k, line in enumerate(shown) if (goal := line.target("backsweep")) is not None]
    for goal, k in goals:
        axes.vlines(goal, k - 0.4, k + 0.4, color="#0072B2", lw=1.4, zorder=2, label="figure to reach, NumPy" if (goal, k) == goals[0] else None)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_yticks(range(len(shown)), [line.workload.name for line in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("CPU time of a call, relative to the best of JAX, PyTorch, autograd and CasADi (left is faster)")
    axes.grid(axis="x", color="#D9DDE1", linewidth=0.6, zorder=1)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(MARKS) // 2 + 1, frameon=False, fontsize=9)
    paths = [folder / f"bench.{kind}" for kind in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=120, facecolor="white")
    pyplot.close(figure)
    return paths
