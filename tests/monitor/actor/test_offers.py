"""Offers of those without rights: what is taken, what is carried out without a person, and what they cannot spoil."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from actions.candidate import Given
from actions.csr import CsrOrder
from actions.journal_state import ActionRequest, JournalState
from actions.offered import MOST_NAMES, MOST_OF_ONE, MOST_WRITTEN
from actions.plan import Kind
from config.load import load
from config.model import Config
from monitor.actor.authority import Role, objection
from monitor.actor.context import actor_context
from monitor.actor.handed import CandidateFiles, announce
from monitor.actor.handlers import handle
from monitor.actor.offer_list import expire_offers
from monitor.actor.offers import MOST_OVER_SOCKET
from monitor.actor.pace import MOST_RECORDS, Pace
from monitor.actor.request import Document, Request, Verb, decode, encode
from monitor.actor.work import Work
from monitor.lab.ca import DAY, Authority, KeyType, bundle, new_key
from monitor.lab.servers import replace_file
from monitor.state.trust import read_trust_context
from probes.certificate import certificate
from tests.kit.actor import ALONE, APPROVED, PERSON, Right
from tests.kit.appliance import MEMBERS, Appliance, appliance
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import RunningDaemon
from tests.kit.liar import Shifted
from tests.kit.requests import answer_of, signed

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

NOBODY = 65534
PRIMARY = MEMBERS["primary"]
REPLACE = ActionRequest(Kind.REPLACE, PRIMARY)
OFFER = Request(Verb.OFFER, components=PRIMARY)
MAKE = Request(Verb.CSR, components=PRIMARY, csr=CsrOrder())
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to another user")


@pytest.fixture
def primary() -> Iterator[Appliance]:
    with appliance("primary") as made:
        made.configure(
            made.automatic(), actor={**made.document()["actor"], "offered_directory": f"{made.directory}/offered"}
        )
        yield made


def offer(machine: Appliance, *files: bytes, uid: int | None = None) -> Document:
    """Bring certificates over the socket, with the daemon's right."""
    return machine.do(OFFER, ALONE, uid, handed(files))


def handed(files: Sequence[bytes]) -> CandidateFiles:
    return CandidateFiles(tuple(Given(f"offer {number}", data) for number, data in enumerate(files, 1)))


def lay(machine: Appliance, name: str | bytes, data: bytes, uid: int | None = None) -> str:
    """Put a file into the directory of offers, as a user."""
    directory = f"{machine.directory}/offered/primary"
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o1777)
    path = os.path.join(os.fsencode(directory), os.fsencode(name))
    Path(os.fsdecode(path)).write_bytes(data)
    if uid is not None:
        os.chown(path, uid, uid)
    return os.fsdecode(path)


def plan(machine: Appliance) -> Document:
    return machine.ask(REPLACE, ALONE, Verb.PLAN)


def outcomes(answer: Document) -> list[str]:
    return [each["outcome"] for each in answer.get("endings", ())]


@ROOT_ONLY
@pytest.mark.parametrize("way", ["socket", "directory"])
def test_an_offer_that_answers_a_request_is_carried_out_without_a_person(way: str, primary: Appliance) -> None:
    answer = signed(primary.do(MAKE)["csr"]["pem"])
    if way == "socket":
        assert offer(primary, answer.pem(), ISSUING.der(), uid=NOBODY)["offered"]["way"] == "socket"
    else:
        lay(primary, "anything.bin", answer_of(answer), NOBODY)
    planned = plan(primary)
    assert planned["offered"]["by"] == "nobody (uid 65534)"
    assert planned["offered"]["way"] == way
    assert any(each.startswith("it was offered by nobody (uid 65534) at ") for each in planned["remarks"])
    about = planned["plan"]["about"]
    assert about.startswith(f"console, portal: CN={NAME} for DNS:{NAME}, until ")
    place = {"socket": "over the socket", "directory": "in the directory of offers"}[way]
    assert f", issued by {certificate(ISSUING.der()).subject}, " in about
    assert "; offered by nobody (uid 65534) at " in about
    assert about.endswith(place)
    done = primary.ask(REPLACE, ALONE)
    assert outcomes(done) == ["committed"], done
    assert primary.serves(answer)
    assert primary.last("begin")["offered"] == planned["offered"]
    assert "refused" in plan(primary), "the offer is used up"
    assert plan(primary)["refused"]["objections"][0]["ground"] == "empty_inbox"


