"""Patterns of the usual kinds of matrices, how many colours they take here, and what is known of how many they need.

`python -m support.stencils` prints the table, in Markdown; where CasADi is installed (`make venv-bench`) beside CasADi's own
colourings of the same patterns, with the ratio of the times: CPU time of one colouring, medians of rounds taken in turn.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backsweep_engine.plan import color
from backsweep_engine.transforms.sparsity import Pattern

Array = np.ndarray[Any, Any]


def pattern_of(matrix: Any) -> Pattern:
    """Of what is not zero in an array or a SciPy matrix."""
    from scipy.sparse import csr_array

    rows = csr_array(matrix)
    rows.eliminate_zeros()
    rows.sort_indices()
    return Pattern(rows.shape[0], rows.shape[1], rows.indptr.astype(np.int64), rows.indices.astype(np.int64))


def band(n: int, half: int) -> Any:
    from scipy.sparse import diags_array

    return diags_array([np.ones(n - abs(k)) for k in range(-half, half + 1)], offsets=list(range(-half, half + 1))).tocsr()


def arrow(n: int) -> Any:
    from scipy.sparse import csr_array

    k = np.arange(1, n)
    rows, columns = np.concatenate([np.arange(n), 0 * k, k]), np.concatenate([np.arange(n), k, 0 * k])
    return csr_array((np.ones(rows.size), (rows, columns)), shape=(n, n))


def blocks(count: int, size: int) -> Any:
    from scipy.sparse import eye_array, kron

    return kron(eye_array(count), np.ones((size, size))).tocsr()


def star_stencil(*shape: int) -> Any:
    """A grid on which each variable meets its neighbours along every axis: 5 points in two dimensions, 7 in three."""
    from scipy.sparse import eye_array, kron

    total: Any = 0
    for axis, n in enumerate(shape):
        before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        total = total + kron(kron(eye_array(before), band(n, 1)), eye_array(after))
    return total.tocsr()


def box_stencil(n: int, m: int) -> Any:
    """Nine points."""
    from scipy.sparse import kron

    return kron(band(n, 1), band(m, 1)).tocsr()


CAMERAS, POINTS, OBSERVATIONS = 49, 7776, 31843


def observations(seed: int = 0) -> tuple[Array, Array]:
    """Which camera saw which point, of a bundle adjustment of that size; every camera and point is seen."""
    random = np.random.default_rng(seed)
    camera = np.concatenate([np.arange(CAMERAS), random.integers(0, CAMERAS, OBSERVATIONS - CAMERAS)])
    point = random.permutation(np.concatenate([np.arange(POINTS), random.integers(0, POINTS, OBSERVATIONS - POINTS)]))
    return camera, point


def bundle() -> Any:
    """The pattern of its Jacobian, by hand: two residuals an observation, by 9 numbers of a camera and 3 of a point."""
    from scipy.sparse import csr_array

    camera, point = observations()
    columns = np.concatenate([camera[:, None] * 9 + np.arange(9), CAMERAS * 9 + point[:, None] * 3 + np.arange(3)], axis=1)
    columns = np.repeat(columns, 2, axis=0)
    rows = np.repeat(np.arange(2 * OBSERVATIONS), 12)
    return csr_array((np.ones(columns.size), (rows, columns.reshape(-1))), shape=(2 * OBSERVATIONS, CAMERAS * 9 + POINTS * 3))


@dataclass(frozen=True, slots=True)
class Known:
    """`colours`: what is reached here. `needed`: a proven lower bound, and `why`. `kind`: of the colouring."""

    kind: str
    make: Callable[[], Any]
    colours: int
    needed: int
    why: str
    shape: tuple[int, ...] = ()


ROW = "the entries of one row"
STAR_BAND = "direct recovery of a band of half-width b needs 2b + 1 (Coleman and More 1984); SparseMatrixColorings' own tests hold 11 and 21"
STAR_GRID = "the star chromatic number of a grid (Fertin, Raspaud and Reed 2004)"
TABLE: dict[str, Known] = {
    "tridiagonal, n = 100,000": Known("columns", lambda: band(100_000, 1), 3, 3, ROW),
    "band of 11, n = 5,000": Known("columns", lambda: band(5000, 5), 11, 11, ROW),
    "blocks of 6, n = 3,000": Known("columns", lambda: blocks(500, 6), 6, 6, ROW),
    "5-point grid, 100 x 100": Known("columns", lambda: star_stencil(100, 100), 5, 5, ROW, (100, 100)),
    "9-point grid, 60 x 60": Known("columns", lambda: box_stencil(60, 60), 9, 9, ROW, (60, 60)),
    "7-point grid, 20 x 20 x 20": Known("columns", lambda: star_stencil(20, 20, 20), 7, 7, ROW, (20, 20, 20)),
    "bundle adjustment, 63,686 x 23,769": Known("columns", bundle, 12, 12, ROW),
    "arrow, n = 1,000, both ways": Known("both ways", lambda: arrow(1000), 3, 3, "a column, a row and the diagonal"),
    "tridiagonal Hessian, n = 100,000": Known("stars", lambda: band(100_000, 1), 3, 3, STAR_BAND),
    "band of 11, Hessian, n = 5,000": Known("stars", lambda: band(5000, 5), 11, 11, STAR_BAND),
    "band of 21, Hessian, n = 5,000": Known("stars", lambda: band(5000, 10), 21, 21, STAR_BAND),
    "arrow Hessian, n = 1,000": Known("stars", lambda: arrow(1000), 2, 2, "it has an edge"),
    "arrow Hessian backwards, n = 1,000": Known("stars", lambda: arrow(1000)[::-1, ::-1], 2, 2, "it has an edge"),
    "blocks of 6, Hessian, n = 3,000": Known("stars", lambda: blocks(500, 6), 6, 6, "cliques of 6"),
    "5-point grid, Hessian, 100 x 100": Known("stars", lambda: star_stencil(100, 100), 5, 5, STAR_GRID, (100, 100)),
    "tridiagonal diagonal, n = 100,000": Known("diagonal", lambda: band(100_000, 1), 2, 2, "it has an edge"),
    "5-point grid, diagonal, 100 x 100": Known("diagonal", lambda: star_stencil(100, 100), 2, 2, "it has an edge"),
}


def coloured(known: Known) -> int:
    """How many colours it takes here."""
    return _colours(known, pattern_of(known.make()))


def _colours(known: Known, pattern: Pattern) -> int:
    if known.kind == "both ways":
        split = color.split(pattern, 1, 1, pattern.columns)
        assert split is not None
        return split.rows.count + split.columns.count
    make: Callable[[], color.Colouring | None] = {
        "columns": lambda: color.columns(pattern, known.shape),
        "stars": lambda: color.star(pattern, known.shape),
        "diagonal": lambda: color.proper(pattern),
    }[known.kind]
    found = make()
    assert found is not None
    return found.count


def of_casadi(kind: str, pattern: Pattern) -> Callable[[], int] | None:
    """CasADi's colouring of that kind: by columns, which stands for both ways too (it has no other), or stars; None of a diagonal."""
    casadi: Any = importlib.import_module("casadi")
    # Its matrices are stored by columns: our rows are those of the transpose.
    turned = casadi.Sparsity(pattern.columns, pattern.rows, pattern.indptr.tolist(), pattern.indices.tolist())
    matrix = turned.T
    ways: dict[str, Callable[[], Any]] = {
        "columns": lambda: matrix.uni_coloring(turned),
        "both ways": lambda: matrix.uni_coloring(turned),
        "stars": lambda: matrix.star_coloring(),
    }
    way = ways.get(kind)
    return None if way is None else lambda: int(way().size2())


ROUNDS = 5


def main() -> None:
    beside = importlib.util.find_spec("casadi") is not None
    print("| pattern | colouring | at least | backsweep |", " CasADi | time, ours to CasADi's |" if beside else "", sep="")
    print("|---|---|---|---|", "---|---|" if beside else "", sep="")
    for name, known in TABLE.items():
        pattern = pattern_of(known.make())
        theirs = of_casadi(known.kind, pattern) if beside else None
        counts, times = [0, 0], ([0.0] * ROUNDS, [0.0] * ROUNDS)
        for k in range(ROUNDS if theirs else 1):
            for side in range(2 if theirs else 1):
                began = time.process_time()
                counts[side] = theirs() if theirs and side else _colours(known, pattern)
                times[side][k] = time.process_time() - began
        ratio = statistics.median(times[0]) / max(statistics.median(times[1]), 1e-6)
        more = "" if not beside else f" {counts[1]} | {ratio:.2g} |" if theirs else " - | - |"
        print(f"| {name} | {known.kind} | {known.needed} | {counts[0]} |{more}", flush=True)


if __name__ == "__main__":
    main()
