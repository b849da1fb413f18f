"""The server as a process: `python -m backsweep_server`.

Its first line on stdout is `ready HOST:PORT`; log lines go to stderr. SIGTERM or SIGINT stops it
without losing a call; a second one stops it at once. Exit status 2: a setting is wrong.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

from . import observe
from .settings import SettingError, Settings, from_environment

SIGNALS = (signal.SIGTERM, signal.SIGINT)

COLLECT_AFTER = (20_000, 10, 50)
"""New objects between two looks for cycles. Graphs have none, and with Python's own 700 a fifth of deriving a large one was looking."""


def main() -> int:
    signals = _signals()
    try:
        settings = from_environment()
        observe.start(settings.log_level)
        _pin_threads(settings)
        # Only now: loading takes most of the start, and a wrong setting is told before.
        from .serving import Serving

        serving = Serving(settings)
    except SettingError as error:
        print(f"backsweep: {error}", file=sys.stderr)
        return 2
    gc.collect()
    gc.freeze()  # what was loaded stays: looking through it again and again took some per cent of a small call
    gc.set_threshold(*COLLECT_AFTER)
    print(f"ready {serving.address}", flush=True)
    os.read(signals, 1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if not serving.stop():
        # A thread is inside one long operation; the interpreter would wait for it.
        logging.shutdown()
        os._exit(0)
    return 0


def _signals() -> int:
    """Where to read that a signal has come: a file descriptor.

    The system may give a signal to any thread. Then Python's own handler waits until the main
    thread wakes, which an Event would not do; what C writes here wakes it always.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: None)
    return reader


def _pin_threads(settings: Settings) -> None:
    """Bits depend on the number of BLAS threads, and two on two shared cores took many times as long as one."""
    import scipy.linalg  # noqa: F401  # loads SciPy's BLAS beside NumPy's, so that both are pinned
    import threadpoolctl

    threadpoolctl.threadpool_limits(settings.blas_threads)


if __name__ == "__main__":
    sys.exit(main())
