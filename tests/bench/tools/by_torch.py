"""PyTorch, eager, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..workload import Array, Inputs, Prepared
from .names import Names

Program = Callable[[Inputs], Prepared]
Function = Callable[..., Any]


def start() -> str:
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    return f"PyTorch {torch.__version__}"


def names() -> Names:
    import torch

    def solve_triangular(a: Any, b: Any, lower: bool) -> Any:
        return torch.linalg.solve_triangular(a, b[:, None], upper=not lower)[:, 0]

    return Names(torch, logsumexp=torch.logsumexp, softplus=lambda z: torch.logaddexp(z, z.new_zeros(())), solve_triangular=solve_triangular)


def tensors(inputs: Inputs) -> tuple[list[Any], list[Any], list[Any]]:
    """Point (to be differentiated by), data, seeds."""
    import torch

    made = [[torch.from_numpy(a.copy()) for a in part] for part in (inputs.point.values(), inputs.data.values(), inputs.seeds)]
    for x in made[0]:
        x.requires_grad_()
    return made[0], made[1], made[2]


def flat(answer: Any) -> Array:
    from ..workload import flat as numbers

    return numbers([a.detach().numpy() for a in answer] if isinstance(answer, (tuple, list)) else answer.detach().numpy())


def valued(f: Function, *arguments: Any) -> Callable[[], Any]:
    """The value alone, no tape."""
    import torch

    def value() -> Any:
        with torch.no_grad():
            return f(*arguments)

    return value


def gradient(f: Function) -> Program:
    def prepare(inputs: Inputs) -> Prepared:
        import torch

        traced = partial(f, names(), **inputs.static)
        point, data, _ = tensors(inputs)
        return Prepared(lambda: torch.autograd.grad(traced(*point, *data), point), valued(traced, *point, *data), flat=flat)

    return prepare


def gradient_and_hvp(f: Function) -> Program:
    """The backward pass of the backward pass."""

    def prepare(inputs: Inputs) -> Prepared:
        import torch

        traced = partial(f, names(), **inputs.static)
        point, data, seeds = tensors(inputs)

        def both() -> Any:
            slopes = torch.autograd.grad(traced(*point, *data), point, create_graph=True)
            return *slopes, *torch.autograd.grad(slopes, point, seeds)

        return Prepared(both, valued(traced, *point, *data), flat=flat)

    return prepare


def _whole(f: Function, derive: str) -> Program:
    def prepare(inputs: Inputs) -> Prepared:
        import torch

        traced = partial(f, names(), **inputs.static)
        (x,), data, _ = tensors(inputs)
        x = x.detach()
        derived = getattr(torch.func, derive)(traced)
        return Prepared(lambda: derived(x, *data), flat=flat)

    return prepare


def jacobian(f: Function) -> Program:
    return _whole(f, "jacrev")


def hessian(f: Function) -> Program:
    return _whole(f, "hessian")
