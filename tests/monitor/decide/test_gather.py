from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from actions.plan import Kind
from config.model import AllowedIssuer, Artefacts, Client, Component, ComponentGroup, Config, Endpoint, Waiver
from config.service import systemd
from config.text import Printable, harmless
from config.vocabulary import Code, Mode, TargetKind
from monitor.decide.gather import ComponentRecord, situation_of
from monitor.decide.situation import Accepts, Attempt, FindingState, KnownCandidate, Result, Situation, Validity
from monitor.state.target import Raised, TargetState
from probes.finding import Edge, finding
from tests.kit.metrics import some_certificate

OLD, NEW = some_certificate("old", not_after=1_750_000_000), some_certificate("new")
NOW = 1_720_000_000.0


def config(**more: object) -> Config:
    service = systemd("nginx.service")
    component = Component(
        "web",
        Artefacts(combined="/a"),
        ("web/443",),
        service=service,
        mode=Mode.PLAN,
        labels=MappingProxyType({"env": "prod"}),
        allowed_issuers=(AllowedIssuer("system"),),
    )
    clients = {"java": Client("java", "system"), "lax": Client("lax", "system", validates=False)}
    given = {
        "components": {"web": component},
        "clients": clients,
        "endpoints": {"web/443": Endpoint("web/443", "localhost", 443)},
        **more,
    }
    return Config(**given)  # type: ignore[arg-type]


def raised(code: Code, since: float, subject: str = "") -> dict[tuple[Code, str], Raised]:
    return {(code, subject): Raised(finding(code, Printable("because"), harmless(subject)), since)}


FILE = TargetState("web/combined", TargetKind.FILE, "/a", "web", (NEW,))
LIVE = TargetState(
    "web/443",
    TargetKind.ENDPOINT,
    "localhost:443",
    "web",
    (OLD,),
    since=5.0,
    findings={**raised(Code.NOT_SERVED, NOW - 60), **raised(Code.CLIENT_REJECTS, NOW - 30, "java")},
    edges=(Edge("java", False), Edge("lax", False)),
    expiry=1_740_000_000,
    last_look=NOW - 20,
)


def of(
    known: list[TargetState], config: Config, records: dict[str, ComponentRecord] | None = None
) -> dict[str, Situation]:
    by_name = {each.target: each for each in known}
    found = {
        subject: situation_of(subject, config, by_name, NOW, (records or {}).get(subject, ComponentRecord()))
        for subject in (*config.components, *by_name)
    }
    return {subject: each for subject, each in found.items() if each is not None}


def test_a_component_is_what_all_its_targets_show() -> None:
    web = of([FILE, LIVE], config())["web"]
    assert (web.mode, web.targets, web.is_component, dict(web.labels)) == (
        Mode.PLAN,
        ("web/combined", "web/443"),
        True,
        {"env": "prod"},
    )
    assert [(each.code, each.since) for each in web.findings] == [
        (Code.NOT_SERVED, NOW - 60),
        (Code.CLIENT_REJECTS, NOW - 30),
    ]
    assert web.edges == (Accepts("java", "web/443", False, NOW - 30, NOW - 20),)
    assert web.certificate == Validity(OLD.sha256, 1_700_000_000, 1_740_000_000)
    assert web.on_disk == NEW.sha256
    assert web.drift_since == NOW - 60 - 120
    assert web.allowed_issuers


def test_what_was_done_comes_from_its_journal() -> None:
    record = ComponentRecord(
        (Attempt(Kind.REPLACE, "c", 1, 2, Result.TRANSIENT),), KnownCandidate("c", 1), held="frozen"
    )
    web = of([FILE], config(), {"web": record})["web"]
    assert (web.attempts, web.candidate, web.held) == (record.attempts, record.candidate, "frozen")


def test_a_target_of_its_own_is_a_situation_of_its_own_and_certvigil_itself_is_none() -> None:
    mail = TargetState("mail", TargetKind.ENDPOINT, "mail:465", presented=(OLD,), findings=raised(Code.WEAK_KEY, NOW))
    itself = TargetState("certvigil", TargetKind.SELF, "")
    found = of([mail, itself], config())
    assert set(found) == {"mail", "web"}
    assert found["mail"].findings == (
        FindingState("mail", Code.WEAK_KEY, finding(Code.WEAK_KEY, Printable("")).severity, NOW, "", True, 0.0),
    )
    assert found["mail"].mode is None


def test_a_component_without_a_service_cannot_be_acted_on() -> None:
    watched = Component("web", Artefacts(combined="/a"))
    assert of([FILE], config(components={"web": watched}))["web"].mode is None


def test_a_waived_finding_is_none_until_its_end() -> None:
    waiver = Waiver("web/443", Code.NOT_SERVED, "known", int(NOW) + 10)
    assert [each.code for each in of([LIVE], config(waivers=(waiver,)))["web"].findings] == [Code.CLIENT_REJECTS]
    ended = Waiver("web/443", Code.NOT_SERVED, "known", int(NOW))
    assert len(of([LIVE], config(waivers=(ended,)))["web"].findings) == 2


def of_two(**more: object) -> Config:
    base = config()
    web = base.components["web"]
    mail = replace(web, name="mail", artefacts=Artefacts(combined="/b"), endpoints=(), mode=Mode.AUTO, **more)  # type: ignore[arg-type]
    return replace(
        base, components={"web": web, "mail": mail}, groups={"both": ComponentGroup("both", ("mail", "web"))}
    )


def test_a_group_has_one_situation_and_its_members_have_none() -> None:
    both = of_two(labels=MappingProxyType({"env": "test"}))
    other = TargetState("mail/combined", TargetKind.FILE, "/b", "mail", (NEW,))
    actions = TargetState("both/actions", TargetKind.COMPONENT, "/inbox", "both")
    state = {each.target: each for each in (FILE, LIVE, other, actions)}
    tried = Attempt(Kind.REPLACE, "c1", 1.0, 2.0, Result.COMMITTED, "t1")
    record = ComponentRecord(attempts=(tried,), held="it is frozen: mail: it is broken")
    found = situation_of("both", both, state, NOW, record)
    assert found is not None
    assert (found.subject, found.mode, found.is_component) == ("both", Mode.PLAN, True)
    assert set(found.targets) == set(state)
    assert found.members == (("mail", (("env", "test"),)), ("web", (("env", "prod"),)))
    assert {each.code for each in found.findings} == {Code.NOT_SERVED, Code.CLIENT_REJECTS}
    assert (found.attempts, found.held) == ((tried,), "it is frozen: mail: it is broken")
    assert (found.certificate, found.drift_since is None) == (
        Validity(OLD.sha256, float(OLD.not_before or 0), 1_740_000_000),
        False,
    )
    for name in ("web", "mail"):
        assert situation_of(name, both, state, NOW) is None
    assert situation_of("both/actions", both, state, NOW) is None


def test_a_group_is_not_for_certvigil_to_change_where_one_member_is_not() -> None:
    found = situation_of("both", of_two(service=None), {}, NOW)
    assert found is not None
    assert found.mode is None
