"""The client over a real socket: what is sent when, and what it makes of a server that is lost, full or slow."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.server import Server, free_port, serving
from support.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(memory_bytes=256 << 20) as server:
        yield server


@pytest.fixture
def service(server: Server) -> Iterator[bs.Service]:
    with bs.connect(server.address, timeout=60.0) as service:
        yield service


def linear(x: Any, A: Any) -> Any:
    return np.sum(np.tanh(A @ x))


def test_bound_arrays_travel_once_for_all_calls_and_functions(service: bs.Service) -> None:
    A = np.random.default_rng(0).normal(size=(300, 100))
    f = service.submit(linear, x=bs.float64[100], A=A)
    f(np.ones(100))
    first = service.usage.bytes_up
    assert first > A.nbytes
    f.gradient(np.ones(100))
    service.submit(lambda x, A: A @ x, x=bs.float64[100], A=A)(np.ones(100))
    assert service.usage.bytes_up - first < 10_000


def test_what_a_server_holds_already_is_not_sent_by_another_client(server: Server) -> None:
    A = np.random.default_rng(1).normal(size=(200, 100))
    sent = []
    for _ in range(2):
        with bs.connect(server.address) as service:
            service.submit(linear, x=bs.float64[100], A=A)(np.ones(100))
            sent.append(service.usage.bytes_up)
    assert sent[0] > A.nbytes > 10_000 > sent[1]


def test_a_server_that_restarted_and_lost_everything_is_sent_it_again() -> None:
    listen = f"127.0.0.1:{free_port()}"
    x = np.linspace(0, 1, 50)
    with bs.connect(listen, timeout=60.0) as service:
        f = service.submit(linear, x=bs.float64[50], A=np.ones((40, 50)))
        with serving(listen=listen):
            before = f.gradient(x)
        with serving(listen=listen):
            np.testing.assert_array_equal(f.gradient(x), before)


def test_a_point_larger_than_a_call_and_a_result_larger_than_a_message_pass(service: bs.Service) -> None:
    f = service.submit(lambda x: x * x, x=bs.float64[600_000])
    x = np.linspace(0, 1, 600_000)
    np.testing.assert_array_equal(f(x), x * x)


def test_a_large_jacobian_streams_and_reports_its_blocks(service: bs.Service) -> None:
    A = np.random.default_rng(2).normal(size=(1500, 300))
    f = service.submit(lambda x, A: np.tanh(A @ x), x=bs.float64[300], A=A)
    x = np.full(300, 0.01)
    seen: list[tuple[int, int]] = []
    jacobian = f.jacobian(x, block=50, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(jacobian, (1 - np.tanh(A @ x) ** 2)[:, None] * A, rtol=0, atol=1e-14)  # entries of size 1
    assert seen[-1] == (6, 6) and jacobian.flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1)])
def test_scalars_and_empty_arrays_come_back_as_they_are(service: bs.Service, shape: tuple[int, ...]) -> None:
    f = service.submit(lambda x: x * 2, x=bs.float64[shape])
    y = f(np.ones(shape))
    assert y.shape == shape and np.array_equal(y, 2 * np.ones(shape))


@pytest.mark.filterwarnings("ignore::backsweep.NonFiniteWarning")
def test_every_dtype_passes_with_its_bits(service: bs.Service) -> None:
    values = {
        "float64": np.array([np.nan, -0.0, np.inf]),
        "float32": np.array([1.5, -0.0, 3e38], np.float32),
        "int64": np.array([-(2**63), 0, 2**63 - 1]),
        "int32": np.array([-(2**31), 0, 7], np.int32),
        "bool": np.array([True, False, True]),
    }
    for name, value in values.items():
        f = service.submit(lambda x: x, x=getattr(bs, "bool_" if name == "bool" else name)[3])
        assert np.array_equal(f(value).view(np.uint8), value.view(np.uint8)), name


def test_nothing_listening_is_said_within_the_timeout() -> None:
    with bs.connect(f"127.0.0.1:{free_port()}", timeout=1.0) as service:
        f = service.submit(lambda x: x * 2, x=bs.float64)
        started = time.monotonic()
        with pytest.raises(bs.Error) as caught:
            f(1.0)
        assert time.monotonic() - started < 10
    assert isinstance(caught.value, (bs.Unavailable, bs.DeadlineExceeded)) and "grpc" not in str(caught.value).lower()


def test_a_server_out_of_reach_is_said_in_seconds_with_its_address() -> None:
    address = f"127.0.0.1:{free_port()}"
    with bs.connect(address, patience=0.5) as service:
        started = time.monotonic()
        with pytest.raises(bs.Unavailable) as caught:
            service.engine_version()
        assert time.monotonic() - started < 5
    assert (caught.value.reason, caught.value.got) == ("BUSY", address)


def test_a_service_closed_soon_after_its_first_calls_leaves_no_trace(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    for _ in range(20):
        with bs.connect(server.address) as service:
            bs.ask_all(lambda _: service.engine_version(), range(8))
    time.sleep(0.5)  # longer than gRPC's threads look at a connection
    assert not raised


def test_a_service_closed_by_another_thread_says_so_to_who_waits_for_the_server() -> None:
    with bs.connect(f"127.0.0.1:{free_port()}", patience=60.0) as service, ThreadPoolExecutor() as threads:
        asking = threads.submit(service.engine_version)
        time.sleep(0.5)
        service.close()
        with pytest.raises(bs.Error) as caught:
            asking.result(30)
    assert caught.value.reason == "CLOSED"


def test_a_server_that_is_just_starting_is_waited_for() -> None:
    listen = f"127.0.0.1:{free_port()}"
    with bs.connect(listen, patience=60.0) as service:
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(service.engine_version()))
        asking.start()
        with serving(listen=listen):
            asking.join(60)
    assert answers


def test_bound_arrays_changed_in_place_change_nothing(service: bs.Service) -> None:
    A = np.eye(4)
    f = service.submit(lambda x, A: A @ x, x=bs.float64[4], A=A)
    g = service.submit(lambda x, A: A @ x, x=bs.float64[4], A=bs.float64[4, 4]).bind(A=A)
    before = f(np.ones(4)), g(np.ones(4))
    A *= 2
    assert np.array_equal(f(np.ones(4)), before[0]) and np.array_equal(g(np.ones(4)), before[1])
    h = service.submit(lambda x, A: A @ x, x=bs.float64[4], A=A)
    np.testing.assert_array_equal(h(np.ones(4)), 2 * np.ones(4))


@pytest.mark.parametrize("address", ["ipv4:127.0.0.1:1,10.0.0.1:50051", "10.0.0.1:50051", "example.org:50051", "[2001:db8::1]:1"])
def test_plaintext_to_another_machine_must_be_asked_for(address: str) -> None:
    with pytest.raises(bs.Error, match="plaintext"):
        bs.connect(address)
    bs.connect(address, insecure=True).close()


def test_over_the_servers_budget_comes_back_as_such_and_the_server_goes_on(service: bs.Service) -> None:
    f = service.submit(lambda x: np.sum(np.outer(x, x)), x=bs.float64[20_000])
    with pytest.raises(bs.OverBudget) as caught:
        f(np.ones(20_000))
    assert caught.value.op and "bytes" in caught.value.allowed
    assert service.submit(lambda x: x * 2, x=bs.float64)(2.0) == 4.0


def test_a_call_ends_at_its_timeout_and_the_server_goes_on(service: bs.Service) -> None:
    f = service.submit(lambda x: np.tanh(x @ x @ x), x=bs.float64[60, 60])
    started = time.monotonic()
    with pytest.raises((bs.DeadlineExceeded, bs.Cancelled)):
        f.jacobian(np.ones((60, 60)), timeout=0.3)
    assert time.monotonic() - started < 10
    assert service.submit(lambda x: x * 2, x=bs.float64)(2.0) == 4.0


def test_a_nan_is_delivered_with_node_and_line(service: bs.Service) -> None:
    f = service.submit(lambda x: np.sum(np.log(x)), x=bs.float64[2])
    with pytest.warns(bs.NonFiniteWarning, match=r"node 1 \(log\) at test_client.py:\d+"):
        assert np.isnan(f(np.array([-1.0, 1.0])))


def test_explain_asks_the_server_for_its_plan(service: bs.Service) -> None:
    f = service.submit(lambda x: np.tanh(x), x=bs.float64[20])
    assert "20 columns in 4 blocks of 5" in f.explain(np.ones(20), verb="jacobian", block=5, mode="forward")


def test_a_function_unpickled_elsewhere_asks_the_same_server(service: bs.Service) -> None:
    f = service.submit(linear, x=bs.float64[5], A=np.eye(5))
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(again.gradient(np.ones(5)), f.gradient(np.ones(5)))
    again.service.close()


def test_ctrl_c_ends_the_run_on_the_server_too(server: Server) -> None:
    # What a shell runs in the background, these tests perhaps, begins with Ctrl-C ignored.
    program = f"""
