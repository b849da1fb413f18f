"""Why a job over the lanes ends: the errors its caller is told. No Ray."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import BLOCK_FAILED, VERSION_SKEW, ClusterLost, Error, OverBudget


class OutOfMemory(Error):
    """Of one attempt at a block: it needed more memory than there was. For the queue, which makes another error of it in the end."""


def given_up(failures: int, cause: Error) -> Error:
    """Of a job: one of its blocks failed so often, the last time for this cause."""
    if isinstance(cause, OutOfMemory):
        message = f"a block ran out of memory on {failures} attempts, the last ones alone on a node: {cause.message}"
        return OverBudget(message, name="lane memory", hint="ask for smaller blocks (block=), which is another plan, or give the lanes more memory")
    message = f"a block failed on {failures} attempts; the last: {cause.message}"
    return ClusterLost(message, reason=BLOCK_FAILED, hint="the executor local needs no lanes; if lanes keep dying at this work, please report it")


def skew(ours: str, theirs: Sequence[str]) -> ClusterLost:
    """Of a job that no lane will do: `theirs` are the platforms of the lanes. Platforms are words with semicolons between them; said is where they differ."""
    wanted = ours.split("; ")
    got = " or ".join("; ".join(word for word in platform.split("; ") if word not in wanted) or "less" for platform in theirs)
    allowed = "; ".join(word for word in wanted if any(word not in platform.split("; ") for platform in theirs))
    message = "no lane computes with the versions and the kind of machine this server does, so the bits would differ"
    return ClusterLost(
        message, reason=VERSION_SKEW, got=got[:600], allowed=allowed[:600], hint="run the server and the cluster from one image, on one kind of CPU"
    )
