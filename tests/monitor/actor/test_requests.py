"""Requests for certificates, from the key to the certificate that is served, on real servers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from actions.csr import CsrOrder
from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor.request import Request, Verb
from monitor.lab.ca import DAY, Authority
from monitor.lab.servers import replace_file
from tests.kit.actor import ALONE
from tests.kit.appliance import MEMBERS, Appliance, appliance
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import with_usual_paths
from tests.kit.documents import ROOT as ROOT_DIRECTORY
from tests.kit.documents import blocks
from tests.kit.java_keystore import JKS
from tests.kit.requests import OpensslCA, answer_of, names_of, signed

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

REPLACE = ActionRequest(Kind.REPLACE, MEMBERS["primary"])
INTERNAL = "portal.corp.local"
REQUESTS = ROOT_DIRECTORY / "docs/requests.md"


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
        # PKCS#7, as AD CS gives it; or PEM in any order.
        certificates = [each.certificate for each in (ROOT, answer, ISSUING)]
        given = (
            pkcs7.serialize_certificates(certificates, Encoding.DER)
            if kind == "rsa2048"
            else ROOT.pem() + ISSUING.pem() + answer.pem()
        )
        code, said = machine.command("replace", "primary", "--from", hand(machine, given, "whatever.txt"))
        assert code == 0, said
        assert "no private key was given: the one that was made for its request is used" in said
        assert machine.serves(answer)
        assert keys(machine) == []
        assert waiting(machine) == []


def test_an_answer_of_a_ca_of_ones_own_comes_into_the_inbox_as_it_is(primary: Appliance) -> None:
    """By `openssl ca`, with its text around the certificate, and an actor that runs; the daemon's right is enough."""
    own = OpensslCA(f"{primary.directory}/ca")
    replace_file(f"{primary.directory}/root.pem", ROOT.pem() + own.root)
    primary.configure(primary.automatic())
    with primary.actor() as actor:
        pem = request(primary, "--key", "p384", "--subject", "CN=portal,O=Example,C=CH")
        answer = own.sign(pem)
        replace_file(f"{primary.inbox()}/.answer", answer, 0o600)
        os.rename(f"{primary.inbox()}/.answer", f"{primary.inbox()}/answer.txt")
        assert actor.ask(Request(Verb.PLAN, REPLACE))["remarks"]
        code, said = primary.command("plan", "primary")
        assert code == 0, said
        assert " answers the request for www.example.com (key " in said
    done = primary.ask(REPLACE, ALONE)
    assert [each["outcome"] for each in done["endings"]] == ["committed"], done
    assert set(primary.served().values()) == {x509.load_pem_x509_certificate(answer).public_bytes(Encoding.DER)}
    assert (waiting(primary), keys(primary), os.listdir(primary.inbox())) == ([], [], [])


