"""A real nginx that holds an RSA and an EC certificate for one name: watched, judged and replaced by type of key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from config.vocabulary import KeyKind
from monitor.lab.ca import Authority, Issued, KeyType, new_key
from monitor.lab.process import find_command
from monitor.lab.servers import Nginx, Site, write_site
from tests.kit.component import on_disk
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.openssl_client import presented

NAME: Final = "www.example.com"
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
MADE: Final = {KeyKind.RSA: KeyType.RSA2048, KeyKind.EC: KeyType.P256}

pytestmark = pytest.mark.server("nginx")

Pair = dict[KeyKind, Issued]


def fresh() -> Pair:
    return {kind: ISSUING.issue(NAME, key=new_key(type_)) for kind, type_ in MADE.items()}


@dataclass
class Dual:
    """nginx with a pair, each half a component of its own that shares the service."""

    directory: Path
    served: dict[KeyKind, Site]
    """The files that nginx reads."""
    server: Nginx
    owned: dict[KeyKind, Site] = field(default_factory=dict)
    """The files of the components, which are the same unless something copies them."""

    def __post_init__(self) -> None:
        self.owned = dict(self.served)

    def declare(self) -> dict[str, object]:
        nginx = [find_command("nginx"), *self.server.test_command[1:]]
        count = ["/bin/sh", "-c", f'echo >> {self.directory}/reloads && exec "$@"', "reload"]
        service = {
            "test": nginx,
            "activate": "reload",
            "reload": [*count, *nginx[:-1], "-s", "reload"],
            "restart": ["/bin/false"],
        }
        document: dict[str, object] = {
            "state_directory": str(self.directory / "state"),
            "actor": {"directory": str(self.directory / "actor")},
            "trust_stores": {"corporate": {"bundle": str(self.directory / "root.pem")}},
            "clients": {"browser": {"trusts": "corporate"}},
            "components": {
                f"web-{kind}": {
                    "artefacts": {"certificate": site.certificate, "key": site.key},
                    "endpoints": [{"address": self.server.address, "name": NAME, "key_type": kind, "every": "0.2s"}],
                    "clients": ["browser"],
                    "not_served_after": "0s",
                    "service": service,
                }
                for kind, site in self.owned.items()
            },
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "2s", "handshakes": 2},
        }
        (self.directory / "certvigil.yaml").write_text(json.dumps(document))
        return document

    def replace(self, new: Pair, *options: str) -> tuple[int, str]:
        """Replace both components from one file that holds both halves."""
        self.declare()
        pile = self.directory / "new.pem"
        pile.write_bytes(b"".join(each.pem() + each.key_pem() for each in new.values()) + ISSUING.pem())
        config = str(self.directory / "certvigil.yaml")
        ran = certvigil("replace", "web-rsa", "web-ec", "--from", str(pile), "--config", config, *options)
        return ran.returncode, ran.stdout + ran.stderr

    def presents(self) -> dict[KeyKind, bytes]:
        """Return the leaf that is presented for each type of key, to a client that is not ours."""
        algorithms = {KeyKind.RSA: "RSA-PSS+SHA256", KeyKind.EC: "ECDSA+SHA256"}
        return {kind: presented(self.server, NAME, "-sigalgs", each)[0] for kind, each in algorithms.items()}

    def on_disk(self) -> dict[str, bytes]:
        return {path: Path(path).read_bytes() for site in self.owned.values() for path in (site.certificate, site.key)}

    def reloads(self) -> int:
        return (self.directory / "reloads").read_text().count("\n")


@pytest.fixture
def old() -> Pair:
    return fresh()


@pytest.fixture
def dual(tmp_path: Path, old: Pair) -> Iterator[Dual]:
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    sites = {kind: write_site(str(tmp_path / "tls"), issued, stem=kind) for kind, issued in old.items()}
    with Nginx(str(tmp_path / "nginx"), list(sites.values())) as server:
        yield Dual(tmp_path, sites, server)


def ders(pair: Pair) -> dict[KeyKind, bytes]:
    return {kind: issued.der() for kind, issued in pair.items()}


def test_both_certificates_are_replaced_from_one_file_by_a_single_reload(dual: Dual) -> None:
    new = fresh()
    code, said = dual.replace(new, "--dry-run", "--json")
    assert code == 0, said
    assert [each["component"] for each in json.loads(said)["plan"]["commands"]] == ["web-ec"] * 3, "two tests, a reload"
    code, said = dual.replace(new)
    assert code == 0, said
    assert dual.presents() == ders(new)
    assert dual.reloads() == 1


def test_where_the_rsa_certificate_is_new_and_the_ec_one_old_both_are_undone(dual: Dual, old: Pair) -> None:
    """Nobody who is shown the RSA certificate would notice: the EC one is served from a copy that nobody renews."""
    dual.owned[KeyKind.EC] = write_site(str(dual.directory / "tls"), old[KeyKind.EC], stem="ours")
    before = dual.on_disk()
    code, said = dual.replace(fresh())
    assert code == 2, said
    assert f"web-ec/{dual.server.address}/ec ({dual.server.host}) presents" in said
    assert f"web-rsa/{dual.server.address}/rsa ({dual.server.host}) presents" not in said
    assert dual.on_disk() == before
    assert dual.presents() == ders(old)
    assert dual.reloads() == 2
    assert set(on_disk(dual.directory / "tls", dual.directory / "actor")) == {
        f"{stem}.{end}" for stem in ("ec", "ours", "rsa") for end in ("crt", "key")
    }


def test_a_renewal_that_is_not_served_is_found_for_its_type_of_key_alone(dual: Dual) -> None:
    targets = {kind: f"web-{kind}/{dual.server.address}/{kind}" for kind in MADE}
    with ExitStack() as stack:
        daemon = stack.enter_context(RunningDaemon(dual.declare()))
        dual.owned[KeyKind.EC].install(fresh()[KeyKind.EC])
        daemon.wait_until("raised", target=targets[KeyKind.EC], code="not_served")
        assert "not_served" in daemon.findings(targets[KeyKind.EC])
        assert "not_served" not in daemon.findings(targets[KeyKind.RSA])
        dual.server.reload()
        daemon.wait_until("cleared", target=targets[KeyKind.EC], code="not_served")
