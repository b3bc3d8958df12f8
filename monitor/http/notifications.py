"""The part of the API for notifications: it shows alerts, and takes acknowledgements and silences.

It names channels, never their URLs. Changes are possible over the Unix socket only, where the kernel names the user who
asks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import Response

from config.channel import FindingMatch
from config.text import harmless, printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.http.answers import API, Answer, Limit, Listing, Offset, not_found
from monitor.http.view import NotifierView
from monitor.notify import delivery, lifecycle, outbox
from monitor.notify.delivery import DeliveryFate
from monitor.notify.open_problem import OpenProblem, Quiet
from monitor.notify.problem import Member
from monitor.notify.text import LISTED
from probes.judge.time import calendar

_LASTING: Any = Query(gt=0, le=366 * 86_400, alias="for", description="Seconds.")
_Seconds = Annotated[float, _LASTING]
_MaybeSeconds = Annotated[float | None, _LASTING]
_Reason = Annotated[str, Query(min_length=1, max_length=500)]
_Names = Annotated[list[str], Query()]
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {403: {"description": "Asked over TCP."}}


class Acknowledged(Answer):
    """Somebody knows of a problem."""

    who: str
    at: datetime
    until: datetime | None
    """When it ends; null for the end of the problem."""

    @classmethod
    def of(cls, known: lifecycle.Acknowledgement) -> Acknowledged:
        """Return who knows, and since when."""
        return cls(who=known.who, at=calendar(known.at), until=None if known.until is None else calendar(known.until))


class AlertAnswer(Answer):
    """An open problem, as a channel was told of it."""

    problem: str
    """Its short name, the same for every channel."""
    channel: str
    severity: Severity
    headline: str
    codes: Sequence[Code]
    targets: int
    """The number of its targets in the last message."""
    since: datetime
    told: datetime
    """When it was last told."""
    messages: int
    acknowledged: Acknowledged | None

    @classmethod
    def of(cls, alert: lifecycle.Alert) -> AlertAnswer:
        """Return the alert."""
        known = alert.acknowledged
        return cls(
            problem=alert.problem,
            channel=alert.channel,
            severity=alert.severity,
            headline=printable(alert.headline),
            codes=sorted(alert.codes),
            targets=len(alert.targets),
            since=calendar(alert.since),
            told=calendar(alert.told_at),
            messages=alert.messages,
            acknowledged=None if known is None else Acknowledged.of(known),
        )


class ConcernedTarget(Answer):
    """A target of a problem."""

    target: str
    location: str
    kind: TargetKind
    component: str | None
    codes: Sequence[Code]


class ProblemDetail(Answer):
    """A finding of a problem."""

    code: Code
    detail: str


class ToldAt(Answer):
    """A channel, and when it was last told."""

    channel: str
    at: datetime


class ProblemAnswer(Answer):
    """An open problem in the words of messages, whether or not a channel was told of it."""

    problem: str
    """Its short name, the same in every message."""
    severity: Severity
    headline: str
    since: datetime
    details: Sequence[ProblemDetail]
    """The worst first."""
    ends: datetime | None
    """The earliest end of a certificate that is expiring."""
    hurts: str
    """Whom it hurts, a phrase."""
    by_itself: Sequence[str]
    """What happens without a person, and when."""
    to_act: Sequence[str]
    """What cures it, with commands for the host."""
    concerned: Sequence[ConcernedTarget]
    """At most 50 of its targets."""
    targets: int
    """The number of its targets."""
    told: Sequence[ToldAt]
    quiet: Quiet
    """Why nobody is told of it now; `told` where its channels are."""
    acknowledged: Acknowledged | None

    @classmethod
    def of(cls, problem: OpenProblem) -> ProblemAnswer:
        """Return the problem."""
        concerned: dict[str, list[Member]] = {}
        for each in problem.members:
            concerned.setdefault(each.target, []).append(each)
        text, known = problem.text, problem.acknowledged
        return cls(
            problem=problem.id,
            severity=problem.severity,
            headline=harmless(problem.headline),
            since=calendar(text.since),
            details=[ProblemDetail(code=code, detail=harmless(detail)) for code, detail in text.details[:LISTED]],
            ends=None if text.ends is None else calendar(text.ends),
            hurts=text.hurts,
            by_itself=list(map(harmless, text.by_itself)),
            to_act=list(map(harmless, text.to_act)),
            concerned=[_concerned(those) for those in list(concerned.values())[:LISTED]],
            targets=len(concerned),
            told=[ToldAt(channel=channel, at=calendar(at)) for channel, at in problem.told.items()],
            quiet=problem.quiet,
            acknowledged=None if known is None else Acknowledged.of(known),
        )


def _concerned(those: Sequence[Member]) -> ConcernedTarget:
    first = those[0]
    return ConcernedTarget(
        target=first.target,
        location=first.location,
        kind=first.kind,
        component=first.component,
        codes=list(dict.fromkeys(each.finding.code for each in those)),
    )


class Notification(Answer):
    """A message that was not delivered yet, or was given up."""

    id: str
    """The same at every attempt."""
    channel: str
    title: str
    at: datetime
    fate: DeliveryFate
    attempts: int
    why: str
    """The result of the last attempt."""

    @classmethod
    def of(cls, undelivered: delivery.Delivery) -> Notification:
        """Return the state of a message."""
        return cls(
            id=undelivered.id,
            channel=undelivered.channel,
            title=undelivered.message.title,
            at=calendar(undelivered.at),
            fate=undelivered.fate,
            attempts=undelivered.attempts,
            why=undelivered.why,
        )


class SilenceAnswer(Answer):
    """Findings that nobody is notified of."""

    id: str
    """Empty for a silence of the configuration."""
    targets: Sequence[str]
    components: Sequence[str]
    kinds: Sequence[TargetKind]
    findings: Sequence[Code]
    reason: str
    who: str
    until: datetime

    @classmethod
    def of(cls, requested: outbox.RequestedSilence) -> SilenceAnswer:
        """Return a silence."""
        match = requested.silence.match
        return cls(
            id=requested.id,
            targets=list(map(printable, match.targets)),
            components=list(map(printable, match.components)),
            kinds=match.kinds,
            findings=match.codes,
            reason=printable(requested.silence.reason),
            who=requested.who,
            until=calendar(requested.silence.until),
        )


class NotificationsAnswer(Answer):
    """The alerts, the undelivered messages, and the silences."""

    alerts: Sequence[AlertAnswer]
    undelivered: Sequence[Notification]
    silences: Sequence[SilenceAnswer]


class DoneAnswer(Answer):
    """The number of alerts or messages that were changed."""

    count: int


def who_asks(request: Request) -> str:
    """Return the user who asks over the Unix socket; refuse all other requests."""
    peer = request.state.peer
    if peer is None:
        raise HTTPException(403, "only over the Unix socket")
    return str(peer)


def _json(answer: Answer) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def add_notifications(app: FastAPI, notifications: NotifierView) -> None:
    """Add the part for notifications to `app`."""
    _add_list(app, notifications)
    _add_problems(app, notifications)
    _add_acknowledging(app, notifications)
    _add_silences(app, notifications)
    _add_given_up(app, notifications)


def _add_list(app: FastAPI, notifications: NotifierView) -> None:
    @app.get(f"{API}/notifications", response_model=NotificationsAnswer)
    async def told() -> Response:
        """List open problems as they were told, messages that were not delivered, and silences."""
        return _json(notifications_answer(notifications))


def notifications_answer(notifications: NotifierView) -> NotificationsAnswer:
    """Return the alerts, the undelivered messages, and the silences."""
    return NotificationsAnswer(
        alerts=list(map(AlertAnswer.of, notifications.alerts())),
        undelivered=list(map(Notification.of, notifications.undelivered())),
        silences=list(map(SilenceAnswer.of, notifications.silences())),
    )


def _add_problems(app: FastAPI, notifications: NotifierView) -> None:
    @app.get(f"{API}/problems", response_model=Listing[ProblemAnswer])
    async def problems(limit: Limit = 100, offset: Offset = 0) -> Response:
        """List the open problems in the words of messages, the worst first: whom they hurt, and what cures them."""
        return _json(problems_answer(notifications, offset, limit))


def problems_answer(notifications: NotifierView, offset: int, limit: int) -> Listing[ProblemAnswer]:
    """Return some of the open problems, the worst first."""
    total, some = notifications.problems(offset, limit)
    return Listing(total=total, offset=offset, items=list(map(ProblemAnswer.of, some)))


def _add_acknowledging(app: FastAPI, notifications: NotifierView) -> None:
    @app.post(
        f"{API}/notifications/acknowledge/{{problem}}",
        response_model=DoneAnswer,
        responses={**_REFUSED, **not_found("No such problem.")},
    )
    async def acknowledge(request: Request, problem: str, seconds: _MaybeSeconds = None) -> Response:
        """Acknowledge a problem: it is not told again until it gets worse, or for some time."""
        until = None if seconds is None else time.time() + seconds
        count = notifications.acknowledge(problem, who_asks(request), until)
        if not count:
            raise HTTPException(404, "no channel was told of such a problem")
        return _json(DoneAnswer(count=count))


def _add_silences(app: FastAPI, notifications: NotifierView) -> None:
    @app.post(f"{API}/notifications/silences", response_model=SilenceAnswer, responses=_REFUSED)
    async def silence(
        request: Request,
        *,
        seconds: _Seconds,
        reason: _Reason,
        target: _Names = [],  # noqa: B006 (FastAPI copies it)
        component: _Names = [],  # noqa: B006
        finding: Annotated[list[Code], Query()] = [],  # noqa: B006
    ) -> Response:
        """Silence some findings for some time."""
        match = FindingMatch(tuple(target), tuple(component), (), tuple(finding))
        return _json(SilenceAnswer.of(notifications.silence(match, reason, time.time() + seconds, who_asks(request))))

    @app.delete(
        f"{API}/notifications/silences/{{identifier}}",
        response_model=DoneAnswer,
        responses={**_REFUSED, **not_found("No such silence.")},
    )
    async def unsilence(request: Request, identifier: str) -> Response:
        """End a silence."""
        if not notifications.unsilence(identifier, who_asks(request)):
            raise HTTPException(404, "there is no such silence, or it is one of the configuration")
        return _json(DoneAnswer(count=1))


def _add_given_up(app: FastAPI, notifications: NotifierView) -> None:
    """Add what is done with messages that were given up."""

    @app.post(f"{API}/notifications/retry", response_model=DoneAnswer, responses=_REFUSED)
    async def retry(request: Request, channel: str | None = None) -> Response:
        """Deliver messages that were given up again."""
        who_asks(request)
        return _json(DoneAnswer(count=notifications.retry(channel)))

    @app.post(f"{API}/notifications/drop", response_model=DoneAnswer, responses=_REFUSED)
    async def drop(request: Request, channel: str | None = None) -> Response:
        """Drop messages that were given up."""
        who_asks(request)
        return _json(DoneAnswer(count=notifications.drop(channel)))
