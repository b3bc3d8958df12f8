from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import httpx
import pytest

from config.model import Settings, Web
from monitor.http import protocol
from monitor.http.front import Metrics
from monitor.http.guard import ASGIMessage, HostNames
from monitor.metrics.piece import PAUSE, Piece, piece
from tests.kit.metrics import some_certificate, some_file
from tests.kit.web_server import FakeView, RunningServer, running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(socket=str(tmp_path / "s"), web=Web(listen=("127.0.0.1:0",), allowed_hosts=("vigil.example.com",)))


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
def server(view: FakeView, settings: Settings) -> Iterator[RunningServer]:
    with running(view, settings) as started:
        assert started.problems == ()
        yield started


def raw(server: RunningServer) -> socket.socket:
    connection = socket.create_connection(server.address, 10)
    connection.settimeout(10)
    return connection


def ended(connection: socket.socket) -> bytes:
    """Return what still comes until the other side ends."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return bytes(received)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9790", 200),
        ("127.0.0.1", 200),
        ("[::1]:9790", 200),
        ("VIGIL.example.com:443", 200),
        (socket.gethostname(), 200),
        ("evil.example", 421),
        ("vigil.example.com.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost:80.evil.example", 421),
        ("[::1].evil.example", 421),
        ("localhost:", 200),
        ("", 421),
    ],
)
def test_only_a_host_that_we_are_may_be_asked_for(host: str, status: int, server: RunningServer) -> None:
    with server.tcp() as client:
        answer = client.get("/healthz", headers={"host": host})
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: evil.example\r\n"])
def test_one_host_header_is_needed(hosts: bytes, server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + hosts + b"\r\n")
        assert ended(connection).startswith(b"HTTP/1.1 400 ")


def test_the_host_s_full_name_is_learned_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "appliance")
    monkeypatch.setattr(socket, "getfqdn", lambda name: f"{name}.corp.example")
    names = HostNames((), ())
    deadline = time.monotonic() + 5
    while not names.accepts("appliance.corp.example:9790"):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert names.accepts("appliance")
    assert not names.accepts("appliance.evil.example")


def test_the_unix_socket_takes_any_host_and_is_for_owner_and_group(server: RunningServer) -> None:
    with server.unix() as client:
        assert client.get("/healthz", headers={"host": "anything"}).status_code == 200
    status = os.stat(server.settings.socket)
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


def test_the_socket_is_gone_after_the_end(view: FakeView, settings: Settings) -> None:
    with running(view, settings):
        assert os.path.exists(settings.socket)
    assert os.listdir(os.path.dirname(settings.socket)) == []


def test_a_socket_on_which_nobody_answers_is_replaced(view: FakeView, settings: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(settings.socket)
    with running(view, settings) as started, started.unix() as client:
        assert started.problems == ()
        assert client.get("/healthz").status_code == 200


def test_a_socket_on_which_another_daemon_answers_is_left_to_it(view: FakeView, settings: Settings) -> None:
    with running(view, settings) as first:
        with running(FakeView(), settings) as second:
            assert second.problems == (f"cannot listen on {settings.socket}: another process does",)
        with first.unix() as client:
            assert client.get("/healthz").status_code == 200


def test_a_file_in_the_place_of_the_socket_is_not_removed(view: FakeView, settings: Settings) -> None:
    with open(settings.socket, "w", encoding="ascii") as file:
        file.write("precious")
    with running(view, settings) as started:
        assert started.problems == (f"cannot listen on {settings.socket}: there is something else",)
    with open(settings.socket, encoding="ascii") as file:
        assert file.read() == "precious"


def test_no_socket_is_put_where_others_may_replace_it(view: FakeView, settings: Settings) -> None:
    os.chmod(os.path.dirname(settings.socket), 0o777)
    with running(view, settings) as started:
        assert len(started.problems) == 1
        assert "others may write to it" in started.problems[0]
        with started.tcp() as client:
            assert client.get("/healthz").status_code == 200


def test_a_socket_path_that_is_too_long_is_said(view: FakeView, tmp_path: Path) -> None:
    with running(view, Settings(socket=str(tmp_path / ("s" * 120)), web=Web(listen=()))) as started:
        assert "too long" in started.problems[0]


def test_a_port_in_use_is_said_and_the_others_answer(view: FakeView, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = Web(listen=(address, "127.0.0.1:0"))
        with running(view, Settings(socket=str(tmp_path / "s"), web=listen)) as started:
            (problem,) = started.problems
            assert problem.startswith(f"{address} is in use by ")
            assert problem.endswith(f"process {os.getpid()}")
            with started.tcp() as client:
                assert client.get("/healthz").status_code == 200


def test_every_address_of_a_name_is_listened_on(view: FakeView, tmp_path: Path) -> None:
    with running(view, Settings(socket=str(tmp_path / "s"), web=Web(listen=("localhost:0",)))) as started:
        assert started.problems == ()
        assert "127.0.0.1" in {address.rpartition(":")[0] for address in started.server.addresses}


def test_stopping_does_not_wait_for_idle_connections(view: FakeView, settings: Settings) -> None:
    with running(view, settings) as started, started.tcp() as kept, started.unix() as local, raw(started) as silent:
        assert kept.get("/healthz").status_code == local.get("/healthz").status_code == 200
        before = time.monotonic()
        started.run(started.server.stop())
        assert time.monotonic() - before < 0.5
        assert ended(silent) == b""


@cache
def crowd() -> FakeView:
    """Return a daemon with more targets than any client takes at once; whoever shows them leaves them as they are."""
    view = FakeView()
    view.add(*(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(10_000)))
    return view


def show_a_crowd(view: FakeView) -> None:
    view.registry, view.page = crowd().registry, crowd().page


def test_stopping_ends_a_client_that_takes_nothing(view: FakeView, settings: Settings) -> None:
    show_a_crowd(view)
    with running(view, settings) as started, raw(started) as lazy:
        lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert lazy.recv(1)
        before = time.monotonic()
        started.run(started.server.stop(within=0.2))
        assert time.monotonic() - before < 2
        assert started.run(tasks_left()) == 1


async def tasks_left() -> int:
    return len(asyncio.all_tasks())


def test_a_request_under_way_is_answered_before_the_end(view: FakeView, settings: Settings) -> None:
    view.add(*(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(1_000)))
    with running(view, settings) as started, raw(started) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = connection.recv(1)
        stopping = asyncio.run_coroutine_threadsafe(started.server.stop(), started.loop)
        received += ended(connection)
        stopping.result(5)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.endswith(b"\r\n0\r\n\r\n")


def test_a_request_that_does_not_arrive_is_not_waited_for(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    with raw(server) as silent, raw(server) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
        assert ended(silent) == ended(slow) == b""


def test_a_second_request_must_arrive_in_time_too(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).endswith(b"ok\n")
        monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
        connection.sendall(b"GET ")
        assert ended(connection) == b""


def test_an_answer_that_is_not_taken_is_given_up(
    view: FakeView, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_a_crowd(view)
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.2)
    with raw(server) as lazy:
        lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 10
        while server.run(tasks_left()) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not ended(lazy).endswith(b"\r\n0\r\n\r\n")


def test_a_request_that_is_too_large_ends_the_connection(server: RunningServer) -> None:
    with raw(server) as connection:
        with suppress(OSError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000)
        assert ended(connection) == b""


def test_of_more_connections_than_are_served_the_one_that_waits_longest_is_cut_off(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 3)
    with raw(server) as first, raw(server) as second, raw(server) as third, raw(server) as late:
        # Sooner than a request that does not arrive is given up.
        first.settimeout(protocol.REQUEST_SECONDS / 2)
        assert ended(first) == b""
        for each in (second, third, late):
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += (some := each.recv(65536))
                assert some, "the connection was cut off"
        with server.unix() as local:
            assert local.get("/healthz").status_code == 200


def test_hundreds_of_slow_connections_do_not_shut_prometheus_out(view: FakeView, server: RunningServer) -> None:
    """250, from its own address and from others: silent, half a request, or an answer that is not taken."""
    view.add(*(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(2_000)))
    slow = []
    scrapes = 0
    try:
        for number in range(250):
            connection = socket.socket()
            slow.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.bind((f"127.0.0.{1 + number % 3}", 0))
            connection.connect(server.address)
            with suppress(OSError):
                connection.sendall(
                    (b"", b"GET /metrics HTTP/1.1\r\nHost: local", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")[
                        number % 5 % 3
                    ]
                )
            if number > 180 and number % 10 == 9:
                with server.tcp() as client:
                    assert client.get("/metrics").status_code == 200
                    scrapes += 1
        with server.tcp() as client:
            assert client.get("/metrics").status_code == 200
        assert scrapes == 7
    finally:
        for each in slow:
            each.close()


def test_who_opens_many_connections_makes_room_for_others_at_his_own_cost(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 5)
    with socket.socket() as quiet:
        quiet.bind(("127.0.0.9", 0))
        quiet.connect(server.address)
        quiet.settimeout(10)
        crowd = [raw(server) for _ in range(20)]
        try:
            assert ended(crowd[0]) == b""
            quiet.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert ended(quiet).endswith(b"ok\n"), "though it waited longest of all"
        finally:
            for each in crowd:
                each.close()


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::"),
        ("", ""),
        (None, ""),
    ],
)
def test_whoever_has_a_network_of_ipv6_is_one(name: object, origin: str) -> None:
    assert protocol._origin(name) == origin


def test_nonsense_is_refused(server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert ended(connection).startswith(b"HTTP/1.1 400 ")


def test_the_loop_goes_on_while_metrics_are_sent(view: FakeView, server: RunningServer) -> None:
    show_a_crowd(view)

    async def ticks() -> int:
        asked = asyncio.create_task(asyncio.to_thread(scrape))
        count = 0
        while not asked.done():
            count += 1
            await asyncio.sleep(0)
        assert await asked == 200
        return count

    def scrape() -> int:
        return httpx.get(f"http://{server.server.addresses[0]}/metrics").status_code

    assert server.run(ticks()) > 100


def test_a_client_that_asks_on_without_waiting_is_cut_off(
    view: FakeView, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Answers would pile up behind one that it does not take."""
    view.add(*(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(500)))
    with raw(server) as greedy:
        with suppress(OSError):
            greedy.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        assert ended(greedy).count(b"HTTP/1.1 200") <= 1
    with server.tcp() as client:
        assert client.get("/healthz").status_code == 200
    assert "Exception" not in caplog.text


def test_however_many_ask_for_metrics_one_chunk_is_made_in_each_round_of_the_loop(view: FakeView) -> None:
    made = 0

    def chunks() -> Iterator[Piece]:
        nonlocal made
        for _ in range(5):
            made += 1
            yield piece(b"certvigil_up 1\n")
            yield PAUSE

    async def receive() -> ASGIMessage:
        return {}

    async def send(_: ASGIMessage) -> None:
        return

    async def most_in_a_round() -> int:
        metrics, scope = Metrics(view), {"type": "http", "method": "GET", "headers": []}
        crowd = asyncio.gather(*(metrics(scope, receive, send) for _ in range(20)))
        most = 0
        while not crowd.done():
            before = made
            await asyncio.sleep(0)
            most = max(most, made - before)
        return most

    view.metrics = chunks  # type: ignore[method-assign]
    assert asyncio.run(most_in_a_round()) == 1
    assert made == 100
