"""python -m peers checkers [SEEDS]: the catalogue of the check through other checkers of gradients, and through ours: what each lets pass.

Each is called as its documentation shows, with its own defaults; each is shown the wrong gradient as a user would have
it: JAX a custom_vjp, PyTorch an autograd.Function, SciPy a second function. SciPy gives a number and no verdict: it is
taken to accept below 1e-5 of the gradient's norm (or of 1). A checker that would take n evaluations of n entries is not run at
100,000.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.test_util import check_grads
from scipy.optimize import check_grad

from backsweep_engine.check.verdict import Outcome
from support.catalogue import FAULTS, SIZES, SOUND, Model, planted, sound
from support.checking import verdict_of

Array = np.ndarray[Any, Any]
Checker = Callable[[Model, Array, Array, Array, int], bool]
"""(model, x, c, gradient, seed) -> whether the gradient is accepted."""

SCIPY_ACCEPTS = 1e-5


@lru_cache(maxsize=64)
def _traced(model: Model) -> Callable[..., Any]:
    return lambda x, c: model.value(np, x, c)


def ours(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
    return verdict_of(_traced(model), {"x": x, "c": c}, {"x": gradient}, seed=seed, max_worst=1).outcome is not Outcome.WRONG


def by_jax(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
    f = jax.custom_vjp(lambda x: model.value(jnp, x, c))
    f.defvjp(lambda x: (model.value(jnp, x, c), None), lambda _, t: (t * gradient,))
    try:
        check_grads(f, (jnp.asarray(x),), order=1, modes=["rev"])
    except AssertionError:
        return False
    return True


def _by_torch(fast: bool) -> Checker:
    def accepts(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
        constant, slope = torch.from_numpy(c), torch.from_numpy(np.ascontiguousarray(gradient))

        class Given(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return model.value(torch, x, constant)

            @staticmethod
            def backward(ctx: Any, t: Any) -> Any:
                return t * slope

        torch.manual_seed(seed)
        with np.errstate(all="ignore"):
            return bool(torch.autograd.gradcheck(Given.apply, (torch.from_numpy(x).requires_grad_(),), raise_exception=False, fast_mode=fast))

    return accepts


def by_scipy(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
    many = len(x) > 1000
    options: dict[str, Any] = {"direction": "random", "rng": seed} if many else {}
    error = check_grad(lambda z: float(model.value(np, z, c)), lambda z: gradient.astype(float), x.astype(float), **options)
    return bool(error <= SCIPY_ACCEPTS * max(1.0, float(np.linalg.norm(gradient))))


CHECKERS: dict[str, tuple[Checker, int]] = {
    "backsweep": (ours, SIZES[-1]),
    "JAX check_grads (rev)": (by_jax, SIZES[-1]),
    "PyTorch gradcheck, fast": (_by_torch(True), SIZES[-1]),
    "PyTorch gradcheck, slow": (_by_torch(False), 1000),
    "SciPy check_grad": (by_scipy, SIZES[-1]),
}
"""And the largest size each is run at."""


def _accepted(checker: Checker, *case: Any) -> bool | None:
    """None where the checker stops with an error of its own, of whatever class."""
    try:
        return checker(*case)
    except Exception:
        return None


def main(seeds: int = 3) -> None:
    """For each size a line for a checker: the faults that pass, the sound gradients that are refused. At the largest size one seed."""
    warnings.simplefilter("ignore")
    missed: dict[str, dict[str, int]] = {}
    for n in SIZES:
        tried = 1 if n == SIZES[-1] else seeds
        print(f"\nn = {n}{'':18}{'wrong that pass':>22}{'sound refused':>22}{'stopped by an error':>22}")
        for name, (checker, largest) in CHECKERS.items():
            if n > largest:
                print(f"{name:28}{'not run':>22}")
                continue
            wrong = {(kind, seed): _accepted(checker, *_fault(kind, n, seed), seed) for kind in FAULTS for seed in range(tried)}
            right = [_accepted(checker, *_sound(kind, n, seed), seed) for kind in SOUND for seed in range(tried)]
            for (kind, _), accepted in wrong.items():
                if accepted:
                    missed.setdefault(name, {})[kind] = missed.get(name, {}).get(kind, 0) + 1
            passed, refused = sum(a is True for a in wrong.values()), sum(a is False for a in right)
            errors = sum(a is None for a in (*wrong.values(), *right))
            print(f"{name:28}{f'{passed} of {len(wrong)}':>22}{f'{refused} of {len(right)}':>22}{errors:>22}", flush=True)
    for name, kinds in missed.items():
        print(f"\n{name} lets pass: " + "; ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items(), key=lambda k: -k[1])))


def _fault(kind: str, n: int, seed: int) -> tuple[Any, ...]:
    model, x, c, wrong, _ = planted(kind, n, seed)
    return model, x, c, wrong


def _sound(kind: str, n: int, seed: int) -> tuple[Any, ...]:
    return SOUND[kind], *sound(kind, n, seed)
