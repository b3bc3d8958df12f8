"""The rotation of a root, as it is lived: nginx, a keystore of Java, a bundle of PEM, and Windows elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.command_reach import CommandReach
from monitor.lab.ca import Authority, Issued, bundle
from monitor.lab.servers import Nginx, replace_file, write_site
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.dialect import validate
from tests.kit.java_keystore import CHANGEIT, keytool, trust_store
from tests.kit.openssl_client import presented

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("keytool")]

NEXT_ROOT = Authority.root("The next root")
NEXT_ISSUING = NEXT_ROOT.intermediate("The next issuing CA")
OLD, NEW = (hashlib.sha256(each.der()).hexdigest() for each in (ROOT, NEXT_ROOT))


@dataclass
class Site:
    """nginx, its clients' trust stores, and the configuration."""

    directory: Path
    server: Nginx
    old: Issued

    @property
    def config(self) -> str:
        return str(self.directory / "certvigil.yaml")

    def document(self, **portal: object) -> dict[str, Any]:
        up, down = (["/bin/sh", "-c", f"echo {each} >>{self.directory}/portal.log"] for each in ("up", "down"))
        service = {"restart": up, "start": up, "stop": down, "quiesce": True, **portal}
        cacerts = {"bundle": str(self.directory / "cacerts"), "mode": "approve", "service": service}
        return {
            "state_directory": str(self.directory / "state"),
            "actor": {
                "directory": str(self.directory / "actor"),
                "socket": str(self.directory / "actor.sock"),
                "inbox_directory": str(self.directory / "inbox"),
            },
            "trust_stores": {
                "cacerts": cacerts,
                "bundle": {"bundle": str(self.directory / "bundle.pem"), "mode": "approve"},
                "windows": {"elsewhere": "windows"},
            },
            "clients": {
                "portal": {"trusts": "cacerts"},
                "engine": {"trusts": "bundle"},
                "finder": {"trusts": "windows"},
            },
            "components": {
                "web": {
                    "artefacts": {
                        "certificate": self.server.sites[0].certificate,
                        "key": self.server.sites[0].key,
                    },
                    "endpoints": [{"address": self.server.address, "name": NAME}],
                    "clients": ["portal", "engine", "finder"],
                    "service": self.server.service,
                }
            },
            "rotation": {"new": str(self.directory / "new.pem"), "old": [str(self.directory / "old.pem")]},
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "8s", "handshakes": 2},
        }

    def configure(self, **portal: object) -> None:
        replace_file(self.config, json.dumps(self.document(**portal), default=dict).encode())

    def run(self, *arguments: str) -> tuple[int, str]:
        ran = certvigil(*arguments, "--config", self.config)
        return ran.returncode, ran.stdout + ran.stderr

    def replace(self, issued: Issued) -> tuple[int, str]:
        given = self.directory / "given.pem"
        replace_file(str(given), issued.chain_pem() + issued.key_pem(), 0o600)
        return self.run("replace", "web", "--from", str(given))

    def own(self, text: str) -> str:
        return CommandReach(self.config).completed(text)

    def told(self) -> Mapping[str, Any]:
        ran = certvigil("rotate", "--json", "--config", self.config)
        assert ran.returncode in {0, 1}, ran.stderr
        document: Mapping[str, Any] = json.loads(ran.stdout)
        validate(document, "rotate")
        assert (ran.returncode == 0) is (document["done"] == len(document["steps"]))
        return document

    def order(self) -> Sequence[str]:
        """Return each step with how far it is."""
        return [f"{each['deed']} {each['about']}: {each['progress']}" for each in self.told()["steps"]]

    def leaf(self) -> bytes:
        return presented(self.server)[0]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "given.p12").write_bytes(trust_store((ROOT, Authority.root("Another")), ("old_root", "another")))
    given = ("-srckeystore", "given.p12", "-srcstoretype", "PKCS12", "-srcstorepass", CHANGEIT.decode())
    made = ("-destkeystore", "cacerts", "-deststoretype", "JKS", "-deststorepass", CHANGEIT.decode())
    keytool(tmp_path, "-importkeystore", *given, *made, "-noprompt")
    (tmp_path / "cacerts").chmod(0o644)
    (tmp_path / "bundle.pem").write_bytes(b"# ours\n" + bundle((ROOT, Authority.root("Another"))))
    (tmp_path / "old.pem").write_bytes(ROOT.pem())
    (tmp_path / "new.pem").write_bytes(NEXT_ROOT.pem())
    old = fresh()
    with Nginx(str(tmp_path / "nginx"), [write_site(str(tmp_path / "tls"), old, stem="web")]) as server:
        made_site = Site(tmp_path, server, old)
        made_site.configure()
        yield made_site


AT_START = [
    *("add cacerts: next", "add bundle: next", "add windows: next"),
    "switch web: waiting",
    *("remove cacerts: waiting", "remove bundle: waiting", "remove windows: waiting"),
]


def with_done(*names: str) -> Sequence[str]:
    """Return the order in which these stores have the new root."""
    done = {f"add {name}: next" for name in names}
    return [each.replace("next", "done") if each in done else each for each in AT_START]


