"""`certvigil policy explain|test`: the reasons of present decisions, and the time of future ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from config.fields import duration
from config.immutable import immutable
from config.model import DAY, Config
from config.text import Printable, harmless, printable
from monitor.commands import here
from monitor.commands.choice import unknown
from monitor.commands.client import MOST_BYTES_OF_MANY, NoDaemonAnswer, ask
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.given import UsageError, parse_time
from monitor.commands.json_output import print_json
from monitor.commands.screen import Screen
from monitor.decide.check import NEVER
from monitor.decide.decision import Decision, action_name
from monitor.decide.explain import Explained
from monitor.decide.explain import explain as explain_all
from monitor.decide.foresee import ForeseenMessage, Recipients, fresh
from monitor.decide.simulate import Assumptions, Happening, as_of, timeline
from monitor.decide.situation import Situation
from monitor.dialect import iso
from monitor.http.situations import SituationsError, situations_from_plain, situations_to_plain

UNUSABLE: Final = 3
_DAYS: Final = 90.0
"""The span where no certificate is known."""
_MOST_DAYS: Final = 3660.0


@immutable
class Source:
    """The sources of policies and situations."""

    config: str
    """A file or a directory."""
    state: str | None
    """A file with the output of `explain --json` or the API; None to ask the daemon."""
    socket: str


def explain(target: str, at: str | None, source: Source, *, as_json: bool) -> int:
    """Print the decision of each policy about `target`; return 3 where it cannot be told."""
    return _guarded(Printable("explain"), lambda: _explain(target, at, source, as_json=as_json))


@immutable
class Span:
    """The simulated time."""

    at: str | None
    """Its begin; None for now."""
    days: int | None
    """Its length; None for until a day after the certificates end."""
    lifetime: str | None
    """If given, certificates that begin then and last so long stand in for the installed ones."""


def test(span: Span, assumptions: Assumptions, source: Source, *, as_json: bool) -> int:
    """Print the decisions and messages in a span of time; return 3 where they cannot be told."""
    return _guarded(Printable("test"), lambda: _test(span, assumptions, source, as_json=as_json))


def _guarded(command: Printable, run: Callable[[], None]) -> int:
    try:
        run()
    except UsageError as error:
        complain("certvigil policy {}: {}", command, harmless(str(error)))
        return UNUSABLE
    return 0


def _explain(target: str, at: str | None, source: Source, *, as_json: bool) -> None:
    now = parse_time(at) if at else time.time()
    policies, known = _config(source).policies, _situations(source)
    situation = _find(target, known)
    if at:
        situation = as_of(situation, now)
    explained = explain_all(situation, policies, now)
    if as_json:
        print_json(
            {
                "at": iso(now),
                "subject": situation.subject,
                "policies": list(map(_explained_to_plain, explained)),
                "situations": situations_to_plain([situation]),
            }
        )
        return
    Screen().table(("policy", "action", "status", "check", "holds", "since", "because"), _explained_rows(explained))


def _find(target: str, known: Sequence[Situation]) -> Situation:
    """Return the situation of that subject, or of the subject with a target of that name."""
    for each in known:
        if target == each.subject or target in each.targets or target in dict(each.members):
            return each
    names = [name for each in known for name in (each.subject, *dict(each.members), *each.targets)]
    one = f"'{printable(target, 200)}' fits several: name one component or target"
    raise UsageError(unknown([target], set(names), Printable("component or target")) or one)


def _explained_rows(explained: Iterable[Explained]) -> Iterator[Sequence[Printable]]:
    for each in explained:
        actions = (each.policy.action, each.policy.notify)
        does = " and ".join(action_name(action) for action in actions if action is not None)
        if not each.applies:
            yield _cells(each.policy.name, does, "not for it", "", "", "", each.why_not)
            continue
        stands = "; ".join(map(_stands, each.decisions)) or ("gives way" if each.answer.holds else "does not hold")
        for reason in each.answer.reasons:
            start = iso(reason.since) or ""
            holds = "yes" if reason.holds else "no"
            yield _cells(each.policy.name, does, stands, reason.check, holds, start, reason.because)


def _cells(*texts: str) -> tuple[Printable, ...]:
    return tuple(map(harmless, texts))


def _stands(decision: Decision) -> str:
    return f"{decision.status}: {decision.waits_for}" if decision.waits_for else str(decision.status)


def _explained_to_plain(explained: Explained) -> dict[str, Any]:
    answer = explained.answer
    return {
        "policy": explained.policy.name,
        "applies": explained.applies,
        "why_not": explained.why_not or None,
        "holds": answer.holds,
        "reasons": [{**asdict(each), "since": iso(each.since)} for each in answer.reasons],
        "reconsidered": iso(answer.until) if answer.until < NEVER else None,
        "decisions": list(map(_decision_to_plain, explained.decisions)),
    }


def _decision_to_plain(decision: Decision) -> dict[str, Any]:
    return {
        "subject": decision.subject,
        "policy": decision.policy,
        "action": action_name(decision.action),
        "status": decision.status,
        "waits_for": decision.waits_for,
        "case": decision.case,
        "identity": decision.identity,
        "until": iso(decision.until),
    }


def _test(span: Span, assumptions: Assumptions, source: Source, *, as_json: bool) -> None:
    config = _config(source)
    start = parse_time(span.at) if span.at else time.time()
    if span.lifetime is None:
        situations = _situations(source)
    else:
        try:
            situations = tuple(fresh(config, start, duration(span.lifetime)))
        except ValueError as error:
            raise UsageError(f"--lifetime {printable(span.lifetime, 60)}: write {error}") from None
    end = start + _days(situations, start, span.days) * DAY
    audience = Recipients(config)
    happened = list(timeline(situations, config.policies, (start, end), assumptions=assumptions, audience=audience))
    if as_json:
        decisions = [
            {
                "at": iso(each.at),
                **_decision_to_plain(each.decision),
                "reasons": [{**asdict(reason), "since": iso(reason.since)} for reason in each.decision.reasons],
            }
            for each in happened
            if isinstance(each, Happening)
        ]
        told = [{**asdict(each), "at": iso(each.at)} for each in happened if isinstance(each, ForeseenMessage)]
        print_json({"from": iso(start), "to": iso(end), "timeline": decisions, "messages": told})
        return
    Screen().table(("when", "subject", "policy", "action", "status", "because"), map(_row, happened))
    if span.lifetime is not None and not (config.channels and config.notifications.enabled):
        complain(
            "nobody would be told anything: no channel is configured"
            if not config.channels
            else "nobody would be told anything: 'notifications.enabled' is false"
        )


def _days(situations: Iterable[Situation], start: float, days: int | None) -> float:
    """Return the number of days in the simulated span."""
    if days is not None:
        return days
    ends = [each.certificate.not_after for each in situations if each.certificate is not None]
    return min(max((max(ends, default=start) - start) / DAY + 1, 1.0), _MOST_DAYS) if ends else _DAYS


def _row(each: Happening | ForeseenMessage) -> Sequence[Printable]:
    when = iso(each.at) or ""
    if isinstance(each, ForeseenMessage):
        return _cells(when, "", "", f"tell {each.channel}", "told", each.title)
    decision = each.decision
    because = "; ".join(reason.because for reason in decision.reasons)
    return _cells(when, decision.subject, decision.policy, action_name(decision.action), _stands(decision), because)


def _config(source: Source) -> Config:
    config = loaded(source.config)
    if config is None:
        raise UsageError(f"{printable(source.config)} has mistakes, see above")
    here.about_config(config, source.socket)
    return config


def _situations(source: Source) -> tuple[Situation, ...]:
    """Return the situations from a file or from the daemon."""
    if source.state is None:
        answer = ask(source.socket, "/api/v1/situations", most=MOST_BYTES_OF_MANY)
        if isinstance(answer, NoDaemonAnswer):
            raise UsageError(f"{answer.why}; or give --state FILE, or --lifetime")
        where = source.socket
    else:
        answer, where = _read(source.state), source.state
    if not isinstance(answer, dict) or not isinstance(answer.get("situations"), list):
        raise UsageError(f"{printable(where)}: no 'situations', expected the output of `policy explain --json`")
    try:
        return situations_from_plain(answer["situations"])
    except SituationsError as error:
        raise UsageError(f"{printable(where)}: situations{error}") from None


def _read(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except OSError as error:
        raise UsageError(f"{printable(path)}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{printable(path)}: no JSON: {printable(str(error))}") from None