def test_an_offer_that_answers_no_request_waits_for_a_person(primary: Appliance) -> None:
    """Even one for the installed key, of an allowed issuer."""
    again = ISSUING.issue(NAME, key=primary.old.key)
    offer(primary, answer_of(again))
    why = f"CN={NAME} was offered by "
    refused = primary.ask(REPLACE, ALONE)["refused"]["objections"]
    assert [each["ground"] for each in refused] == ["needs_a_person"]
    assert refused[0]["detail"].startswith(why)
    assert refused[0]["detail"].endswith(", and answers no request that waits")
    assert any(f"the daemon leaves it to a person: {why}" in each for each in plan(primary)["remarks"])
    # A person who finds the inbox empty may not expect an offer.
    code, said = primary.command("replace", "primary")
    assert code == 4, said
    assert f"certvigil: {why}" in said
    planned = plan(primary)["plan"]["hash"]
    names = f"`certvigil replace --config {primary.directory}/certvigil.yaml primary --plan {planned}`"
    assert f", and name it: {names}" in said
    assert primary.serves(primary.old)
    waiting = primary.ask(REPLACE, ALONE, Verb.PROPOSE)
    assert waiting["plan"]["hash"] == planned
    assert "; offered by " in primary.last("proposed")["shown"]
    done = primary.ask(REPLACE, APPROVED)
    assert outcomes(done) == ["committed"], done
    assert primary.serves(again)


def test_a_person_carries_an_offer_out_by_the_hash_of_its_plan(primary: Appliance) -> None:
    again = ISSUING.issue(NAME, key=primary.old.key)
    path = f"{primary.directory}/cert.pem"
    replace_file(path, answer_of(again))
    code, said = primary.command("offer", "primary", path)
    shows = f"`certvigil plan --config {primary.directory}/certvigil.yaml primary` shows what they are for"
    assert (code, said) == (0, f"offered    primary: certificates: 2; {shows}\n")
    code, said = primary.command("plan", "primary")
    assert code == 0, said
    assert "note       it was offered by root (uid 0) at " in said
    code, said = primary.command("replace", "primary", "--plan", plan(primary)["plan"]["hash"])
    assert code == 0, said
    assert primary.serves(again)


def test_an_answer_whose_path_leads_to_no_trust_store_waits_for_a_person(primary: Appliance) -> None:
    """The issuer is allowed by its key; only a store says that a path is to be believed."""
    issuing_key = {"spki_sha256": _spki(ISSUING)}
    primary.configure({name: {"mode": "auto", "allowed_issuers": [issuing_key]} for name in PRIMARY})
    answer = signed(primary.do(MAKE)["csr"]["pem"])
    offer(primary, answer_of(answer))
    # The store of its clients vouches for it.
    assert plan(primary)["offered"]["way"] == "socket"
    assert not any("leaves it to a person" in each for each in plan(primary)["remarks"])
    replace_file(f"{primary.directory}/other.pem", Authority.root("Another").pem())
    stores = {
        "corporate": {"bundle": f"{primary.directory}/root.pem"},
        "other": {"bundle": f"{primary.directory}/other.pem"},
    }
    both = [issuing_key, {"trust_store": "other"}]
    primary.configure({name: {"mode": "auto", "allowed_issuers": both} for name in PRIMARY}, trust_stores=stores)
    refused = primary.ask(REPLACE, ALONE)["refused"]["objections"]
    assert [each["ground"] for each in refused] == ["needs_a_person"]
    assert refused[0]["detail"].endswith(": its path leads to no trust store that console names (other)")
    assert primary.serves(primary.old)


def _spki(issuer: Authority) -> str:
    return certificate(issuer.der()).public_key_sha256()