import functools, signal, numpy as np, backsweep as bs
signal.signal(signal.SIGINT, signal.default_int_handler)
with bs.connect({server.address!r}) as service:
    f = service.submit(lambda x: np.tanh(functools.reduce(np.matmul, [x] * 40)), x=bs.float64[60, 60])  # many seconds of work
    f.jacobian(np.ones((60, 60)), block=1, progress=lambda done, total: print("under way", flush=True))
"""
    before = server.log().count("Run CANCELLED")
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "under way\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert child.returncode != 0 and "KeyboardInterrupt" in errors
    assert wait_until(lambda: server.log().count("Run CANCELLED") > before, 10)


LIGHT = {
    "backsweep": ("grpc", "scipy", "ray", "google.protobuf", "backsweep.client", "backsweep.trace"),
    "backsweep.wire": ("grpc", "scipy", "ray", "backsweep.client", "backsweep.trace"),
    "backsweep.wire.graphs, backsweep.wire.queries, backsweep.wire.answers": ("grpc", "scipy", "ray", "backsweep.client", "backsweep.trace"),
    "backsweep.trace, backsweep.inprocess": ("grpc", "scipy", "ray", "google.protobuf", "backsweep.client"),
    "backsweep.client": ("scipy", "ray"),
}


@pytest.mark.parametrize("modules", LIGHT)
def test_an_import_loads_only_what_it_uses(modules: str) -> None:
    program = f"import sys, {modules}; print(*[name for name in {LIGHT[modules]!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_a_first_gradient_in_process_loads_neither_scipy_nor_ray_nor_grpc() -> None:
    program = (
        "import sys, numpy as np, backsweep as bs\n"
        "f = bs.local().submit(lambda w, X: np.mean(np.logaddexp(0, X @ w)), w=bs.float64[3], X=np.ones((5, 3)))\n"
        "f.gradient(np.zeros(3)), f.hessian(np.zeros(3)), f.jacobian(np.zeros(3))\n"
        "print(*[name for name in ('scipy', 'ray', 'grpc', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
