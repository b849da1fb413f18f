"""backsweep in process, through its public interface; `program` is the same plan run by the local executor alone."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..workload import Array, Inputs, Prepared
from ..workload import flat as numbers
from .names import Names


def start(tier: str) -> str:
    """The tier is the process's: with "numpy", llvmlite cannot be imported, as if the extra [native] were not installed."""
    if tier == "numpy":
        sys.modules["llvmlite"] = None  # type: ignore[assignment]
    elif importlib.util.find_spec("backsweep_engine.execute.native") is None:
        raise ImportError("this version has no native tier")
    elif importlib.util.find_spec("llvmlite") is None:
        raise ImportError("llvmlite is not installed (the extra [native])")
    import backsweep as bs

    service().close()
    return f"backsweep {bs.__version__}"


def service() -> Any:
    """The service that is measured: the one place that knows how to ask for a tier, should it have to be asked for."""
    import backsweep as bs

    return bs.local()


def names() -> Names:
    import backsweep as bs

    return Names(np, logsumexp=bs.logsumexp, relu=bs.relu, softplus=lambda z: np.logaddexp(0, z), solve_triangular=_solve_triangular)


def _solve_triangular(a: Any, b: Any, lower: bool) -> Any:
    import backsweep as bs

    return bs.solve_triangular(a, b, lower=lower)


@dataclass(frozen=True, slots=True)
class Program:
    """A function and the verb asked of it. `scalar`: its value is timed too. `flat`: if not the usual one."""

    function: Callable[..., Any]
    verb: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scalar: bool = False
    flat: Callable[[Any], Array] = numbers


def gradient(f: Callable[..., Any]) -> Program:
    return Program(f, "gradient", scalar=True)


def reverse_gradient(f: Callable[..., Any]) -> Program:
    """As a vjp, which is reverse mode whatever the plan thinks of it."""
    return Program(f, "vjp", scalar=True)


def gradient_and_hvp(f: Callable[..., Any]) -> Program:
    return Program(f, "gradient_and_hvp", scalar=True)


def jacobian(f: Callable[..., Any]) -> Program:
    return Program(f, "jacobian")


def hessian(f: Callable[..., Any]) -> Program:
    return Program(f, "hessian")


def derivative(f: Callable[..., Any]) -> Program:
    """f computes the derivative itself (bs.jacobian and the like in the traced function)."""
    return Program(f, "value")


def prepare(tier: str, program: Program, inputs: Inputs) -> Prepared:
    import backsweep as bs
    from backsweep.calls import make_call
    from backsweep.signature import Asked
    from backsweep_engine.execute.executor import never
    from backsweep_engine.execute.local import Local
    from backsweep_engine.plan.make import Budget
    from backsweep_engine.work import prepare as planned

    types = {name: bs.float64[a.shape] if a.ndim else bs.float64 for name, a in inputs.point.items()}
    f = service().submit(partial(program.function, names(), **inputs.static), **types, **inputs.data)
    point = list(inputs.point.values())
    tangent = inputs.seeds[0] if len(inputs.seeds) == 1 else inputs.seeds
    options, note = dict(program.options), ""
    if options.get("layout") == "sparse":
        options, note = _layout(f, point, options)
    if program.verb == "gradient_and_hvp":
        asked = [Asked("gradient"), Asked("hvp", tangent)]
        call = partial(f.ask, *point, bs.gradient, bs.hvp(tangent))
    elif program.verb == "vjp":
        asked = [Asked("vjp", 1.0)]
        call = partial(f.vjp, *point, cotangent=1.0)
    elif program.verb == "value":
        asked = [Asked("value")]
        call = partial(f, *point)
    else:
        asked = [Asked(program.verb, None, options)]
        call = partial(getattr(f, program.verb), *point, **options)

    plans: list[Any] = []

    def alone() -> Any:
        """Planned at its first call, which nobody times: a user's first call plans in the service."""
        if not plans:
            made = make_call(f.signature, point, asked)
            plans[:] = [planned(made.request, Budget()).plan, made.values, Local()]
        plan, values, executor = plans
        for block in executor.blocks(plan, values, never):  # noqa: B007 - computing them is the point
            pass
        return block

    # A hot graph gets its native plan from the service: a plan made here would be NumPy's.
    return Prepared(call, partial(f, *point) if program.scalar else None, alone if tier == "numpy" else None, program.flat, note)


def _layout(f: Any, point: list[Array], options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The options, without layout="sparse" where this version does not have it yet."""
    import backsweep as bs

    try:
        f.explain(*point, verb="jacobian", **options)
    except bs.Error as error:
        if error.reason != "NOT_BUILT_YET":
            raise
        return {k: v for k, v in options.items() if k != "layout"}, "dense: layout='sparse' is not built in this version"
    return options, ""
