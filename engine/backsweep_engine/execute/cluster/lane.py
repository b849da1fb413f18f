"""The lane: a stateless actor that computes one block at a time. Without Ray's restarts and retries; queue.py does both.

What it keeps (the last sweeps it saw, so that a program is built once) changes no bits and may be lost at any time.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from typing import Any, NamedTuple

import ray

from ...errors import ClusterLost, Error, Fault
from ...plan.plan import Sweep
from ..executor import Array
from ..local import compute
from .causes import OutOfMemory
from .joining import words_of
from .messages import Resources
from .platform import numeric_platform, pin_threads

_KEPT_SWEEPS = 64


class Place(NamedTuple):
    """Of a lane: its numeric platform, and the node it shares memory on."""

    platform: str
    node: str


class Lane:
    """See the module. `compute` runs in Ray's default thread for this actor, everything else beside it in the group `control`."""

    def __init__(self) -> None:
        pin_threads()
        self._cancelled: set[int] = set()
        self._sweeps: OrderedDict[str, Sweep] = OrderedDict()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator, unused-ignore]
    def place(self) -> Place:
        """Also the answer to a ping."""
        return Place(numeric_platform(), ray.get_runtime_context().get_node_id())

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator, unused-ignore]
    def cancel(self, attempts: tuple[int, ...]) -> None:
        self._cancelled.update(attempts)

    def compute(
        self, attempt: int, key: str, sweep: list[Any], rows: tuple[Array, ...], start: int, stop: int, order: tuple[int, ...], groups: list[Any]
    ) -> Array | Error:
        """The block's array, or the engine's error as a value (Ray would wrap a raised one).

        `sweep`: a list holding the reference of the Sweep named `key`, fetched only if it is not kept. `groups`: references of
        what becomes views of the object store, whose arrays at `order` are the shared inputs. In lists, since what Ray itself
        fetches before the call holds up every call behind it, also those of `control`: a lane that waits for inputs would not answer.
        """
        # Attempts come in order, so what was cancelled before this one will not be asked for again.
        self._cancelled = {number for number in self._cancelled if number >= attempt}
        try:
            held = [array for group in ray.get(groups) for array in group]
            return compute(self._sweep(key, sweep), [held[i] for i in order], rows, start, stop, lambda: attempt in self._cancelled)
        except Error as error:
            return error
        except ray.exceptions.RayError as error:
            return ClusterLost(words_of(error))
        except MemoryError:
            return OutOfMemory("the lane could not allocate")
        except Exception as error:
            # A pure function that raised will raise again: no retry, and the place is told.
            return Fault(f"a block raised {type(error).__name__}: {error}", window="".join(traceback.format_tb(error.__traceback__)[-3:]))

    def _sweep(self, key: str, reference: list[Any]) -> Sweep:
        found = self._sweeps.get(key)
        if found is None:
            loaded: Sweep = ray.get(reference[0])
            found = self._sweeps[key] = loaded
            while len(self._sweeps) > _KEPT_SWEEPS:
                self._sweeps.popitem(last=False)
        self._sweeps.move_to_end(key)
        return found


def lane_class(resources: Resources) -> Any:
    """Lane as a Ray actor class. SPREAD: one node lost costs few lanes. `resources` are what a cluster places lanes by, and grows for."""
    return ray.remote(
        num_cpus=resources.cpus,
        memory=resources.memory_bytes or None,
        scheduling_strategy="SPREAD",
        max_restarts=0,
        max_task_retries=0,
        concurrency_groups={"control": 1},
        enable_task_events=False,
    )(Lane)
