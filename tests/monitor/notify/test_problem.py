"""What is one problem, and what is another."""

from __future__ import annotations

from dataclasses import replace

from config.text import Printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.problem import members, problem_id
from monitor.state.target import TargetState
from probes.finding import finding
from tests.kit.outbox import EXPIRED, EXPIRING, REJECTED, UNREACHABLE, Office, known
from tests.kit.store import ISSUER, LEAF, OTHER


def keys(*those: TargetState) -> set[str]:
    return {key for each in those for key, _ in members(each)}


def test_a_certificate_is_one_problem_wherever_it_is_and_whatever_is_wrong_with_it() -> None:
    weak = finding(Code.WEAK_KEY, Printable("weak"), Printable("position 0"))
    everywhere = [known(f"web{number}", EXPIRED, weak) for number in range(40)]
    assert keys(*everywhere) == {f"certificate {LEAF.sha256}"}
    assert keys(known("a", EXPIRED), known("b", EXPIRED, presented=(OTHER,))) == {
        f"certificate {LEAF.sha256}",
        f"certificate {OTHER.sha256}",
    }


def test_an_intermediate_that_many_leaves_share_is_one_problem() -> None:
    ends = finding(Code.EXPIRING, Printable("CN=ca.example ends"), Printable("position 1"))
    one, two = known("a", ends, presented=(LEAF, ISSUER)), known("b", ends, presented=(OTHER, ISSUER))
    assert keys(one, two) == {f"certificate {ISSUER.sha256}"}
    (_, member), *_ = members(one)
    assert member.about == "CN=ca.example"


def test_that_a_client_rejects_belongs_to_what_it_rejects_it_for() -> None:
    ends = finding(Code.EXPIRED, Printable("CN=ca.example ended"), Printable("position 1"))
    assert keys(known("a", ends, REJECTED, presented=(LEAF, ISSUER))) == {f"certificate {ISSUER.sha256}"}
    assert keys(known("a", REJECTED)) == {f"certificate {LEAF.sha256}"}


def test_what_befalls_many_at_once_has_its_cause_elsewhere() -> None:
    assert keys(*(known(f"web{number}", UNREACHABLE) for number in range(1000))) == {"outage unreachable"}
    gone = finding(Code.UNREACHABLE, Printable("no actor"), Printable("actor"))
    assert keys(*(known(each, gone, presented=(), kind=TargetKind.COMPONENT) for each in "ab")) == {"unreachable actor"}


def test_where_no_actor_answers_the_actor_is_named_and_no_number_of_servers() -> None:
    gone = finding(Code.UNREACHABLE, Printable("no actor: nobody answers"), Printable("actor"), Severity.WARNING)
    office = Office()
    those = [known(f"{each}/actions", gone, presented=(), kind=TargetKind.COMPONENT, component=each) for each in "abc"]
    office.believe(*those)
    assert office.at(1000.0) == ["ops: [warning] unreachable: the actor"]
    office.believe(*(replace(each, findings={}) for each in those))
    office.at(2000.0)
    assert office.at(2060.0) == ["ops: [resolved] unreachable: the actor"]


def test_what_concerns_a_component_is_one_problem_for_each_component() -> None:
    drift = finding(Code.NOT_SERVED, Printable("web.crt holds another"), Printable("192.0.2.1"))
    assert keys(
        known("web/a:443", drift, component="web"), known("web/b:443", drift, component="web"), known("c:443", drift)
    ) == {"not_served web", "not_served c:443"}


def test_each_thing_about_certvigil_itself_is_a_problem() -> None:
    failing = [
        finding(Code.DELIVERY_FAILED, Printable("x"), Printable("ops")),
        finding(Code.UNREADABLE, Printable("x"), Printable("/a")),
    ]
    itself = known("certvigil", *failing, presented=(), kind=TargetKind.SELF)
    assert keys(itself) == {"delivery_failed certvigil ops", "unreadable certvigil /a"}


def test_a_certificate_that_is_not_presented_is_a_problem_by_its_name() -> None:
    root = finding(Code.UNTRUSTED_ISSUER, Printable("the chain ends elsewhere"), Printable("CN=Root"))
    assert keys(known("a", root), known("b", root, presented=(OTHER,))) == {"certificate CN=Root"}
    nowhere = finding(Code.EXPIRING, Printable("x"), Printable("position 7"))
    assert keys(known("a", nowhere)) == {f"certificate {LEAF.sha256}"}
    assert keys(known("a", EXPIRING, presented=())) == {"expiring a"}


def test_a_problem_has_one_short_name_for_ever() -> None:
    assert problem_id("unreachable") == "69ba22aa"
    assert len({problem_id(f"certificate {number}") for number in range(1000)}) == 1000
    assert problem_id("a path that is no text: \udcff")