def test_an_offer_of_the_day_of_a_request_for_the_installed_key_waits_for_a_person(primary: Appliance) -> None:
    """It may be one that was issued before the request, and that nobody wants any more."""
    installed = CsrOrder(installed=True)
    csr = primary.do(Request(Verb.CSR, components=PRIMARY, csr=installed))["csr"]["pem"]
    offer(primary, answer_of(signed(csr, not_before=time.time() - 3600)))
    refused = primary.ask(REPLACE, ALONE)["refused"]["objections"]
    assert [each["ground"] for each in refused] == ["needs_a_person"]
    assert ", and begins before the request of " in refused[0]["detail"]
    answer = signed(csr, not_before=time.time())
    offer(primary, answer_of(answer))
    done = primary.ask(REPLACE, ALONE)
    assert outcomes(done) == ["committed"], done
    assert primary.serves(answer)


def test_an_offer_of_what_is_installed_takes_no_answer_out_that_a_person_is_to_decide_on(primary: Appliance) -> None:
    """The answer begins before the certificate in place, as where a CA dates back by an hour."""
    installed = CsrOrder(installed=True)
    csr = primary.do(Request(Verb.CSR, components=PRIMARY, csr=installed))["csr"]["pem"]
    answer = signed(csr, not_before=primary.old.certificate.not_valid_before_utc.timestamp() - 3600)
    offer(primary, answer_of(answer), uid=0)
    planned = plan(primary)["plan"]["hash"]
    assert primary.ask(REPLACE, ALONE, Verb.PROPOSE)["plan"]["hash"] == planned
    offer(primary, answer_of(primary.old), uid=NOBODY)
    assert primary.ask(REPLACE, ALONE, Verb.PROPOSE)["plan"]["hash"] == planned
    assert len(offers(primary)) == 2
    assert outcomes(primary.ask(REPLACE, APPROVED)) == ["committed"]
    assert primary.serves(answer)


def test_only_the_offer_of_what_is_installed_is_taken_out_and_the_audit_has_it(primary: Appliance) -> None:
    older = ISSUING.issue(NAME, key=primary.old.key, not_before=time.time() - 20 * DAY)
    offer(primary, answer_of(older), uid=1)
    offer(primary, answer_of(primary.old), uid=2)
    (name,) = (each["offer"] for each in offers(primary) if each["by"].endswith("(uid 2)"))
    assert primary.ask(REPLACE, ALONE)["refused"]["objections"][0]["ground"] == "nothing_to_do"
    assert len(offers(primary)) == 1
    gone = primary.last("offer_withdrawn")
    assert (gone["offer"], gone["reason"]) == (name, "its certificate is installed already")
    assert primary.ask(REPLACE, ALONE)["refused"]["objections"][0]["ground"] == "needs_a_person"


