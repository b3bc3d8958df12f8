"""`certvigil why`: the paths that a client tries for an endpoint or a file, and the rule that ends each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from config.immutable import immutable
from config.load import load
from config.model import Config, Endpoint, FileTarget
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import RevocationCheck
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.given import UsageError, read_given
from monitor.commands.json_output import print_json
from monitor.commands.screen import INDENT, Screen
from monitor.dialect import iso
from monitor.state.trust import TrustContext, read_held, read_one_trust
from probes.assess import EndpointContext, audience_of, chains_in
from probes.certificate import Certificate
from probes.file import look_at_file
from probes.judge.client import View, affordable, judge_chain, leaf_first, subject_in
from probes.judge.name import judge_names
from probes.judge.path import RefusedPath
from probes.judge.presented import Audience, judge_presented
from probes.names import names_server
from probes.verify.engine import JudgedPath, Judgement, verify
from probes.verify.families import family_of
from probes.verify.family import ClientFamily
from probes.verify.rules import PathObjection, Rule, sources_of

if TYPE_CHECKING:
    from probes.finding import Edge, Finding

ACCEPTED: Final = 0
REFUSED: Final = 2
UNKNOWN: Final = 3


@immutable
class WhyQuery:
    """Which client is asked about which target."""

    client: str
    target: str
    """An endpoint of the configuration, an address, or a file."""
    config: str
    timeout: float = 10.0
    """Seconds for the endpoint."""
    as_json: bool = False


@immutable
class _Seen:
    """A chain, leaf first, as it was presented."""

    where: Printable
    """The addresses that present it, or its place in a file with several; empty for a file with one."""
    chain: tuple[Certificate, ...]


@immutable
class _Asked:
    """Chains, and who judges them by which names."""

    view: View
    target: str
    audience: Audience
    seen: tuple[_Seen, ...]
    now: float
    silent: tuple[Printable, ...] = ()
    """Why an address presents no chain."""

    @property
    def family(self) -> ClientFamily:
        """The row by which the client judges."""
        return family_of(self.view.client)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the client asks for; empty where nobody says."""
        return self.view.client.names or self.audience.names

    def tried(self, seen: _Seen) -> _Tried:
        """Return the verdict on a chain, as the daemon and `check` have it, and the paths that the row tries."""
        (edge,) = judge_presented([seen.chain], self.audience, self.now).edges
        pool = affordable(seen.chain, self.view.held)
        wrong = [name for name in self.names if not names_server(seen.chain[0], name, self.view.client.verifier)]
        # A wrong name ends every path, so that one stands for all.
        name = next(iter(wrong or self.names), None)
        unstapled = seen.chain in self.audience.unstapled
        judgement = verify(pool, self.view.trust, self.family, name, self.now, unstapled=unstapled)
        library = judge_chain(seen.chain, self.view, self.now, unstapled=unstapled).accepted
        return _Tried(self, seen, edge, judgement, library and not wrong, tuple(wrong))

    def left_out(self) -> Iterator[Printable]:
        """Yield, each as a noun, what may change a verdict and was not judged."""
        if self.view.client.revocation is not RevocationCheck.NONE:
            yield Printable("revocation by lists, for which the client asks; stapled answers were")
        if not self.names:
            yield Printable("names, since neither the client nor the target has one")
        if self.view.client.validation_switch is not None:
            yield Printable("the client's own configuration, which may turn its validation off")
        for each in self.silent:
            yield sentence("{}, which presents no certificate", each)


@immutable
class _Tried:
    """The verdict on one chain, and the paths that were tried for it."""

    asked: _Asked
    seen: _Seen
    edge: Edge
    judgement: Judgement
    valid: bool
    """The verdict on path and names; the judgement of the row differs where a library decides."""
    wrong: tuple[str, ...]
    """The names that the leaf does not have."""

    def place(self, certificate: Certificate) -> Printable:
        """Say where a certificate comes from."""
        trust = self.asked.view.trust
        if trust.holds(certificate):
            return sentence("in the store {}", harmless(trust.name))
        return Printable("presented") if certificate in self.seen.chain else Printable("held by the client")

    def words(self, attempt: JudgedPath) -> Iterator[tuple[PathObjection, Printable]]:
        """Yield the objections to a path, each with a sentence."""
        view = self.asked.view
        refused = RefusedPath(attempt, view.trust, view.client, self.asked.now, subject_in(self.seen.chain))
        for each in attempt.objections:
            found: Sequence[Finding] = ()
            if each.rule is Rule.NAME:
                found = tuple(judge_names(self.seen.chain[0], self.wrong, view.client.verifier))
            else:
                found = tuple(refused.told(each))
            said = listed([one.detail for one in found], "; ")
            yield each, said or SENTENCES[each.rule]


