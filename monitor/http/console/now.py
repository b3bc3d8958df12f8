"""The page *Now*: problems as people are told of them, what waits for a person, and what is being done. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from actions.plan import Kind
from config.command_reach import command_line
from config.immutable import immutable
from config.vocabulary import Severity, Verdict
from monitor.http.answers import ComponentAnswer, Listing, WaitingPlan
from monitor.http.console.drawing import plural
from monitor.http.console.table import verdict_of
from monitor.http.notifications import NotificationsAnswer, ProblemAnswer
from monitor.http.view import UnderWay
from monitor.state.target import TargetState

PROBLEMS: Final = 50
"""Of a page."""
_APPROVABLE: Final = 16
"""Digits of a plan's hash in a command."""


@immutable
class WaitingHere:
    """A plan that waits, and the commands for the host."""

    subject: str
    """The component or group."""
    is_group: bool
    plan: WaitingPlan
    see: str
    """The command that shows it."""
    approve: str
    reject: str


@immutable
class NowPage:
    """All that the page shows."""

    problems: Listing[ProblemAnswer]
    severities: Mapping[Severity, int]
    """Of the problems that are shown."""
    waiting: tuple[WaitingHere, ...]
    doing: tuple[UnderWay, ...]
    frozen: tuple[ComponentAnswer, ...]
    targets: Mapping[Verdict, int]
    last_look: float | None
    """Unix time of the last look at anything."""
    not_ready: tuple[str, ...]
    no_actor: str
    """Why nothing can be changed; empty where an actor answers, or no component could be changed."""
    undelivered: int
    """Messages of which an attempt has failed."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing is wrong, nothing waits and nothing is being done: the page has nothing but numbers."""
        return not self.title

    @property
    def title(self) -> str:
        """The most urgent thing on the page, in some words; empty where it is calm."""
        if self.not_ready:
            return "Not ready"
        counted = (
            (self.problems.total, "problem", ""),
            (len(self.frozen), "component or group is frozen", "components and groups are frozen"),
            (self.undelivered, "message not delivered", "messages not delivered"),
            (len(self.waiting), "plan for approval", "plans for approval"),
            (len(self.doing), "change under way", "changes under way"),
        )
        return next((plural(*each) for each in counted if each[0]), "")


def now_page(
    problems: Listing[ProblemAnswer],
    components: Sequence[ComponentAnswer],
    notifications: NotificationsAnswer,
    doing: Sequence[UnderWay],
    targets: Iterable[TargetState],
    *,
    not_ready: Sequence[str],
    no_actor: str,
) -> NowPage:
    """Return the page."""
    states = list(targets)
    return NowPage(
        problems=problems,
        severities=Counter(each.severity for each in problems.items),
        waiting=tuple(waiting_here(components)),
        doing=tuple(doing),
        frozen=tuple(each for each in components if each.frozen),
        targets=Counter(map(verdict_of, states)),
        last_look=max((each.last_look for each in states if each.last_look is not None), default=None),
        not_ready=tuple(not_ready),
        no_actor=no_actor if components else "",
        undelivered=sum(each.attempts > 0 for each in notifications.undelivered),
    )


def waiting_here(components: Iterable[ComponentAnswer]) -> Iterable[WaitingHere]:
    """Yield the plans that wait, oldest first, with the commands for the host."""
    plans = [(plan, each) for each in components for plan in each.plans]
    for plan, component in sorted(plans, key=lambda each: each[0].since):
        name, short = component.component, plan.plan[:_APPROVABLE]
        activates = plan.action is Kind.ACTIVATE
        yield WaitingHere(
            subject=component.component,
            is_group=bool(component.members),
            plan=plan,
            see=command_line("activate", name, "--dry-run") if activates else command_line("plan", name),
            approve=command_line("approve", short),
            reject=command_line("reject", short),
        )