@pytest.mark.parametrize(
    "data",
    [
        fresh().key_pem(),
        fresh().chain_pem() + fresh().key_pem(),
        b"\xef\xbb\xbf" + fresh().key_pem().replace(b"\n", b"\r\n"),
        fresh().key_pem().decode().encode("utf-16"),
    ],
    ids=["a key", "a key behind its chain", "of Windows", "in UTF-16"],
)
def test_a_private_key_is_not_taken_and_the_way_that_keeps_it_here_is_said(data: bytes, primary: Appliance) -> None:
    path = f"{primary.directory}/offer.pem"
    replace_file(path, data, 0o600)
    code, said = primary.command("offer", "primary", path)
    why = "it holds a private key, or may: only certificates are offered. Have the key made where it is used"
    assert (code, said) == (
        4,
        f"certvigil: {path} is not taken: {why} (`certvigil csr`), or have root put both into the inbox\n",
    )
    assert why in offer(primary, data)["cannot"]
    assert not os.path.exists(f"{primary.directory}/actor/offers")
    lay(primary, "offer.pem", data)
    (refused,) = plan(primary)["refused"]["objections"]
    assert refused["ground"] == "no_offer"
    assert f"{primary.directory}/offered/primary/offer.pem is not used: {why}" in refused["detail"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([b"nonsense"], "no_certificate: there is no certificate"),
        ([b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"], "undecodable: offer 1: "),
        ([bundle([fresh() for _ in range(65)])], "too_large: the files hold 65 certificates"),
        ([bundle([fresh() for _ in range(17)])], "an offer has at most 16 certificates, not 17"),
        ([fresh(*(f"{number}.{'x' * 60}.example" for number in range(900))).pem()], "an offer has at most 65536 bytes"),
        ([fresh().pem()] * 17, "at most 16 files are handed over, with names of"),
    ],
    ids=["nonsense", "damaged", "a trust store", "too many", "too large", "too many files"],
)
def test_what_is_no_offer_is_not_taken(files: list[bytes], message: str, primary: Appliance) -> None:
    line, _ = announce(OFFER, handed(files))
    said = decode(encode(line).rstrip())
    answer = said if isinstance(said, str) else offer(primary, *files)["cannot"]
    assert answer.startswith(message)
    assert not os.path.exists(f"{primary.directory}/actor/offers")


def test_an_offer_is_of_some_certificates_and_has_no_password() -> None:
    for wrong in (
        {"verb": "offer", "components": ["web"]},
        {"verb": "offer", "components": ["web"], "files": [["x", 9]], "password": 3},
    ):
        assert decode(json.dumps(wrong).encode()) == "'offer' needs certificates, and takes no password"
    alone = {"verb": "offer", "files": [["x", 9]]}
    assert decode(json.dumps(alone).encode()) == "'offer' names a component or a group"


@ROOT_ONLY
def test_nobody_spoils_the_answer_of_somebody_else(primary: Appliance) -> None:
    """Junk, a certificate that looks newer, of the attacker's CA or of ours: the answer is taken all the same."""
    csr = primary.do(MAKE)["csr"]["pem"]
    answer = signed(csr)
    attacker = Authority.root("Attacker's CA")
    # A copy of the answer, earlier and without its chain, as who watches logs of CAs might have it.
    lay(primary, "copy.pem", answer.pem(), 1111)
    lay(primary, "answer.pem", answer_of(answer), 1234)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "The same")])
    for number, data in enumerate(
        (
            bundle([Authority.root(subject=name, key=new_key(KeyType.P256), ca=False) for _ in range(64)]),
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            attacker.issue(NAME, key=primary.old.key, not_before=time.time() - 60).pem() + attacker.pem(),
            ISSUING.issue(NAME, key=primary.old.key, not_before=time.time() - 30).pem(),
            signed(csr, issuing=attacker, not_before=time.time() - 20).pem() + attacker.pem(),
            signed(csr, "other.example", not_before=time.time() - 10).pem(),
        )
    ):
        lay(primary, f"{number}.pem", data, 2000 + number)
    done = primary.ask(REPLACE, ALONE)
    assert outcomes(done) == ["committed"], done
    assert done["offered"]["by"] == "uid 1234"
    assert primary.serves(answer)


@ROOT_ONLY
def test_hostile_files_are_not_used_and_do_no_harm(primary: Appliance) -> None:
    good = signed(primary.do(MAKE)["csr"]["pem"])
    secret = f"{primary.directory}/secret.pem"
    replace_file(secret, answer_of(fresh()), 0o600)
    lay(primary, b"\x1b[31mnew\nline\xff.pem", answer_of(good), 1001)
    directory = f"{primary.directory}/offered/primary"
    os.symlink(secret, f"{directory}/link.pem")
    os.link(secret, f"{directory}/hard.pem")
    os.mkfifo(f"{directory}/fifo.pem")
    os.mkdir(f"{directory}/directory.pem")
    lay(primary, "huge.pem", b"\0" * (MOST_WRITTEN + 1), 1002)
    lay(primary, ".hidden.pem", answer_of(fresh()), 1003)
    for number in range(MOST_OF_ONE + 1):
        lay(primary, f"many-{number}.pem", answer_of(fresh()), 1004)
    planned = plan(primary)
    remarks = "\n".join(planned["remarks"])
    assert remarks.replace("\n", "").isprintable()
    for name, why in (
        ("link.pem", "it is no regular file"),
        ("fifo.pem", "it is no regular file"),
        ("directory.pem", "it is no regular file"),
        ("hard.pem", "it has 2 names, one of them elsewhere"),
        ("huge.pem", f"it is larger than {MOST_WRITTEN} bytes"),
    ):
        assert f"{directory}/{name} is not used: {why}" in remarks
    assert f"uid 1004 offers more than {MOST_OF_ONE} files: none is used" in remarks
    assert "hidden" not in remarks
    assert outcomes(primary.ask(REPLACE, ALONE)) == ["committed"]
    assert primary.serves(good)
    assert os.path.exists(secret)
    for number in range(30):
        lay(primary, f"junk-{number}.pem", b"junk", 3000 + number)
    (refused,) = plan(primary)["refused"]["objections"]
    assert refused["detail"].count("; ") == 10
    assert refused["detail"].endswith("; and 26 more offers or files are not used")
    assert refused["ground"] == "no_offer", "nothing is said of the inbox"


