"""The walk of the demo, through the public client only. Exit status 0 only if every comparison held."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

import backsweep as bs

from . import model
from .data import load
from .server import server

AGREEMENT = 1e-12
"""Largest difference from the hand-written formula, relative to the formula's largest entry."""


class Comparisons:
    """Prints each answer beside its formula, and remembers whether all agreed."""

    def __init__(self) -> None:
        self.all_held = True

    def show(self, name: str, got: Any, formula: Any) -> None:
        got, formula = np.asarray(got), np.asarray(formula)
        difference = float(np.max(np.abs(got - formula)) / np.max(np.abs(formula))) if got.shape == formula.shape else np.inf
        self.held(difference <= AGREEMENT, f"{name:<34} {_shape(got):<10} served {_peek(got)}   formula {_peek(formula)}   differ by {difference:.1e}")

    def held(self, good: bool, line: str) -> None:
        print(f"  {'ok  ' if good else 'FAIL'} " + line.replace("\n", "\n       "))
        self.all_held &= bool(good)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shape(array: Any) -> str:
    return " x ".join(map(str, array.shape)) or "scalar"


def _peek(array: Any) -> str:
    """The entry of largest size."""
    flat = np.ravel(array)
    return f"{flat[np.argmax(np.abs(flat))]:+.12f}"


def run(executor: str) -> int:
    """`executor`: "cluster" (two Ray workers) or "local"."""
    X, y = load()
    held = Comparisons()
    print(f"data: Wisconsin Diagnostic Breast Cancer, {len(y)} tumours x {X.shape[1] - 1} standardised features (UCI, CC BY 4.0)")
    started = time.monotonic()
    with server(executor) as process, bs.connect(process.address) as service:
        print(f"server: its own process at {process.address}, executor {executor}, started in {time.monotonic() - started:.1f} s\n")
        f = service.submit(model.loss, w=bs.float64[31], X=X, y=y)
        _derivatives(f, service, X, y, held)
        _checks(f, held)
        _fit(f, held)
        usage = service.usage
        print(
            f"\ntook {time.monotonic() - started:.1f} s in all; {usage.calls} calls in {usage.seconds:.1f} s, "
            f"{usage.bytes_up / 1024:.0f} KiB up (the data once), {usage.bytes_down / 1024:.0f} KiB down, "
            f"{usage.blocks} blocks, {_count(usage.workers, 'worker')}"
        )
    print("every comparison held" if held.all_held else "SOME COMPARISONS FAILED")
    return 0 if held.all_held else 1


def _derivatives(f: bs.Function, service: bs.Service, X: Any, y: Any, held: Comparisons) -> None:
    """Every verb at a point drawn with a fixed seed, beside the formula written by hand."""
    random = np.random.default_rng(20260101)
    w, v = random.normal(size=(2, 31))
    many = random.normal(size=(5, 31))
    print(f"the loss is plain NumPy, traced into {f.graph.size} nodes; its gradient is a graph of {f.derive('gradient').graph.size}")
    g, h = model.gradient(w, X, y), model.hessian(w, X)
    held.show("value", f(w), model.loss(w, X, y))
    held.show("gradient", f.gradient(w), g)
    held.show("jvp (along one direction)", f.jvp(w, tangent=v), g @ v)
    losses = service.submit(model.losses, w=bs.float64[31], X=X, y=y)
    jacobian = model.jacobian(w, X, y)
    cotangent = random.normal(size=len(y))
    held.show("vjp (of the per-example losses)", losses.vjp(w, cotangent=cotangent), cotangent @ jacobian)
    held.show("hvp", f.hvp(w, tangent=v), h @ v)
    held.show("hvp (5 vectors at once)", f.hvp(w, tangent=many), many @ h)
    held.show("hessian", f.hessian(w), h)
    before, started = service.usage, time.monotonic()
    blockwise = losses.jacobian(w, block=3, progress=_bar("jacobian in blocks of 3 columns"))
    used, seconds = service.usage, time.monotonic() - started
    held.show("jacobian (per-example losses)", blockwise, jacobian)
    print(f"       {used.blocks - before.blocks} blocks over {_count(used.workers, 'worker')} in {seconds:.1f} s, their start included")


def _checks(f: bs.Function, held: Comparisons) -> None:
    """The check tells a right gradient from one with a single entry off by a thousandth."""
    print("\nchecking gradients against differences of values:")
    w = np.random.default_rng(20260101).normal(size=31)
    right = f.gradient(w)
    verdict = f.check(w, gradient=right)
    held.held(verdict.right, f"the gradient: {verdict}")
    wrong = right.copy()
    at = int(np.argmax(np.abs(wrong)))
    wrong[at] *= 1 + 1e-3
    verdict = f.check(w, gradient=wrong)
    found = verdict.outcome is bs.Outcome.WRONG and [(e.input, e.index) for e in verdict.worst] == [("w", (at,))]
    held.held(found, f"with w[{at}] off by 1e-3: {verdict}")


def _fit(f: bs.Function, held: Comparisons) -> None:
    """Newton's method from 0: w - H^-1 g until the gradient is nothing."""
    print("\nfitting by Newton's method from 0:")
    w = np.zeros(31)
    for step in range(13):
        value, gradient, hessian = f.ask(w, bs.value, bs.gradient, bs.hessian)
        norm = float(np.linalg.norm(gradient))
        print(f"  step {step:>2}: loss {value:.12f}, |gradient| {norm:.2e}")
        if norm < 1e-10:
            break
        w = w - np.linalg.solve(hessian, gradient)
    held.held(norm < 1e-10 and step <= 12, f"|gradient| {norm:.1e} after {step} steps")
    point = bs.critical_point(f, w)
    held.held(point.kind == "minimum", f"it is {point}")


def _bar(title: str) -> Any:
    """A progress callback: a bar on a terminal, a few lines elsewhere."""
    shown = -1

    def progress(done: int, total: int) -> None:
        nonlocal shown
        width = 30 * done // max(total, 1)
        if sys.stdout.isatty():
            print(f"\r  {title} [{'#' * width}{'.' * (30 - width)}] {done}/{total}", end="\n" if done == total and shown != total else "", flush=True)
        elif done == total and shown != total:
            print(f"  {title} [{'#' * 30}] {done}/{total}")
        shown = done

    return progress
