"""The actor's process: it listens on a Unix socket, knows who asks, and does one thing at a time."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from actions import audit
from actions.audit import summary
from actions.backup import BackupError
from actions.clock import ClockWatch
from actions.journal import JournalError, Record
from actions.journal_state import JournalState
from actions.late import look_again
from actions.recover import recover
from actions.world import World
from config.load import digest_on_disk, load
from config.model import Config
from config.text import printable
from monitor.actor.authority import STRANGER, Peer, Role, approved, objection, ourselves, peer_of, role_of, uid_of
from monitor.actor.context import ActorContext, actor_context, audit_directory
from monitor.actor.documents import cannot, ended_document, step_document, waiting_document, waits_document
from monitor.actor.door import Door, Lines, Turn
from monitor.actor.facts import to_document
from monitor.actor.follow import JournalPosition, behind
from monitor.actor.leftovers import Leftovers, tell, tell_recovered
from monitor.actor.outlook import DirectoryWatch
from monitor.actor.pace import Pace
from monitor.actor.reader import NotNow, Reader
from monitor.actor.request import LONGEST, Document, Request, Verb, decode
from monitor.actor.sightings import Sightings
from monitor.actor.work import Bound, Work, unknown, unusable
from monitor.host import systemd
from monitor.host.sockets import BACKLOG, ListenError, gid_of, listen_unix
from monitor.state.trust import TrustContext, read_trust_context

log = logging.getLogger("certvigil.actor")

Signature = tuple[tuple[str, int, int, int], ...]

PATIENCE: Final = 10.0
"""Seconds for a peer to say what it wants, and to take what it is told; and for the daemon's turn to come."""
SOON: Final = 1.0
"""Seconds after which an operator is told what the turn is waited for."""
LONGEST_TURN: Final = 600.0
"""Seconds for an operator's turn to come: an act of the daemon may have to wait for hosts that never answer."""
BREATH: Final = 1.0
"""Seconds between two looks at what others wrote to the journal."""
STOP_WITHIN: Final = 4.0
"""Seconds for everything but a transaction that is past its intent to end in."""
_LOOKING: Final = frozenset({Verb.STATE, Verb.PLAN, Verb.BACKUPS})
"""What needs no turn."""


def run_actor(path: str, config: Config) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code; SIGHUP has the configuration read again."""
    actor = ActorProcess(path, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: actor.stop())
    signal.signal(signal.SIGHUP, lambda *_: actor.expire())
    actor.heed_signals()
    try:
        actor.recover()
        return actor.serve()
    except (JournalError, BackupError, OSError, ListenError) as error:
        log.error("nothing can be done: %s", printable(str(error)))  # noqa: TRY400 (an operator is told, not a programmer)
        return 1


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asked, and hears what happens meanwhile."""

    tell: Callable[[Document], None] = lambda _document: None
    has_left: Callable[[], bool] = lambda: False

    def step(self, record: Record) -> None:
        """Tell a step of a transaction."""
        self.tell({"step": _step(record)})

    def waits(self, act: str) -> None:
        """Tell that the request waits for its turn."""
        self.tell({"step": waits_document(act, time.time())})