def test_the_lines_of_openssl_in_the_documents_make_an_answer(primary: Appliance) -> None:
    (lines,) = (each.text for each in blocks(REQUESTS) if each.language == "sh")
    *of_openssl, replace_of = lines.strip().splitlines()
    replace_file(f"{primary.directory}/web.csr", request(primary).encode())
    command = ["sh", "-ec", "\n".join(of_openssl)]
    ran = subprocess.run(command, cwd=primary.directory, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    root = Path(primary.directory, "ca.crt").read_bytes()
    replace_file(f"{primary.directory}/root.pem", ROOT.pem() + root)
    assert replace_of == "certvigil replace web --from web.crt"
    code, said = primary.command("replace", "primary", "--from", f"{primary.directory}/web.crt")
    assert code == 0, said
    answer = x509.load_pem_x509_certificate(Path(primary.directory, "web.crt").read_bytes())
    assert set(primary.served().values()) == {answer.public_bytes(Encoding.DER)}


def test_an_answer_for_the_installed_key_is_new_and_has_the_names(primary: Appliance) -> None:
    first = fresh()
    assert primary.command("replace", "primary", "--from", primary.given(first))[0] == 0
    second = ISSUING.issue(NAME, key=first.key)
    assert primary.command("replace", "primary", "--from", primary.given(second))[0] == 0
    pem = request(primary, "--installed-key", "--name", "new.example.com")
    assert keys(primary) == []
    assert x509.load_pem_x509_csr(pem.encode()).public_key() == first.key.public_key()
    code, said = primary.command("csr", "primary", "--installed-key")
    assert code == 4
    assert "a request for this key waits already, since " in said
    both = (NAME, "new.example.com")
    for wrong, why in (
        (first, "it lacks new.example.com, which the request asks for; it was there before the request of "),
        (signed(pem, NAME), "it lacks new.example.com, which the request asks for; `certvigil csr --cancel "),
        (signed(pem, *both, not_before=time.time() - 2 * DAY), ", before the request of "),
    ):
        for given in (answer_of(wrong), answer_of(wrong) + first.key_pem()):
            code, said = primary.command("replace", "primary", "--from", hand(primary, given))
            assert code == 1, said
            assert "refused    no_candidate: no_answer: " in said
            assert why in with_usual_paths(said)
    assert primary.serves(second)
    # The certificate that is in place is no answer, and no wrong one.
    code, said = primary.command("replace", "primary", "--from", hand(primary, answer_of(second)))
    assert (code, "nothing to do" in said) == (0, True), said
    assert len(waiting(primary)) == 1
    answer = signed(pem)
    code, said = primary.command("replace", "primary", "--from", hand(primary, answer_of(answer)))
    assert code == 0, said
    assert primary.serves(answer)
    assert waiting(primary) == []


def test_each_of_several_requests_finds_its_own_answer(primary: Appliance) -> None:
    one, two, lost = (request(primary, "--name", name) for name in ("one.example", "two.example", "lost.example"))
    code, said = primary.command("replace", "primary", "--from", hand(primary, answer_of(fresh(subject="CN=none"))))
    assert code == 1, said
    assert "no_candidate: no_key: there is no private key for " in said
    for name in ("one.example", "two.example", "lost.example"):
        assert f"{NAME}, {name} (key " in said
    # Without the name that it asks for, whatever another request asks for.
    wrong = hand(primary, answer_of(signed(two, NAME, "one.example")))
    code, said = primary.command("replace", "primary", "--from", wrong)
    assert code == 1
    assert "it lacks two.example, which the request asks for" in said
    assert primary.serves(primary.old)
    for pem in (two, one):
        answer = signed(pem)
        code, said = primary.command("replace", "primary", "--from", hand(primary, answer_of(answer)))
        assert code == 0, said
        assert primary.serves(answer)
    (left,) = waiting(primary)
    assert "lost.example" in str(left["names"])
    code, said = primary.command("csr", "--cancel", str(left["key"])[:16], "--why", "the CA has moved")
    assert (code, said) == (0, f"cancelled  the request with the key {left['key']}\n")
    assert (waiting(primary), keys(primary)) == ([], [])
    code, said = primary.command("replace", "primary", "--from", hand(primary, answer_of(signed(lost))))
    assert (code, "no_candidate: no_key: there is no private key for " in said) == (1, True)
    said = primary.command("audit")[1]
    assert said.count("requested primary (console, portal)") == 3
    assert "request_withdrawn primary (console, portal)" in said
    assert "it was cancelled: the CA has moved" in said


def test_an_answer_that_a_client_rejects_leaves_its_request_waiting(primary: Appliance) -> None:
    pem = request(primary)
    stranger = Authority.root("Nobody's CA")
    code, said = primary.command("replace", "primary", "--from", hand(primary, signed(pem, issuing=stranger).pem()))
    assert code == 1, said
    assert primary.serves(primary.old)
    (one,) = waiting(primary)
    certificate = next(iter(primary.artefacts("portal").values()))
    replace_file(f"{primary.directory}/kept", Path(certificate).read_bytes(), 0o600)
    primary.configure(
        {"portal": primary.service("portal", test=["/usr/bin/cmp", "-s", certificate, f"{primary.directory}/kept"])}
    )
    answer = hand(primary, answer_of(signed(pem)))
    assert primary.command("replace", "primary", "--from", answer)[0] == 2
    assert keys(primary) == [f"{one['key']}.pem"]
    primary.configure()
    code, said = primary.command("replace", "primary", "--from", answer)
    assert (code, "quarantine" in said) == (1, True), "the other rules stay as they are"


def test_a_key_that_was_given_up_is_in_no_request(primary: Appliance) -> None:
    request(primary, "--installed-key")
    expired = fresh(not_before=time.time() - 9 * DAY, not_after=time.time() - DAY)
    code, said = primary.command("replace", "primary", "--key-compromised", "--from", primary.given(expired))
    assert code == 1, said
    assert waiting(primary) == []
    code, said = primary.command("csr", "primary", "--installed-key")
    assert code == 4
    assert "the installed key is not used: its private key, of console, was given up as compromised at " in said


def test_a_request_whose_time_is_over_is_answered_no_more_and_its_key_goes_with_the_next(primary: Appliance) -> None:
    pem = request(primary, "--days", "1")
    (old,) = keys(primary)
    answer = signed(pem, not_before=time.time() - 60)
    os.makedirs(primary.inbox())
    replace_file(f"{primary.directory}/inbox/primary/answer.pem", answer_of(answer), 0o600)
    assert "plan" in primary.ask(REPLACE, verb=Verb.PLAN)
    primary.world.shift = DAY + 60.0
    refused = primary.ask(REPLACE, verb=Verb.PLAN)["refused"]["objections"]
    assert [each["ground"] for each in refused] == ["no_candidate"]
    made = primary.do(Request(Verb.CSR, components=MEMBERS["primary"], csr=CsrOrder()))["csr"]
    assert keys(primary) == [f"{made['key']}.pem"] != [old]
    assert [each["key"] for each in waiting(primary)] == [made["key"]]


def test_a_dry_run_makes_nothing_and_a_request_is_printed_again(primary: Appliance) -> None:
    code, said = primary.command("csr", "primary", "--dry-run", "--key", "rsa3072")
    assert code == 0
    assert said.startswith(f"primary: a request would be made; a new key, rsa3072; names: {NAME}; it waits until ")
    assert (waiting(primary), keys(primary)) == ([], [])
    pem = request(primary)
    code, said = primary.command("csr", "--show", str(waiting(primary)[0]["key"])[:8])
    assert (code, said) == (0, pem)
    code, said = primary.command("csr", "primary", "--list")
    assert code == 0
    assert "primary" in said
    # By default the kind of the installed key.
    assert isinstance(x509.load_pem_x509_csr(pem.encode()).public_key(), ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("portal",),
            "component portal is changed only with all members of group primary (console, portal): name primary",
        ),
        (("primry",), "there is no component or group 'primry'; did you mean 'primary'?"),
        ((), "a request is for a component or a group: name one, or --list"),
        (("primary", "--name", "a b"), "'a b' is neither a DNS name nor an address"),
        (("primary", "--name", "*"), "'*' is neither a DNS name nor an address"),
        (("primary", "--name", "www.*.example"), "'www.*.example' is neither a DNS name nor an address"),
        (("primary", "--days", "0"), "a request waits for 1 to 366 days, not for 0"),
        (
            ("primary", "--installed-key", "--key", "p256"),
            "the installed key is of the kind that it is: give a kind, or the installed key",
        ),
        (("primary", "--subject", "nonsense"), "'nonsense' is no subject, such as CN=www.example.com,O=Example,C=CH: "),
        (("primary", "--subject", "C=Switzerland"), "'C=Switzerland' is no subject, such as "),
        (("primary", "--out", "/etc/passwd"), "/etc/passwd exists: a request is written to a new file"),
        (("primary", "--out", "/no/such/place"), "/no/such is no directory that this user may write to"),
        (("--cancel", "abc"), "a key is named by its SHA-256, of which at least 8 digits are given, and not 'abc'"),
        (("--cancel", "0123456789"), "no request has a key that begins with 0123456789; there are: none"),
        (("--show", "0123456789"), "no request that waits has a key that begins with 0123456789"),
        (("--list", "--cancel", "01234567"), "--list, --show and --cancel are three things to do: give one of them"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_makes_no_sense_is_said_and_nothing_is_made(
    arguments: tuple[str, ...], message: str, bench: Appliance
) -> None:
    with bench.actor():
        before = len(bench.records()) if Path(bench.directory, "actor/journal.jsonl").exists() else 0
        code, said = bench.command("csr", *arguments)
        assert code == 4
        assert said.startswith(f"certvigil: {message}")
        assert len(bench.records()) == before
        assert keys(bench) == []


@pytest.fixture(scope="module")
def bench() -> Iterator[Appliance]:
    with appliance("primary") as made:
        yield made


def test_no_more_than_eight_wait_for_one_group(primary: Appliance) -> None:
    order = Request(Verb.CSR, components=MEMBERS["primary"], csr=CsrOrder())
    made = [primary.do(order)["csr"]["key"] for _ in range(8)]
    assert "8 requests of primary wait already: cancel one of " in primary.do(order)["cannot"]
    assert keys(primary) == sorted(f"{each}.pem" for each in made)


def test_a_key_that_is_not_among_the_files_is_asked_for_where_it_is(primary: Appliance) -> None:
    primary.configure({"portal": {"artefacts": {"certificate": primary.artefacts("portal")["certificate"]}}})
    code, said = primary.command("csr", "primary")
    assert code == 4
    assert said == ("certvigil: the key of portal is not among its files: its request is made where that key is\n")


def test_no_key_is_made_for_a_keystore_that_is_not_written(primary: Appliance) -> None:
    store = f"{primary.directory}/portal.jks"
    replace_file(store, JKS + bytes(28))
    replace_file(f"{primary.directory}/password", b"changeit")
    artefacts = {"keystore": store, "password_file": f"{primary.directory}/password"}
    primary.configure({"portal": {"artefacts": artefacts}})
    code, said = primary.command("csr", "primary")
    assert (code, keys(primary)) == (4, [])
    assert said.startswith(f"certvigil: {store} is a JKS keystore, and certvigil writes PKCS#12 alone; ")
