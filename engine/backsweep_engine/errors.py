"""What can go wrong, and whose fault it is.

The class says whose fault, `reason` is the contract (the same word travels on the wire as
ErrorInfo.reason), the text is for people. Nothing else is ever raised on purpose, and no exception
of NumPy, SciPy, Ray or gRPC may pass a public function: it is caught where it arises and becomes
one of these.
"""

from __future__ import annotations

from typing import Any, Self


class Error(Exception):
    """Base of every error backsweep raises: catch this to catch them all.

    `reason`: the stable upper-case word programs may test. `node`: index in the *submitted* graph
    of the node at fault, or None. `op`, `got`, `allowed`, `hint`: empty where they do not apply.
    `window`: a few lines of the graph round the node. `source`: the user's own file:line.
    `function`: which function of the submitted graph holds the node, None for its main one. `name`:
    the input, output, attribute or limit at fault. `query`: the index of the query at fault.
    """

    default_reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        node: int | None = None,
        op: str = "",
        got: str = "",
        allowed: str = "",
        hint: str = "",
        window: str = "",
        source: str = "",
        function: int | None = None,
        name: str = "",
        query: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.node = node
        self.op = op
        self.got = got
        self.allowed = allowed
        self.hint = hint
        self.window = window
        self.source = source
        self.function = function
        self.name = name
        self.query = query

    def __str__(self) -> str:
        inside = "" if self.function is None else f" of function {self.function}"
        where = "" if self.node is None else f" (node {self.node}{inside}{', ' + self.op if self.op else ''})"
        lines = [self.message + where]
        details = {"got": self.got, "allowed": self.allowed, "hint": self.hint, "at": self.source}
        lines += [f"  {name}: {text}" for name, text in details.items() if text]
        return "\n".join(lines) + (f"\n{self.window}" if self.window else "")

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process boundaries (lanes to driver); the default loses keyword-only fields.
        return _rebuild, (type(self), self.message, {k: v for k, v in vars(self).items() if k != "message" and not k.startswith("_")})

    def located(
        self,
        *,
        node: int | None = None,
        op: str = "",
        window: str = "",
        source: str = "",
        function: int | None = None,
        name: str = "",
        query: int | None = None,
    ) -> Self:
        """The same error with the place filled in where it was still empty."""
        self.node = node if self.node is None else self.node
        self.op = self.op or op
        self.window = self.window or window
        self.source = self.source or source
        self.function = function if self.function is None else self.function
        self.name = self.name or name
        self.query = query if self.query is None else self.query
        return self


def _rebuild(kind: type[Error], message: str, fields: dict[str, Any]) -> Error:
    return kind(message, **fields)


class GraphError(Error):
    """Theirs: the graph, a binding or a query cannot be what it says."""

    default_reason = "MALFORMED"


class OverBudget(Error):
    """The work is sound but larger than this service allows; it is never retried."""

    default_reason = "OVER_BUDGET"


class Cancelled(Error):
    """The caller asked for the work to stop, and it stopped."""

    default_reason = "CANCELLED"


class ClusterLost(Error):
    """The cluster could not do the work. Its reasons: CLUSTER_LOST (it was there and is gone, or is busy dying), and those below."""

    default_reason = "CLUSTER_LOST"


NO_CLUSTER = "NO_CLUSTER"
"""There is no Ray: not installed, or none at the address, or it does not start."""

VERSION_SKEW = "VERSION_SKEW"
"""The cluster runs other versions, or on other machines, than this process: Ray would not work, or the bits would differ."""

BLOCK_FAILED = "BLOCK_FAILED"
"""One block ended every lane that tried it. It would end others too, so it is not repeated."""


class Fault(Error):
    """Ours: an invariant of backsweep does not hold. Please report it."""

    default_reason = "INTERNAL"
