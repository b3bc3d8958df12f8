"""The rehearsal: a candidate is served in this process, and each client's verifier judges the presented chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Final

from OpenSSL import SSL

from actions.candidate import Candidate
from actions.precheck import roots_known
from config.immutable import immutable
from config.model import Endpoint
from config.text import printable
from config.vocabulary import KeyKind, TLSVersion
from probes.assess import EndpointContext, assess_endpoint
from probes.finding import Edge
from probes.judge.client import View, sent_for_sure
from probes.observation import EndpointObservation, Presented, Unreachable
from probes.tls.handshake import Handshake
from probes.trust import Trust

_VERSIONS: Final = {TLSVersion.TLS1_2: SSL.TLS1_2_VERSION, TLSVersion.TLS1_3: SSL.TLS1_3_VERSION}
_FLIGHTS: Final = 10
"""Exchanges until a handshake is given up; TLS 1.2 needs two."""
_FLIGHT: Final = 262_144


@immutable
class RehearsalStage:
    """An endpoint on which a candidate is to be served."""

    endpoint: Endpoint
    views: tuple[View, ...]
    """Of each client that must accept it."""
    served: tuple[Presented, ...] = ()
    """The chains that it presents today, by address; empty where they are not known."""


@immutable
class Effect:
    """The effect of a change on one client at one endpoint."""

    endpoint: str
    before: Edge | None
    """None where the chain that is served today is not known."""
    after: Edge

    @property
    def lost(self) -> bool:
        """Whether the client accepts today and would no longer."""
        return self.before is not None and self.before.accepted and not self.after.accepted

    @property
    def gained(self) -> bool:
        """Whether the client does not accept today and would."""
        return self.before is not None and not self.before.accepted and self.after.accepted


@immutable
class CannotBeServed:
    """A TLS library refused the candidate."""

    detail: str
    """A sentence for a person, printable."""


def rehearse(candidate: Candidate, stages: Sequence[RehearsalStage], now: float) -> tuple[Effect, ...] | CannotBeServed:
    """Return each client's verdict before and after, at Unix time `now`, on the chain that a server really presents.

    The candidate is served by TLS 1.2 and by TLS 1.3, without a socket; the client's side is the probes' own. Of a
    server that is not expected to send its intermediates, clients get the server's certificate alone.
    """
    presented: dict[KeyKind | None, list[Presented]] = {stage.endpoint.key_type: [] for stage in stages} or {None: []}
    for (key_type, by_version), version in product(presented.items(), _VERSIONS):
        shown = serve(candidate, version, key_type)
        if isinstance(shown, CannotBeServed):
            return shown
        by_version.append(shown)
    elsewhere = roots_known(candidate, [view for stage in stages for view in stage.views])
    effects: list[Effect] = []
    for stage in stages:
        before = {edge.client: edge for edge in _edges(stage, stage.served, elsewhere, now)}
        new = tuple(
            replace(each, chain=sent_for_sure(each.chain, stage.endpoint))
            for each in presented[stage.endpoint.key_type]
        )
        after = _edges(stage, new, elsewhere, now)
        effects += (Effect(stage.endpoint.name, before.get(edge.client), edge) for edge in after)
    return tuple(effects)


def _edges(
    stage: RehearsalStage, presented: tuple[Presented, ...], elsewhere: tuple[Trust, ...], now: float
) -> tuple[Edge, ...]:
    observation = EndpointObservation(stage.endpoint.name, now, presented)
    return assess_endpoint(observation, EndpointContext(stage.endpoint, stage.views, elsewhere), now).edges


def serve(candidate: Candidate, version: TLSVersion, key_type: KeyKind | None = None) -> Presented | CannotBeServed:
    """Return the chain that a server with `candidate` presents to a client, by that version of TLS.

    With `key_type`, the client accepts only keys of that type. The server is OpenSSL with its defaults: a candidate
    that is too weak for these cannot be served.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[version])
    context.set_max_proto_version(_VERSIONS[version])
    try:
        context.use_certificate(candidate.certificate.x509())
        context.use_privatekey(candidate.key.library_key())
        context.check_privatekey()
        for each in candidate.chain:
            context.add_extra_chain_cert(each.x509())
    except (SSL.Error, TypeError, ValueError) as error:
        return CannotBeServed(f"OpenSSL refuses to load it: {_said(error)}")
    server = SSL.Connection(context, None)
    server.set_accept_state()
    return _handshake(server, version, key_type)


def _handshake(server: SSL.Connection, version: TLSVersion, key_type: KeyKind | None) -> Presented | CannotBeServed:
    client = Handshake("rehearsal", "", version, key_type)
    to_server = client.start()
    said = ""
    for _ in range(_FLIGHTS):
        if to_server:
            server.bio_write(to_server)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            said = _said(error)
        to_server = client.receive(_sent(server))
        if client.outcome is not None:
            break
    match client.end():
        case Presented() as presented:
            return presented
        case Unreachable(_, _, detail):
            asking = f" that takes {key_type} keys only" if key_type else ""
            return CannotBeServed(f"no handshake by {version} with a client{asking}: {said or detail}")


def _sent(server: SSL.Connection) -> bytes:
    try:
        return server.bio_read(_FLIGHT)
    except SSL.WantReadError:
        return b""


def _said(error: Exception) -> str:
    """Return OpenSSL's message, for people only."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue:
        return printable(str(queue[-1][-1]), 200)
    return printable(str(error), 200) or "without a message"
