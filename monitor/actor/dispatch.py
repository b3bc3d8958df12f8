"""From a request to its answer: who may ask for it, whose turn it is, and the work itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from actions.clock import DISTRUST, ClockWatch
from actions.journal import JournalError, Record
from actions.world import World
from config.immutable import immutable
from config.text import Log, Printable, harmless, listed, printable, sentence
from monitor.actor.authority import Peer, Role, approval_of, objection, role_of
from monitor.actor.context import ActorContext
from monitor.actor.current import CurrentConfig
from monitor.actor.documents import cannot, state_document, step_document, waits_document
from monitor.actor.door import BoundedLog, Turn
from monitor.actor.facts import to_document
from monitor.actor.handed import CandidateFiles
from monitor.actor.handlers import handle, unknown, unusable
from monitor.actor.meanwhile import SeenState, seen_now
from monitor.actor.news import FollowerNews
from monitor.actor.pace import Pace
from monitor.actor.reader import NotNow, Reader
from monitor.actor.request import Document, Request, Verb
from monitor.actor.sightings import Sightings
from monitor.actor.work import Work

log: Log = logging.getLogger("certvigil.actor")

PATIENCE: Final = 10.0
"""Seconds for the daemon's turn to come."""
SOON: Final = 1.0
"""Seconds after which an operator is told which act delays the turn."""
LONGEST_TURN: Final = 600.0
"""Seconds for an operator's turn to come: an act of the daemon may have to wait for hosts that never answer."""
_LOOKING: Final = frozenset({Verb.STATE, Verb.PLAN, Verb.BACKUPS, Verb.REQUESTS, Verb.OFFERS})
"""Verbs that need no turn."""


@immutable
class Caller:
    """The connection of a user who asks, and hears of each step."""

    tell: Callable[[Document], None] = lambda _document: None
    has_left: Callable[[], bool] = lambda: False

    def step(self, record: Record) -> None:
        """Tell a step of a transaction."""
        self.tell({"step": {**step_document(record), "transaction": record.transaction}})

    def waits(self, act: str) -> None:
        """Tell that the request waits for its turn."""
        self.tell({"step": waits_document(act, time.time())})


class Dispatcher:
    """Carries out requests, one act at a time; any thread may ask."""

    def __init__(
        self, current: CurrentConfig, news: FollowerNews, stopping: threading.Event, pace: Pace | None = None
    ) -> None:
        """`pace`: the bound on the daemon's requests; None for the default."""
        self.turn = Turn()
        """Is taken by whoever acts."""
        self.lines = BoundedLog()
        self.reader = Reader()
        self._current = current
        self._news = news
        self._stopping = stopping
        self._pace = pace or Pace()
        self._clock = ClockWatch(World())
        self._sightings = Sightings()

    def role(self, peer: Peer) -> Role:
        """Return the present role of a user."""
        return role_of(peer.uid, self._current.config().settings.actor)

    def do(self, request: Request, peer: Peer, caller: Caller, files: CandidateFiles | None = None) -> Document:
        """Return the answer to a request, once it is done; raises JournalError, BackupError, OSError.

        `files` are the candidate that an operator hands over.
        """
        if request.verb is Verb.READ:
            return self._facts(request.components[0])
        if request.verb in _LOOKING:
            with self._current.context() as context:
                return self._permitted(context, request, peer, caller, files)
        # Nobody waits for a turn to be told that a name is wrong.
        if (wrong := unusable(self._current.config(), request)) is not None:
            return cannot(wrong)
        seen = self._seen(request, peer)
        # The right to ask is checked in the turn, by the configuration of then: until then, a person may have rejected
        # it, or have changed the configuration.
        with self._acting(request, peer, caller) as free:
            if not free:
                act = self.turn.act or Printable("something else")
                return cannot(sentence("the actor is busy with {}: ask again", act))
            with self._current.context() as context:
                answer = self._permitted(context, request, peer, caller, files, seen)
                tidy(context)
                return answer

    def suspicion(self, context: ActorContext) -> Printable | None:
        """Say why the clock may be wrong; None where it is right."""
        required = context.config.settings.actor.require_synchronised_clock
        found = self._clock.suspicion(context.records(), required=required)
        return None if found is None else harmless(found)

    def _facts(self, name: str) -> Document:
        """Return the facts of a component's files; it takes no turn, so that a transaction does not hold it up."""
        config = self._current.config()
        if (wrong := unknown(config, (name,))) is not None:
            return cannot(wrong)
        facts = self.reader.read(name, [each for each in config.files if each.component == name])
        if isinstance(facts, NotNow):
            return {**cannot(harmless(facts.why)), "again": facts.after}
        return {"facts": to_document(facts)}

    def _seen(self, request: Request, peer: Peer) -> SeenState | None:
        """Return the state that a person has seen who asks for an action; raises JournalError, OSError."""
        if request.verb is not Verb.CARRY_OUT or self.role(peer) is not Role.OPERATOR:
            return None
        with self._current.context() as context:
            return seen_now(context, request.wanted)

    @contextmanager
    def _acting(self, request: Request, peer: Peer, caller: Caller) -> Iterator[bool]:
        """Give whether nobody else acts; an operator comes before the daemon, and waits for as long as that acts."""
        first = self.role(peer) is Role.OPERATOR
        about = listed(map(printable, request.names)) or printable(request.plan or request.key)
        act = request_phrase(request, peer)
        with ExitStack() as stack:
            had = stack.enter_context(self.turn.taken(SOON if first else PATIENCE, act=act, first=first))
            if first and not had:
                had = stack.enter_context(self.turn.taken(LONGEST_TURN, act=act, waits=caller.waits))
                # An operator who gave up waiting does not expect it to be done.
                had = had and not caller.has_left()
            free = had and not self._stopping.is_set()
            if free and request.verb is not Verb.PROPOSE:
                self.lines.write(peer.uid, logging.INFO, "asked to %s %s", request.verb, about)
            yield free

    def _permitted(  # noqa: PLR0917 (what a request comes with)
        self,
        context: ActorContext,
        request: Request,
        peer: Peer,
        caller: Caller,
        files: CandidateFiles | None,
        seen: SeenState | None = None,
    ) -> Document:
        """Return the answer to a request, or why this user may not ask for that."""
        journal_state, now = context.journal_state(), time.time()
        role = role_of(peer.uid, context.config.settings.actor)
        suspicion = self.suspicion(context)
        wrong = unusable(context.config, request) or objection(role, request, context.config, journal_state)
        if wrong is None and role is not Role.OPERATOR and request.verb is Verb.CARRY_OUT and suspicion is not None:
            wrong = sentence("nothing is done unattended now: {}", suspicion)
        if wrong is not None:
            self.lines.write(peer.uid, logging.WARNING, "refused to %s for %s: %s", request.verb, peer.name, wrong)
            return cannot(wrong)
        if request.verb is Verb.STATE:
            return state_document(context, suspicion)
        work = Work(
            context,
            peer.name,
            self._announcing(caller),
            self._stopping.is_set,
            files=files,
            role=role,
            approval=approval_of(request, journal_state, now),
            sightings=self._sightings,
            pace=self._pace,
            waits=caller.waits,
            has_left=caller.has_left,
            uid=peer.uid,
            seen=seen,
        )
        answer = handle(work, request)
        if suspicion is None or role is not Role.OPERATOR:
            return answer
        return _held_for_clock(answer, request.verb, suspicion)

    def _announcing(self, caller: Caller) -> Callable[[Record], None]:
        """Return a function that tells a step to the caller, and that there are records to whoever follows."""

        def announce(record: Record) -> None:
            self._news.wake()
            caller.step(record)

        return announce