SENTENCES: Final[Mapping[Rule, Printable]] = MappingProxyType(
    {
        Rule.ENCODING: Printable("it cannot be read"),
        Rule.SERIAL: Printable("its serial number is negative"),
        Rule.ANCHOR: Printable("the path leads to no certificate of the store"),
        Rule.SIGNATURE: Printable("its signature is not by its issuer"),
        Rule.BEGIN: Printable("the begin of its validity cannot be read"),
        Rule.END: Printable("the end of its validity cannot be read"),
        Rule.CA: Printable("it signed another certificate, but is no CA"),
        Rule.SIGNING_USAGE: Printable("it signed another certificate, but its key usage excludes that"),
        Rule.PATH_LENGTH: Printable("there are more CAs below it than it allows"),
        Rule.LEAF_IS_CA: Printable("it is a CA, which this client takes for no server"),
        Rule.KEY_USAGE: Printable("its key usage excludes TLS servers"),
        Rule.PURPOSE: Printable("its extended key usage excludes TLS servers"),
        Rule.CRITICAL: Printable("it has a critical extension that is not known"),
        Rule.CONSTRAINTS: Printable("its name constraints exclude a name below it"),
        Rule.POLICY: Printable("a CA above demands a policy, and none is left"),
        Rule.KEY: Printable("this client does not use its kind or size of key"),
        Rule.SIGNATURE_ALGORITHM: Printable("this client does not use its signature algorithm"),
        Rule.PROFILE: Printable("it breaks the profile of RFC 5280"),
        Rule.STAPLE: Printable("it promises an OCSP answer with each handshake, and there was none"),
        Rule.NAME: Printable("it does not have the name of the server"),
    }
)
"""What is said of a broken rule where no finding says it, about a certificate."""


def why(query: WhyQuery) -> int:
    """Print the paths; return 0 where the client accepts, 2 where it refuses, 3 where it cannot be told."""
    try:
        asked = _asked(query)
    except UsageError as error:
        complain("certvigil why: {}", harmless(str(error)))
        return UNKNOWN
    tried = tuple(map(asked.tried, asked.seen))
    if query.as_json:
        print_json(_document(asked, tried))
    else:
        _show(Screen(), asked, tried)
    return ACCEPTED if all(each.edge.accepted for each in tried) else REFUSED


def _asked(query: WhyQuery) -> _Asked:
    """Return what is to be judged; raises UsageError where it cannot be had."""
    config = load(query.config, os.environ, secrets=False)
    if isinstance(config, tuple):
        raise UsageError(f"the configuration cannot be read: {'; '.join(map(str, config))}")
    if wrong := unknown([query.client], tuple(config.clients), Printable("client")):
        raise UsageError(wrong)
    view, now = _view(config, query.client), time.time()
    endpoint = config.endpoints.get(query.target)
    if endpoint is None:
        (target, *_) = read_given([query.target], None, query.timeout).targets or [None]
        if isinstance(target, FileTarget):
            observed = look_at_file(target, now)
            if not observed.certificates:
                raise UsageError(f"{printable(query.target)} holds no certificate")
            chains = chains_in(observed, target.role, observed.certificates)
            seen = tuple(_Seen(name, leaf_first(chain)) for name, chain in chains)
            return _Asked(view, query.target, Audience(target.name, (view,)), seen, now)
        if not isinstance(target, Endpoint):
            raise UsageError(f"{printable(query.target)} is neither an endpoint nor a file")
        endpoint = target
    return _looked_at(endpoint, view, now)


def _view(config: Config, name: str) -> View:
    client = config.clients[name]
    wrong: list[Finding] = []
    trust = read_one_trust(config, client.trusts, wrong.append)
    if trust is None:
        said = listed([each.detail for each in wrong], "; ")
        raise UsageError(f"the trust store {printable(client.trusts)} cannot be used: {said}")
    context = TrustContext(config, {client.trusts: trust}, {name: read_held(client, wrong.append)})
    (view,) = context.views([name])
    return view


def _looked_at(endpoint: Endpoint, view: View, now: float) -> _Asked:
    """Return what the addresses of an endpoint present; raises UsageError where none presents anything."""
    from probes.tls.drive import look  # noqa: PLC0415 (files alone do not need it)

    observation = asyncio.run(look(endpoint, now))
    silent = [sentence("{}: {}", each.address, each.detail) for each in observation.failures]
    presented = tuple(each for each in observation.presented if each.chain)
    if not presented:
        raise UsageError(f"{printable(endpoint.name)} presents no certificate: {listed(silent, ', ')}")
    by_chain: dict[tuple[Certificate, ...], list[Printable]] = {}
    for each in presented:
        by_chain.setdefault(leaf_first(each.chain), []).append(each.address)
    audience = audience_of(presented, EndpointContext(endpoint, (view,)))
    seen = tuple(_Seen(listed(addresses, ", "), chain) for chain, addresses in by_chain.items())
    return _Asked(view, endpoint.name, audience, seen, now, tuple(each.address for each in observation.failures))


