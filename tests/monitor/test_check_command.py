"""A command that looks at an endpoint again looks at the endpoint that the configuration has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from config.address import split_proxy
from config.channel import Notifications
from config.model import (
    Client,
    ClientCertificate,
    Component,
    Config,
    Endpoint,
    PemBundle,
    Proxy,
    SystemStore,
    TrustStore,
)
from config.text import Printable
from config.vocabulary import (
    AddressChoice,
    Code,
    EndpointProtocol,
    KeyKind,
    ProxyProtocolVersion,
    TargetKind,
    VerifierName,
)
from monitor.check_command import check_words
from monitor.commands.given import read_given
from monitor.guide.facts import facts_of_host
from monitor.notify.advice import AdviceContext, advice, hurts
from monitor.notify.lifecycle import next_note
from monitor.notify.problem import Member
from monitor.notify.text import compose
from probes.finding import finding
from tests.kit.outbox import WITH_SERVICE

PROXY = Proxy(*split_proxy("socks5://proxy.example.com:1080"))
MAIL = Endpoint(
    "mail", "mail.example.com", 25, server_name="mx.example.com", protocol=EndpointProtocol.SMTP, proxy=PROXY
)
TOLD = "check smtp://mail.example.com:25 --name mx.example.com --proxy socks5://proxy.example.com:1080"


def read_back(words: Sequence[str]) -> Endpoint:
    """Return the endpoint at which the command looks, by its own arguments."""
    command, target, *rest = words
    flags = {"-4", "-6", "--no-sni"} & set(rest)
    rest = [each for each in rest if each not in flags]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    assert command == "check"
    timeout = float(options.get("--timeout", "10"))
    (found,) = read_given([target], options.get("--name"), timeout).targets
    assert isinstance(found, Endpoint)
    proxy, header, kind = (options.get(each) for each in ("--proxy", "--proxy-protocol", "--key-type"))
    own = options.get("--client-certificate")
    return replace(
        found,
        name="mail",
        proxy=Proxy(*split_proxy(proxy), options.get("--proxy-credentials-file")) if proxy else None,
        proxy_protocol=ProxyProtocolVersion(header) if header else None,
        key_types=(KeyKind(kind),) if kind else (),
        client_certificate=ClientCertificate(own, options.get("--client-key", own)) if own else None,
        addresses=AddressChoice.IPV6 if "-6" in flags else AddressChoice.ALL,
        sni="--no-sni" not in flags,
    )


@pytest.mark.parametrize("protocol", EndpointProtocol)
@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("mail", "mail.example.com", 4000),
        Endpoint("mail", "::1", 4000, server_name="mx.example.com", timeout=45.0),
        Endpoint("mail", "mail.example.com", 4000, addresses=AddressChoice.IPV6, sni=False),
        replace(
            MAIL,
            proxy=replace(PROXY, credentials_file="/etc/certvigil/proxy"),
            proxy_protocol=ProxyProtocolVersion.V2,
            key_types=(KeyKind.EC,),
            client_certificate=ClientCertificate("/etc/ssl/own.pem", "/etc/ssl/own.key"),
        ),
    ],
    ids=["plain", "IPv6", "no SNI", "everything"],
)
def test_the_command_reads_back_as_the_endpoint(endpoint: Endpoint, protocol: EndpointProtocol) -> None:
    asked = replace(endpoint, protocol=protocol)
    assert read_back(check_words(asked)) == asked


def test_the_advice_on_a_server_that_does_not_answer_looks_as_the_daemon_does() -> None:
    dark = finding(Code.UNREACHABLE, Printable("timed_out: no answer"))
    member = Member("mail", TargetKind.ENDPOINT, None, dark, 1.0, location="mail.example.com:25")
    (said,) = advice([member], AdviceContext("www1", endpoints={"mail": MAIL}))
    assert said.endswith(f"; to look again at once: certvigil {TOLD}")
    note = next_note(("ops", "mail"), None, [member], terms=Notifications(), now=2.0).note
    assert note is not None
    told = compose(note, lambda _: "", AdviceContext("www1", endpoints={"mail": MAIL}), 2.0)
    assert f"certvigil {TOLD}\n" in told.text
    hostile = replace(member, finding=finding(Code.UNREACHABLE, Printable("timed_out: see smtp://evil.example")))
    note = next_note(("ops", "mail"), None, [hostile], terms=Notifications(), now=2.0).note
    assert note is not None
    told = compose(note, lambda _: "", AdviceContext("www1", endpoints={"mail": MAIL}), 2.0)
    assert "smtp://evil" not in told.text
    (unknown,) = advice([member], AdviceContext("www1"))
    assert shlex.split(unknown)[-2:] == ["check", "mail.example.com:25"]


@pytest.mark.parametrize(
    ("detail", "where", "whom"),
    [
        ("proxy_failed: no", "socks5://proxy.example.com:1080: see whether the proxy runs", "through the proxy"),
        ("connection_refused: no", "mail.example.com:25: see whether the server runs", "whoever connects there"),
    ],
)
def test_the_cure_is_at_the_proxy_only_where_the_proxy_failed(detail: str, where: str, whom: str) -> None:
    dark = finding(Code.UNREACHABLE, Printable(detail))
    member = Member("mail", TargetKind.ENDPOINT, None, dark, 1.0, location="mail.example.com:25")
    (said,) = advice([member], AdviceContext("www1", endpoints={"mail": MAIL}))
    assert said.startswith(f"at {where}")
    assert whom in hurts([member], AdviceContext())


def test_the_advice_judges_as_the_first_client_that_validates() -> None:
    config = Config(
        endpoints={"mail": replace(MAIL, clients=("blind", "app"))},
        clients={"blind": Client("blind", "system", validates=False), "app": Client("app", "own", VerifierName.WEBPKI)},
        trust_stores={
            "system": TrustStore("system", SystemStore()),
            "own": TrustStore("own", PemBundle("/etc/own.pem")),
        },
    )
    dark = finding(Code.UNREACHABLE, Printable("timed_out: no answer"))
    member = Member("mail", TargetKind.ENDPOINT, None, dark, 1.0, location="mail.example.com:25")
    (said,) = advice([member], AdviceContext.of(config))
    assert said.endswith(f"certvigil {TOLD} --ca-file /etc/own.pem --verifier webpki")


def test_a_runbook_looks_as_the_daemon_does() -> None:
    component = Component("web", WITH_SERVICE.artefacts, endpoints=("mail",))
    config = Config(
        components={"web": component},
        endpoints={"mail": replace(MAIL, clients=("app",), component="web")},
        clients={"app": Client("app", "system")},
        trust_stores={"system": TrustStore("system", SystemStore())},
    )
    facts = facts_of_host(config)
    for where in ("web.checks", "endpoints.app"):
        item = facts[where][0]
        assert isinstance(item, Mapping)
        assert " ".join(item["check"]) == " ".join(item["look"]) == TOLD
