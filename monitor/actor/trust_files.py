"""The files of trust stores and clients, read when somebody asks for one: a slow store delays whoever needs that store.

Whoever may write one of them could otherwise have every request wait, since each of them has a trust context.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from config.model import Config
from config.text import Log, harmless
from monitor.state.trust import (
    Signature,
    TrustContext,
    clients_in_use,
    files_of,
    read_client_switch,
    read_held,
    read_one_trust,
    signature_of,
    stores_in_use,
)
from probes.finding import Finding

log: Log = logging.getLogger("certvigil.actor")

T = TypeVar("T")


class _ReadFiles(Generic[T]):
    """The last value that was read for each name, as long as its own files are as they were."""

    def __init__(self, files: Mapping[str, Iterable[str]], read: Callable[[str], T | None]) -> None:
        """`read` returns None for what cannot be used."""
        self.files: Final = files
        self._read = read
        self._locks: Final = {name: threading.Lock() for name in files}
        self._known: dict[str, tuple[Signature, T | None]] = {}

    def value(self, name: str) -> T | None:
        """Return the value for a name; whoever asks for the same name meanwhile waits for it, and nobody else."""
        with self._locks[name]:
            # From before it is read: a file that changes meanwhile is read again.
            signature = signature_of(self.files[name])
            known = self._known.get(name)
            if known is None or known[0] != signature:
                known = self._known[name] = (signature, self._read(name))
        return known[1]


class _OnDemand(Mapping[str, T]):
    """Values that are read when they are asked for, each once; what cannot be used is missing."""

    def __init__(self, source: _ReadFiles[T]) -> None:
        self._source = source
        self._values: dict[str, T | None] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> T:
        if name not in self._source.files:
            raise KeyError(name)
        if name not in self._values:
            value = self._source.value(name)
            # One context has one value, whoever else asked for it.
            with self._lock:
                self._values.setdefault(name, value)
        found = self._values[name]
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._source.files if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class TrustFiles:
    """The files that one configuration names for trust."""

    def __init__(self, config: Config) -> None:
        self._config: Final = config
        stores = {name: config.trust_stores[name] for name in stores_in_use(config)}
        clients = {each.name: each for each in clients_in_use(config)}
        self._trusts = _ReadFiles(
            {name: files_of(each) for name, each in stores.items()},
            lambda name: read_one_trust(config, name, _tell),
        )
        self._held = _ReadFiles(
            {name: each.intermediates for name, each in clients.items()}, lambda name: read_held(clients[name], _tell)
        )
        self._switches = _ReadFiles(
            {name: (each.validation_switch.file,) for name, each in clients.items() if each.validation_switch},
            lambda name: read_client_switch(clients[name], _tell),
        )

    def context(self) -> TrustContext:
        """Return a context in which nothing is read yet."""
        return TrustContext(self._config, _OnDemand(self._trusts), _OnDemand(self._held), _OnDemand(self._switches))


def _tell(found: Finding) -> None:
    log.warning("%s", harmless(found.detail))
