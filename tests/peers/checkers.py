"""The catalogue of the check through other checkers of gradients, and through ours: each as its documentation calls it.

Each keeps its own defaults, and is shown the wrong gradient as a user would have it: JAX a custom_vjp, PyTorch an
autograd.Function, SciPy a second function. One convention for all: a gradient passes if the checker says it is right;
an exception, and ours "cannot tell", is no pass. `python -m peers.checkers NAME SIZE SEEDS` writes a JSON line a case
(kind, whether it is sound, seed, whether it passed, seconds of CPU); rounds.py runs that in a process with limits.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import numpy as np

from support.catalogue import FAULTS, SOUND, Model, planted, sound

Array = np.ndarray[Any, Any]
Checker = Callable[[Model, Array, Array, Array, int], bool]
"""(model, x, c, gradient, seed) -> whether the gradient passes. Libraries are imported inside: a process has one."""

SCIPY_PASSES = 1e-5
"""SciPy gives a number and no verdict: below this part of the gradient's norm (or of 1) it is taken to pass."""


@lru_cache(maxsize=64)
def _traced(model: Model) -> Callable[..., Any]:
    return lambda x, c: model.value(np, x, c)


def ours(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
    from support.checking import verdict_of

    return verdict_of(_traced(model), {"x": x, "c": c}, {"x": gradient}, seed=seed).right


def by_jax(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    f = jax.custom_vjp(lambda x: model.value(jnp, x, c))
    f.defvjp(lambda x: (model.value(jnp, x, c), None), lambda _, t: (t * gradient,))
    try:
        check_grads(f, (jnp.asarray(x),), order=1, modes=["rev"])
    finally:
        jax.clear_caches()  # each case is another function, whose constants would stay
    return True


def _by_torch(fast: bool) -> Checker:
    def passes(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
        import torch

        constant, slope = torch.from_numpy(c.astype(float)), torch.from_numpy(gradient.astype(float))

        class Given(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return model.value(torch, x, constant)

            @staticmethod
            def backward(ctx: Any, t: Any) -> Any:
                return t * slope

        # Where fast mode refuses it runs the slow one as well, to say where: minutes at 100,000, and it refuses without.
        if len(x) > 1000 and hasattr(sys.modules["torch.autograd.gradcheck"], "_run_slow_mode_and_get_error"):
            sys.modules["torch.autograd.gradcheck"]._run_slow_mode_and_get_error = lambda *_: ""  # type: ignore[attr-defined]
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        with np.errstate(all="ignore"):
            return bool(torch.autograd.gradcheck(Given.apply, (torch.from_numpy(x.astype(float)).requires_grad_(),), fast_mode=fast))

    return passes


def by_scipy(model: Model, x: Array, c: Array, gradient: Array, seed: int) -> bool:
    from scipy.optimize import check_grad

    many = len(x) > 1000
    options: dict[str, Any] = {"direction": "random", "rng": seed} if many else {}
    error = check_grad(lambda z: float(model.value(np, z, c)), lambda z: gradient.astype(float), x.astype(float), **options)
    return bool(np.isfinite(error) and error <= SCIPY_PASSES * max(1.0, float(np.linalg.norm(gradient))))


@dataclass(frozen=True, slots=True)
class Peer:
    """`given`: how it is called and what it is given."""

    check: Checker
    given: str


PEERS: dict[str, Peer] = {
    "backsweep": Peer(ours, "the gradient as values, all defaults"),
    "JAX check_grads": Peer(by_jax, "a custom_vjp, order 1, reverse, float64 enabled, default tolerances of the dtype"),
    "PyTorch gradcheck, fast": Peer(
        _by_torch(True),
        "an autograd.Function, in float64 as it asks for (float32 cases are given as doubles), fast_mode=True; "
        "beyond 1000 entries without what it does to explain a failure",
    ),
    "PyTorch gradcheck": Peer(_by_torch(False), "the same, with the default, all entries one by one"),
    "SciPy check_grad": Peer(by_scipy, f"all entries, beyond 1000 direction='random'; a number, passes up to {SCIPY_PASSES:g} of the gradient's norm, or of 1"),
}


def cases(n: int, seeds: int) -> Iterator[tuple[str, bool, int, tuple[Any, ...]]]:
    """(kind, whether it is sound, seed, arguments of a Checker), a seed after the other."""
    for seed in range(seeds):
        for kind in FAULTS:
            yield kind, False, seed, planted(kind, n, seed)[:4]
        for kind in SOUND:
            yield kind, True, seed, (SOUND[kind], *sound(kind, n, seed))


def main(name: str, n: int, seeds: int) -> None:
    warnings.simplefilter("ignore")
    for kind, right, seed, case in cases(n, seeds):
        began = time.process_time()
        try:
            passed = PEERS[name].check(*case, seed)
        except Exception:  # of whatever class: it says that the gradient is wrong, or that it cannot look
            passed = False
        print(json.dumps([kind, right, seed, passed, round(time.process_time() - began, 3)]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
