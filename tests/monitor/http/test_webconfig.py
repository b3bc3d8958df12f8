from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import httpx
import pytest

from config.model import Settings, Web
from monitor.http.passwords import Passwords
from monitor.http.webconfig import WebConfig, read_web_config
from monitor.lab.ca import Authority
from tests.kit.web_server import FakeView, RunningServer, running

HASH = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
TLS = "tls_server_config: {cert_file: tls/cert.pem, key_file: tls/key.pem}\n"


@dataclass
class Files:
    """A web configuration with its certificate."""

    directory: Path
    ca: Authority

    @property
    def path(self) -> str:
        return str(self.directory / "web.yml")

    def write(self, text: str) -> str:
        (self.directory / "web.yml").write_text(text)
        (self.directory / "web.yml").chmod(0o600)
        return self.path

    def renew(self) -> str:
        """Put a new certificate in place and return its serial number."""
        issued = self.ca.issue("localhost", "127.0.0.1")
        (self.directory / "tls").mkdir(exist_ok=True)
        (self.directory / "tls/cert.pem").write_bytes(issued.chain_pem())
        (self.directory / "tls/key.pem").write_bytes(issued.key_pem())
        return f"{issued.certificate.serial_number:X}"

    def trust(self, *, shown: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.pem().decode())
        if shown:
            context.load_cert_chain(self.directory / "tls/cert.pem", self.directory / "tls/key.pem")
        return context

    def mistakes(self, text: str) -> list[str]:
        found = read_web_config(self.write(text))
        assert not isinstance(found, WebConfig)
        return [str(each).removeprefix(self.path) for each in found]

    def start(self, text: str) -> Settings:
        return Settings(
            socket=str(self.directory / "s"), web=Web(listen=("127.0.0.1:0",), config_file=self.write(text))
        )


@pytest.fixture
def files(tmp_path: Path, root_ca: Authority) -> Files:
    files = Files(tmp_path, root_ca)
    files.renew()
    return files


