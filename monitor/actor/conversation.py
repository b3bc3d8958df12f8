"""One conversation on the socket: who asks, the line that is read, the answer; those who follow are told more."""

from __future__ import annotations

import json
import logging
import select
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Final

from actions import audit
from actions.backup import BackupError
from actions.journal import JournalError
from actions.world import World
from config.immutable import immutable
from config.text import Printable, harmless, printable
from monitor.actor.authority import STRANGER, Peer, Role, peer_of
from monitor.actor.context import audit_directory
from monitor.actor.current import CurrentConfig
from monitor.actor.dispatch import Caller, Dispatcher
from monitor.actor.documents import cannot, record_document
from monitor.actor.follow import JournalPosition, behind
from monitor.actor.handed import CandidateFiles, receive
from monitor.actor.news import FollowerNews
from monitor.actor.request import LONGEST, Document, Request, Verb, decode

PATIENCE: Final = 10.0
"""Seconds for a peer to send its request, and to take each line of the answer."""
BREATH: Final = 1.0
"""Seconds between two looks at the journal for records of other processes."""


@immutable
class Conversation:
    """A conversation with whoever connected."""

    connection: socket.socket
    current: CurrentConfig
    dispatcher: Dispatcher
    news: FollowerNews
    stopping: threading.Event

    def hold(self) -> None:
        """Read one request and answer it; raises OSError where the connection is lost before the answer."""
        peer, said = peer_of(self.connection), _read_line(self.connection)
        if said is None:
            return
        try:
            self._hear(peer, *said)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (it is logged, with its traceback)
            # As bounded as everything that a peer can have written into the log.
            self.dispatcher.lines.write(
                peer.uid, logging.ERROR, "a request of %s failed for no foreseen reason", peer.name, exc_info=error
            )
            self._tell(cannot(Printable("the actor failed for a reason that was not foreseen; its log says more")))

    def _hear(self, peer: Peer, line: bytes, rest: bytes) -> None:
        """Answer the request of a line; `rest` are the bytes behind it."""
        request = decode(line)
        if isinstance(request, str):
            self._tell(cannot(request))
        elif self.dispatcher.role(peer) is Role.STRANGER:
            self.dispatcher.lines.write(peer.uid, logging.INFO, "refused %s", peer.name)
            self._tell(cannot(STRANGER))
        elif not request.files and request.password is None:
            self._answer(request, peer, None)
        elif self.dispatcher.role(peer) is not Role.OPERATOR and request.verb is not Verb.OFFER:
            # The daemon brings no certificate: a candidate of its own would be an attacker's.
            self.dispatcher.lines.write(peer.uid, logging.WARNING, "refused files of %s", peer.name)
            self._tell(cannot(Printable("the files of a candidate are for an operator to hand over")))
        elif (files := receive(self.connection, request, rest)) is not None:
            self._answer(request, peer, files)

    def _answer(self, request: Request, peer: Peer, files: CandidateFiles | None) -> None:
        try:
            match request.verb:
                case Verb.FOLLOW:
                    self._follow(peer, JournalPosition(request.epoch, request.after))
                case Verb.AUDIT:
                    self._send_audit(peer)
                case _:
                    caller = Caller(self._tell, partial(_has_left, self.connection))
                    self._tell(self.dispatcher.do(request, peer, caller, files))
        except (JournalError, BackupError) as error:
            self._tell(cannot(harmless(str(error))))
        except OSError as error:
            self._tell(cannot(printable(f"{error.filename or 'the state of the actor'}: {error.strerror}")))

    def _follow(self, peer: Peer, place: JournalPosition) -> None:
        """Tell records and changes of files as they come, until the other end has left."""
        _, noticed = self.news.changed_since(0)
        while not self.stopping.is_set():
            place, noticed = self._follow_under_one_configuration(peer, place, noticed)

    def _follow_under_one_configuration(
        self, peer: Peer, place: JournalPosition, noticed: int
    ) -> tuple[JournalPosition, int]:
        """Follow until the configuration is another; return the place in the journal, and the last change of files."""
        with self.current.context() as context:
            to_operator = self.dispatcher.role(peer) is Role.OPERATOR
            while not self.stopping.is_set() and self.current.last is context.config:
                records, place, anew = behind(context.records(), place)
                if anew:
                    self._send({"anew": place.epoch})
                for record in records:
                    self._send(record_document(record, to_operator=to_operator))
                # This line also says that the actor is still here.
                here = {"here": place.sequence, "epoch": place.epoch, "clock": self.dispatcher.suspicion(context)}
                self._send(here)
                names, noticed = self.news.changed_since(noticed)
                for name in names:
                    self._send({"look": name})
                self.news.wait(noticed, BREATH)
        return place, noticed

    def _send_audit(self, peer: Peer) -> None:
        """Send the segments of the audit to an operator, byte for byte."""
        if self.dispatcher.role(peer) is not Role.OPERATOR:
            self._send(cannot(Printable("the audit is for an operator")))
            return
        for segment in audit.read(World(), audit_directory(self.current.config())):
            self._send({"segment": segment.name, "data": segment.data.decode("latin-1")})
        self._send({"end": True})

    def _send(self, document: Document) -> None:
        self.connection.sendall(json.dumps({**document, "host": self.current.last.host}).encode() + b"\n")

    def _tell(self, document: Document) -> None:
        """Send a document to a peer who may have left: what is under way goes on."""
        with suppress(OSError):
            self._send(document)


def _has_left(connection: socket.socket) -> bool:
    """Return whether the other end has closed the connection."""
    # A socket with a time limit would wait, and then raise the error of a lost connection.
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    try:
        return bool(poller.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _read_line(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Return the line that a peer sends, without its end, and the bytes that came behind it.

    None where it is too long, or comes too slowly.
    """
    said, end = b"", time.monotonic() + PATIENCE
    while b"\n" not in said:
        if len(said) > LONGEST or time.monotonic() > end:
            return None
        more = connection.recv(LONGEST)
        if not more:
            return None
        said += more
    line, _, rest = said.partition(b"\n")
    return line, rest
