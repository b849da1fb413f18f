"""Where a difference is not ours, and why.

LESS_ACCURATE: ops JAX is off at; mpmath must say so each time (exact.py). KINKS: cases that stand on a
documented kink. ILL_CONDITIONED: cases and problems with a condition above 10 wherever they are drawn. What is put here
was looked into; what is off without standing here is a disagreement.
"""

LESS_ACCURATE: dict[str, str] = {
    "bessel_i": "the second derivative of order 1 near 0, in float32",
    "bessel_j": "bessel_jn gives NaN in float32 and has no digit of the second derivative near 0",
    "expm_frechet": "in float32, by 300 times the rounding of its entries",
    "sinc": "derivatives near 0, in float32",
    "spherical_j": "derivatives of order 0 near 0, in float32",
}

KINKS: dict[str, str] = {
    "norm-float64[0, 2]-(0,),2.0": "over no entries the norm is 0, where JAX's derivative is NaN, ours 0",
}

ILL_CONDITIONED: dict[str, str] = {
    "attention-float64[2, 1],float64[3, 1],float64[3, 2],float64[2, 3]-True,2.0": "by the mask the second derivative leaves 0.003 of terms of the size of 1",
    "conv_transpose-float64[1, 1, 1, 2, 2],float64[1, 1, 2, 1, 2]-(1,1,2),(1,0,0),(1,1,1),(1,2,4),1": "its second derivative sums few products, which "
    "nearly cancel",
    "kalman filter": "the derivative along the direction is a sum that nearly cancels",
    "log-sum-exp": "its entries are of the size of 1000: a relative change of these is an absolute one of their exponentials",
    "wood": "the derivative along the direction is a sum that nearly cancels",
}