def _show(screen: Screen, asked: _Asked, tried: Sequence[_Tried]) -> None:
    family, client = asked.family, harmless(asked.view.client.name)
    accepted = all(each.edge.accepted for each in tried)
    verdict = sentence("{} {} {}", client, Printable("accepts" if accepted else "refuses"), _target(asked))
    screen.say("{}", verdict, style="bold green" if accepted else "bold red")
    proof = Printable("held to the real one by tests" if family.is_run else "modelled, not run")
    rules = sentence("by the rules of {} ({}), {}", harmless(family.title), harmless(family.versions), proof)
    screen.entry(INDENT, rules, style="dim")
    for clause in asked.left_out():
        screen.entry(INDENT, sentence("not judged: {}", clause), style="dim")
    for each in tried:
        _show_chain(screen, each, several=len(tried) > 1)


def _show_chain(screen: Screen, tried: _Tried, *, several: bool) -> None:
    edge, judgement = tried.edge, tried.judgement
    if several:
        verdict = Printable("accepted" if edge.accepted else "refused")
        screen.say("{}: {}", tried.seen.where or Printable("the file"), verdict, style="bold")
    if edge.why and edge.accepted:
        screen.entry(INDENT, sentence("it does not validate; it would refuse: {}", edge.why), "dim")
    elif edge.why:
        screen.entry(INDENT, sentence("refused: {}", edge.why), "red")
    if judgement.accepted != tried.valid:
        screen.entry(INDENT, sentence("the paths are by a model; {}", _DECIDES[tried.valid]), "dim")
    for number, attempt in enumerate(judgement.attempts, 1):
        said = Printable("refused" if attempt.objections else "accepted")
        if not attempt.objections and not tried.valid:
            said = Printable("the model knows no objection")
        screen.say("path {}: {}", harmless(str(number)), said)
        by_index: dict[int, list[tuple[PathObjection, Printable]]] = {}
        for objection, detail in tried.words(attempt):
            by_index.setdefault(objection.index, []).append((objection, detail))
        for index, each in enumerate(attempt.path.certificates):
            screen.entry(f"{index:>4} ", sentence("{}, {}", each.title, tried.place(each)), "dim")
            for objection, detail in by_index.get(index, ()):
                source = harmless("; ".join(sources_of(objection.rule, tried.asked.family)))
                screen.entry("     refused: ", sentence("{} ({})", detail, source), "red")


_DECIDES: Final[Mapping[bool, Printable]] = MappingProxyType(
    {
        True: Printable("a library decides, and accepts"),
        False: Printable("a library decides, and refuses"),
    }
)


def _target(asked: _Asked) -> Printable:
    names = listed(map(printable, asked.names), ", ")
    return sentence("{}{}", printable(asked.target, 4096), sentence(" as {}", names) if names else Printable(""))


def _document(asked: _Asked, tried: Sequence[_Tried]) -> dict[str, Any]:
    family = asked.family
    return {
        "schema": 1,
        "at": iso(asked.now),
        "client": asked.view.client.name,
        "target": printable(asked.target, 4096),
        "names": [printable(each) for each in asked.names],
        "trust_store": asked.view.trust.name,
        "verifier": str(asked.view.client.verifier),
        "is_run": family.is_run,
        "accepts": all(each.edge.accepted for each in tried),
        "why": next((each.edge.why for each in tried if not each.edge.accepted), ""),
        "left_out": list(asked.left_out()),
        "chains": [
            {
                "where": each.seen.where,
                "accepts": each.edge.accepted,
                "why": each.edge.why,
                "unvalidated": each.edge.unvalidated,
                "paths": [_path_document(each, attempt) for attempt in each.judgement.attempts],
            }
            for each in tried
        ],
    }


def _path_document(tried: _Tried, attempt: JudgedPath) -> dict[str, Any]:
    return {
        "accepted": tried.valid and not attempt.objections,
        "certificates": [
            {"subject": each.subject, "sha256": each.sha256, "place": tried.place(each)}
            for each in attempt.path.certificates
        ],
        "objections": [
            {
                "rule": str(objection.rule),
                "position": objection.index,
                "detail": detail,
                "sources": list(sources_of(objection.rule, tried.asked.family)),
            }
            for objection, detail in tried.words(attempt)
        ],
    }
