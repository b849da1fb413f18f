"""What this process and its driver say to each other: frozen records, pickled by channel.py.

Arrays are never fields: they follow the message, and fields name them by position.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import Error
from ...plan.plan import Sweep


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one lane, as Ray is told: cores, and bytes of memory (0: nothing is said)."""

    cpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Settings:
    """First frame to the driver. `address` None: a Ray of our own; `folder`: its temporary directory. `parent`: process id of the sender.

    `answer_seconds`: how long the address may be silent before it is said that no cluster is there.
    """

    lanes: int
    memory_bytes: int
    address: str | None
    resources: Resources
    folder: str
    start_seconds: float
    answer_seconds: float
    parent: int


@dataclass(frozen=True, slots=True)
class Open:
    """A job: `todo` is (sweep, start, stop) of each block wanted. Arrays follow, each once.

    `shared[k]` and `given[k]`: positions among the arrays, for sweep k. `window`: how many blocks may be started and not
    yet taken. `platform`: the numeric platform, of which all its lanes must be.
    """

    job: int
    sweeps: tuple[Sweep, ...]
    shared: tuple[tuple[int, ...], ...]
    given: tuple[tuple[int, ...], ...]
    todo: tuple[tuple[int, int, int], ...]
    window: int
    platform: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The caller took one more block of the job: another may be started."""

    job: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody waits for the job any more."""

    job: int


@dataclass(frozen=True, slots=True)
class Beat:
    """From the driver, every second: its loop turns."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From the driver, once: lanes can work."""


@dataclass(frozen=True, slots=True)
class Lost:
    """From the driver: a lane is no more, for this cause; another is being started."""

    lane: int
    cause: str


@dataclass(frozen=True, slots=True)
class Done:
    """From the driver: block number `block` of the job's `todo`, by the lane `lane`, begun `attempts` times; its array follows."""

    job: int
    block: int
    lane: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Ended:
    """From the driver: the job is over, for this reason."""

    job: int
    error: Error


@dataclass(frozen=True, slots=True)
class Failed:
    """From the driver, last: it cannot go on."""

    cause: Error