@ROOT_ONLY
def test_a_crowd_of_files_of_one_user_leaves_the_offers_of_others(primary: Appliance) -> None:
    good = signed(primary.do(MAKE)["csr"]["pem"])
    lay(primary, "answer.pem", answer_of(good), 1234)
    directory = f"{primary.directory}/offered/primary"
    for number in range(MOST_NAMES + 1):
        lay(primary, f"crowd-{number}.pem", b"", 1004)
        lay(primary, f"a-{number}.pem", answer_of(good), 1005) if number < MOST_OF_ONE else None
    # Whoever may give a file of somebody else more names does not spoil it either.
    lay(primary, "elsewhere", b"", 1234)
    for number in range(MOST_NAMES):
        os.link(f"{directory}/elsewhere", f"{directory}/linked-{number}.pem")
    remarks = " ".join(plan(primary)["remarks"])
    crowd = f"{directory} holds {MOST_NAMES + 1} (more than {MOST_NAMES})"
    assert f"{crowd} files of uid 1004: none of these is used" in remarks
    assert f"{crowd} files that have several names: none of these is used" in remarks
    done = primary.ask(REPLACE, ALONE)
    assert outcomes(done) == ["committed"], done
    assert primary.serves(good)


@ROOT_ONLY
def test_another_offer_of_one_user_takes_the_place_of_that_users_oldest(primary: Appliance) -> None:
    answer = signed(primary.do(MAKE)["csr"]["pem"])
    offer(primary, answer_of(answer), uid=1001)
    for _ in range(MOST_OVER_SOCKET + 2):
        offer(primary, answer_of(fresh()), uid=1002)
    area = f"{primary.directory}/actor/offers/primary"
    owners = [os.stat(f"{area}/{each}").st_uid for each in os.listdir(area)]
    assert sorted(owners) == [1001, *[1002] * MOST_OVER_SOCKET]
    assert os.stat(area).st_mode & 0o777 == 0o700
    assert outcomes(primary.ask(REPLACE, ALONE)) == ["committed"]
    assert primary.serves(answer)


def test_a_rogue_daemon_makes_no_key_and_closes_no_request(primary: Appliance) -> None:
    csr = primary.do(MAKE)["csr"]
    before = len(primary.records())
    config = load(primary.config_file, {})
    assert isinstance(config, Config)
    for request in (MAKE, Request(Verb.CANCEL, key=csr["key"]), Request(Verb.REQUESTS)):
        said = objection(Role.DAEMON, request, config, JournalState())
        assert said == f"the daemon may not ask for '{request.verb}': that is for an operator"
    # It brings what it likes: the certificate of before for another name, or one with a key of its own.
    for wrong in (
        signed(csr["pem"], "evil.example"),
        signed(csr["pem"], not_before=time.time() - 2 * DAY),
        fresh(),
        primary.old,
    ):
        offer(primary, answer_of(wrong))
        answer = primary.ask(REPLACE, ALONE)
        assert "endings" not in answer, answer
        shutil.rmtree(f"{primary.directory}/actor/offers")
    assert primary.serves(primary.old)
    written = [each["event"] for each in primary.records()[before:]]
    assert set(written) == {"offered", "declined", "unneeded", "offer_withdrawn"}
    assert "PRIVATE KEY" not in json.dumps(primary.records())


def test_the_daemon_has_few_records_written_by_offers(primary: Appliance) -> None:
    pace = Pace()
    data = fresh().pem()
    answers = [_paced(primary, pace, data) for _ in range(MOST_RECORDS + 1)]
    assert "cannot" not in answers[-2]
    assert answers[-1]["cannot"].startswith("too much was asked about console, portal within the hour")


