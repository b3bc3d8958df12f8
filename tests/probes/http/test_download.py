"""Downloads: from where they are permitted, bounded in time and size, whatever the server says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.model import Proxy
from config.revocation import Fetching
from config.vocabulary import ProxyKind
from monitor.lab.ca import Authority
from monitor.lab.servers import LocalServer, write_site
from monitor.look.revocation import terms_of
from probes.http.download import DownloadTerms, Refused, download
from probes.http.exchange import HTTPRequest, Response
from tests.kit.list_server import ListServer, drip, flood, list_server, redirect, response
from tests.kit.proxies import for_users
from tests.kit.start import StartServer

MOST = 100_000


def anywhere(_address: str, _port: int) -> bool:
    return True


def fetch(url: str, permits: Callable[[str, int], bool] = anywhere, seconds: float = 5.0) -> Response | Refused:
    return asyncio.run(download(url, DownloadTerms(permits, MOST, seconds), HTTPRequest()))


def fetched(
    path: str,
    answers: Callable[[ListServer], dict[str, object]],
    permits: Callable[[str, int], bool] = anywhere,
    seconds: float = 5.0,
) -> tuple[Response | Refused, ListServer]:
    async def story() -> tuple[Response | Refused, ListServer]:
        async with list_server() as server:
            server.answers.update(answers(server))  # type: ignore[arg-type]
            return await download(server.url(path), DownloadTerms(permits, MOST, seconds), HTTPRequest()), server

    return asyncio.run(story())


def test_what_lies_there_comes_whole() -> None:
    answer, server = fetched("/a?b=c", lambda _: {"/a?b=c": response(b"\x30" * MOST)})
    assert isinstance(answer, Response)
    assert answer.body == b"\x30" * MOST
    assert f"Host: {server.host}:{server.port}\r\n" in server.requests[0][1].replace("host:", "Host:")


def test_a_redirect_is_followed_and_a_circle_is_not() -> None:
    answer, _ = fetched(
        "/a", lambda server: {"/a": redirect("/b"), "/b": redirect(server.url("/c")), "/c": response(b"x")}
    )
    assert isinstance(answer, Response)
    assert answer.body == b"x"
    answer, server = fetched("/a", lambda _: {"/a": redirect("/a")})
    assert isinstance(answer, Refused)
    assert "more than 10 redirects" in answer.why
    assert len(server.requests) == 11


def test_a_redirect_takes_no_question_along_and_no_header_to_another_host() -> None:
    async def story(request: HTTPRequest) -> tuple[Response | Refused, list[str], list[str]]:
        async with list_server() as server, list_server() as other:
            server.answers |= {"/a": redirect("/b"), "/b": redirect(other.url("/c"))}
            other.answers["/c"] = response(b"x")
            terms = DownloadTerms(anywhere, MOST, 5.0)
            answer = await download(server.url("/a"), terms, request)
            heads, elsewhere = ([head.lower() for _, head in each.requests] for each in (server, other))
            return answer, heads, elsewhere

    conditional = HTTPRequest((("If-None-Match", '"one"'),))
    answer, heads, elsewhere = asyncio.run(story(conditional))
    assert isinstance(answer, Response)
    assert answer.status == 200
    assert ["if-none-match" in each for each in heads] == [True, True]
    assert ["if-none-match" in each for each in elsewhere] == [False]
    answer, heads, elsewhere = asyncio.run(story(replace(conditional, body=b"question")))
    assert isinstance(answer, Response)
    assert (answer.status, len(heads), elsewhere) == (302, 1, [])


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("file:///etc/passwd", "is not at http:// or https://"),
        ("ftp://example.com/x", "is not at http:// or https://"),
        ("gopher://127.0.0.1/", "is not at http:// or https://"),
        ("http://127.0.0.1:{port}/secret", "revocation.fetch.allow"),
        ("http://localhost:{port}/secret", "revocation.fetch.allow"),
        ("http://[::1]:{port}/", "revocation.fetch.allow"),
        ("http://[::ffff:127.0.0.1]:{port}/", "revocation.fetch.allow"),
        ("http://169.254.169.254/latest/meta-data", "revocation.fetch.allow"),
        ("http://u:p@{host}:{port}/x", "names no host"),
        ("http://0x7f000001/", "revocation.fetch.allow"),
        ("http://2130706433/", "names no host"),
        ("http://{host}:99999/", "is no URL"),
        ("http://[half/", "redirects to no URL"),
    ],
)
def test_a_redirect_leads_nowhere_else(to: str, why: str) -> None:
    host = ""

    def permits(address: str, _port: int) -> bool:
        return address == host

    def answers(server: ListServer) -> dict[str, object]:
        nonlocal host
        host = server.host
        return {"/a": redirect(to.format(host=server.host, port=server.port)), "/secret": response(b"secret")}

    answer, server = fetched("/a", answers, permits)
    assert isinstance(answer, Refused)
    assert why in answer.why or (to.startswith("http://0x") and "name" in answer.why), answer
    assert [each for each, _ in server.requests] == ["/a"]


def test_more_than_the_limit_is_no_answer_and_ends_the_connection() -> None:
    begun = time.monotonic()
    answer, _ = fetched("/a", lambda _: {"/a": flood}, seconds=30.0)
    assert isinstance(answer, Refused)
    assert f"more than {MOST} bytes" in answer.why
    assert time.monotonic() - begun < 10


def test_who_drips_is_given_up() -> None:
    answer, _ = fetched("/a", lambda _: {"/a": drip}, seconds=0.3)
    assert isinstance(answer, Refused)
    assert "no whole answer within 0.3 s" in answer.why


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"])
def test_half_an_answer_is_none(answer: bytes) -> None:
    got, _ = fetched("/a", lambda _: {"/a": answer})
    assert isinstance(got, Refused)


def test_https_is_spoken_and_nobody_is_verified(tmp_path: Path, start_local: StartServer[LocalServer]) -> None:
    server = start_local(write_site(str(tmp_path / "site"), Authority.root().issue("other.example.com")))
    answer = fetch(f"https://{server.host}:{server.port}/")
    assert isinstance(answer, Response)
    assert (answer.status, len(answer.body)) == (200, answer.content_length)


def test_a_proxy_is_asked_for_the_url_and_resolves_its_name() -> None:
    async def story() -> None:
        async with list_server() as proxy:
            url = "http://crl.example.invalid/a.crl?x"
            proxy.answers[url] = response(b"list")
            terms = DownloadTerms(
                lambda _address, _port: False, MOST, 5.0, Proxy(ProxyKind.HTTP, proxy.host, proxy.port)
            )
            answer = await download(url, terms, HTTPRequest())
            assert isinstance(answer, Response)
            assert answer.body == b"list"
            assert "crl.example.invalid\r\n" in proxy.requests[0][1]
            direct = await download("http://127.0.0.1/secret", terms, HTTPRequest())
            assert isinstance(direct, Refused)
            assert len(proxy.requests) == 1

    asyncio.run(story())


@pytest.mark.server("tinyproxy")
def test_a_proxy_is_told_its_user_by_a_file_and_says_what_it_wants(
    tmp_path: Path, start_local: StartServer[LocalServer]
) -> None:
    other = tmp_path / "other"
    other.write_text("prober:wrong\n", encoding="ascii")
    secured = start_local(write_site(str(tmp_path / "site"), Authority.root().issue("other.example.com")))

    async def story(proxy: Proxy) -> None:
        async with list_server() as server:
            server.answers["/a"] = response(b"list")

            async def got(url: str, through: Proxy) -> object:
                answer = await download(url, DownloadTerms(anywhere, MOST, 5.0, through), HTTPRequest())
                return answer.why if isinstance(answer, Refused) else answer.status

            for url in (server.url("/a"), f"https://{secured.host}:{secured.port}/"):
                assert await got(url, proxy) == 200
                said = str(await got(url, replace(proxy, credentials_file=None)))
                assert "wants a user and a password, and there is no file with them (proxy_credentials_file)" in said
                said = str(await got(url, replace(proxy, credentials_file=str(other))))
                # tinyproxy gives the code 401, which in the clear may be the server's own.
                assert said == "401" or "refuses the user and the password that it is given" in said
                said = str(await got(url, replace(proxy, credentials_file="/nowhere")))
                assert "the proxy was not asked: its credentials in /nowhere cannot be read: No such file" in said
            assert len(server.requests) == 1
            assert "uthorization" not in server.requests[0][1]

    with for_users(ProxyKind.HTTP, tmp_path) as proxy:
        asyncio.run(story(proxy))


@pytest.mark.parametrize(
    ("address", "port", "permitted"),
    [
        ("1.1.1.1", 80, True),
        ("1.1.1.1", 443, True),
        ("1.1.1.1", 8080, False),
        ("2606:4700::1111", 80, True),
        ("10.0.0.1", 80, False),
        ("192.168.1.1", 80, False),
        ("100.64.0.1", 80, False),
        ("127.0.0.1", 80, False),
        ("169.254.169.254", 80, False),
        ("224.0.0.1", 80, False),
        ("0.0.0.0", 80, False),
        ("::1", 80, False),
        ("fe80::1%eth0", 80, False),
        ("fd00::1", 80, False),
        ("::ffff:127.0.0.1", 80, False),
        ("::ffff:1.1.1.1", 80, True),
        ("64:ff9b::7f00:1", 80, False),
    ],
)
def test_public_addresses_are_asked_and_no_others_unless_they_are_allowed(
    address: str, port: int, *, permitted: bool
) -> None:
    assert terms_of(Fetching()).permits(address, port) is permitted
