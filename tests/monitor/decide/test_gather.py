from __future__ import annotations

from types import MappingProxyType

from actions.plan import Kind
from config.model import AllowedIssuer, Artefacts, Client, Component, Config, Endpoint, Waiver
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
    assert web.edges == (Accepts("java", "web/443", False, NOW - 30),)
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
        FindingState("mail", Code.WEAK_KEY, finding(Code.WEAK_KEY, Printable("")).severity, NOW, at_endpoint=True),
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
