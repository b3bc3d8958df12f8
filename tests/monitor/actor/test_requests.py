"""Requests for certificates, from the key to the certificate that is served, on real servers."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.lab.servers import replace_file
from tests.kit.appliance import MEMBERS, Appliance, appliance
from tests.kit.authority import NAME
from tests.kit.requests import answer_of, names_of, signed

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

REPLACE = ActionRequest(Kind.REPLACE, MEMBERS["primary"])
INTERNAL = "portal.corp.local"


@pytest.fixture
def primary() -> Iterator[Appliance]:
    with appliance("primary") as made:
        yield made


def request(machine: Appliance, *more: str) -> str:
    """Make a request, and return it."""
    out = f"{machine.directory}/{time.monotonic_ns()}.csr"
    code, said = machine.command("csr", machine.role, "--out", out, *more)
    assert code == 0, said
    return Path(out).read_text(encoding="ascii")


def waiting(machine: Appliance) -> list[dict[str, object]]:
    """Return the requests that wait."""
    code, said = machine.command("csr", "--list", "--json")
    assert code == 0, said
    found: list[dict[str, object]] = json.loads(said)["requests"]
    return found


def keys(machine: Appliance) -> list[str]:
    """Return the files of keys that were made for requests."""
    area = Path(machine.directory, "actor/requests")
    return sorted(os.listdir(area)) if area.exists() else []


def hand(machine: Appliance, data: bytes, name: str = "cert.pem") -> str:
    """Write an answer to a file, and return its path."""
    path = f"{machine.directory}/{name}"
    replace_file(path, data)
    return path


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_an_answer_is_served_with_the_key_that_was_made_for_its_request(kind: str) -> None:
    """The group of lighttpd and nginx gets it in its own layouts; internal names are of the clients."""
    with appliance("primary") as machine:
        client = {"trusts": "corporate", "names": [INTERNAL]}
        machine.configure(
            {"portal": {"clients": ["browser", "finder"]}},
            clients={"browser": {"trusts": "corporate"}, "finder": client},
        )
        csr = x509.load_pem_x509_csr(request(machine, "--key", kind, "--name", "extra.example.com").encode())
        assert names_of(csr) == [NAME, INTERNAL, "extra.example.com"]
        key = csr.public_key()
        assert isinstance(key, rsa.RSAPublicKey if kind == "rsa2048" else ec.EllipticCurvePublicKey)
        (one,) = waiting(machine)
        assert one["group"] == "primary"
        area = Path(machine.directory, "actor/requests")
        assert stat.S_IMODE(area.stat().st_mode) == 0o700
        assert [(each, stat.S_IMODE((area / each).stat().st_mode)) for each in keys(machine)] == [
            (f"{one['key']}.pem", 0o600)
        ]
        answer = signed(csr.public_bytes(Encoding.PEM).decode())
        code, said = machine.command("replace", "primary", "--from", hand(machine, answer_of(answer), "whatever.txt"))
        assert code == 0, said
        assert "no private key was given: the one that was made for its request is used" in said
        assert machine.serves(answer)
        assert keys(machine) == []
        assert waiting(machine) == []
