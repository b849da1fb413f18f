"""An installed backsweep, outside the tree: start a server, ask one gradient through the public client, stop it with SIGTERM."""

import argparse
import importlib
import os
import pkgutil
import queue
import signal
import subprocess
import sys
import threading
from importlib import metadata

import numpy as np

import backsweep as bs
from backsweep import v1

STARTS = STOPS = 60  # seconds; a busy machine takes a few


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--server", required=True, help="the Python that serves")
    arguments.add_argument("--protobuf", default="", help="the protobuf release this client must be on")
    options = arguments.parse_args()

    where, protobuf = str(bs.__file__), metadata.version("protobuf")
    assert where.startswith(sys.prefix), f"imported from {where}, not from the wheel in {sys.prefix}"
    assert protobuf.startswith(options.protobuf), f"protobuf is {protobuf}, not {options.protobuf}"
    missing = [package for package in ("backsweep", "backsweep_engine", "backsweep_server") if not installed(f"{package}/py.typed")]
    assert not missing, f"no py.typed in {missing}"
    round_trip()

    command = [options.server, "-I", "-m", "backsweep_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment()) as server:
        try:
            ask(ready_address(server))
            server.send_signal(signal.SIGTERM)
            assert server.wait(STOPS) == 0, f"the server ended with status {server.returncode}"
        finally:
            server.kill()
    print(f"one gradient, right (client: protobuf {protobuf}, NumPy {np.__version__})")


def installed(path: str) -> bool:
    return any(str(file) == path for file in metadata.files("backsweep") or ())


def round_trip() -> None:
    """Every generated module imports, and a message survives its own bytes."""
    modules = [importlib.import_module(f"backsweep.v1.{module.name}") for module in pkgutil.iter_modules(v1.__path__) if module.name.endswith("_pb2")]
    digests = [module.Digest for module in modules if "Digest" in module.DESCRIPTOR.message_types_by_name]
    assert len(digests) == 1, f"{len(digests)} messages called Digest in {[module.__name__ for module in modules]}"
    sent = digests[0](sha256=bytes(range(32)), size_bytes=2**40)
    assert digests[0].FromString(sent.SerializeToString()) == sent


def environment() -> dict[str, str]:
    return dict(os.environ, BACKSWEEP_LISTEN="127.0.0.1:0", BACKSWEEP_EXECUTOR="local")


def ready_address(server: "subprocess.Popen[str]") -> str:
    lines: queue.Queue[str] = queue.Queue()
    assert server.stdout is not None
    stdout = server.stdout
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()  # readline itself knows no timeout
    line = lines.get(timeout=STARTS).split()
    assert line[:1] == ["ready"], f"the server said {line!r} and not `ready HOST:PORT`"
    return line[1]


def ask(address: str) -> None:
    with bs.connect(address) as service:
        f = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
        assert np.array_equal(f.gradient(np.ones(3)), 2 * np.ones(3))


main()