def _paced(machine: Appliance, pace: Pace, data: bytes) -> Document:
    config = load(machine.config_file, {})
    assert isinstance(config, Config)
    with actor_context(read_trust_context(config)[0]) as context:
        work = replace(Work(context, "daemon", role=ALONE.role), pace=pace, files=handed([data]))
        return handle(work, OFFER)


def test_an_actor_that_runs_takes_an_offer_of_its_operator(primary: Appliance) -> None:
    path = f"{primary.directory}/cert.der"
    replace_file(path, ROOT.der())
    with primary.actor():
        code, said = primary.command("offer", "primary", path, "--json")
        assert code == 0, said
        assert json.loads(said)["offered"]["certificates"] == [ROOT.certificate.fingerprint(hashes.SHA256()).hex()]
        code, said = primary.command("offer", "portal", path)
        assert (code, "is changed only with all members of group primary" in said) == (4, True)
        code, said = primary.command("offer", "primary", f"{primary.directory}/none.pem")
        assert (code, said) == (
            4,
            f"certvigil: {primary.directory}/none.pem cannot be read: No such file or directory\n",
        )


def test_the_daemon_has_an_answer_installed_that_was_offered(primary: Appliance) -> None:
    """From the request to the certificate that is served, without a person after the request."""
    document = primary.document(primary.automatic(), actor=primary.document()["actor"])
    with primary.actor(), RunningDaemon(document) as daemon:
        daemon.wait_until("presents", target="portal/certificate")
        code, said = primary.command("csr", "primary")
        assert code == 0, said
        pem = said[said.index("-----BEGIN") :]

        def notes() -> str:
            (shown,) = daemon.ask("/api/v1/components")["items"]
            return "; ".join(shown["notes"])

        daemon.wait_for(
            lambda: f"a request waits for its certificate: {NAME} (key " in notes(), "the request in status"
        )
        (made,) = Path(primary.directory, "actor/requests").iterdir()
        secret = made.read_bytes().splitlines()[1]
        answer = signed(pem)
        path = f"{primary.directory}/answer.pem"
        replace_file(path, answer_of(answer))
        assert primary.command("offer", "primary", path)[0] == 0
        daemon.wait_until("ended", target="primary/actions", action="replace", outcome="committed")
        assert primary.serves(answer)
        daemon.wait_for(lambda: not notes(), "no note")
        holders = {
            name
            for directory in (primary.directory, daemon.state)
            for name, data in _files(directory)
            if secret in data or made.name[:40].encode() in os.fsencode(name)
        }
        keys = {primary.artefacts("console")["combined"], primary.artefacts("portal")["key"]}
        # Files that were replaced, and the backup sets, hold the key of before.
        assert holders == keys
        assert secret.decode() not in daemon.text + json.dumps(daemon.ask("/api/v1/history"))


def _files(directory: str) -> Iterator[tuple[str, bytes]]:
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path):
                yield path, Path(path).read_bytes()


def test_nobody_is_told_to_trust_the_ca_of_an_offer(primary: Appliance) -> None:
    """Whoever may offer would else have certvigil ask an operator for trust in a CA of theirs."""
    name = "Our CA 60"
    theirs = Authority.root(name)
    csr = primary.do(MAKE)["csr"]["pem"]
    offered = [
        (answer_of(signed(csr, issuing=theirs)), theirs.der()),
        (answer_of(signed(csr, issuing=theirs)),),
        (theirs.issue(NAME, key=primary.old.key).pem(),),
        (Authority.root(name, key=primary.old.key).pem(),),
    ]
    primary.configure({each: {"mode": "approve", "allowed_issuers": []} for each in PRIMARY})
    grounds: set[str] = set()
    for files in offered:
        answer = offer(primary, *files, uid=NOBODY)
        assert "offered" in answer, answer
        refused = plan(primary)["refused"]["objections"]
        assert refused
        grounds.update(each["ground"] for each in refused)
        for each in refused:
            assert "; it was offered by nobody (uid 65534) at " in each["detail"], each
            assert "trust add" not in each["detail"]
            assert "trust confirm" not in each["detail"]
            assert "to the client's store" not in each["detail"]
            assert "to cure it" not in each["detail"]
    assert "client_lost" in grounds


