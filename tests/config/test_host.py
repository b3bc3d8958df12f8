from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from config import host
from config.host import own_name
from config.load import load
from config.show import show
from tests.kit.configuration import Loaded, Write


@pytest.fixture(autouse=True)
def _ask_again() -> Iterator[None]:
    own_name.cache_clear()
    yield
    own_name.cache_clear()


@pytest.mark.parametrize(
    ("plain", "full", "name"),
    [
        ("web1", "web1.example.com", "web1.example.com"),
        ("web1", "web1", "web1"),
        ("web1", "localhost", "web1"),
        ("web1", "localhost.localdomain", "web1"),
        ("web1", "ip6-localhost", "web1"),
        ("web1", "web1.example.com.", "web1.example.com"),
        ("my web\x1b[31m", "", "my-web-31m"),
        ("", "", "localhost"),
        ("10.0.0.1", "10.0.0.1", "localhost"),
    ],
)
def test_a_host_is_called_by_its_full_name_or_its_plain_one(
    plain: str, full: str, name: str, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: plain)
    monkeypatch.setattr(socket, "getfqdn", lambda: full)
    assert loaded("{}").host == name


def test_a_name_server_that_does_not_answer_holds_nobody(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(host, "_WAIT", 0.05)
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    monkeypatch.setattr(socket, "getfqdn", lambda: answered.wait(60) and "web1.example.com")
    assert loaded("{}").host == "web1"
    answered.set()
    # A reload does not change the name.
    assert loaded("{}").host == "web1"


def test_the_configuration_names_the_host_and_nobody_is_asked(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: pytest.fail("asked"))
    config = loaded("host: db7.corp.example.com")
    assert config.host == "db7.corp.example.com"
    assert "host: db7.corp.example.com" in show(config)


@pytest.mark.parametrize("name", ["''", "a b", '"a\\e[2J"', "10.0.0.1", "7", "[a]", f"{'a' * 64}.example.com"])
def test_a_host_has_the_name_of_a_host(name: str, write: Write) -> None:
    (mistake,) = load(write(f"host: {name}"), {})  # type: ignore[misc]
    assert mistake.key == "host"
    assert str(mistake).isprintable()
