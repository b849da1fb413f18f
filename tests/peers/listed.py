"""Where a difference is not ours, and why.

LESS_ACCURATE: ops JAX is off at; mpmath must say so each time (exact.py). KINKS: cases that stand on a
documented kink. ILL_CONDITIONED: what has a condition above 10 wherever it is drawn. What is put here
was looked into; what is off without standing here is a disagreement.
"""

LESS_ACCURATE: dict[str, str] = {
    "bessel_i": "float32: the second derivative of i1 cancels near 0",
    "bessel_j": "bessel_jn recurs backwards and divides by powers of x: NaN in float32, and no digit of the second derivative near 0",
    "sinc": "float32: derivatives of sin(x) / x cancel near 0",
    "spherical_j": "derivatives of sin(x) / x cancel near 0",
}

KINKS: dict[str, str] = {
    "norm-float64[0, 2]-(0,),2.0": "over no entries the norm is 0, where JAX's derivative is NaN, ours 0",
}

ILL_CONDITIONED: dict[str, str] = {}
