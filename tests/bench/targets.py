"""The figures to reach: CPU time a call as a ratio to the best peer's in the same run, with NumPy alone and with the native tier."""

from __future__ import annotations

RATIOS: dict[str, tuple[float, float]] = {
    "tiny gradient, d=3": (0.4, 0.3),
    "rosenbrock gradient, d=10": (1.0, 0.8),
    "rosenbrock gradient, d=1000": (1.0, 0.8),
    "rosenbrock gradient, d=1e6": (3, 0.6),
    "rosenbrock gradient + HVP, d=10": (1.2, 1.0),
    "rosenbrock gradient + HVP, d=1000": (1.2, 1.0),
    "rosenbrock gradient + HVP, d=1e6": (3, 0.8),
    "20-op chain, 1e6": (0.45, 0.35),
    "logistic regression gradient": (1.0, 0.8),
    "logistic regression Hessian, 200": (0.6, 0.6),
    "MLP gradient, batch 64": (1.1, 1.0),
    "MLP gradient, batch 512": (1.2, 1.1),
    "GMM gradient, d=10 k=25": (0.5, 0.5),
    "GMM gradient, d=64 k=50": (0.4, 0.4),
    "dense Jacobian of tanh(Ax), 1000": (0.2, 0.2),
    "tridiagonal Jacobian, n=10000": (3, 1.0),
    "1000-step RK4 gradient": (15, 0.4),
    "1000-step RK4 gradient, reverse": (1.5, 0.1),
}

FIRST_CALL = 0.1
"""Of JAX's first call, median over the workloads."""

GRADIENT_TO_VALUE = 4.0
"""At most, every scalar workload."""