def test_a_new_root_comes_and_the_old_one_goes_and_every_wrong_order_is_refused(site: Site) -> None:
    # Not slow: a wrong order locks clients out, and the stages stand on each other.
    before, candidate = site.leaf(), NEXT_ISSUING.issue(NAME)
    assert site.order() == AT_START
    code, said = site.run("rotate")
    assert code == 1
    assert site.own(f"certvigil trust add cacerts --from {site.directory}/new.pem --sha256 {NEW}") in said
    assert site.own(f"certvigil trust confirm windows --root {NEW}") in said

    # The leaf too early: each store without the root is named, with the command that adds it.
    code, said = site.replace(candidate)
    assert code == 1, said
    for client, store in (("portal", "cacerts"), ("engine", "bundle")):
        assert f"client_lost: {client} would no longer accept web" in said
        first = site.own(f"CN=The next root: first `certvigil trust add {store} --from ROOT --sha256 SHA256`, once")
        assert re.search(f"its trust store {store} lacks the issuer of .*, {re.escape(first)}", said), said
    assert "the root of CN=The next root is not at hand: give it with the candidate" in said
    # The old root too early.
    code, said = site.run("trust", "remove", "cacerts", "old_root")
    assert (code, "client_lost: portal would no longer accept web" in said) == (1, True), said

    # A crash in the middle changes nothing of the order.
    site.configure(stop=["/bin/sh", "-c", "kill -9 $PPID"])
    code, said = site.run("trust", "add", "cacerts", "--from", str(site.directory / "new.pem"))
    assert code not in {0, 1}, said
    assert site.order() == AT_START
    site.configure()
    assert site.run("recover")[0] == 0
    assert site.order() == AT_START

    code, said = site.run("trust", "add", "cacerts", "--from", str(site.directory / "new.pem"))
    assert code == 0, said
    assert site.order() == with_done("cacerts")
    code, said = site.replace(candidate)
    lost = [each in said for each in ("portal would", "engine would", "finder might")]
    assert (code, lost) == (1, [False, True, True]), said
    assert "nobody has confirmed that its trust store windows has CN=The next root" in said
    assert site.run("trust", "add", "bundle", "--from", str(site.directory / "new.pem"))[0] == 0
    code, said = site.replace(candidate)
    lost = [each in said for each in ("portal would", "engine would", "finder might")]
    assert (code, lost) == (1, [False, False, True]), said
    assert site.leaf() == before

    code, said = site.run("trust", "confirm", "windows", "--root", NEW, "--why", "seen by certlm.msc on pc7")
    assert code == 0, said
    confirmed = site.told()["steps"][2]
    assert confirmed["progress"] == "done"
    assert confirmed["reason"].startswith("root (uid 0) saw at ")
    assert [each.split(": ")[1] for each in site.order()] == ["done"] * 3 + ["next"] + ["waiting"] * 3
    assert site.told()["steps"][3]["commands"] == [site.own("certvigil replace web --from NEW.pem")]
    # An offer is carried out by the hash of its plan alone, which `plan` names.
    replace_file(str(site.directory / "offer.pem"), NEXT_ISSUING.issue(NAME, key=site.old.key).chain_pem())
    assert site.run("offer", "web", str(site.directory / "offer.pem"))[0] == 0
    assert site.told()["steps"][3]["commands"] == [site.own("certvigil plan web")]
    code, said = site.run("plan", "web")
    assert (code, f"to act     {site.own('certvigil replace web --plan ')}" in said) == (0, True), said
    code, said = site.run("audit")
    assert code == 0
    assert "root_confirmed windows" in said
    assert (NEW[:16] in said, "seen by certlm.msc on pc7" in said) == (True, True), said

    code, said = site.replace(candidate)
    assert code == 0, said
    assert site.leaf() == candidate.der()
    assert [each.split(": ")[1] for each in site.order()] == ["done"] * 4 + ["next"] * 3
    # The new root is needed now.
    code, said = site.run("trust", "remove", "bundle", NEW[:16])
    assert (code, "client_lost: engine would no longer accept web" in said) == (1, True), said

    for store in ("cacerts", "bundle"):
        code, said = site.run("trust", "remove", store, OLD[:16])
        assert code == 0, said
    assert site.run("trust", "confirm", "windows", "--root", str(site.directory / "old.pem"), "--removed")[0] == 0
    code, said = site.run("rotate")
    assert (code, "7 of 7 steps are done" in said) == (0, True), said
    # What goes back to the old root is refused, too.
    code, said = site.run("rollback", "web")
    assert (code, "the trust store cacerts lacks the issuer of CN=Lab Issuing CA, CN=Lab Root CA" in said) == (
        1,
        True,
    ), said


def test_status_says_how_far_a_declared_rotation_is(site: Site) -> None:
    with RunningDaemon(site.document()) as daemon:
        daemon.wait_until("presents", target="web/certificate")
        assert "rotation to CN=The next root: 0 of 7 steps done; next: add cacerts" in status(daemon)
        assert site.run("trust", "add", "bundle", "--from", str(site.directory / "new.pem"))[0] == 0
        assert daemon.stop() == 0


def status(daemon: RunningDaemon) -> str:
    return certvigil("status", "--socket", daemon.socket).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trust", "confirm", "cacerts", "--root", NEW), "cacerts is seen by certvigil itself"),
        (("trust", "confirm", "window", "--root", NEW), "there is no trust store 'window'; did you mean 'windows'?"),
        (("trust", "confirm", "windows", "--root", NEW[:16]), "--root takes the 64 digits of a SHA-256"),
        (("trust", "add", "windows", "--from", "new.pem"), "windows is on other machines"),
        (("rotate", "nothing.pem"), "No such file"),
        (("rotate", "bundle.pem"), "it takes a file with one root, and there are 2"),
        (("rotate", "--old", "old.pem"), "--old goes with a new root"),
        (("rotate", "new.pem", "--old", "new.pem"), "cannot be an old one, too"),
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_is_recorded(site: Site, arguments: Sequence[str], said: str) -> None:
    words = [str(site.directory / each) if each.endswith(".pem") else each for each in arguments]
    code, told = site.run(*words)
    assert (code in {3, 4}, said in told) == (True, True), told
    assert not (site.directory / "actor" / "journal.jsonl").exists() or "root_" not in (
        site.directory / "actor" / "journal.jsonl"
    ).read_text(errors="replace")
