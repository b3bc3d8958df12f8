"""The configuration and its trust stores as they are on the disk now, for an actor that runs for months."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from actions.journal import Event, Record
from config.load import digest_on_disk, load
from config.model import Config
from config.text import Log, Printable, harmless, printable, sentence
from monitor.actor.authority import ourselves
from monitor.actor.context import ActorContext, actor_context
from monitor.actor.trust_files import TrustFiles
from monitor.state.trust import Signature, TrustContext, signature_of

log: Log = logging.getLogger("certvigil.actor")


class CurrentConfig:
    """Reads the configuration and its trust stores again where they are others than before; any thread may ask."""

    def __init__(self, path: str, config: Config) -> None:
        """`config` was read from `path`."""
        self._path = path
        self._config = self._at_start = config
        self._seen = config.digest
        """The digest of the configuration that was read last, good or not."""
        self._files = TrustFiles(config)
        self._trust_context: TrustContext | None = None
        self._read: Signature = ()
        """The files of the trust context, as they were when it was made."""
        self._lock = threading.Lock()

    @property
    def last(self) -> Config:
        """The configuration that was good last, without a look at the disk."""
        return self._config

    def expire(self) -> None:
        """Have everything read again by whoever asks next; a signal handler may call it."""
        self._seen, self._trust_context = "", None

    def config(self) -> Config:
        """Return the configuration on the disk; where that has mistakes, the last that had none."""
        with self._lock:
            return self._refresh()

    @contextmanager
    def context(self) -> Iterator[ActorContext]:
        """Give the context for the configuration on the disk; raises JournalError, OSError."""
        with self._lock:
            config, trust_context = self._refresh(), self._trust_context
            known = trust_context is not None and trust_context.config is config
            if trust_context is None or not known:
                self._files = TrustFiles(config)
                trust_context = self._files.context()
            # No file of them is read here, where everybody waits: whoever asks for one reads it.
            signature = signature_of(trust_context.paths())
            if signature != self._read:
                trust_context = self._files.context()
            self._trust_context, self._read = trust_context, signature
        with actor_context(trust_context) as context:
            if not known:
                _make_inboxes(context)
                _withdraw_plans(context)
            yield context

    def _refresh(self) -> Config:
        digest = digest_on_disk(self._path)
        if digest != self._seen:
            self._seen = digest
            found = load(self._path, os.environ, secrets=False)
            if isinstance(found, Config):
                self._config = found
                if _for_life(found) != _for_life(self._at_start):
                    log.warning("actor.socket and actor.group are those of the start until the next one")
            else:
                number, first = len(found), harmless(str(found[0]))
                log.error("kept the old configuration: the new one has %d mistakes, the first: %s", number, first)
        return self._config


def _for_life(config: Config) -> tuple[str, str]:
    """Return the settings that a running actor does not take up: its socket is there already."""
    return config.settings.actor.socket, config.settings.actor.group


def _make_inboxes(context: ActorContext) -> None:
    try:
        context.make_inboxes()
        context.make_offered_directories()
    except OSError as error:
        where, why = printable(str(error.filename)), printable(str(error.strerror))
        log.warning("an inbox, or a directory of offers, cannot be made: %s: %s", where, why)


def _withdraw_plans(context: ActorContext) -> None:
    """Withdraw the plans that wait for components which may not be changed any more; raises JournalError, OSError.

    Nobody could approve them, and should such a component come back, a plan of today would be no plan of then.
    """
    for plan, proposal in tuple(context.journal_state().proposals.items()):
        components = proposal.action.components
        why = next(filter(None, (_why_gone(context.config, name, components) for name in components)), None)
        if why is None:
            continue
        context.transaction.journal.append(
            Record(
                context.world.now(),
                "",
                Event.WITHDRAWN,
                {"hash": plan, "action": proposal.action.to_json(), "by": ourselves().name, "reason": why},
            )
        )
        log.warning("withdrew the plan %s, a %s: %s", printable(plan[:16]), proposal.action.kind, why)


def _why_gone(config: Config, name: str, components: Sequence[str]) -> Printable | None:
    """Say why a component may not be changed any more with these others, a sentence; None where it may."""
    component = config.components.get(name)
    if component is None:
        return sentence("the component {} is no longer in the configuration", printable(name))
    if component.service is None:
        return sentence("the component {} no longer has a 'service' in the configuration", printable(name))
    if not set(config.members_of(config.subject_of(name))) <= set(components):
        group = printable(config.subject_of(name))
        return sentence("the component {} is changed only with all members of group {} by now", printable(name), group)
    return None
