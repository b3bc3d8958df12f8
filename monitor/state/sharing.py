"""Which endpoints present the same key, as an index by key: at each look, only those with this key are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from config.address import is_ip_address
from config.immutable import immutable
from config.model import Config, Endpoint
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.judge.sharing import SharingServer


@immutable
class _Answer:
    """The servers that share a key with an endpoint, and what they were found by: the same again is no work."""

    config: Config
    changes: tuple[tuple[str, int], ...]
    """Each key of the endpoint, with the number of changes of its endpoints."""
    servers: tuple[SharingServer, ...]


class KeyIndex:
    """The endpoints that present each key."""

    def __init__(self) -> None:
        self._keys: dict[str, frozenset[str]] = {}
        """SHA-256 of the public keys of each endpoint, by its name."""
        self._leaves: dict[str, tuple[Certificate, ...]] = {}
        """The certificates that these keys are of: the same ones again cost nothing."""
        self._endpoints: dict[str, set[str]] = {}
        """Names of endpoints, by the SHA-256 of a public key."""
        self._changes: Counter[str] = Counter()
        """How often an endpoint came to a key, or left it; kept while the key has endpoints."""
        self._answers: dict[str, _Answer] = {}
        """By endpoint. A key that hundreds present is not compared hundreds of times at each look."""

    def note(self, endpoint: str, leaves: tuple[Certificate, ...]) -> None:
        """Note the certificates that an endpoint presents now."""
        if self._leaves.get(endpoint) == leaves:
            return
        self.forget(endpoint)
        self._leaves[endpoint] = leaves
        self._keys[endpoint] = frozenset(each.public_key_sha256() for each in leaves)
        for key in self._keys[endpoint]:
            self._endpoints.setdefault(key, set()).add(endpoint)
            self._changes[key] += 1

    def forget(self, endpoint: str) -> None:
        """Forget an endpoint."""
        self._leaves.pop(endpoint, None)
        self._answers.pop(endpoint, None)
        for key in self._keys.pop(endpoint, frozenset()):
            self._endpoints[key].discard(endpoint)
            self._changes[key] += 1
            if not self._endpoints[key]:
                del self._endpoints[key], self._changes[key]

    def sharing(self, endpoint: Endpoint, config: Config) -> tuple[SharingServer, ...]:
        """Return the other servers that present a key of an endpoint, by name.

        One server is what has one host, or one name; so is what is changed as one. Where a name is only an address,
        nothing is known of the name that clients use.
        """
        keys = self._keys.get(endpoint.name, frozenset())
        changes = tuple((key, self._changes[key]) for key in keys)
        last = self._answers.get(endpoint.name)
        if last is None or last.config is not config or last.changes != changes:
            last = _Answer(config, changes, self._apart_from(endpoint, keys, config))
            self._answers[endpoint.name] = last
        return last.servers

    def _apart_from(self, endpoint: Endpoint, keys: frozenset[str], config: Config) -> tuple[SharingServer, ...]:
        names = sorted({name for key in keys for name in self._endpoints.get(key, ())} - {endpoint.name})
        found = (config.endpoints[name] for name in names if name in config.endpoints)
        return tuple(
            SharingServer(each.name, each.verified_name, self._keys[each.name])
            for each in found
            if _are_apart(endpoint, each, config)
        )


def _are_apart(one: Endpoint, other: Endpoint, config: Config) -> bool:
    """Whether two endpoints are of different servers that nobody means to have one key."""
    if one.verified_name.lower() == other.verified_name.lower():
        return False
    if is_ip_address(one.verified_name) or is_ip_address(other.verified_name):
        return False
    if one.component is None or other.component is None:
        return one.host.lower() != other.host.lower()
    return config.subject_of(one.component) != config.subject_of(other.component)


def leaves_of(state: TargetState) -> tuple[Certificate, ...]:
    """Return the certificates that an endpoint presented last, one for each chain of an address."""
    chains = [each.chain for each in state.addresses if each.chain] or ([state.presented] if state.presented else [])
    return tuple(dict.fromkeys(chain[0] for chain in chains))


def index_of(targets: Mapping[str, TargetState], config: Config) -> KeyIndex:
    """Return the index of all endpoints among `targets`."""
    index = KeyIndex()
    for name in config.endpoints:
        if name in targets:
            index.note(name, leaves_of(targets[name]))
    return index
