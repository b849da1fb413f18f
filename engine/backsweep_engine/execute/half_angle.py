"""Sines and cosines of long arrays from one tangent: with t = tan(x / 2), sin x = 2 t / (1 + t t), cos x = (1 - t t) / (1 + t t);
with t = tan x, sin x cos x = t / (1 + t t), and that times t is sin x sin x.

NumPy's float64 sine and cosine take 8 to 11 ns an element, its tangent 1.5 where it has the vector form of
AVX-512 (Weierstrass; measured). The sine is well conditioned in t, which NumPy gives to 0.53 units in
the last place: it is right to 3 ulp, at multiples of pi and for huge x too (of a subnormal x the last bit may go). The cosine is right to
2.3e-16 absolutely, not relatively near its zeros: it serves for factors in derivatives only (Graph.factors).
Both products are well conditioned in t, so right to 3 and 4 ulp wherever they stand.
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


def sine(x: Array, factor: float, out: Array, spare: Array) -> None:
    """The sine of x times the factor; `out` may be x. `spare`: any memory like it."""
    if not VECTOR_TANGENT:
        np.sin(_angle(x, factor, spare), out)
        return
    _tangent(x, 0.5 * factor, spare)
    np.multiply(spare, spare, out)
    np.add(out, 1.0, out)
    np.add(spare, spare, spare)
    np.divide(spare, out, out)


def cosine(x: Array, factor: float, out: Array, spare: Array) -> None:
    """Its cosine to 2.3e-16 absolutely; `out` may be x."""
    if not VECTOR_TANGENT:
        np.cos(_angle(x, factor, spare), out)
        return
    _tangent(x, 0.5 * factor, spare)
    np.multiply(spare, spare, spare)
    np.subtract(1.0, spare, out)
    np.add(spare, 1.0, spare)
    np.divide(out, spare, out)


def both(x: Array, factor: float, sine: Array, cosine: Array, spare: Array) -> None:
    """Its sine, and its cosine to 2.3e-16 absolutely; one of them may be written over x."""
    if not VECTOR_TANGENT:
        np.multiply(x, factor, spare)
        np.sin(spare, sine)
        np.cos(spare, cosine)
        return
    _tangent(x, 0.5 * factor, spare)
    np.multiply(spare, spare, cosine)
    np.add(cosine, 1.0, sine)
    np.subtract(1.0, cosine, cosine)
    np.divide(cosine, sine, cosine)
    np.add(spare, spare, spare)
    np.divide(spare, sine, sine)


def squared_sine(x: Array, factor: float, out: Array, spare: Array) -> None:
    """The square of its sine; `out` may be x."""
    if not VECTOR_TANGENT:
        np.sin(_angle(x, factor, spare), out)
        np.multiply(out, out, out)
        return
    _tangent(x, factor, spare)
    np.multiply(spare, spare, out)
    np.add(out, 1.0, out)
    np.divide(spare, out, out)
    np.multiply(out, spare, out)


def mixed(x: Array, factor: float, out: Array, spare: Array) -> None:
    """Its sine times its cosine; `out` may be x."""
    if not VECTOR_TANGENT:
        np.multiply(x, factor, spare)
        np.sin(spare, out)
        np.cos(spare, spare)
        np.multiply(out, spare, out)
        return
    _tangent(x, factor, spare)
    np.multiply(spare, spare, out)
    np.add(out, 1.0, out)
    np.divide(spare, out, out)


def products(x: Array, factor: float, squared: Array, mixed: Array, spare: Array) -> None:
    """The square of its sine, and its sine times its cosine; one of them may be written over x."""
    if not VECTOR_TANGENT:
        np.multiply(x, factor, spare)
        np.sin(spare, squared)
        np.cos(spare, spare)
        np.multiply(squared, spare, mixed)
        np.multiply(squared, squared, squared)
        return
    _tangent(x, factor, spare)
    np.multiply(spare, spare, mixed)
    np.add(mixed, 1.0, mixed)
    np.divide(spare, mixed, mixed)
    np.multiply(mixed, spare, squared)


def _angle(x: Array, factor: float, spare: Array) -> Array:
    return x if factor == 1 else np.multiply(x, factor, spare)


def _tangent(x: Array, factor: float, spare: Array) -> None:
    np.tan(_angle(x, factor, spare), spare)
