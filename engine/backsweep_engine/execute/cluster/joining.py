"""Ray for the driver: one of our own on this machine, or the one at an address. What goes wrong becomes an error that says what to do."""

from __future__ import annotations

import os
import re
import socket
import time

import ray

from ...errors import NO_CLUSTER, VERSION_SKEW, ClusterLost
from . import session
from .messages import Settings

_POLL_SECONDS = 0.25

_ADDRESS_HINT = "HOST:PORT of the cluster's head (its GCS, port 6379 as a rule), reachable from here; RAY_AUTH_MODE and RAY_AUTH_TOKEN as the cluster has"


def begin(settings: Settings) -> None:
    """Starts or joins it in this process. ClusterLost: nobody answers, or in another version. `address` always: a bare init joins whatever it finds."""
    if settings.address is None:
        _own(settings)
        return
    _answers(settings.address, settings.answer_seconds)
    try:
        ray.init(address=settings.address, log_to_driver=False, logging_level="ERROR", namespace=f"backsweep-{os.urandom(8).hex()}")
    except Exception as error:
        raise refusal(settings.address, error) from None


def daemons() -> list[int]:
    """Process ids of what this process's Ray cannot go on without: the daemons it started, or of a cluster it joined the raylet here.

    Empty where that raylet runs unseen, in another container's process ids.
    """
    return session.daemons(os.getpid()) or session.raylets(ray._private.worker._global_node.raylet_socket_name)


def refusal(address: str, error: Exception) -> ClusterLost:
    """Ours for what Ray said when it did not join."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", str(error))
    if isinstance(error, RuntimeError) and len(versions) == 2:
        theirs, ours = (f"Ray {ray_version}, Python {python}" for ray_version, python in versions)
        hint = "run the server and the cluster from one image"
        return ClusterLost(f"the cluster at {address} runs other versions than this server", reason=VERSION_SKEW, got=theirs, allowed=ours, hint=hint)
    return ClusterLost(f"the cluster at {address} cannot be joined: {text_of(error)}", reason=NO_CLUSTER, got=address, hint=_ADDRESS_HINT)


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (ray.exceptions.OutOfMemoryError, "its node ran short of memory, and Ray ended the lane"),
    (ray.exceptions.ActorUnavailableError, "its lane cannot be reached"),
    (ray.exceptions.RayActorError, "the process of its lane ended: it was killed, or crashed, or its node is gone"),
    (ray.exceptions.ObjectLostError, "an array it needs was lost with a node"),
)


def words_of(error: object) -> str:
    """What befell a block, in our words where they are known: Ray's name actors, addresses and files, which are no business of a client."""
    return next((words for kind, words in _WORDS if isinstance(error, kind)), type(error).__name__)


def text_of(error: object) -> str:
    """The first lines of an error: Ray's explain a lot."""
    return f"{type(error).__name__}: {error}"[:600]


def _own(settings: Settings) -> None:
    ray.init(
        address="local",
        num_cpus=max(1, round(settings.lanes * settings.resources.cpus)),
        num_gpus=0,
        _memory=settings.lanes * settings.resources.memory_bytes or None,  # what lanes ask for is there: this Ray is for them alone
        object_store_memory=settings.memory_bytes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=f"{settings.folder}/r",  # Ray opens it to everyone; the folder above stays ours alone
        _node_ip_address="127.0.0.1",
    )


def _answers(address: str, seconds: float) -> None:
    """Ray itself asks a silent address for half a minute, then ends the process. A clock, to bound the waiting."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()) or "/" in host:
        raise ClusterLost("the cluster's address is none", reason=NO_CLUSTER, got=address, allowed="HOST:PORT or auto", hint=_ADDRESS_HINT)
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), seconds).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                why = (error.strerror or "no answer").lower()
                raise ClusterLost(f"no Ray cluster answers at {address}: {why}", reason=NO_CLUSTER, got=address, hint=_ADDRESS_HINT) from None
        time.sleep(_POLL_SECONDS)
