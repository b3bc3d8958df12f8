"""What to do about a problem: nothing is advised that what is concerned cannot have."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest

from actions.ending import ANSWERS_AGAIN, ANSWERS_NOBODY
from config.catalogue import CATALOGUE, TAKES_NEW_KEY
from config.model import Artefacts, ClientCertificate, Component, ConfigLine, Endpoint
from config.text import Printable, harmless
from config.vocabulary import Code, LineSyntax, TargetKind
from monitor.act.findings import no_actor
from monitor.commands import app
from monitor.notify.advice import AdviceContext, advice, by_itself, hurts
from monitor.notify.problem import Member
from monitor.state.cure import curable
from probes.finding import finding
from tests.kit.outbox import WITH_SERVICE, WITHOUT_SERVICE

KEYSTORE = Component("app", Artefacts(keystore="/etc/app/site.p12", password_file="/etc/app/pass"))
WHOLE = "put the new certificate, its intermediates and its key"
READABLE = "let certvigil's user read the file, or leave it out of the watch"
AGAIN = "to look again at once: certvigil check /x.pem"
SITE = AdviceContext("web1.example.com", {each.name: each for each in (WITH_SERVICE, WITHOUT_SERVICE, KEYSTORE)})
FILE, ENDPOINT, COMPONENT, ITSELF = TargetKind.FILE, TargetKind.ENDPOINT, TargetKind.COMPONENT, TargetKind.SELF


def concerned(code: Code, kind: TargetKind = ENDPOINT, component: str | None = None, where: str = "x:443") -> Member:
    return Member(
        f"{component or 'some'}/target",
        kind,
        component,
        finding(code, Printable("it is wrong"), Printable("ops")),
        1.0,
        "",
        where,
    )


@pytest.mark.parametrize("component", ["mail", "app", "gone", None])
def test_no_command_is_advised_that_needs_a_service_where_there_is_none(component: str | None) -> None:
    for code, kind in product(Code, TargetKind):
        said = advice([concerned(code, kind, component)], SITE)
        assert said
        assert not re.search(r"certvigil (replace|activate|rollback|reset-to-default)\b", " ".join(said))


@pytest.mark.parametrize("kind", [ENDPOINT, FILE])
def test_the_step_names_a_new_key_where_a_certificate_is_revoked_because_its_key_is_compromised(
    kind: TargetKind,
) -> None:
    plain = concerned(Code.REVOKED, kind, "web")
    stolen = replace(
        plain, finding=replace(plain.finding, detail=Printable(f"reason: key_compromise; {TAKES_NEW_KEY}"))
    )
    assert "key-compromised" not in " ".join(advice([plain], SITE))
    said = " ".join(advice([stolen], SITE))
    assert "for a new key" in said
    assert "certvigil replace web --key-compromised --from NEW.pem" in said


def test_every_command_that_is_advised_exists() -> None:
    commands = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback is not None}
    known = commands | {str(group.name) for group in app.registered_groups}
    for code, kind, component in product(Code, TargetKind, ("web", "mail", None)):
        for sentence in advice([concerned(code, kind, component)], SITE):
            assert known.issuperset(re.findall(r"certvigil ([a-z-]+)", sentence)), sentence


@pytest.mark.parametrize("kind", TargetKind)
def test_whom_it_hurts_and_what_happens_by_itself_is_said_of_every_code(kind: TargetKind) -> None:
    for code in Code:
        for said in (hurts([concerned(code, kind)], SITE), by_itself(concerned(code, kind))):
            assert said
            assert not said.endswith(".")
            assert said[0].islower()


def test_a_component_with_a_service_is_replaced_and_one_without_by_hand() -> None:
    members = [concerned(Code.EXPIRED, ENDPOINT, name) for name in ("web", "mail", "app")]
    assert advice(members, SITE) == [
        f"{WHOLE} into NEW.pem, then: certvigil replace web --from NEW.pem",
        f"{WHOLE} into /etc/postfix/all.pem, and reload the server of mail",
        f"{WHOLE} into /etc/app/site.p12, and reload the server of app",
    ]


def test_a_target_of_no_component_is_named_by_its_path_or_address() -> None:
    file = concerned(Code.EXPIRED, FILE, where="/etc/ssl/it's here.pem")
    assert advice([file], SITE) == [
        """put the new certificate into '/etc/ssl/it'"'"'s here.pem', and reload the server that uses it"""
    ]
    assert advice([concerned(Code.EXPIRED)], SITE) == [
        "install the new certificate on the server that answers at x:443"
    ]


def test_a_certificate_without_a_name_is_cured_by_one_with_that_name() -> None:
    names = ("a.example.com", "*.b.example.com")
    lacks = concerned(Code.HOSTNAME_MISMATCH)
    named = [replace(lacks, finding=replace(lacks.finding, subject=Printable(name))) for name in names]
    assert advice(named, SITE) == [
        "the certificate needs the name a.example.com",
        "the certificate needs the name '*.b.example.com'",
        "install the new certificate on the server that answers at x:443",
    ]


def test_what_is_not_served_is_activated_where_there_is_a_service_and_else_reloaded_by_hand() -> None:
    assert advice([concerned(Code.NOT_SERVED, ENDPOINT, "web")], SITE) == [
        "have its service load its files from disk: certvigil activate web"
    ]
    assert advice([concerned(Code.NOT_SERVED, ENDPOINT, "mail", "127.0.0.1:25")], SITE) == [
        "reload or restart the server that answers at 127.0.0.1:25"
    ]


def test_files_whose_key_is_another_ones_are_cured_before_a_service_loads_them() -> None:
    members = [concerned(Code.NOT_SERVED, ENDPOINT, name, "127.0.0.1:25") for name in ("web", "mail")]
    first = "the key on disk does not belong to the certificate there, so that a reload would fail: cure that first"
    whole = "put the certificate, its intermediates and the key that belongs to them into NEW.pem"
    assert advice(members, replace(SITE, mismatched=frozenset({"web"}))) == [
        first,
        f"{whole}, then: certvigil replace web --from NEW.pem",
        "reload or restart the server that answers at 127.0.0.1:25",
    ]
    # A group is activated as a whole.
    of_group = replace(SITE, mismatched=frozenset({"app"}), groups={"web": "all", "app": "all"})
    assert advice(members[:1], of_group)[0] == first


@pytest.mark.parametrize(
    ("code", "detail", "said"),
    [
        (Code.UNREADABLE, "bad_pem: no", "for /x.pem: write the file anew, from its original"),
        (Code.UNREADABLE, "wrong_password: no", "for /x.pem: put the keystore's own password into its file"),
        (
            Code.UNREADABLE,
            "permission_denied: no",
            f"for /x.pem: {READABLE}; to see who may read it: ls -lL /x.pem",
        ),
        (
            Code.UNREACHABLE,
            "not_tls: SMTP",
            f"at /x.pem: correct the port, or the protocol of the endpoint; {AGAIN}",
        ),
        (
            Code.UNREACHABLE,
            "tls_declined: 454",
            (
                "at /x.pem: see the server's log: TLS is off, or its certificate or key cannot be used; where it is "
                f"on, see whether something between takes the offer of TLS away; {AGAIN}"
            ),
        ),
        (
            Code.UNREACHABLE,
            "connection_refused: no",
            f"at /x.pem: see whether the server runs and listens there; {AGAIN}",
        ),
    ],
)
def test_what_is_dark_is_advised_on_by_the_reason(code: Code, detail: str, said: str) -> None:
    kind = FILE if code is Code.UNREADABLE else ENDPOINT
    assert advice([replace(concerned(code, kind, where="/x.pem"), finding=finding(code, harmless(detail)))], SITE) == [
        said
    ]


def test_what_has_no_command_of_its_own_is_advised_on_in_the_words_of_its_cure() -> None:
    for code in Code:
        for sentence in advice([concerned(code)], SITE):
            if "certvigil history" in sentence:
                assert sentence.startswith(f"{CATALOGUE[code].cure}; ")


def test_whether_a_client_accepts_is_asked_by_a_command_that_tells_it() -> None:
    blind = finding(Code.VALIDATION_DISABLED, harmless("portal does not validate"), harmless("portal"))
    first = advice([replace(concerned(Code.VALIDATION_DISABLED), finding=blind)], SITE)[0]
    assert first.startswith("see first whether the client accepts: certvigil trust enforce portal --dry-run; then: ")


def test_before_an_approval_the_command_that_shows_that_very_plan_is_named() -> None:
    pending = concerned(Code.APPROVAL_PENDING, COMPONENT, "web")
    activate = replace(pending, finding=finding(Code.APPROVAL_PENDING, Printable("it waits"), Printable("activate")))
    named = replace(
        pending,
        finding=finding(Code.APPROVAL_PENDING, curable(Printable("it waits"), Printable("`certvigil approve 52dd`"))),
    )
    assert advice([pending], SITE) == ["to see the plan first: certvigil plan web"]
    assert advice([activate], SITE) == ["to see the plan first: certvigil activate web --dry-run"]
    assert advice([concerned(Code.NOT_SERVED, ENDPOINT, "web"), named], SITE) == [
        "to see the plan first: certvigil plan web",
        "to decide on it: certvigil approve 52dd",
    ]
    guided = AdviceContext("web1", {"web": replace(WITH_SERVICE, guide="replace")}, groups={"web": "front"})
    for name in ("web", "front"):
        assert advice([concerned(Code.APPROVAL_PENDING, COMPONENT, name)], guided)[1:] == [
            "the way to do it by hand instead: certvigil guide replace"
        ]
    assert advice([activate], guided) == ["to see the plan first: certvigil activate web --dry-run"]
    other = concerned(Code.NOT_SERVED, ENDPOINT, "mail")
    assert advice([other, named], SITE)[0].startswith("reload or restart the server"), "no plan waits for that"


def test_whom_a_frozen_component_hurts_is_said_as_far_as_its_reason_says_it() -> None:
    frozen = concerned(Code.COMPONENT_FROZEN, COMPONENT, "web")
    said = {
        reason: hurts([replace(frozen, finding=finding(Code.COMPONENT_FROZEN, harmless(reason)))], SITE)
        for reason in (
            f"web {ANSWERS_NOBODY}",
            f"web answered nobody, until it was started once: it {ANSWERS_AGAIN}",
            "x",
        )
    }
    dead, again, unknown = said.values()
    assert dead == "whoever connects, unless its service was started since: it answered nobody"
    assert again == "nobody, as far as is known: its service answers again"
    assert unknown == "perhaps whoever connects: whether its service is well is not known"


def test_many_components_are_one_command_and_the_rest_is_counted() -> None:
    components = {f"web{number}": replace(WITH_SERVICE, name=f"web{number}") for number in range(12)}
    members = [concerned(Code.EXPIRED, ENDPOINT, name) for name in components]
    said = advice(members, AdviceContext("web1", components))
    assert said[0].endswith("certvigil replace " + " ".join(list(components)[:10]) + " --from NEW.pem")
    assert said[1:] == ["the same for 2 more components"]
    members = [concerned(Code.EXPIRED, FILE, where=f"/etc/{number}.pem") for number in range(5)]
    assert advice(members, SITE)[3:] == ["the same in 2 more places"]


def test_what_is_wrong_with_certvigil_itself_has_remedies_of_its_own() -> None:
    said = {code: advice([concerned(code, ITSELF)], SITE)[0] for code in Code}
    assert said[Code.CONFIG_REJECTED] == (
        "mend the mistakes that this reports: certvigil config check; then: certvigil reload"
    )
    assert said[Code.DELIVERY_FAILED] == "see whether the channel works: certvigil notify test ops"
    assert said[Code.DATABASE_DEGRADED] == "see whether the disk is full or fails: df -h /var/lib/certvigil"
    assert said[Code.UNREADABLE] == "certvigil status"
    assert advice([concerned(Code.COMPONENT_FROZEN, COMPONENT, "web")], SITE) == [
        "see that its files and its service are right, then: certvigil recover --thaw web"
    ]


def test_a_chain_and_a_key_are_mended_where_they_lie() -> None:
    pair = replace(WITH_SERVICE, name="pair", service=None)
    site = AdviceContext("web1", {"web": WITH_SERVICE, "pair": pair})
    (said,) = advice([concerned(Code.INCOMPLETE_CHAIN, ENDPOINT, "web")], site)
    assert said.endswith("(the key may stay), into CHAIN.pem, then: certvigil replace web --from CHAIN.pem")
    assert advice([concerned(Code.INCOMPLETE_CHAIN, ENDPOINT, "pair")], site)[0].startswith(
        "put the needed intermediates, and no others, into /etc/nginx/tls/site.crt"
    )
    assert advice([concerned(Code.KEY_MISMATCH, FILE, "pair")], site)[0].startswith(
        "put the key that belongs to the certificate into /etc/nginx/tls/site.key"
    )


def test_a_configuration_file_gets_the_line_that_the_finding_names_and_no_certificate() -> None:
    line = ConfigLine("/etc/own.conf", LineSyntax.LIGHTTPD, "ssl.ca-file", "/etc/chain.crt", "/etc/own.crt")
    own = Component("own", Artefacts(certificate="/etc/own.crt", chain="/etc/chain.crt", lines=(line,)))
    site = replace(SITE, components={"own": own})
    missing = concerned(Code.CONFIG_LINE_MISSING, FILE, "own", "/etc/own.conf")
    detail = curable(missing.finding.detail, Printable("put the line there"))
    named = replace(missing, finding=replace(missing.finding, detail=detail))
    assert advice([named], site) == ["for /etc/own.conf: put the line there"]
    (said,) = advice([concerned(Code.EXPIRED, FILE, "own")], site)
    puts = "the new certificate into /etc/own.crt and the new intermediates into /etc/chain.crt"
    assert said == f"put {puts}, and reload the server of own"


def test_what_is_served_says_more_about_whom_it_hurts_than_what_lies_on_disk() -> None:
    members = [concerned(Code.EXPIRED, FILE), concerned(Code.EXPIRED, ENDPOINT)]
    assert hurts(members, SITE) == "no declared client; other clients that validate may reject it"
    assert hurts(members[:1], SITE) == "nobody unless it is served; then clients that validate reject it"


def test_a_member_of_a_group_is_changed_by_the_name_of_the_group() -> None:
    site = replace(SITE, groups={"web": "primary"})
    assert advice([concerned(Code.EXPIRED, ENDPOINT, "web")], site) == [
        f"{WHOLE} into NEW.pem, then: certvigil replace primary --from NEW.pem"
    ]
    waiting = Member(
        "primary/actions",
        COMPONENT,
        "primary",
        finding(Code.APPROVAL_PENDING, Printable("it waits")),
        1.0,
        "",
        "/inbox",
    )
    said = advice([concerned(Code.EXPIRED, ENDPOINT, "web"), waiting], site)
    assert said == ["to see the plan first: certvigil plan primary"]


@pytest.mark.parametrize("code", [code for code in Code if CATALOGUE[code].anchor_cure])
@pytest.mark.parametrize("component", ["web", None])
def test_what_a_store_trusts_is_cured_in_the_store_and_by_no_file_of_a_server(
    code: Code, component: str | None
) -> None:
    by = CATALOGUE[code].anchor_cure
    member = concerned(code, FILE, component, "/etc/ssl/cacerts")
    of_a_store = replace(member.finding, detail=curable(Printable("alias old: it is wrong"), harmless(by)))
    said = advice([replace(member, finding=of_a_store)], SITE)
    assert said == [f"/etc/ssl/cacerts: {by}"]
    assert advice([member], SITE) != said


@pytest.mark.parametrize(
    "code", [Code.UNREACHABLE, Code.CLIENT_CERTIFICATE_FAILED, Code.MUST_STAPLE_WITHOUT_STAPLE], ids=str
)
def test_the_look_that_is_advised_is_as_the_endpoint_is_configured(code: Code) -> None:
    own = ClientCertificate("/etc/own.pem", "/etc/own.pem")
    web = Endpoint("some/target", "x", 443, "www.example.com", client_certificate=own)
    said = " ".join(advice([concerned(code)], AdviceContext("web1.example.com", endpoints={web.name: web})))
    assert "certvigil check x:443 --name www.example.com --client-certificate /etc/own.pem" in said


@pytest.mark.parametrize("kind", [FILE, ENDPOINT])
def test_a_certificate_that_ends_soon_names_the_declared_clients_that_validate(kind: TargetKind) -> None:
    endpoint = Endpoint("web/1", "127.0.0.1", 443, component="web", clients=("browser", "portal", "careless"))
    site = replace(
        SITE,
        components={"web": replace(WITH_SERVICE, endpoints=("web/1",))},
        endpoints={"web/1": endpoint},
        validating=frozenset({"portal", "browser", "elsewhere"}),
    )
    target = "web/1" if kind is ENDPOINT else "web/certificate"
    ending = replace(concerned(Code.EXPIRING, kind, "web"), target=target)
    assert hurts([ending], site).endswith("every client that validates; of the declared clients: browser, portal")
    assert hurts([ending], SITE).endswith("every client that validates")


def test_an_actor_that_ended_in_the_middle_hurts_whoever_connects() -> None:
    quiet, halfway = (
        replace(concerned(Code.UNREACHABLE, COMPONENT, "web"), finding=no_actor("it is gone", is_open=is_open))
        for is_open in (False, True)
    )
    both = [replace(quiet, component="mail", target="mail"), halfway]
    assert [each.partition(", or")[0] for each in advice(both, SITE)] == ["to have an actor again: start the actor"]
    assert "certvigil recover" in advice(both, SITE)[0]
    assert hurts([quiet], SITE).startswith("nobody, unless")
    assert hurts([halfway], SITE).startswith("whoever connects, where the service is between two sets of files")
