"""Two Jacobians: a dense one, of tanh(A x), and a tridiagonal one, whose pattern and colours each tool finds once.

The answer of the tridiagonal one is compared by its 3 n - 2 entries, row by row.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Prepared, Workload

# Dense.


def make_dense(size: int) -> Inputs:
    random = np.random.default_rng(0)
    return Inputs({"x": random.standard_normal(size)}, {"A": random.standard_normal((size, size)) / np.sqrt(size)})


def layer(xp: Any, x: Any, A: Any) -> Any:
    return xp.tanh(A @ x)


def by_casadi_layer(ca: Any, x: Any, A: Any) -> Any:
    return ca.tanh(A @ x)


def dense(x: Array, A: Array) -> Array:
    y = np.tanh(A @ x)
    return (1 - y * y)[:, None] * A


# Tridiagonal.


def make_line(size: int) -> Inputs:
    return Inputs({"x": np.random.default_rng(0).standard_normal(size)}, {"zero": np.zeros(1)})


def line(xp: Any, x: Any, zero: Any) -> Any:
    """x_i (x_{i-1} - 2 x_i + x_{i+1}) + x_i^3, with 0 beyond the ends."""
    padded = xp.concatenate([zero, x, zero])
    return x * (padded[:-2] - 2 * x + padded[2:]) + x**3


def by_casadi_line(ca: Any, x: Any, zero: Any) -> Any:
    padded = ca.vertcat(zero, x, zero)
    return x * (padded[:-2] - 2 * x + padded[2:]) + x**3


def places(n: int) -> tuple[Array, Array]:
    """Rows and columns of the three bands, row by row."""
    rows, columns = np.repeat(np.arange(n), 3), (np.arange(n)[:, None] + [-1, 0, 1]).ravel()
    inside = (columns >= 0) & (columns < n)
    return rows[inside], columns[inside]


def bands(x: Array, zero: Array) -> Array:
    n = len(x)
    whole = np.empty((n, 3))
    whole[:, 0] = whole[:, 2] = x
    whole[:, 1] = -4 * x + 3 * x * x
    whole[1:, 1] += x[:-1]
    whole[:-1, 1] += x[1:]
    return whole.ravel()[1:-1]


def _entries(matrix: Any) -> Array:
    """Of a dense matrix or a CSR one; everything else in it must be 0."""
    rows, columns = places(matrix.shape[0])
    entries = np.asarray(matrix[rows, columns]).ravel()
    total = matrix.count_nonzero() if hasattr(matrix, "count_nonzero") else np.count_nonzero(matrix)
    if total > np.count_nonzero(entries):
        raise AssertionError(f"{total - np.count_nonzero(entries)} entries off the three bands")
    return entries


def _colours(n: int) -> Array:
    """Seeds (3, n): columns i and i + 3 have no row in common; the same serves the rows."""
    return np.stack([np.arange(n) % 3 == k for k in range(3)]).astype(float)


def _jax_line(inputs: Inputs) -> Prepared:
    import jax

    traced = partial(line, by_jax.names())
    x, zero = (jax.device_put(a) for a in (inputs.point["x"], inputs.data["zero"]))
    rows, columns = places(len(x))
    seeds = jax.device_put(_colours(len(x)))

    @jax.jit
    def jacobian(x: Any, zero: Any, seeds: Any) -> Any:
        products = jax.vmap(lambda seed: jax.jvp(lambda x: traced(x, zero), (x,), (seed,))[1])(seeds)
        return products[columns % 3, rows]

    return Prepared(lambda: jacobian(x, zero, seeds).block_until_ready())


def _torch_line(inputs: Inputs) -> Prepared:
    import torch

    traced = partial(line, by_torch.names())
    (x,), (zero,), _ = by_torch.tensors(inputs)
    x = x.detach()
    rows, columns = (torch.from_numpy(a) for a in places(len(x)))
    colours = columns % 3
    seeds = torch.from_numpy(_colours(len(x)))
    products = torch.func.vmap(lambda seed: torch.func.jvp(lambda x: traced(x, zero), (x,), (seed,))[1])
    return Prepared(lambda: products(seeds)[colours, rows], flat=by_torch.flat)


def _autograd_line(inputs: Inputs) -> Prepared:
    """Row colours: autograd's own direction is backwards."""
    from autograd import make_vjp

    traced = partial(line, by_autograd.names())
    x, zero = inputs.point["x"], inputs.data["zero"]
    rows, columns = places(len(x))
    colours, seeds = rows % 3, _colours(len(x))

    def jacobian() -> Any:
        product, _ = make_vjp(lambda x: traced(x, zero))(x)
        return np.stack([product(seed) for seed in seeds])[colours, columns]

    return Prepared(jacobian)


def _casadi_line(inputs: Inputs) -> Prepared:
    prepared = by_casadi.jacobian(by_casadi_line, "SX")(inputs)

    def flat(answer: Any) -> Array:
        import scipy.sparse

        pattern = answer.sparsity()
        held = scipy.sparse.csc_array((np.asarray(answer.nonzeros()), pattern.row(), pattern.colind()), shape=answer.shape)
        return _entries(held.tocsr())

    return Prepared(prepared.derivative, program=prepared.program, flat=flat)


WORKLOADS = (
    Workload(
        "dense Jacobian of tanh(Ax), 1000",
        make_dense,
        (1000, 4),
        {
            "hand": by_hand.derivative(dense),
            "backsweep": by_backsweep.jacobian(layer),
            "jax": by_jax.jacobian(layer),
            "torch": by_torch.jacobian(layer),
            "autograd": by_autograd.jacobian(layer),
            "casadi": by_casadi.jacobian(by_casadi_layer),
        },
        scalar=False,
    ),
    Workload(
        "tridiagonal Jacobian, n=10000",
        make_line,
        (10_000, 6),
        {
            "hand": by_hand.derivative(bands),
            "backsweep": by_backsweep.Program(line, "jacobian", {"layout": "sparse"}, flat=_entries),
            "jax": _jax_line,
            "torch": _torch_line,
            "autograd": _autograd_line,
            "casadi": _casadi_line,
        },
        scalar=False,
    ),
)
