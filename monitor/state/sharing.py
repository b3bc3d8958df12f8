"""Which endpoints present the same key, as an index by key: at each look, only those with this key are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from config.address import is_ip_address
from config.immutable import immutable
from config.model import Config, Endpoint
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.judge.sharing import SharingServer


class _Server(NamedTuple):
    """What tells the server behind an endpoint from others."""

    name: str
    """That its certificate must have, folded; empty where it is only an address."""
    host: str
    subject: str | None
    """Its component, or the group of that; None where it belongs to none."""

    def is_apart_from(self, other: _Server) -> bool:
        """Whether these are different servers that nobody means to have one key."""
        if not self.name or not other.name or self.name == other.name:
            return False
        if self.subject is None or other.subject is None:
            return self.host != other.host
        return self.subject != other.subject


def _server(endpoint: Endpoint, config: Config) -> _Server:
    name = endpoint.verified_name.lower()
    subject = None if endpoint.component is None else config.subject_of(endpoint.component)
    return _Server("" if is_ip_address(name) else name, endpoint.host.lower(), subject)


@immutable
class _Answer:
    """The servers that share a key with an endpoint, and what they were found by: the same again is no work."""

    changes: tuple[tuple[str, int], ...]
    """Each key of the endpoint, with the number of changes of its endpoints."""
    servers: tuple[SharingServer, ...]


class KeyIndex:
    """The endpoints that present each key, by the servers behind them: a thousand endpoints of one are one."""

    def __init__(self) -> None:
        self._config: Config | None = None
        """By which endpoints are told apart."""
        self._keys: dict[str, frozenset[str]] = {}
        """SHA-256 of the public keys of each endpoint, by its name."""
        self._leaves: dict[str, tuple[Certificate, ...]] = {}
        """The certificates that these keys are of: the same ones again cost nothing."""
        self._servers: dict[str, _Server] = {}
        """Of the endpoints that the configuration has, by name."""
        self._holders: dict[str, dict[_Server, set[str]]] = {}
        """Their names, by the SHA-256 of a public key, and server."""
        self._changes: Counter[str] = Counter()
        """How often an endpoint came to a key, or left it; kept while the key has endpoints."""
        self._answers: dict[str, _Answer] = {}
        """By endpoint. A key that hundreds present is not compared hundreds of times at each look."""

    def note(self, endpoint: str, leaves: tuple[Certificate, ...], config: Config) -> None:
        """Note the certificates that an endpoint presents now."""
        self._go_by(config)
        if self._leaves.get(endpoint) == leaves:
            return
        self.forget(endpoint)
        self._leaves[endpoint] = leaves
        self._keys[endpoint] = frozenset(each.public_key_sha256() for each in leaves)
        self._enter(endpoint, config)

    def _go_by(self, config: Config) -> None:
        """Tell endpoints apart by `config` from now on."""
        if config is self._config:
            return
        self._config = config
        for kept in (self._servers, self._holders, self._changes, self._answers):
            kept.clear()
        for endpoint in self._keys:
            self._enter(endpoint, config)

    def _enter(self, endpoint: str, config: Config) -> None:
        declared = config.endpoints.get(endpoint)
        if declared is None:
            return
        server = self._servers[endpoint] = _server(declared, config)
        for key in self._keys[endpoint]:
            self._holders.setdefault(key, {}).setdefault(server, set()).add(endpoint)
            self._changes[key] += 1

    def forget(self, endpoint: str) -> None:
        """Forget an endpoint."""
        self._leaves.pop(endpoint, None)
        self._answers.pop(endpoint, None)
        keys, server = self._keys.pop(endpoint, frozenset()), self._servers.pop(endpoint, None)
        if server is None:
            return
        for key in keys:
            holders = self._holders[key]
            holders[server].discard(endpoint)
            self._changes[key] += 1
            if not holders[server]:
                del holders[server]
            if not holders:
                del self._holders[key], self._changes[key]

    def sharing(self, endpoint: Endpoint, config: Config) -> tuple[SharingServer, ...]:
        """Return the other servers that present a key of an endpoint, by name.

        One server is what has one host, or one name; so is what is changed as one. Where a name is only an address,
        nothing is known of the name that clients use.
        """
        self._go_by(config)
        keys = self._keys.get(endpoint.name, frozenset())
        changes = tuple((key, self._changes[key]) for key in keys)
        last = self._answers.get(endpoint.name)
        if last is None or last.changes != changes:
            last = self._answers[endpoint.name] = _Answer(changes, self._apart_from(endpoint, keys, config))
        return last.servers

    def _apart_from(self, endpoint: Endpoint, keys: frozenset[str], config: Config) -> tuple[SharingServer, ...]:
        own = _server(endpoint, config)
        holders = (each for key in keys for each in self._holders.get(key, {}).items())
        names = sorted({name for server, names in holders if own.is_apart_from(server) for name in names})
        return tuple(SharingServer(name, config.endpoints[name].verified_name, self._keys[name]) for name in names)


def leaves_of(state: TargetState) -> tuple[Certificate, ...]:
    """Return the certificates that an endpoint presented last, one for each chain of an address."""
    chains = [each.chain for each in state.addresses if each.chain] or ([state.presented] if state.presented else [])
    return tuple(dict.fromkeys(chain[0] for chain in chains))


def index_of(targets: Mapping[str, TargetState], config: Config) -> KeyIndex:
    """Return the index of all endpoints among `targets`."""
    index = KeyIndex()
    for name in config.endpoints:
        if name in targets:
            index.note(name, leaves_of(targets[name]), config)
    return index
