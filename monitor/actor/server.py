"""The actor's process: its socket, its threads and its life, from the recovery at the start to the stop."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Final

from actions.backup import BackupError
from actions.journal import JournalError
from actions.late import look_again
from actions.recover import recover
from config.model import Config
from config.text import Log, Printable, printable
from monitor.actor.authority import ourselves, uid_of
from monitor.actor.conversation import PATIENCE, Conversation
from monitor.actor.current import CurrentConfig
from monitor.actor.dispatch import Dispatcher, tidy
from monitor.actor.door import Door
from monitor.actor.leftovers import Leftovers, tell, tell_recovered
from monitor.actor.news import FollowerNews
from monitor.actor.outlook import DirectoryWatch
from monitor.actor.pace import Pace
from monitor.actor.requests import clear_keys
from monitor.actor.work import Work
from monitor.host import systemd
from monitor.host.sockets import BACKLOG, ListenError, gid_of, listen_unix

log: Log = logging.getLogger("certvigil.actor")

STOP_WITHIN: Final = 4.0
"""Seconds for everything but a transaction that is past its intent to end in."""


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


class ActorProcess:
    """One actor: its socket and its threads."""

    def __init__(self, path: str, config: Config, pace: Pace | None = None) -> None:
        """`config` was read from `path`; `pace` is as in `Dispatcher`."""
        self.current = CurrentConfig(path, config)
        self._stopping = threading.Event()
        self._news = FollowerNews()
        self.dispatcher = Dispatcher(self.current, self._news, self._stopping, pace)
        self.leftovers = Leftovers(self.current.context, self.dispatcher.turn, self._stopping)
        self._outlook = DirectoryWatch(self.current.config, self._news.look_again)
        self._door = Door()
        self._conversations: set[threading.Thread] = set()
        self._wake, self._awake = socket.socketpair()
        self._wake.setblocking(False)

    def close(self) -> None:
        """Release the resources of an actor that does not serve any more."""
        self._wake.close()
        self._awake.close()

    def heed_signals(self) -> None:
        """Have every signal wake `serve` up: one that comes just before it waits, or to another thread, would not."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def stop(self) -> None:
        """Have `serve` end; a signal handler may call it."""
        self._stopping.set()
        self._wake_up()

    def expire(self) -> None:
        """Have the configuration read again, and the inboxes of new components made; a signal handler may call it."""
        self.current.expire()
        self._wake_up()

    def _wake_up(self) -> None:
        with suppress(OSError):
            self._wake.send(b".")

    def recover(self) -> None:
        """Finish or undo interrupted transactions, and make the inboxes; raises JournalError, OSError."""
        with self.current.context() as context:
            tell_recovered(recover(context.transaction))
            tell(look_again(context.transaction))
            # A crash may have kept records from the audit.
            context.audit()
            clear_keys(Work(context, ourselves().name))
            tidy(context)
            context.make_inboxes()
            context.make_offered_directories()

    def serve(self) -> int:
        """Answer whoever connects, until told to stop; raises ListenError."""
        with self._listen() as listening:
            self._outlook.start()
            self.leftovers.start()
            systemd.notify("READY=1", "STATUS=waiting to be asked")
            log.info("listening on %s as %s", printable(self.current.last.settings.actor.socket), ourselves().name)
            while not self._stopping.is_set():
                ready, _, _ = select.select([listening, self._awake], [], [])
                if self._awake in ready:
                    self._awake.recv(4096)
                    self._read_again()
                if listening in ready and not self._stopping.is_set():
                    self._accept(listening)
            systemd.notify("STOPPING=1")
        self._wind_up()
        log.info("stopped")
        return 0

    def _wind_up(self) -> None:
        """Wait for the turn to end, then for every thread, but for no longer than `STOP_WITHIN` seconds."""
        end = time.monotonic() + STOP_WITHIN
        is_over = False
        while not is_over:
            with self.dispatcher.turn.taken(STOP_WITHIN) as had:
                # A transaction that has switched a file is finished, however long that takes: nothing is worse than
                # half of it. Whoever only looks at a host that never answers is not waited for.
                is_over = had or not self._is_half_done()
        self._news.wake()
        self.dispatcher.reader.end()
        for each in tuple(self._conversations):
            each.join(max(0.0, end - time.monotonic()))
        self.leftovers.stop(max(0.0, min(1.0, end - time.monotonic())))
        self._outlook.stop(max(0.0, min(1.0, end - time.monotonic())))

    def _is_half_done(self) -> bool:
        """Whether a transaction has begun and has not ended; where the journal does not say, it may be so."""
        try:
            with self.current.context() as context:
                return bool(context.journal_state().unfinished)
        except (JournalError, OSError):
            return True

    def _listen(self) -> socket.socket:
        """Return the socket, for root and the group that may ask; raises ListenError."""
        settings = self.current.last.settings.actor
        group = gid_of(settings.group)
        if group is None or (os.geteuid() and group not in {os.getegid(), *os.getgroups()}):
            why = Printable("there is no") if group is None else Printable("the actor is not in the")
            name = printable(settings.group)
            log.warning("%s group %s (actor.group): only root and %s can ask", why, name, ourselves().name)
            group = None
        return listen_unix(settings.socket, 0o600 if group is None else 0o660, group)

    def _read_again(self) -> None:
        """Have the configuration read again now, though nobody asks for anything."""
        if self._stopping.is_set():
            return
        try:
            with self.current.context():
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
        """Have a conversation on a thread of its own, unless this user has too many already."""
        try:
            connection.settimeout(PATIENCE)
            uid = uid_of(connection)
        except OSError:
            connection.close()
            return
        place = self._door.enter(uid, self.current.last.settings.actor)
        if place is None:
            connection.close()
            self.dispatcher.lines.write(uid, logging.INFO, "uid %d asks too much at once", uid)
            return
        each = threading.Thread(target=self._converse, args=(connection, place), daemon=True)
        self._conversations.add(each)
        try:
            each.start()
        except RuntimeError as error:
            log.error("no thread can be had: %s", printable(str(error)))  # noqa: TRY400 (an operator is told, not a programmer)
            self._conversations.discard(each)
            self._door.leave(place)
            connection.close()

    def _converse(self, connection: socket.socket, place: int) -> None:
        try:
            with connection:
                Conversation(connection, self.current, self.dispatcher, self._news, self._stopping).hold()
        except OSError as error:
            log.debug("a connection was lost: %s", printable(str(error)))
        finally:
            self._door.leave(place)
            self._conversations.discard(threading.current_thread())
