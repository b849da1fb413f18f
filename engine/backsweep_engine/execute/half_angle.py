"""Sines and cosines of long arrays from one tangent: with t = tan(x / 2), sin x = 2 t / (1 + t t), cos x = (1 - t t) / (1 + t t).

NumPy's float64 sine and cosine take 8 to 11 ns an element, its tangent 1.5 where it has the vector form of
AVX-512 (Weierstrass; measured). The sine is well conditioned in t, which NumPy gives to 0.53 units in
the last place: it is right to 3 ulp, at multiples of pi and for huge x too (of a subnormal x the last bit may go). The cosine is right to
2.3e-16 absolutely, not relatively near its zeros: it serves for factors in derivatives only (Graph.factors).
Elsewhere these are NumPy's own functions; which it is, is part of the numeric platform (CONTRACT B4).
"""

from __future__ import annotations

import numpy as np

from .executor import Array


def _has_vector_tangent() -> bool:
    known = np.lib.introspect.opt_func_info(func_name="^tan$", signature="float64")
    current = [kernel.get("current", "") for kernels in known.values() for kernel in kernels.values()]
    return any("AVX512" in name or "X86_V4" in name for name in current)


VECTOR_TANGENT = _has_vector_tangent()


def sine(x: Array, out: Array, spare: Array) -> None:
    """sin x; `out` may be x. `spare`: any memory like it."""
    if not VECTOR_TANGENT:
        np.sin(x, out)
        return
    _tangent(x, spare)
    np.multiply(spare, spare, out)
    np.add(out, 1.0, out)
    np.add(spare, spare, spare)
    np.divide(spare, out, out)


def cosine(x: Array, out: Array, spare: Array) -> None:
    """cos x to 2.3e-16 absolutely; `out` may be x."""
    if not VECTOR_TANGENT:
        np.cos(x, out)
        return
    _tangent(x, spare)
    np.multiply(spare, spare, spare)
    np.subtract(1.0, spare, out)
    np.add(spare, 1.0, spare)
    np.divide(out, spare, out)


def both(x: Array, sine: Array, cosine: Array, spare: Array) -> None:
    """sin x, and cos x to 2.3e-16 absolutely; one of them may be written over x."""
    if not VECTOR_TANGENT:
        np.copyto(spare, x)
        np.sin(spare, sine)
        np.cos(spare, cosine)
        return
    _tangent(x, spare)
    np.multiply(spare, spare, cosine)
    np.add(cosine, 1.0, sine)
    np.subtract(1.0, cosine, cosine)
    np.divide(cosine, sine, cosine)
    np.add(spare, spare, spare)
    np.divide(spare, sine, sine)


def _tangent(x: Array, spare: Array) -> None:
    np.multiply(x, 0.5, spare)
    np.tan(spare, spare)
