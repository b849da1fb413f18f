"""Every knob of the server, read once from the environment: BACKSWEEP_ and the field's name in capitals.

A name ends in its unit. A value that will not do is refused at the start, in one line that names the
variable, what was got and what is allowed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from backsweep.wire.limits import MIN_LEASE_SECONDS

PREFIX = "BACKSWEEP_"
EXECUTORS = ("local", "cluster", "auto")
WITHOUT_CLUSTER = ("local", "refuse")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingError(ValueError):
    """A variable has a value the server does not take; the text is one line for its operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be set, with what is used if it is not.

    listen: HOST:PORT; port 0 takes a free one. The port is plaintext, so naming a host off loopback
    is the operator's own choice. executor: what computes requests of more than one block: this
    process, the lanes of a Ray cluster, or (auto) whichever would be done sooner, this one while Ray
    starts. Of the lanes: `lanes` is their number, `lane_cpus` and `lane_memory_bytes` what Ray is told
    each needs, by which a cluster places them and grows (0: nothing of memory). cluster_address: of a
    running Ray, HOST:PORT or auto; else RAY_ADDRESS, else one is started here, whose object store
    has cluster_memory_bytes. cluster_start_seconds: how long its first lane may take. without_cluster:
    what the executor cluster does while there is no Ray: refuse, or local, as auto does. memory_bytes: what all work under way may need at its peak, and so
    the budget of one request. store_bytes: graphs and bound arrays, of a tenant. max_streams,
    max_calls: streams, and other calls, at a time; runs that nobody attends count with max_streams
    too. max_seconds: of a run; max_call_seconds: of any other call. run_buffer_bytes: results of a
    run kept for a slow or lost client. drain_seconds: from the signal to the last answer;
    notice_seconds: of these, how long health says NOT_SERVING before calls are refused.
    """

    listen: str = "127.0.0.1:50051"
    executor: str = "local"
    lanes: int = 2
    lane_cpus: float = 1.0
    lane_memory_bytes: int = 0
    cluster_address: str = ""
    cluster_memory_bytes: int = 512 << 20
    cluster_start_seconds: float = 60.0
    without_cluster: str = "refuse"
    memory_bytes: int = 4 << 30
    store_bytes: int = 1 << 30
    lease_seconds: float = MIN_LEASE_SECONDS
    run_buffer_bytes: int = 16 << 20
    max_streams: int = 32
    max_calls: int = 32
    max_seconds: float = 3600.0
    max_call_seconds: float = 120.0
    max_detach_seconds: float = 600.0
    drain_seconds: float = 20.0
    notice_seconds: float = 0.5
    blas_threads: int = 1
    log_level: str = "info"

    @property
    def address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def on_loopback(self) -> bool:
        return self.address[0] in LOOPBACK


_CHOICES: dict[str, tuple[str, ...]] = {"executor": EXECUTORS, "without_cluster": WITHOUT_CLUSTER, "log_level": LOG_LEVELS}
_RANGES: dict[str, tuple[float, float]] = {
    "lanes": (1, 4096),
    "lane_cpus": (0.01, 1024),
    "lane_memory_bytes": (0, 1 << 50),
    "cluster_start_seconds": (1, 3600),
    "cluster_memory_bytes": (80 << 20, 1 << 50),  # Ray refuses a smaller object store
    "memory_bytes": (1 << 20, 1 << 50),
    "store_bytes": (1 << 20, 1 << 50),
    "lease_seconds": (MIN_LEASE_SECONDS, 1e9),
    "run_buffer_bytes": (1 << 20, 1 << 40),
    "max_streams": (1, 4096),
    "max_calls": (1, 4096),
    "max_seconds": (0.1, 1e9),
    "max_call_seconds": (0.1, 1e9),
    "max_detach_seconds": (0, 1e9),
    "drain_seconds": (0, 1e6),
    "notice_seconds": (0, 1e6),
    "blas_threads": (1, 1024),
}


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. A variable that is empty counts as not set; SettingError if one is wrong."""
    values: dict[str, Any] = {}
    for field in fields(Settings):
        variable = PREFIX + field.name.upper()
        text = environment.get(variable, "").strip()
        if text:
            values[field.name] = _value(field.name, variable, text)
    settings = Settings(**values)
    if settings.notice_seconds > settings.drain_seconds:
        raise SettingError(f"{PREFIX}NOTICE_SECONDS: got {settings.notice_seconds:g}, allowed at most {PREFIX}DRAIN_SECONDS, {settings.drain_seconds:g}")
    return settings


def _value(name: str, variable: str, text: str) -> str | int | float:
    if name == "listen" or (name == "cluster_address" and text != "auto"):
        return _address(variable, text)
    if name in _CHOICES:
        if text.lower() not in _CHOICES[name]:
            raise SettingError(f"{variable}: got {text!r}, allowed {' or '.join(_CHOICES[name])}")
        return text.lower()
    if name not in _RANGES:
        return text
    low, high = _RANGES[name]
    whole = isinstance(getattr(Settings(), name), int)
    allowed = f"{'a whole number' if whole else 'a number'} from {low:.15g} to {high:.15g}"
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise SettingError(f"{variable}: got {text!r}, allowed {allowed}")
    return number


def _address(variable: str, text: str) -> str:
    host, colon, port = text.rpartition(":")
    bare_ipv6 = ":" in host and not host.startswith("[")
    if not (colon and host and port.isdecimal() and int(port) < 65536) or bare_ipv6:
        raise SettingError(f"{variable}: got {text!r}, allowed HOST:PORT, such as 127.0.0.1:50051 or [::1]:0")
    return text