def served_serial(server: RunningServer, files: Files) -> str:
    with (
        socket.create_connection(server.address, 10) as plain,
        files.trust().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return str(connection.getpeercert()["serialNumber"]).lstrip("0")  # type: ignore[index]


def test_tcp_speaks_tls_and_the_unix_socket_stays_plain(files: Files) -> None:
    with running(FakeView(), files.start(TLS)) as server:
        assert server.problems == ()
        with server.tcp(verify=files.trust()) as client, server.unix() as local:
            assert client.get("/healthz").status_code == 200
            assert local.get("/healthz").status_code == 200
            assert client.get("/metrics").status_code == 200
        with socket.create_connection(server.address, 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            with suppress(ConnectionResetError):
                received = plain.recv(100)
        assert b"HTTP" not in received


def test_a_renewed_certificate_is_served_after_a_reload_and_connections_survive_it(files: Files) -> None:
    first = files.renew()
    with running(FakeView(), files.start(TLS)) as server, server.tcp(verify=files.trust()) as client:
        assert client.get("/healthz").status_code == 200
        second = files.renew()
        assert served_serial(server, files) == first
        assert server.run(server.server.reload_web_config()) == ()
        assert served_serial(server, files) == second
        assert client.get("/healthz").status_code == 200


def test_a_broken_certificate_is_said_and_the_old_one_stays(files: Files) -> None:
    first = files.renew()
    with running(FakeView(), files.start(TLS)) as server:
        (files.directory / "tls/key.pem").write_bytes(files.ca.issue("other").key_pem())
        mistakes = server.run(server.server.reload_web_config())
        assert len(mistakes) == 1
        assert mistakes[0].startswith(f"{files.path}:1: tls_server_config.cert_file: ")
        assert served_serial(server, files) == first


def test_the_versions_spoken_are_those_configured(files: Files) -> None:
    text = "tls_server_config: {cert_file: tls/cert.pem, key_file: tls/key.pem, min_version: TLS13}\n"
    old = files.trust()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(FakeView(), files.start(text)) as server:
        with server.tcp(verify=files.trust()) as client:
            assert client.get("/healthz").status_code == 200
        with server.tcp(verify=old) as client, pytest.raises(httpx.ConnectError):
            client.get("/healthz")


def test_cipher_suites_go_by_the_names_that_exporters_use(files: Files) -> None:
    text = """\
tls_server_config:
  cert_file: tls/cert.pem
  key_file: tls/key.pem
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]
"""
    with (
        running(FakeView(), files.start(text)) as server,
        socket.create_connection(server.address, 10) as plain,
        files.trust().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"  # type: ignore[index]


def test_a_client_without_a_certificate_is_turned_away_where_one_is_needed(files: Files) -> None:
    (files.directory / "ca.pem").write_bytes(files.ca.pem())
    text = """\
tls_server_config:
  cert_file: tls/cert.pem
  key_file: tls/key.pem
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
"""
    both_purposes = files.ca.issue("localhost", "127.0.0.1", purposes=())
    (files.directory / "tls/cert.pem").write_bytes(both_purposes.chain_pem())
    (files.directory / "tls/key.pem").write_bytes(both_purposes.key_pem())
    with running(FakeView(), files.start(text)) as server:
        with server.tcp(verify=files.trust(shown=True)) as client:
            assert client.get("/healthz").status_code == 200
        with server.tcp(verify=files.trust()) as client, pytest.raises(httpx.TransportError):
            client.get("/healthz")


def test_a_password_is_asked_for_everywhere_but_on_the_unix_socket(files: Files) -> None:
    settings = files.start(f"basic_auth_users: {{anna: {HASH}}}\n")
    with running(FakeView(), settings) as server, server.tcp() as client, server.unix() as local:
        for path in ("/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/nowhere"):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert local.get(path).status_code != 401
        for auth in (("anna", "open sesame"), ("anna", "open sesame")):
            assert client.get("/healthz", auth=auth).status_code == 200
        for auth in (("anna", "wrong"), ("anna", ""), ("bert", "open sesame"), ("", "open sesame")):
            assert client.get("/healthz", auth=auth).status_code == 401
        for header in ("Basic", "Basic !", "Basic YW5uYQ==", "Bearer x", "Basic /w=="):
            assert client.get("/healthz", headers={"authorization": header}).status_code == 401


def test_a_user_who_was_removed_is_not_let_in_after_a_reload(files: Files) -> None:
    settings = files.start(f"basic_auth_users: {{anna: {HASH}, bert: {HASH}}}\n")
    with running(FakeView(), settings) as server, server.tcp(auth=("anna", "open sesame")) as client:
        assert client.get("/healthz").status_code == 200
        files.write(f"basic_auth_users: {{bert: {HASH}}}\n")
        assert server.run(server.server.reload_web_config()) == ()
        assert client.get("/healthz").status_code == 401
        assert client.get("/healthz", auth=("bert", "open sesame")).status_code == 200


def test_a_right_password_is_hashed_once_and_a_wrong_one_every_time(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[bytes] = []
    check = bcrypt.checkpw

    def counted(password: bytes, stored: bytes) -> bool:
        hashed.append(password)
        return check(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    settings = files.start(f"basic_auth_users: {{anna: {HASH}}}\n")
    with running(FakeView(), settings) as server, server.tcp() as client:
        for password in ("open sesame", "open sesame", "wrong", "wrong"):
            client.get("/healthz", auth=("anna", password))
        client.get("/healthz", auth=("nobody", "open sesame"))
    assert hashed == [b"open sesame", b"wrong", b"wrong", b"open sesame"]


def test_the_loop_does_not_wait_for_a_password_to_be_hashed(files: Files) -> None:
    slow = bcrypt.hashpw(b"x", bcrypt.gensalt(11)).decode()

    async def turns_meanwhile() -> int:
        passwords = Passwords()
        passwords.users = {"anna": slow.encode()}
        turns = 0
        task = asyncio.create_task(passwords.accepts("Basic YW5uYTp4"))
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert await task
        passwords.close()
        return turns

    with running(FakeView(), files.start("http_server_config: {}\n")) as server:
        assert server.run(turns_meanwhile()) > 5


def test_headers_of_the_file_take_the_place_of_ours(files: Files) -> None:
    text = "http_server_config: {headers: {X-Frame-Options: SAMEORIGIN, Strict-Transport-Security: max-age=60}}\n"
    with running(FakeView(), files.start(text)) as server, server.tcp() as client:
        headers = client.get("/healthz").headers
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert headers["strict-transport-security"] == "max-age=60"
    assert headers["x-content-type-options"] == "nosniff"


def test_nothing_listens_on_tcp_where_the_file_has_mistakes(files: Files) -> None:
    with running(FakeView(), files.start("tls: {}\n")) as server:
        assert len(server.problems) == 1
        assert server.server.addresses == []
        with server.unix() as local:
            assert local.get("/healthz").status_code == 200
        files.write(TLS)
        assert server.run(server.server.reload_web_config()) == ()
        with server.tcp(verify=files.trust()) as client:
            assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("tls_server: {}\n", ":1: tls_server: unknown key (did you mean 'tls_server_config'?)"),
        ("\ntls_server_config:\n  cert_file: a\n", ":2: tls_server_config.key_file: missing, expected its private key"),
        (f"{TLS}tls_server_config: {{}}\n", ":2: tls_server_config: given twice"),
        (TLS.replace("tls/key.pem", "nowhere.pem"), "tls/cert.pem and nowhere.pem cannot be used: No such file"),
        (
            TLS.replace("}", ", min_version: TLS10}"),
            "min_version: found 'TLS10' (did you mean 'TLS13'?), expected one of TLS12, TLS13",
        ),
        (TLS.replace("}", ", min_version: TLS13, max_version: TLS12}"), "max_version is lower than min_version"),
        (TLS.replace("}", ", cipher_suites: [RC4]}"), "cipher_suites[0]: found 'RC4', expected one of TLS_ECDHE"),
        (TLS.replace("}", ", client_auth_type: RequireAndVerifyClientCert}"), "client_ca_file go together"),
        (TLS.replace("}", ", client_ca_file: x.pem}"), "client_auth_type and client_ca_file go together"),
        (
            TLS.replace("}", ", client_auth_type: VerifyClientCertIfGiven, client_ca_file: x.pem}"),
            "tls_server_config.client_ca_file: x.pem cannot be used",
        ),
        ("http_server_config: {http2: true}\n", "http2: found true, expected false"),
        ("http_server_config: {headers: {X-Evil: x}}\n", "found 'X-Evil', expected one of Content-Security-Policy"),
        ('http_server_config: {headers: {X-Frame-Options: "a\\nb"}}\n', "expected printable ASCII"),
        ("basic_auth_users: {anna: secret}\n", ":1: basic_auth_users.anna: found something else, expected a bcrypt"),
        ("basic_auth_users: {anna: 4711}\n", "found something else, expected a bcrypt hash"),
        ("basic_auth_users: [\n", ""),
    ],
)
def test_each_mistake_is_said_with_its_line_and_what_was_expected(text: str, mistake: str, files: Files) -> None:
    found = files.mistakes(text)
    assert len(found) == 1
    assert mistake in found[0]
    assert "secret" not in found[0]
    assert "4711" not in found[0]


def test_a_file_that_others_may_write_is_refused(files: Files) -> None:
    os.chmod(files.write(TLS), 0o664)
    found = read_web_config(files.path)
    assert not isinstance(found, WebConfig)
    assert "others than its owner may write it" in str(found[0])


def test_a_file_that_is_not_there_is_said(files: Files) -> None:
    found = read_web_config(f"{files.path}.not")
    assert not isinstance(found, WebConfig)
    assert str(found[0]).endswith("cannot be read: No such file or directory")


def test_an_encrypted_key_is_refused_without_asking_the_terminal(files: Files) -> None:
    encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjMF8=\n-----END ENCRYPTED PRIVATE KEY-----\n"
    (files.directory / "tls/key.pem").write_text(encrypted)
    assert len(files.mistakes(TLS)) == 1
