"""backsweep: exact derivatives of NumPy functions, in process or from a gradient service.

    with bs.connect("localhost:50051") as service:          # or bs.local()
        f = service.submit(loss, w=bs.float64[30], X=X, y=y)
        f(w), f.gradient(w), f.hessian(w), f.check(w)

The package is lazy (PEP 562): importing it, or one of its modules, loads only what is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backsweep_engine.check.verdict import Outcome, Verdict
    from backsweep_engine.errors import Cancelled, ClusterLost, Error, Fault, GraphError, OverBudget

    from .asks import check, empirical_fisher, fisher, gauss_newton, gradient, hessian, hessian_diagonal, hvp, jacobian, jvp, value, value_and_gradient, vjp
    from .client import connect
    from .control import cond
    from .curvature import CriticalPoint, critical_point, newton_step
    from .dtypes import bool_, float32, float64, int32, int64
    from .functions import name, stop_gradient
    from .implicit import fixed_point, root
    from .inprocess import local
    from .loops import fori_loop, scan, while_loop
    from .many import ask_all
    from .odes import odeint
    from .results import Estimate, NonFiniteWarning
    from .service import Function, Service, Usage
    from .wire.errors import DeadlineExceeded, MissingBlobs, NotAllowed, NotBuiltYet, RunRefused, Unavailable
    from .wrapping import checkpoint, custom_gradient, vmap

__version__ = "0.1.0"

_HOMES = {
    ".asks": "check empirical_fisher fisher gauss_newton gradient hessian hessian_diagonal hvp jacobian jvp value value_and_gradient vjp",
    ".results": "Estimate NonFiniteWarning",
    ".client": "connect",
    ".control": "cond",
    ".curvature": "CriticalPoint critical_point newton_step",
    ".implicit": "fixed_point root",
    ".inprocess": "local",
    ".loops": "fori_loop scan while_loop",
    ".many": "ask_all",
    ".odes": "odeint",
    ".wrapping": "checkpoint custom_gradient vmap",
    ".service": "Function Service Usage",
    ".functions": "name stop_gradient",
    ".dtypes": "bool_ float32 float64 int32 int64",
    ".wire.errors": "DeadlineExceeded MissingBlobs NotAllowed NotBuiltYet RunRefused Unavailable",
    "backsweep_engine.check.verdict": "Outcome Verdict",
    "backsweep_engine.errors": "Cancelled ClusterLost Error Fault GraphError OverBudget",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [  # noqa: RUF022  # grouped as a reader meets them
    "connect", "local", "Service", "Function", "Usage", "ask_all",
    "float64", "float32", "int64", "int32", "bool_",
    "value", "gradient", "value_and_gradient", "jvp", "vjp", "jacobian", "hessian", "hvp", "hessian_diagonal", "check",
    "gauss_newton", "fisher", "empirical_fisher",
    "cond", "scan", "fori_loop", "while_loop", "vmap", "checkpoint", "custom_gradient", "root", "fixed_point", "odeint", "stop_gradient", "name",
    "newton_step", "critical_point", "CriticalPoint",
    "Verdict", "Outcome", "Estimate", "NonFiniteWarning",
    "Error", "GraphError", "OverBudget", "Cancelled", "ClusterLost", "Fault",
    "DeadlineExceeded", "MissingBlobs", "NotAllowed", "NotBuiltYet", "RunRefused", "Unavailable",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home, __name__), name)
    elif not name.startswith("_") and name in _faces():
        value = importlib.import_module(".functions", __name__).public(name)
    else:
        raise AttributeError(f"module 'backsweep' has no attribute {name!r}")
    globals()[name] = value
    return value


def _faces() -> Any:
    """What NumPy lacks and the op table offers: relu, softmax, logsumexp ..."""
    return importlib.import_module(".functions", __name__).FACES


def __dir__() -> list[str]:
    return sorted([*__all__, *_faces()])
