"""The inventory: for each component what is installed and served, who issued it, and which clients accept it. Pure.

The daemon makes it of the state of its targets; `certvigil inventory` makes it of its own looks where no daemon runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from config.address import join_address
from config.expected import DefaultCertificate
from config.model import CertifiStore, Component, Endpoint, TrustStore
from config.text import printable
from config.vocabulary import Code, FileRole, Severity, TargetKind, Verdict, worst
from monitor.dialect import address_object, certificate_object, edge_object, iso
from monitor.state.target import TargetState
from monitor.state.trust import TrustContext
from probes.assess_set import WITH_LEAF
from probes.certificate import Certificate
from probes.chain import are_anchors, find_leaf, signed
from probes.judge.client import View, leaf_first
from probes.judge.default import is_default
from probes.judge.roots import LackingClient, lacking, origin_of, root_of
from probes.lifetime import has_ended
from probes.observation import Presented
from probes.trust import Trust, read_trust, trust_path

Document = dict[str, Any]


def inventory(trust_context: TrustContext, targets: Mapping[str, TargetState], now: float) -> Document:
    """Return the inventory at Unix time `now` as `certvigil inventory --json` prints it."""
    return _Inventory(trust_context, targets, now).document()


def installed_chain(component: Component, targets: Mapping[str, TargetState]) -> tuple[Certificate, ...]:
    """Return the chain in the files of a component, its own certificate first; empty where it is not known."""
    names = (f"{component.name}/{role}" for role in WITH_LEAF)
    leaf = next((targets[name] for name in names if name in targets), None)
    if leaf is None or not leaf.presented:
        return ()
    beside = targets.get(f"{component.name}/{FileRole.CHAIN}")
    return tuple(dict.fromkeys((*leaf_first(leaf.presented), *(beside.presented if beside is not None else ()))))


class _Inventory:
    """What the parts of one inventory have in common."""

    def __init__(self, trust_context: TrustContext, targets: Mapping[str, TargetState], now: float) -> None:
        self.trust_context = trust_context
        self.config = trust_context.config
        self.targets = targets
        self.now = now
        self.trusts: Sequence[Trust] = tuple(trust_context.trusts.values())

    def document(self) -> Document:
        endpoints = self.config.endpoints.values()
        return {
            "schema": 1,
            "host": self.config.host,
            "at": iso(self.now),
            "components": [self._component(each) for each in self._in_order()],
            "endpoints": [self._served(each, ()) for each in endpoints if each.component is None],
            "trust_stores": [*self._trust_stores(), *(bundles := list(self._bundles())), *self._not_read(bundles)],
            "not_looked_at": [
                {"address": join_address(each.host, each.port), "transport": "udp", "reason": printable(each.reason)}
                for each in self.config.not_tls
            ],
        }

    def _in_order(self) -> Sequence[Component]:
        """Return the components, the members of a group beside each other."""
        return sorted(self.config.components.values(), key=lambda each: (self.config.subject_of(each.name), each.name))

    def _component(self, component: Component) -> Document:
        # The file with the server's certificate comes first.
        known = [
            (role, self.targets[name])
            for role in sorted(FileRole, key=lambda each: each not in WITH_LEAF)
            if (name := f"{component.name}/{role}") in self.targets
        ]
        files = [state for role, state in known if not _is_absent(role, state)]
        chain = installed_chain(component, self.targets)
        endpoints = [self.config.endpoints[name] for name in component.endpoints]
        clients = dict.fromkeys(client for each in endpoints for client in each.clients)
        views = self.trust_context.views(clients)
        seen = [*files, *(self.targets[each.name] for each in endpoints if each.name in self.targets)]
        return {
            "component": component.name,
            "group": self.config.group_of.get(component.name),
            "verdict": worst(map(_verdict, seen)),
            "files": [_file(each) for each in files],
            **self._issued(chain, views, component.default_certificate),
            "served": [self._served(each, chain) for each in endpoints],
        }

    def _issued(
        self, chain: tuple[Certificate, ...], views: Sequence[View], default: DefaultCertificate | None
    ) -> Document:
        """Return the certificate in a chain, who issued it, and which clients lack its root."""
        if not chain:
            return {"certificate": None, "chain": [], "origin": None, "root": None, "lacking_root": []}
        held = tuple(dict.fromkeys(each for view in views for each in view.held))
        root = root_of(chain, self.trusts, held)
        # No store should be given a product's default certificate.
        lacks = () if is_default(find_leaf(chain), default) else lacking(chain, views, self.trusts, self.now)
        return {
            "certificate": certificate_object(find_leaf(chain)),
            "chain": [certificate_object(each) for each in chain if each != find_leaf(chain)],
            "origin": origin_of(chain, root, (*self.trusts, *web_pki()), default),
            "root": None if root is None else certificate_object(root),
            "lacking_root": _by_store(lacks),
        }

    def _served(self, endpoint: Endpoint, installed: Sequence[Certificate]) -> Document:
        """Return what an endpoint presents, and who accepts it."""
        state = self.targets.get(endpoint.name)
        presented = state.presented if state is not None else ()
        views = self.trust_context.views(endpoint.clients)
        return {
            "target": endpoint.name,
            "address": join_address(endpoint.host, endpoint.port),
            "server_name": endpoint.verified_name,
            "verdict": Verdict.UNKNOWN if state is None else state.verdict,
            "failure": _failure(state),
            **self._issued(leaf_first(presented), views, endpoint.default_certificate),
            "as_installed": find_leaf(installed) == leaf_first(presented)[0] if installed and presented else None,
            "sends_intermediates": self._sends(leaf_first(presented)),
            "expected_to_send": endpoint.sends_intermediates,
            "negotiated": [
                address_object(each, self._anchors(each)) for each in (state.addresses if state is not None else ())
            ],
            "clients": [edge_object(each, endpoint.name) for each in (state.edges if state is not None else ())],
        }

    def _anchors(self, presented: Presented) -> tuple[Certificate, ...]:
        """Return the anchors that may have issued what an address presents."""
        issuer = presented.chain[0].outline().issuer if presented.chain else b""
        return tuple(anchor for trust in self.trusts for anchor in trust.by_subject.get(issuer, ()))

    def _sends(self, chain: Sequence[Certificate]) -> bool | None:
        """Return whether a server sends intermediates; None where it needs none, or nothing is known."""
        if not chain:
            return None
        leaf, *others = chain
        if any(not each.self_issued for each in others):
            return True
        issuer = leaf.outline().issuer
        issuers = (*others, *(anchor for trust in self.trusts for anchor in trust.by_subject.get(issuer, ())))
        by_root = leaf.self_issued or any(each.self_issued and signed(each, leaf) for each in issuers)
        return None if by_root else False

    def _trust_stores(self) -> Iterator[Document]:
        for name, store in self.config.trust_stores.items():
            trust = self.trust_context.trusts.get(name)
            if trust is not None:
                path = trust_path(store)
                seen = self._watched(path)
                yield self._store(name, path, self._clients(name), seen or trust.anchors, counted=bool(seen))

    def _not_read(self, found: Iterable[Document]) -> Iterator[Document]:
        """Yield the trust stores that are files here and cannot be read, other than those that a watch has `found`."""
        known = {*self.trust_context.trusts, *(each["trust_store"] for each in found)}
        for name, store in self.config.trust_stores.items():
            if store.path is not None and name not in known:
                yield {**self._store(name, store.path, self._clients(name), (), counted=False), "entries": None}

    def _clients(self, store: str | None) -> Sequence[str]:
        return [each.name for each in self.config.clients.values() if each.trusts == store]

    def _watched(self, path: str) -> tuple[Certificate, ...]:
        """Return the certificates of a trust store that is watched as a file, too: a store itself has each once."""
        shown = printable(path)
        states = (each for each in self.targets.values() if each.location == shown and each.keystore is None)
        return next((each.presented for each in states if each.presented), ())

    def _bundles(self) -> Iterator[Document]:
        """Yield the bundles and keystores with trusted certificates that a watch finds."""
        stores = {printable(each.path): name for name, each in self.config.trust_stores.items() if each.path}
        known = {printable(trust_path(self.config.trust_stores[name])) for name in self.trust_context.trusts}
        for state in self.targets.values():
            if state.kind is not TargetKind.FILE or state.component is not None or state.location in known:
                continue
            name = stores.get(printable(state.location))
            keystore = state.keystore
            if keystore is not None and keystore.is_trust_store:
                held = tuple(each for entry in keystore.trusted for each in entry.certificates)
                yield self._store(name, state.location, self._clients(name), held, counted=True)
            elif len(state.presented) > 1 and are_anchors(state.presented):
                yield self._store(name, state.location, self._clients(name), state.presented, counted=True)

    def _store(
        self, name: str | None, path: str, clients: Sequence[str], anchors: Sequence[Certificate], *, counted: bool
    ) -> Document:
        """Return the content of a trust store; `counted` says whether what is in it twice is among `anchors` twice."""
        once = tuple(dict.fromkeys(anchors))
        dated = [(each.not_after, each) for each in once if each.not_after is not None]
        first = min(dated, key=lambda each: each[0], default=None)
        coming = min((each for each in dated if each[0] > self.now), key=lambda each: each[0], default=None)
        return {
            "trust_store": name,
            "path": printable(path, 4096),
            "clients": list(clients),
            "entries": len(anchors),
            "duplicates": len(anchors) - len(once) if counted else None,
            "ended": [each.title for each in once if has_ended(each, self.now)],
            "earliest_end": _end(first),
            "next_end": _end(coming),
        }


def _by_store(lacks: Iterable[LackingClient]) -> list[Document]:
    """Return each trust store that lacks the root, with the clients that do not accept for that."""
    stores: dict[str, Document] = {}
    for each in lacks:
        entry = stores.setdefault(each.store, {"trust_store": each.store, "root": each.issuer, "clients": []})
        entry["clients"].append(each.client)
    return list(stores.values())


def _end(end: tuple[int, Certificate] | None) -> Document | None:
    return None if end is None else {"at": iso(end[0]), "entry": end[1].title, "sha256": end[1].sha256}


def _is_absent(role: FileRole, state: TargetState) -> bool:
    """Whether it is a chain that rightly is not there: a look has found nothing, and no fault in that."""
    return role is FileRole.CHAIN and state.up is True and not state.presented and not state.findings


def _file(state: TargetState) -> Document:
    return {
        "target": state.target,
        "path": state.location,
        "verdict": _verdict(state),
        "failure": _failure(state),
        "certificates": [each.sha256 for each in state.presented],
    }


def _verdict(state: TargetState) -> Verdict:
    """Return the verdict on a target; it is unknown where nothing is wrong but that a file could not be read here."""
    unread = any(
        each.finding.code is Code.KEYS_UNREAD and each.finding.severity is Severity.WARNING
        for each in state.findings.values()
    )
    return Verdict.UNKNOWN if unread and state.verdict is Verdict.WARNING else state.verdict


def _failure(state: TargetState | None) -> Document | None:
    return None if state is None or state.failure is None else {"reason": state.failure[0], "detail": state.failure[1]}


@lru_cache(maxsize=1)
def web_pki() -> tuple[Trust, ...]:
    """Return the anchors of the web PKI, by which a public CA is told from one of the site's; they grant no trust."""
    found = read_trust(TrustStore("mozilla", CertifiStore()))
    return (found,) if isinstance(found, Trust) else ()