class ActorProcess:
    """One actor: what it listens on, whom it serves, and the one turn that acts take."""

    def __init__(self, path: str, config: Config, pace: Pace | None = None) -> None:
        """`pace`: what the daemon's requests may cause, as by default where that is None."""
        self._path = path
        self._trust_context: TrustContext | None = None
        self._read: Signature = ()
        """Of the files that the trust context was read from, as they were."""
        self._config = config
        self._seen = config.digest
        """Of what was read last from the disk, good or not."""
        self._clock = ClockWatch(World())
        self._settling = threading.Lock()
        """Held by whoever reads the configuration."""
        self._turn = Turn()
        """Held by whoever acts."""
        self._news = threading.Condition()
        self._door, self._lines = Door(), Lines()
        self._conversations: set[threading.Thread] = set()
        self._stopping = threading.Event()
        self._reader = Reader()
        self._outlook = DirectoryWatch(self._current, self._look_again)
        self._sightings = Sightings()
        self._pace = pace or Pace()
        self._leftovers = Leftovers(self.context, self._turn, self._stopping)
        self._looks: dict[str, int] = {}
        """The number of the last change of each component's files that was noticed."""
        self._wake, self._awake = socket.socketpair()
        self._wake.setblocking(False)

    def close(self) -> None:
        """Let go of what an actor that does not serve any more holds."""
        self._wake.close()
        self._awake.close()

    def heed_signals(self) -> None:
        """Have every signal wake `serve` up: one that comes just before it waits, or to another thread, would not."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def stop(self) -> None:
        """Have `serve` end; called by a signal, too."""
        self._stopping.set()
        with suppress(OSError):
            self._wake.send(b".")

    def expire(self) -> None:
        """Have everything read again, and what it calls for made; called by a signal, too."""
        self._seen, self._trust_context = "", None
        with suppress(OSError):
            self._wake.send(b".")

    def recover(self) -> None:
        """Finish or undo what a crash left, and make the inboxes; raises JournalError, OSError."""
        with self.context() as context:
            tell_recovered(recover(context.transaction))
            tell(look_again(context.transaction))
            # What a crash kept from the audit is added to it.
            context.audit()
            self._tidy(context)
            context.make_inboxes()

    def serve(self) -> int:
        """Answer whoever connects, until told to stop; raises ListenError."""
        with self._listen() as listening:
            self._outlook.start()
            self._leftovers.start()
            systemd.notify("READY=1", "STATUS=waiting to be asked")
            log.info("listening on %s as %s", printable(self._config.settings.actor.socket), ourselves().name)
            while not self._stopping.is_set():
                ready, _, _ = select.select([listening, self._awake], [], [])
                if self._awake in ready:
                    self._awake.recv(4096)
                    self._settle()
                if listening in ready and not self._stopping.is_set():
                    self._accept(listening)
            systemd.notify("STOPPING=1")
        # What has switched a file already is finished, however long that takes: nothing is worse than half of it.
        with self._turn.taken():
            end = time.monotonic() + STOP_WITHIN
        with self._news:
            self._news.notify_all()
        self._reader.end()
        for each in tuple(self._conversations):
            each.join(max(0.0, end - time.monotonic()))
        self._leftovers.stop(max(0.0, min(1.0, end - time.monotonic())))
        self._outlook.stop(max(0.0, min(1.0, end - time.monotonic())))
        log.info("stopped")
        return 0

    def _listen(self) -> socket.socket:
        """Return the socket, for root and the group that may ask; raises ListenError."""
        settings = self._config.settings.actor
        group = gid_of(settings.group)
        if group is None or (os.geteuid() and group not in {os.getegid(), *os.getgroups()}):
            why = "there is no" if group is None else "the actor is not in the"
            log.warning("%s group %s (actor.group): only root and %s can ask", why, settings.group, ourselves().name)
            group = None
        return listen_unix(settings.socket, 0o600 if group is None else 0o660, group)

    def _settle(self) -> None:
        """Have the configuration read again now, though nobody asks for anything."""
        if self._stopping.is_set():
            return
        try:
            with self.context():
                log.info("read the configuration again")
        except (JournalError, OSError) as error:
            log.error("the configuration was not read again: %s", printable(str(error)))  # noqa: TRY400 (as above)

    def _accept(self, listening: socket.socket) -> None:
        """Let in all who wait: whoever is turned away must not hold up the next."""
        for _ in range(BACKLOG):
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self._let_in(connection)

    def _let_in(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(PATIENCE)
            uid = uid_of(connection)
        except OSError:
            connection.close()
            return
        place = self._door.enter(uid, self._config.settings.actor)
        if place is None:
            connection.close()
            self._lines.write(uid, logging.INFO, "uid %d asks too much at once", uid)
            return
        each = threading.Thread(target=self._converse, args=(connection, place), daemon=True)
        self._conversations.add(each)
        try:
            each.start()
        except RuntimeError as error:
            log.error("no thread can be had: %s", error)  # noqa: TRY400 (an operator is told, not a programmer)
            self._conversations.discard(each)
            self._door.leave(place)
            connection.close()

    def _converse(self, connection: socket.socket, place: int) -> None:
        try:
            with connection:
                peer, line = peer_of(connection), _read_line(connection)
                if line is not None:
                    self._answer(connection, peer, decode(line))
        except OSError as error:
            log.debug("a connection was lost: %s", error)
        finally:
            self._door.leave(place)
            self._conversations.discard(threading.current_thread())

    def _answer(self, connection: socket.socket, peer: Peer, request: Request | str) -> None:
        def tell(document: Document) -> None:
            # Whoever asked may have left meanwhile: what is under way goes on.
            with suppress(OSError):
                self._send(connection, document)

        if isinstance(request, str):
            tell(cannot(request))
            return
        if self._role(peer) is Role.STRANGER:
            self._lines.write(peer.uid, logging.INFO, "refused %s", peer.name)
            tell(cannot(STRANGER))
            return
        try:
            if request.verb is Verb.FOLLOW:
                self._follow(connection, JournalPosition(request.epoch, request.after))
            elif request.verb is Verb.AUDIT:
                self._tell_audit(connection, peer)
            elif request.verb is Verb.READ:
                tell(self._facts(request.components[0]))
            else:
                tell(self.do(request, peer, Caller(tell, partial(_has_left, connection))))
        except (JournalError, BackupError) as error:
            tell(cannot(str(error)))
        except OSError as error:
            tell(cannot(printable(f"{error.filename or 'what the actor keeps'}: {error.strerror}")))
        except Exception:
            log.exception("a request failed for no foreseen reason")
            tell(cannot("the actor failed for a reason that was not foreseen; its log says more"))

    def do(self, request: Request, peer: Peer, caller: Caller) -> Document:
        """Return the answer to what somebody asks for, once it is done; raises JournalError, BackupError, OSError."""
        with self.context() as context:
            if request.verb in _LOOKING:
                return self._permitted(context, request, peer, caller)
            # Who may ask for what is decided in one's turn: until then, somebody may have said no.
            with self._acting(request, peer, caller) as free:
                if not free:
                    act = self._turn.act or "something else"
                    return cannot(f"the actor is at work on {act}: ask again")
                answer = self._permitted(context, request, peer, caller)
                self._tidy(context)
                return answer

    def _tidy(self, context: ActorContext) -> None:
        """Have the journal compacted where it has become large, while nobody else acts."""
        try:
            context.tidy()
        except (JournalError, OSError) as error:
            log.error("the journal was not compacted: %s", printable(str(error)))  # noqa: TRY400 (as below)

    def _tell_audit(self, connection: socket.socket, peer: Peer) -> None:
        """Tell what the audit holds, byte for byte."""
        config = self._current()
        if self._role(peer) is not Role.OPERATOR:
            self._send(connection, cannot("the audit is for an operator"))
            return
        for segment in audit.read(World(), audit_directory(config)):
            self._send(connection, {"segment": segment.name, "data": segment.data.decode("latin-1")})
        self._send(connection, {"end": True})

    def _facts(self, name: str) -> Document:
        """Return what the files of a component are and hold: in no turn, so that a transaction does not hold it up."""
        config = self._current()
        if (wrong := unknown(config, (name,))) is not None:
            return cannot(wrong)
        targets = [each for each in config.files if each.component == name]
        facts = self._reader.read(name, targets)
        if isinstance(facts, NotNow):
            return {**cannot(facts.why), "again": facts.after}
        return {"facts": to_document(facts)}

    def _look_again(self, names: Iterable[str]) -> None:
        """Have those who follow told that the files of these components may be others."""
        with self._news:
            number = max(self._looks.values(), default=0) + 1
            self._looks.update(dict.fromkeys(names, number))
            self._news.notify_all()

    def _changed_since(self, number: int) -> tuple[list[str], int]:
        """Return the components whose files may have changed since the change of that number, and the last number."""
        with self._news:
            names = sorted(name for name, at in self._looks.items() if at > number)
            return names, max(self._looks.values(), default=0)

    def _permitted(self, context: ActorContext, request: Request, peer: Peer, caller: Caller) -> Document:
        journal_state, now = JournalState.of(context.transaction.journal.records()), time.time()
        role = role_of(peer.uid, context.config.settings.actor)
        suspicion = self._suspicion(context)
        wrong = unusable(context.config, request.names) or objection(role, request, context.config, journal_state)
        if wrong is None and role is not Role.OPERATOR and request.verb is Verb.CARRY_OUT and suspicion is not None:
            wrong = f"nothing is done unattended now: {suspicion}"
        if wrong is not None:
            self._lines.write(peer.uid, logging.WARNING, "refused to %s for %s: %s", request.verb, peer.name, wrong)
            return cannot(wrong)
        if request.verb is Verb.STATE:
            return state_document(context, journal_state, suspicion)
        bound = Bound.NOT
        if role is Role.DAEMON and request.verb is Verb.CARRY_OUT:
            bound = Bound.APPROVED if approved(request, journal_state, now) else Bound.LEAVE
        work = Work(
            context,
            peer.name,
            self._announcing(caller.step),
            self._stopping.is_set,
            bound=bound,
            sightings=self._sightings,
            attended=role is Role.OPERATOR,
            pace=self._pace,
        )
        return work.answer(request)

    @contextmanager
    def _acting(self, request: Request, peer: Peer, caller: Caller) -> Iterator[bool]:
        """Give whether nobody else acts; an operator comes before the daemon, and waits for as long as that acts."""
        first, what = self._role(peer) is Role.OPERATOR, ", ".join(request.names) or request.plan
        act = f"'{request.verb} {what}' for {peer.name}"
        with ExitStack() as stack:
            had = stack.enter_context(self._turn.taken(SOON if first else PATIENCE, act=act, first=first))
            if first and not had:
                caller.waits(self._turn.act)
                had = stack.enter_context(self._turn.taken(LONGEST_TURN, act=act))
                # Who gave up waiting does not expect it to be done.
                had = had and not caller.has_left()
            free = had and not self._stopping.is_set()
            if free and request.verb is not Verb.PROPOSE:
                self._lines.write(peer.uid, logging.INFO, "asked to %s %s", request.verb, what)
            yield free

    def _suspicion(self, context: ActorContext) -> str | None:
        required = context.config.settings.actor.require_synchronised_clock
        return self._clock.suspicion(context.transaction.journal.records(), required=required)

    def _announcing(self, told: Callable[[Record], None]) -> Callable[[Record], None]:
        def announce(record: Record) -> None:
            with self._news:
                self._news.notify_all()
            told(record)

        return announce

    def _follow(self, connection: socket.socket, place: JournalPosition) -> None:
        """Tell records as they come, until the other end has had enough."""
        with self.context() as context:
            _, noticed = self._changed_since(0)
            while not self._stopping.is_set():
                records, place, anew = behind(context.transaction.journal.records(), place)
                if anew:
                    self._send(connection, {"anew": place.epoch})
                for record in records:
                    self._send(connection, {"record": summary(record)})
                # Also says that we are still here.
                here = {"here": place.sequence, "epoch": place.epoch, "clock": self._suspicion(context)}
                self._send(connection, here)
                names, noticed = self._changed_since(noticed)
                for name in names:
                    self._send(connection, {"look": name})
                with self._news:
                    if max(self._looks.values(), default=0) == noticed:
                        self._news.wait(BREATH)

    @contextmanager
    def context(self) -> Iterator[ActorContext]:
        """Give the context for the configuration as it is now; raises JournalError, OSError."""
        with self._settling:
            config, trust_context = self._refresh(), self._trust_context
            known = trust_context is not None and trust_context.config is config
            if trust_context is None or not known or _signature(trust_context.paths()) != self._read:
                trust_context, findings = read_trust_context(config)
                for each in findings:
                    log.warning("%s", each.detail)
                self._trust_context, self._read = trust_context, _signature(trust_context.paths())
        with actor_context(trust_context) as context:
            if not known:
                _make_inboxes(context)
            yield context

    def _current(self) -> Config:
        """Return the configuration as it is now."""
        with self._settling:
            return self._refresh()

    def _refresh(self) -> Config:
        """Return the configuration, read again where the disk has another than was read last."""
        digest = digest_on_disk(self._path)
        if digest != self._seen:
            self._seen = digest
            found = load(self._path, os.environ)
            if isinstance(found, Config):
                self._config = found
            else:
                mistakes = f"{len(found)} mistakes, the first: {found[0]}"
                log.error("kept the old configuration: the new one has %s", mistakes)
        return self._config

    def _send(self, connection: socket.socket, document: Document) -> None:
        connection.sendall(json.dumps({**document, "host": self._config.host}).encode() + b"\n")

    def _role(self, peer: Peer) -> Role:
        return role_of(peer.uid, self._current().settings.actor)


def _make_inboxes(context: ActorContext) -> None:
    try:
        context.make_inboxes()
    except OSError as error:
        log.warning("an inbox cannot be made: %s: %s", printable(str(error.filename)), error.strerror)


def state_document(context: ActorContext, journal_state: JournalState, suspicion: str | None) -> Document:
    """Return what stands with every component."""
    components = {
        name: {
            "mode": component.mode,
            "frozen": journal_state.frozen.get(name),
            "last": ended_document(journal_state.last[name]) if name in journal_state.last else None,
        }
        for name, component in context.config.components.items()
        if component.service is not None
    }
    return {
        "components": components,
        "proposals": {
            plan: {"action": each.action.to_json(), **waiting_document(each, journal_state)}
            for plan, each in journal_state.proposals.items()
        },
        "given_up": {key: asdict(each) for key, each in journal_state.given_up.items()},
        "quarantined": journal_state.quarantined,
        "aside": [
            {"component": file.component, "path": printable(file.path), "until": each.until}
            for each in journal_state.aside.values()
            for file in each.files
        ],
        "under_way": list(journal_state.unfinished),
        "clock": suspicion,
    }


def _signature(paths: Iterable[str]) -> Signature:
    """Return what differs once a file is another."""
    found = []
    for path in sorted(paths):
        with suppress(OSError):
            status = os.stat(path)
            found.append((path, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _step(record: Record) -> Mapping[str, Any]:
    return {**step_document(record), "transaction": record.transaction}


def _has_left(connection: socket.socket) -> bool:
    """Return whether the other end has closed the connection."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _read_line(connection: socket.socket) -> bytes | None:
    """Return what a peer says up to the first line feed; None where it says too much, or too slowly."""
    said, end = b"", time.monotonic() + PATIENCE
    while b"\n" not in said:
        if len(said) > LONGEST or time.monotonic() > end:
            return None
        more = connection.recv(LONGEST)
        if not more:
            return None
        said += more
    return said[: said.index(b"\n")]