def request_phrase(request: Request, peer: Peer) -> Printable:
    """Return what is asked and by whom, as it is told to others who wait for their turn: a phrase."""
    about = listed(map(printable, request.names))
    match request.verb:
        case Verb.CARRY_OUT:
            what = sentence("the {} of {}", request.wanted.kind, about)
        case Verb.PROPOSE:
            what = sentence("a plan for the {} of {}", request.wanted.kind, about)
        case Verb.APPROVE:
            what = sentence("the approval of plan {}", printable(request.plan[:16]))
        case Verb.REJECT:
            what = sentence("the rejection of plan {}", printable(request.plan[:16]))
        case Verb.RECOVER:
            what = sentence("the recovery{}", sentence(" of {}", about) if about else Printable(""))
        case Verb.CSR:
            what = sentence("a request for a certificate of {}", about)
        case Verb.CANCEL:
            what = sentence("the withdrawal of request {}", printable(request.key[:16]))
        case Verb.OFFER:
            what = sentence("an offer for {}", about)
        case Verb.TRUST:
            what = sentence("a change of the trust store {}", about)
        case Verb.WITHDRAW:
            what = sentence("the withdrawal of offer {}", printable(request.key[:16]))
        case _:
            what = sentence("'{}'", request.verb)
    return sentence("{}, asked for by {}", what, peer.name)


def tidy(context: ActorContext) -> None:
    """Have the journal compacted where it has become large, while nobody else acts."""
    try:
        context.tidy()
    except (JournalError, OSError) as error:
        log.error("the journal was not compacted: %s", printable(str(error)))  # noqa: TRY400 (for an operator)


_BELIEVED_AGAIN: Final = sentence(
    "it does so again {} minutes after the last jump of the clock, once the kernel counts the clock as "
    "synchronised, and once no entry of the journal is later than now",
    round(DISTRUST / 60),
)


def _held_for_clock(answer: Document, verb: Verb, suspicion: Printable) -> Document:
    """Return the answer to a person about a plan, with the word that the daemon does nothing for the clock's sake."""
    held = sentence("the daemon neither proposes nor carries out plans now: {}; {}", suspicion, _BELIEVED_AGAIN)
    if verb in {Verb.PLAN, Verb.APPROVE} and "remarks" in answer:
        return {**answer, "remarks": [*answer["remarks"], held]}
    if verb is Verb.APPROVE and "cannot" in answer:
        return {**answer, "cannot": sentence("{}; {}", harmless(answer["cannot"]), held)}
    return answer
