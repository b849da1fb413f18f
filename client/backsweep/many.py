"""Many small requests at once, down one connection: some wait for the server while others are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from backsweep_engine.errors import Error

AT_ONCE = 8


def ask_all(ask: Callable[[Any], Any], items: Iterable[Any], *, at_once: int = AT_ONCE) -> list[Any]:
    """[ask(item) for each item], in order, so many at a time: ask_all(f.gradient, points), or a function that submits a model and asks for it.

    An item whose request fails has its bs.Error in its place, and the others go on; anything else that is raised ends it all.
    For many points of one function `batched=True` is sooner: that is one request.
    """
    answers: list[Any] = []
    waiting = iter(items)
    with ThreadPoolExecutor(max(1, at_once), thread_name_prefix="backsweep-ask") as threads:
        try:
            # Windows, so that items may come without end and no more than some are held.
            while window := list(islice(waiting, 16 * max(1, at_once))):
                answers += threads.map(lambda item: _or_error(ask, item), window)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return answers


def _or_error(ask: Callable[[Any], Any], item: Any) -> Any:
    try:
        return ask(item)
    except Error as error:
        return error