# Taking offers out


def offers(machine: Appliance) -> list[Document]:
    found: list[Document] = machine.do(Request(Verb.OFFERS), ALONE)["offers"]
    return found


def withdraw(machine: Appliance, name: str, right: Right = PERSON, uid: int | None = None) -> Document:
    return machine.do(Request(Verb.WITHDRAW, key=name[:16], why="a mistake"), right, uid)


def test_an_operator_takes_out_an_offer_that_cannot_be_used_and_the_audit_has_it(primary: Appliance) -> None:
    lay(primary, "key.pem", fresh().key_pem())
    lay(primary, b"\xff\n.pem", fresh().pem())
    os.symlink("/etc/shadow", lay(primary, "empty", b"") + ".pem")
    offer(primary, fresh().pem())
    told = offers(primary)
    assert plan(primary)["offers_waiting"]["count"] == len(told) == 5
    assert [each["way"] for each in told].count("socket") == 1
    unusable = [each["unusable"].partition(":")[0].partition(",")[0] for each in told if "unusable" in each]
    assert sorted(unusable) == ["it holds a private key", "it is no regular file", "no_certificate"]
    code, said = primary.command("offer", "--list")
    assert code == 0, said
    assert said.count("\tnot used: ") == 3
    for each in told:
        code, said = primary.command("offer", "--withdraw", each["offer"][:12], "--why", "a mistake")
        assert (code, said) == (0, f"withdrawn  the offer {each['offer']} for primary\n")
    assert offers(primary) == []
    assert os.path.exists("/etc/shadow"), "a link is taken out, and not what it leads to"
    assert primary.last("offer_withdrawn")["reason"] == "it was withdrawn: a mistake"
    code, said = primary.command("audit", "--action", "offer")
    assert said.count("offer_withdrawn") == 5
    assert primary.command("offer", "--list") == (0, "nothing is offered\n")
    code, said = primary.command("offer", "--withdraw", told[0]["offer"])
    assert (code, said) == (4, f"certvigil: no offer begins with {told[0]['offer']}; there are: none\n")


@ROOT_ONLY
def test_whoever_is_no_operator_takes_out_only_what_he_brought(primary: Appliance) -> None:
    offer(primary, fresh().pem(), uid=NOBODY)
    lay(primary, "site.pem", fresh().pem(), 1)
    by = {each["by"].partition(" ")[0]: each["offer"] for each in offers(primary)}
    assert "an operator may withdraw it, or who brought it" in withdraw(primary, by["daemon"], ALONE, NOBODY)["cannot"]
    assert withdraw(primary, by["nobody"], ALONE, NOBODY)["component"] == "primary"
    assert [each["offer"] for each in offers(primary)] == [by["daemon"]]


def test_an_offer_that_was_replaced_meanwhile_has_another_name(primary: Appliance) -> None:
    lay(primary, "site.pem", fresh().pem())
    (before,) = offers(primary)
    lay(primary, "site.pem", fresh().pem())
    (after,) = offers(primary)
    assert "no offer begins with" in withdraw(primary, before["offer"])["cannot"]
    assert withdraw(primary, after["offer"])["withdrawn"] == after["offer"]


def test_an_offer_that_nobody_took_in_time_goes_unless_it_answers_a_request(primary: Appliance) -> None:
    asked = primary.do(MAKE)["csr"]["pem"]
    offer(primary, fresh().pem())
    offer(primary, answer_of(signed(asked)))
    lay(primary, "old.pem", fresh().pem())
    config, world = load(primary.config_file, {}), Shifted()
    assert isinstance(config, Config)
    for later, left in ((89, 3), (91, 1), (92, 1)):
        world.shift = later * DAY
        with actor_context(read_trust_context(config)[0]) as context:
            expire_offers(replace(context, world=world))
        assert len(offers(primary)) == left
    records = [each for each in primary.records() if each["event"] == "offer_withdrawn"]
    assert [each["reason"] for each in records] == ["nobody took it within 90d"] * 2
    assert len(primary.do(Request(Verb.REQUESTS))["requests"]) == 1
