"""`certvigil why`: the paths that a client tries for an endpoint or a file, and the rule that ends each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from config.immutable import immutable
from config.load import load
from config.model import Config, Endpoint, FileTarget
from config.text import Printable, harmless, listed, printable, sentence
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.given import UsageError, read_given
from monitor.commands.json_output import print_json
from monitor.commands.screen import INDENT, Screen
from monitor.dialect import iso
from monitor.state.trust import TrustContext, read_held, read_one_trust
from probes.certificate import Certificate
from probes.file import look_at_file
from probes.judge.client import View, leaf_first, subject_in
from probes.judge.name import judge_names
from probes.judge.path import told
from probes.verify.engine import Attempt, Judgement, verify
from probes.verify.families import family_of
from probes.verify.family import Family
from probes.verify.rules import Objection, Rule, sources_of

if TYPE_CHECKING:
    from probes.finding import Finding

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
class _Asked:
    """A chain, and who judges it by which name."""

    view: View
    target: str
    name: str | None
    presented: tuple[Certificate, ...]
    now: float

    @property
    def family(self) -> Family:
        """The row by which the client judges."""
        return family_of(self.view.client)

    def judgement(self) -> Judgement:
        """Return the verdict with all paths that were tried."""
        pool = (*self.presented, *self.view.held)
        return verify(pool, self.view.trust, self.family, self.name, self.now)

    def place(self, certificate: Certificate) -> Printable:
        """Say where a certificate comes from."""
        if self.view.trust.holds(certificate):
            return sentence("in the store {}", harmless(self.view.trust.name))
        return Printable("presented") if certificate in self.presented else Printable("held by the client")

    def words(self, attempt: Attempt) -> Iterator[tuple[Objection, Printable]]:
        """Yield the objections to a path, each with a sentence."""
        subject_of = subject_in(self.presented)
        for each in attempt.objections:
            found: Sequence[Finding] = ()
            if each.rule is Rule.NAME and self.name is not None:
                found = tuple(judge_names(self.presented[0], (self.name,), self.view.client.verifier))
            elif each.rule is not Rule.NAME:
                found = told(each, attempt, self.view.trust, self.view.client, self.now, subject_of)
            yield each, found[0].detail if found else harmless(each.rule)


def why(query: WhyQuery) -> int:
    """Print the paths; return 0 where the client accepts, 2 where it refuses, 3 where it cannot be told."""
    try:
        asked = _asked(query)
    except UsageError as error:
        complain("certvigil why: {}", harmless(str(error)))
        return UNKNOWN
    judgement = asked.judgement()
    if query.as_json:
        print_json(_document(asked, judgement))
    else:
        _show(Screen(), asked, judgement)
    return ACCEPTED if judgement.accepted else REFUSED


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
            seen = look_at_file(target, now)
            if not seen.certificates:
                raise UsageError(f"{printable(query.target)} holds no certificate")
            return _Asked(view, query.target, _name(view, None), leaf_first(seen.certificates), now)
        if not isinstance(target, Endpoint):
            raise UsageError(f"{printable(query.target)} is neither an endpoint nor a file")
        endpoint = target
    return _Asked(view, endpoint.name, _name(view, endpoint), asyncio.run(_presented(endpoint, now)), now)


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


def _name(view: View, endpoint: Endpoint | None) -> str | None:
    """Return the name that the client asks for; None where nobody says."""
    return next(iter(view.client.names), None) or (endpoint.verified_name if endpoint is not None else None)


async def _presented(endpoint: Endpoint, now: float) -> tuple[Certificate, ...]:
    """Return what the first address that answers presents; raises UsageError where none does."""
    from probes.tls.drive import look  # noqa: PLC0415 (files alone do not need it)

    observation = await look(endpoint, now)
    for each in observation.presented:
        if each.chain:
            return leaf_first(each.chain)
    failed = listed([sentence("{}: {}", each.address, each.detail) for each in observation.failures], ", ")
    raise UsageError(f"{printable(endpoint.name)} presents no certificate: {failed}")


def _show(screen: Screen, asked: _Asked, judgement: Judgement) -> None:
    family, client = asked.family, harmless(asked.view.client.name)
    verdict = sentence("{} {} {}", client, Printable("accepts" if judgement.accepted else "refuses"), _target(asked))
    screen.say("{}", verdict, style="bold green" if judgement.accepted else "bold red")
    proof = Printable("held to the real one by tests" if family.is_run else "modelled, not run")
    rules = sentence("by the rules of {}, {}: {}", harmless(family.title), harmless(family.versions), proof)
    screen.entry(INDENT, rules, style="dim")
    for number, attempt in enumerate(judgement.attempts, 1):
        accepted = judgement.accepted and number == len(judgement.attempts)
        said = Printable("accepted" if accepted else "refused")
        screen.say("path {}: {}", harmless(str(number)), said)
        by_index: dict[int, list[tuple[Objection, Printable]]] = {}
        for objection, detail in asked.words(attempt):
            by_index.setdefault(objection.index, []).append((objection, detail))
        for index, each in enumerate(attempt.path.certificates):
            screen.entry(f"{index:>4} ", sentence("{}, {}", each.title, asked.place(each)), "dim")
            for objection, detail in by_index.get(index, ()):
                source = harmless("; ".join(sources_of(objection.rule, family)))
                screen.entry("     refused: ", sentence("{} ({})", detail, source), "red")


def _target(asked: _Asked) -> Printable:
    name = sentence(" as {}", printable(asked.name)) if asked.name else Printable("")
    return sentence("{}{}", printable(asked.target, 4096), name)


def _document(asked: _Asked, judgement: Judgement) -> dict[str, Any]:
    family = asked.family
    return {
        "schema": 1,
        "at": iso(asked.now),
        "client": asked.view.client.name,
        "target": printable(asked.target, 4096),
        "name": asked.name and printable(asked.name),
        "trust_store": asked.view.trust.name,
        "verifier": str(asked.view.client.verifier),
        "is_run": family.is_run,
        "accepts": judgement.accepted,
        "paths": [
            {
                "accepted": judgement.accepted and attempt is judgement.attempts[-1],
                "certificates": [
                    {"subject": each.subject, "sha256": each.sha256, "place": asked.place(each)}
                    for each in attempt.path.certificates
                ],
                "objections": [
                    {
                        "rule": str(objection.rule),
                        "position": objection.index,
                        "detail": detail,
                        "sources": list(sources_of(objection.rule, family)),
                    }
                    for objection, detail in asked.words(attempt)
                ],
            }
            for attempt in judgement.attempts
        ],
    }
