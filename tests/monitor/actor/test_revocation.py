"""A revoked certificate is a reason to act without a person, by lists that the actor has verified itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.model import ActorSettings, Client, Config, Endpoint, PemBundle, Settings, TrustStore
from config.revocation import RevocationSettings
from monitor.actor import evidence as actors_evidence
from monitor.actor import revocation
from monitor.actor.request import Verb
from monitor.actor.revocation import evidence_about
from monitor.lab.ca import DAY, Authority, Issued, KeyType, new_key
from monitor.lab.servers import replace_file
from monitor.state.trust import TrustContext
from probes.certificate import certificate
from probes.observation import EndpointObservation
from probes.revocation.crl import RevocationList, lists_in
from probes.revocation.places import answer_file, answer_key, list_file
from probes.tls.drive import look_blocking
from tests.kit.actor import ISSUER, PERSON
from tests.kit.authority import ISSUING, ROOT, fresh
from tests.kit.crl import LISTS_AT, Entry, crl, crl_pem, lists_at
from tests.kit.liar import REPLACE, Liar, lying
from tests.kit.monitors import Kept, registry_of
from tests.kit.openssl_client import presented
from tests.kit.responder import answer, responder_at

NOW = float(int(time.time()))
STRANGER = Authority.root("Lab Issuing CA", key=new_key(KeyType.P256))
WHEN_REVOKED = {"name": "mine", "when": {"finding": "revoked"}, "mode": "auto", "do": ["replace"]}
AUTO = {"mode": "auto", "allowed_issuers": [ISSUER]}
NOT_SEEN = "does not call for it"

pytestmark = pytest.mark.server("nginx")


@dataclass
class Rogue:
    """A daemon that puts what it likes into its cache, and asks."""

    liar: Liar
    served: Issued

    def cache(self, der: bytes) -> None:
        path = Path(list_file(f"{self.liar.web.directory}/state", LISTS_AT))
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(str(path), der)

    def configure(self, **revocation: object) -> None:
        file = Path(self.liar.web.config_file)
        document = json.loads(file.read_text())
        document |= {"state_directory": f"{self.liar.web.directory}/state", "revocation": revocation}
        file.write_text(json.dumps(document))

    def refused(self, why: str = NOT_SEEN) -> None:
        answer = self.liar.ask(REPLACE)
        assert why in answer.get("cannot", ""), answer
        assert presented(self.liar.web.server)[0] == self.served.der()

    def carried_out(self) -> None:
        answer = self.liar.ask(REPLACE)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer


@contextmanager
def rogue() -> Iterator[Rogue]:
    """Have a certificate served that names its list, and another one in the inbox."""
    with lying(AUTO, WHEN_REVOKED) as liar:
        served = fresh(extensions=[lists_at(LISTS_AT)])
        liar.web.put(served)
        answer = liar.ask(REPLACE, PERSON)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
        liar.web.put(fresh())
        yield Rogue(liar, served)


def test_nothing_but_a_valid_new_list_of_the_certificates_own_ca_has_it_replaced() -> None:
    with rogue() as daemon:
        gone = Entry(daemon.served, NOW - DAY)
        hold = replace(gone, reason=x509.ReasonFlags.certificate_hold)
        daemon.cache(crl(ISSUING, NOW, gone))
        daemon.refused()  # the site has not configured that anything is fetched
        daemon.configure(fetch={})
        for forged in (
            crl(ISSUING, NOW, gone, signer=STRANGER, key_identifier=False),
            crl(STRANGER, NOW, gone),
            crl(ROOT, NOW, gone),
            crl(ISSUING, NOW, gone, this_update=NOW - 9 * DAY, next_update=NOW - DAY),
            crl(ISSUING, NOW, gone, this_update=NOW + DAY),
            crl(ISSUING, NOW, Entry(fresh(), NOW - DAY)),
            b"\x30\x82",
        ):
            daemon.cache(forged)
            daemon.refused()
        # It was taken back since.
        daemon.cache(crl(ISSUING, NOW, number=9, this_update=NOW - 60))
        daemon.refused()
        daemon.cache(crl(ISSUING, NOW, hold, number=8, this_update=NOW - 120))
        daemon.refused()
        daemon.cache(crl(ISSUING, NOW, gone, number=10, this_update=NOW - 30))
        daemon.carried_out()


def test_a_forged_list_that_claims_to_be_newer_makes_no_true_one_look_old() -> None:
    with rogue() as daemon:
        daemon.configure(fetch={})
        daemon.cache(crl(ISSUING, NOW, number=99, this_update=NOW, signer=STRANGER, key_identifier=False))
        daemon.refused()
        daemon.cache(crl(ISSUING, NOW, Entry(daemon.served, NOW - DAY)))
        daemon.carried_out()


def test_an_answer_of_the_cas_responder_counts_where_the_site_has_responders_asked() -> None:
    url = "http://ocsp.example.com/"
    with lying(AUTO, WHEN_REVOKED) as liar:
        served = fresh(extensions=[responder_at(url)])
        liar.web.put(served)
        assert liar.ask(REPLACE, PERSON)["endings"]
        liar.web.put(fresh())
        daemon = Rogue(liar, served)
        path = Path(answer_file(f"{liar.web.directory}/state", answer_key(url, certificate(served.der()))))
        path.parent.mkdir(parents=True)
        revoked = answer(ISSUING, served, NOW, NOW - DAY)
        path.write_bytes(revoked)
        daemon.configure(fetch={})
        daemon.refused()
        daemon.configure(fetch={"ocsp": True})
        for forged in (
            answer(STRANGER, served, NOW, NOW - DAY),
            answer(ISSUING, fresh(), NOW, NOW - DAY),
            answer(ISSUING, served, NOW - 9 * DAY, NOW - 10 * DAY),
            answer(ISSUING, served, NOW + 60),
            revoked,
        ):
            path.write_bytes(forged)
            daemon.refused()
        path.write_bytes(answer(ISSUING, served, NOW + 120, NOW - DAY))
        daemon.carried_out()


def test_a_list_in_a_file_of_the_configuration_counts_as_well() -> None:
    with rogue() as daemon:
        path = f"{daemon.liar.web.directory}/issuing.crl"
        daemon.configure(crls=[path])
        daemon.refused()
        replace_file(path, crl(ISSUING, NOW, Entry(daemon.served, NOW - DAY)))
        daemon.carried_out()


def test_a_revoked_candidate_is_refused_to_everybody() -> None:
    with rogue() as daemon:
        path = f"{daemon.liar.web.directory}/issuing.crl"
        daemon.configure(crls=[path])
        candidate = fresh()
        replace_file(path, crl(ISSUING, NOW, Entry(candidate, NOW - DAY)))
        daemon.liar.web.put(candidate)
        answer = daemon.liar.ask(REPLACE, PERSON, Verb.PLAN)
        (objection,) = answer["refused"]["objections"]
        assert objection["ground"] == "revoked"
        assert "; reason: key_compromise" in objection["detail"]


@pytest.mark.parametrize(
    ("reason", "refused"), [(x509.ReasonFlags.key_compromise, True), (x509.ReasonFlags.superseded, False)]
)
def test_a_candidate_that_keeps_the_compromised_key_is_refused_to_everybody(
    reason: x509.ReasonFlags, *, refused: bool
) -> None:
    with rogue() as daemon:
        path = f"{daemon.liar.web.directory}/issuing.crl"
        daemon.configure(crls=[path])
        replace_file(path, crl(ISSUING, NOW, Entry(daemon.served, NOW - DAY, reason)))
        daemon.liar.web.put(fresh(key=daemon.served.key))
        answer = daemon.liar.ask(REPLACE, PERSON, Verb.PLAN)
        assert ("refused" in answer) is refused, answer
        if refused:
            (objection,) = answer["refused"]["objections"]
            assert (objection["ground"], "it takes a new key" in objection["detail"]) == ("revoked", True)


def test_a_set_that_names_no_list_is_judged_by_each_list_of_its_ca_that_the_daemon_has() -> None:
    with rogue() as daemon:
        daemon.configure(fetch={})
        former, new, gone = fresh(), fresh(), fresh()
        for each in (former, new):
            daemon.liar.web.put(each)
            assert daemon.liar.ask(REPLACE, PERSON)["endings"][0]["outcome"] == "committed"
        rollback = ActionRequest(Kind.ROLLBACK, ("web",), str(daemon.liar.web.records()[-1]["transaction"]))
        daemon.liar.web.put(gone)
        forged = crl(ISSUING, NOW, Entry(gone, NOW - DAY), signer=STRANGER, key_identifier=False)
        for der, grounds in (
            (forged, []),
            (crl(ISSUING, NOW, Entry(gone, NOW - DAY), Entry(former, NOW - DAY)), ["revoked"]),
        ):
            daemon.cache(der)
            for action in (REPLACE, rollback):
                answer = daemon.liar.ask(action, PERSON, Verb.PLAN)
                refused = answer.get("refused", {"objections": []})
                assert [each["ground"] for each in refused["objections"]] == grounds, answer


def trust_context_of(directory: Path) -> TrustContext:
    """Return the context of an actor whose lists are in that directory, beside all that is its own."""
    config = Config(
        Settings(
            revocation=RevocationSettings(crls=(f"{directory}/*.crl",)), actor=ActorSettings(directory=str(directory))
        ),
        trust_stores={"lab": TrustStore("lab", PemBundle(f"{directory}/root.pem"))},
        clients={"c": Client("c", "lab")},
    )
    (directory / "root.pem").write_bytes(ROOT.pem())
    return registry_of(config, Kept()).trust_context


def test_an_old_list_beside_a_new_one_is_passed_over_silently_and_one_that_was_given_back_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = fresh()
    entries = [Entry(served, NOW - DAY)]
    old, new = (crl(ISSUING, NOW, *entries, number=each, this_update=NOW - 100 + each) for each in (1, 2))
    delta = crl(ISSUING, NOW, *entries, number=1, base=1, this_update=NOW - 99)
    trust_context = trust_context_of(tmp_path)
    path = (certificate(served.der()), certificate(ISSUING.der()))

    def counting() -> set[bytes]:
        views = trust_context.views(("c",))
        return {each.der for each in evidence_about(trust_context, World(), [path], views, NOW).lists}

    for name, der in (("old", old), ("new", new), ("delta", delta)):
        (tmp_path / f"{name}.crl").write_bytes(der)
    assert counting() == {new, delta}
    assert not caplog.records
    (tmp_path / "new.crl").unlink()
    assert counting() == {delta}
    assert "is older than one before" in caplog.text


def test_a_file_with_too_many_lists_has_none_and_lists_that_the_ca_did_not_sign_keep_no_other_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "MOST_LISTS", 3)
    served = fresh()
    ders = [crl(ISSUING, NOW, number=each) for each in range(1, 8)]
    for name, content in (("a", ders[:4]), ("y", ders[4:5]), ("z", ders[5:6])):
        (tmp_path / f"{name}.crl").write_bytes(b"".join(map(crl_pem, content)))
    forged = crl(ISSUING, NOW, number=99, signer=STRANGER, key_identifier=False)
    for number in range(300):
        # Each is another list, though none is whole.
        (tmp_path / f"b{number:03}.crl").write_bytes(forged[:-2] + number.to_bytes(2, "big"))
    trust_context = trust_context_of(tmp_path)
    path = (certificate(served.der()), certificate(ISSUING.der()))

    def counting() -> set[bytes]:
        views = trust_context.views(("c",))
        return {each.der for each in evidence_about(trust_context, World(), [path], views, NOW).lists}

    assert counting() == {ders[5]}
    assert "a.crl: it has more than 3 revocation lists" in caplog.text
    # Those come first that were useful before, where there are too many files.
    monkeypatch.setattr(revocation, "_MOST_FILES", 2)
    assert counting() == {ders[5]}


@pytest.mark.parametrize(
    ("bound", "value"),
    [("_MOST_SIGNATURES", 100), ("_MOST_DECODED", 100), ("_MOST_FILES", 100), ("_MOST_READ", 17_000)],
)
def test_a_request_reads_a_bounded_part_of_the_files_and_the_next_one_goes_on(
    bound: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "_useful", {})
    monkeypatch.setattr(revocation, bound, value)
    tried: list[bytes] = []

    def decoded(ders: Sequence[bytes]) -> tuple[RevocationList, ...]:
        tried.extend(ders)
        return lists_in(ders)

    monkeypatch.setattr(revocation, "lists_in", decoded)
    forged = crl(ISSUING, NOW, number=99, signer=STRANGER, key_identifier=False)
    for number in range(200):
        (tmp_path / f"b{number:03}.crl").write_bytes(forged[:-2] + number.to_bytes(2, "big"))
    own = crl(ISSUING, NOW)
    (tmp_path / "z.crl").write_bytes(own)
    trust_context = trust_context_of(tmp_path)
    path = (certificate(fresh().der()), certificate(ISSUING.der()))

    def counting() -> set[bytes]:
        tried.clear()
        views = trust_context.views(("c",))
        return {each.der for each in evidence_about(trust_context, World(), [path], views, NOW).lists}

    requests = 1
    while not counting():
        assert 90 < len(tried) <= 100
        requests += 1
    assert requests == 3
    # From then on it comes first.
    assert all(counting() == {own} for _ in range(3))


def test_an_earlier_staple_is_not_gone_by_whoever_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with lying(AUTO, WHEN_REVOKED) as liar:
        served = fresh()
        liar.web.put(served)
        assert liar.ask(REPLACE, PERSON)["endings"]
        liar.web.put(fresh())
        daemon = Rogue(liar, served)
        shown = [b""]

        def look(endpoint: Endpoint, now: float) -> EndpointObservation:
            seen = look_blocking(endpoint, now)
            return replace(seen, presented=tuple(replace(each, staple=shown[-1]) for each in seen.presented))

        monkeypatch.setattr(actors_evidence, "look_blocking", look)
        hold, forged = (answer(each, served, NOW - 1800, NOW - DAY) for each in (ISSUING, STRANGER))
        for staple in (answer(STRANGER, served, NOW + 60), answer(ISSUING, served, NOW), hold, forged):
            shown.append(staple)
            daemon.refused()
        shown.append(answer(ISSUING, served, NOW + 120, NOW - DAY))
        daemon.carried_out()
