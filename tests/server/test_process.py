"""The server as a process: it starts, answers whatever else goes on, and stops without losing a call."""

import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backsweep.v1 import backsweep_pb2 as pb
from support import blobs, raw
from support.raw import SECONDS, Asking, asking, floats, read_refusal, refusal
from support.server import STOP_SECONDS, Server, begin, serving
from support.waiting import wait_until

ONE = [raw.binding("x", floats(1e-3, shape=[]))]


def long_compute(ask: Asking, products: int = 3000) -> Any:
    """A Compute under way: a future."""
    request = pb.ComputeRequest(graph=ask.graph(raw.long_work(products)), bindings=ONE, queries=[raw.value()])
    return ask.stub.Compute.future(request, timeout=SECONDS)


def long_run(ask: Asking, **fields: Any) -> Any:
    """A run under way: its stream, accepted."""
    stream = ask.stub.Run(pb.RunRequest(graph=ask.graph(raw.long_work(3000)), bindings=ONE, queries=[raw.value()], run_id=b"r" * 16, **fields), timeout=SECONDS)
    assert next(stream).HasField("accepted")
    return stream


def healthy(ask: Asking) -> bool:
    told = health_pb2_grpc.HealthStub(ask.channel).Check(health_pb2.HealthCheckRequest(), timeout=5.0)
    return bool(told.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(number: int) -> None:
    with serving() as server:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", server.address)
        assert server.stop(number) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
        assert "Traceback" not in server.log()


def test_it_runs_isolated_from_its_environment() -> None:
    done = subprocess.run([sys.executable, "-I", "-m", "backsweep_server"], env={"BACKSWEEP_LANES": "none"}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "backsweep: BACKSWEEP_LANES: got 'none', allowed a whole number from 1 to 4096\n"


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryFile("w+") as stderr:
        process = begin(stderr, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        out, _ = process.communicate(timeout=60)
        stderr.seek(0)
        said = [line for line in stderr.read().splitlines() if line.startswith("backsweep: ")]
    assert (process.returncode, out) == (2, "")
    assert len(said) == 1
    assert "BACKSWEEP_LISTEN" in said[0]


def test_health_answers_while_it_computes(ask: Asking) -> None:
    work = [long_compute(ask) for _ in range(2)]
    waits = []
    for _ in range(20):
        started = time.monotonic()
        assert healthy(ask)
        waits.append(time.monotonic() - started)
    assert not any(one.done() for one in work)
    for one in work:
        one.cancel()
    assert sorted(waits)[10] < 0.25, waits


def until_at_work(server: Server, start: Callable[[], Any], seconds: float) -> Any:
    """The call begun, once the server has worked that long since."""
    before = server.cpu_seconds()
    pending = start()
    assert wait_until(lambda: server.cpu_seconds() > before + seconds, 20)
    assert not pending.done()
    return pending


def idle_upload(ask: Asking, go_on: threading.Event) -> Any:
    """An Upload stream that has begun and sends nothing more until the event: a future."""

    def chunks() -> Iterator[pb.UploadRequest]:
        yield pb.UploadRequest(digest=raw.digest(b"two bytes"), data=b"t")
        go_on.wait(SECONDS)
        yield pb.UploadRequest(offset_bytes=1, data=b"wo bytes")

    return ask.stub.Upload.future(chunks(), timeout=SECONDS)


def until_busy(call: Callable[[], Any], start: Callable[[], Any], held: list[Any]) -> Any:
    """The refusal BUSY, once `held` are under way. A call of ours may take the place of one of them: it starts again."""
    end = time.monotonic() + 20
    while True:
        held[:] = [start() if one.done() else one for one in held]
        try:
            call()
        except grpc.RpcError as error:
            refused = read_refusal(error)
            assert refused.reason == "BUSY", refused
            if not any(one.done() for one in held):
                return refused
        assert time.monotonic() < end
        time.sleep(0.05)


def test_health_capabilities_and_cancel_answer_while_everything_else_is_taken() -> None:
    with serving(max_streams=3, max_calls=2) as server, asking(server.address) as ask:
        ask.graph(blobs.small())
        run = long_run(ask)
        go_on = threading.Event()
        uploads = [idle_upload(ask, go_on) for _ in range(2)]
        refused = until_busy(lambda: ask.upload(b"more"), lambda: idle_upload(ask, go_on), uploads)
        assert refused.code == "UNAVAILABLE"
        assert refused.retry_seconds > 0
        assert int(refused.trailers["grpc-retry-pushback-ms"]) == round(refused.retry_seconds * 1000)
        graph = raw.digest(raw.long_work(3000).SerializeToString())
        request = pb.ComputeRequest(graph=graph, bindings=ONE, queries=[raw.value()])
        computing = [ask.stub.Compute.future(request, timeout=SECONDS) for _ in range(2)]
        missing = pb.FindMissingRequest(digests=[raw.digest(b"")])
        refused = until_busy(lambda: ask.stub.FindMissing(missing, timeout=SECONDS), lambda: ask.stub.Compute.future(request, timeout=SECONDS), computing)
        assert refused.metadata["name"] == "max_calls"
        for _ in range(5):
            assert healthy(ask)
            assert ask.stub.Capabilities(pb.CapabilitiesRequest(), timeout=5.0).ops
        assert ask.stub.CancelRun(pb.CancelRunRequest(run_id=b"r" * 16), timeout=5.0).cancelled
        with pytest.raises(grpc.RpcError) as ended:
            list(run)
        assert read_refusal(ended.value).reason == "CANCELLED"
        for one in computing:
            one.cancel()
        go_on.set()
        assert [one.result(SECONDS).stored[0].size_bytes for one in uploads] == [9, 9]
        assert server.stop() == 0


def test_calls_whose_message_never_comes_do_not_silence_health() -> None:
    with serving(max_streams=1, max_calls=1) as server, asking(server.address) as ask:
        never = threading.Event()

        def nothing() -> Iterator[bytes]:
            never.wait(SECONDS)
            yield b""

        method = ask.channel.stream_unary("/backsweep.v1.BacksweepService/Compute")
        hanging = [method.future(nothing(), timeout=SECONDS) for _ in range(20)]  # more than there are threads
        time.sleep(0.3)
        for _ in range(5):
            assert healthy(ask)
            assert ask.stub.Capabilities(pb.CapabilitiesRequest(), timeout=5.0).ops
        for one in hanging:
            one.cancel()
        never.set()
        assert ask.gradient(1.0, 2.0, 3.0)


def test_a_cancelled_call_stops_its_work_and_the_log_has_one_line_for_each_rpc() -> None:
    with serving() as server, asking(server.address) as ask:
        ask.compute(ask.graph(blobs.small()), raw.point(1.0, 2.0, 3.0), raw.gradient())
        refusal(lambda: ask.compute(ask.graph(blobs.small()), [], raw.gradient()))
        worked = server.cpu_seconds()
        until_at_work(server, lambda: long_compute(ask), 0.2).cancel()
        assert wait_until(lambda: "Compute CANCELLED" in server.log(), 30), server.log()
        assert server.cpu_seconds() - worked < 5, "it went on after nobody waited"
        lines = [line.split(" backsweep.server ")[1] for line in server.log().splitlines()]
    assert [line.split(" ")[:2] for line in lines[:5]] == [
        ["Upload", "OK"],
        ["Compute", "OK"],
        ["Upload", "OK"],
        ["Compute", "MISSING_INPUT"],
        ["Upload", "OK"],
    ]
    assert all(re.match(r"\w+ \w+ \d+\.\d ms, \d+ bytes in, \d+ out(: .+)?$", line) for line in lines)


def test_the_servers_own_time_limit_holds_without_a_deadline() -> None:
    with serving(max_call_seconds=0.4) as server, asking(server.address) as ask:
        refused = refusal(lambda: long_compute(ask).result(SECONDS))
        assert (refused.code, refused.reason, refused.metadata["allowed"]) == ("DEADLINE_EXCEEDED", "DEADLINE", "0.4 s")
        go_on = threading.Event()
        refused = refusal(lambda: idle_upload(ask, go_on).result(SECONDS))
        go_on.set()
        assert (refused.code, refused.reason) == ("DEADLINE_EXCEEDED", "DEADLINE")
        assert server.stop() == 0


def test_deriving_a_large_graph_ends_at_the_deadline_and_when_its_client_is_gone() -> None:
    """Some 10 s of deriving and planning each; the engine's own tests say how often it asks."""
    with serving() as server, asking(server.address) as ask:
        large = pb.ComputeRequest(graph=ask.graph(raw.long_chain(60_000)), bindings=ONE, queries=[raw.gradient()])
        worked = server.cpu_seconds()
        assert refusal(lambda: ask.stub.Compute(large, timeout=1.0)).code == "DEADLINE_EXCEEDED"
        until_at_work(server, lambda: ask.stub.Compute.future(large, timeout=SECONDS), 0.8).cancel()
        assert wait_until(lambda: server.log().count("Compute") == 2, 30), server.log()
        assert server.cpu_seconds() - worked < 3.5, "it went on after nobody waited"
        lines = [line.split(" backsweep.server ")[1] for line in server.log().splitlines()]
        # Which of the two an expired call is, its deadline or gRPC's word that it is gone may say first.
        assert [line.split(" ")[0] for line in lines] == ["Upload", "Compute", "Compute"]
        assert [line.split(" ")[1] for line in lines[1:]] in (["DEADLINE", "CANCELLED"], ["CANCELLED", "CANCELLED"])


def test_what_does_not_fit_beside_other_work_is_busy_and_what_never_fits_is_over_the_budget() -> None:
    with serving(memory_bytes=12_500_000, store_bytes=1 << 20, run_buffer_bytes=1 << 20) as server, asking(server.address) as ask:
        run = long_run(ask)  # two or three matrices of 700 x 700, 3.9 MB each
        refused = refusal(lambda: long_compute(ask).result(SECONDS))
        assert (refused.code, refused.reason, refused.metadata["name"]) == ("UNAVAILABLE", "BUSY", "budget_bytes")
        larger = ask.graph(raw.long_work(5, 1500))
        refused = refusal(lambda: ask.compute(larger, ONE, raw.value()))
        assert (refused.code, refused.reason, refused.metadata["op"]) == ("RESOURCE_EXHAUSTED", "OVER_BUDGET", "matmul")
        ask.upload(bytes(700_000))
        refused = refusal(lambda: ask.upload(bytes(700_001)))
        assert (refused.code, refused.reason, refused.metadata["name"]) == ("UNAVAILABLE", "BUSY", "store_bytes")
        assert refused.retry_seconds == 30
        run.cancel()


def test_a_stop_loses_no_call() -> None:
    with serving(notice_seconds=0.5) as server:
        going, answered, lost = threading.Event(), [], []
        going.set()

        def watch() -> None:
            with asking(server.address) as ask:
                try:
                    for told in health_pb2_grpc.HealthStub(ask.channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS):
                        if told.status != health_pb2.HealthCheckResponse.SERVING:
                            break
                except grpc.RpcError as error:
                    lost.append(error)
                going.clear()

        def client() -> None:
            with asking(server.address) as ask:
                while going.is_set():
                    try:
                        answered.append(ask.gradient(1.0, 2.0, 3.0))
                    except grpc.RpcError as error:
                        lost.append(error)

        with asking(server.address) as ask:
            threads = [threading.Thread(target=work) for work in (watch, client, client)]
            for thread in threads:
                thread.start()
            ask.gradient(1.0, 2.0, 3.0)
            slow = long_compute(ask, 60)  # a second or so: under way when the signal comes
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join(SECONDS)
            assert len(slow.result(SECONDS).results) == 1
        assert server.process.wait(STOP_SECONDS) == 0
        assert not lost
        assert len(answered) > 5


def test_a_run_is_told_that_the_server_is_stopping() -> None:
    with serving(drain_seconds=1.5) as server, asking(server.address) as ask:
        run = long_run(ask, detach_seconds=100.0)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as ended:
            list(run)
        refused = read_refusal(ended.value)
        assert (refused.code, refused.reason) == ("UNAVAILABLE", "DRAINING")
        assert server.process.wait(STOP_SECONDS) == 0
        assert "Traceback" not in server.log()
