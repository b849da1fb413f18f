"""The verbs by name: to differentiate inside a traced function, and to list what f.ask should answer.

`bs.gradient(f)` of a function is its derivative, to be called (nesting.py); `bs.gradient` by itself,
or `bs.hvp(v)` of an array, is one thing to ask: f.ask(w, bs.value, bs.gradient, bs.hvp(v)). `bs.check(f, x)` is a
verdict at once (checking.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backsweep_engine.errors import GraphError

from . import checking, nesting
from .signature import Asked


class Verb:
    """One verb; see the module. Options (wrt, mode, block ...) are keywords in both uses."""

    def __init__(self, name: str, transform: Callable[..., Any] | None = None) -> None:
        self.name = name
        self.asked = Asked(name)
        self._transform = transform
        self.__doc__ = transform.__doc__ if transform else f"The {name.replace('_', ' ')}, in f.ask."

    def __call__(self, f_or_seed: Any = None, *inputs: Any, **options: Any) -> Any:
        if self is check and callable(f_or_seed):
            return checking.check(f_or_seed, *inputs, **options)
        if inputs:
            raise GraphError(f"bs.{self.name} takes a function or a seed", reason="ARITY", got=f"{1 + len(inputs)} values", allowed="1")
        if callable(f_or_seed):
            if self._transform is None:
                raise GraphError(f"bs.{self.name} of a function cannot be traced", reason="NOT_TRACEABLE", hint="submit the function and ask for it")
            return self._transform(f_or_seed, **options)
        return Asked(self.name, f_or_seed, options)

    def __repr__(self) -> str:
        return f"bs.{self.name}"


def as_asked(verb: Any) -> Asked:
    """What stands in f.ask as something to ask."""
    if type(verb) is Asked:
        return verb
    if isinstance(verb, Verb):
        return verb.asked
    raise GraphError("not something to ask", reason="MALFORMED", got=repr(verb)[:80], allowed="bs.value, bs.gradient, bs.hvp(v) ...")


value = Verb("value")
gradient = Verb("gradient", nesting.gradient)
value_and_gradient = Verb("value_and_gradient", nesting.value_and_gradient)
jvp = Verb("jvp", getattr(nesting, "jvp", None))
vjp = Verb("vjp", getattr(nesting, "vjp", None))
hvp = Verb("hvp", nesting.hvp)
jacobian = Verb("jacobian", getattr(nesting, "jacobian", None))
hessian = Verb("hessian", getattr(nesting, "hessian", None))
hessian_diagonal = Verb("hessian_diagonal")
gauss_newton = Verb("gauss_newton")
fisher = Verb("fisher")
empirical_fisher = Verb("empirical_fisher")
check = Verb("check")
