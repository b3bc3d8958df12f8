"""Files of certvigil's own on a file system that hangs: the loop goes on, and the look says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event

import pytest

from config.model import ClientCertificate, Endpoint, Proxy
from config.text import printable
from config.vocabulary import ProxyKind
from probes.tls import own_files as module
from probes.tls.client_certificate import Unusable
from probes.tls.own_files import NOTHING, OwnFiles, own_files
from probes.tls.preamble.credentials import NoCredentials


@pytest.fixture
def back() -> Iterator[Event]:
    """Return what is set when the file system answers again."""
    event = Event()
    yield event
    event.set()


def test_a_file_system_that_hangs_holds_one_thread_and_no_loop(back: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def hang(files: ClientCertificate) -> Unusable:
        begun.append(files.certificate)
        back.wait(10.0)
        return Unusable(printable("back"))

    monkeypatch.setattr(module, "identity_of", hang)
    shown = ClientCertificate("/nfs/own.pem", "/nfs/own.pem")
    proxy = Proxy(ProxyKind.HTTP, "proxy.example.com", 3128, "/nfs/credentials")
    endpoint = Endpoint("web", "127.0.0.1", 443, client_certificate=shown, proxy=proxy)

    async def looks() -> tuple[list[OwnFiles], OwnFiles, OwnFiles]:
        loop = asyncio.get_running_loop()
        waiting = [asyncio.ensure_future(own_files(endpoint, loop.time() + 0.1)) for _ in range(3)]
        unhindered = await own_files(Endpoint("other", "127.0.0.1", 443), loop.time() + 60.0)
        assert not any(each.done() for each in waiting)
        late = await asyncio.gather(*waiting)
        back.set()
        return late, unhindered, await own_files(endpoint, loop.time() + 60.0)

    late, unhindered, then = asyncio.run(looks())
    assert unhindered is NOTHING
    missed = OwnFiles(
        Unusable(printable("/nfs/own.pem: it was not read in time")),
        NoCredentials("was not asked: its credentials in /nfs/credentials were not read in time"),
    )
    assert late == [missed] * 3
    assert then.identity == Unusable(printable("back"))
    assert set(begun) == {"/nfs/own.pem"}
    # The last may have found the reading over.
    assert len(begun) <= 2
