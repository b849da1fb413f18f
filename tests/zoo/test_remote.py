"""Every problem of the zoo through a server's process and over lanes: the bytes of the answers in process.

That those are right is shown next door (test_zoo.py). Each verb is asked as a user asks it, so requests,
uploads, blocks and joining are those of a real program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import backsweep as bs
from backsweep.calls import make_call
from backsweep.signature import Asked
from backsweep_engine.answer import Collected, deliver
from backsweep_engine.execute.cluster.cluster import Cluster
from backsweep_engine.execute.executor import Executor, never
from backsweep_engine.execute.local import Local
from backsweep_engine.plan.make import Budget
from backsweep_engine.work import prepare
from support.server import Server
from support.zoo import ZOO


@dataclass(frozen=True)
class Placed:
    """A problem at its smaller size, submitted somewhere."""

    f: bs.Function
    point: Mapping[str, Any]

    @property
    def inputs(self) -> list[Any]:
        return list(self.point.values())

    @property
    def scalar(self) -> bool:
        return self.f.graph.output_types[0].shape == ()

    def tangent(self) -> Any:
        random = np.random.default_rng(11)
        parts = tuple([random.standard_normal(np.shape(x)) for x in self.inputs])
        return parts if len(parts) > 1 else parts[0]

    def cotangent(self) -> Any:
        return np.random.default_rng(12).standard_normal(self.f.graph.output_types[0].shape)

    @property
    def third(self) -> int:
        """Rows of a Jacobian by blocks of a third of them."""
        return max(1, sum(np.size(x) for x in self.inputs) // 3)


def placed(service: bs.Service, name: str) -> Placed:
    problem = ZOO[name]
    point, data = problem.make(problem.sizes[0], 1)
    return Placed(service.submit(problem.function, **{k: bs.float64[np.shape(x)] for k, x in point.items()}, **data), point)


VERBS: dict[str, Callable[[Placed], Any]] = {
    "value": lambda p: p.f(*p.inputs),
    "gradient": lambda p: p.f.value_and_gradient(*p.inputs) if p.scalar else p.f.vjp(*p.inputs, cotangent=p.cotangent()),
    "jvp": lambda p: p.f.jvp(*p.inputs, tangent=p.tangent()),
    "hvp": lambda p: p.f.hvp(*p.inputs, tangent=p.tangent()) if p.scalar else p.f.jacobian(*p.inputs, mode="reverse", block=p.third),
    "jacobian": lambda p: p.f.jacobian(*p.inputs, mode="forward", block=p.third),
    "check": lambda p: p.f.check(*p.inputs, seed=2),
}


@pytest.fixture(scope="module")
def remote(server: Server) -> Iterator[bs.Service]:
    with bs.connect(server.address) as service:
        yield service


@pytest.fixture(scope="module")
def here() -> Iterator[bs.Service]:
    with threadpool_limits(2), bs.local(threads=1) as service:  # as the server, in a process whose own BLAS has several
        yield service


def leaves(answer: Any) -> list[Any]:
    return [leaf for part in answer for leaf in leaves(part)] if isinstance(answer, tuple) else [answer]


@pytest.mark.parametrize("name", ZOO)
def test_a_server_gives_the_bytes_of_the_answer_in_process(name: str, remote: bs.Service, here: bs.Service) -> None:
    there, mine = placed(remote, name), placed(here, name)
    for verb, ask in VERBS.items():
        got, wanted = ask(there), ask(mine)
        if verb == "check":
            assert got.right
            assert got == wanted
            continue
        for a, b in zip(leaves(got), leaves(wanted), strict=True):
            assert (verb, np.shape(a), np.asarray(a).tobytes()) == (verb, np.shape(b), np.asarray(b).tobytes())


@cache
def _unasked() -> bs.Service:
    return bs.local()


@pytest.mark.cluster
@pytest.mark.parametrize("name", ZOO)
def test_lanes_give_the_bytes_of_the_local_executor(name: str, cluster: Cluster) -> None:
    """The second derivative of a scalar, the first of a vector, in three blocks or a few more."""
    p = placed(_unasked(), name)
    asked = Asked("hessian", None, {"block": p.third}) if p.scalar else Asked("jacobian", None, {"mode": "forward", "block": p.third})
    call = make_call(p.f.signature, p.inputs, [asked])
    work = prepare(call.request, Budget())

    def answers(executor: Executor) -> list[bytes]:
        collected = Collected(work)
        for event in deliver(work, call.values, executor, never):
            collected.add(event)
        return [array.tobytes() for answer in collected.answers() for array in answer.arrays]

    with threadpool_limits(1):  # lanes run one; the same bits are promised to a process that does too
        assert answers(cluster) == answers(Local())
