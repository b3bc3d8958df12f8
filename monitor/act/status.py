"""The status of components that certvigil may change, and of the candidates in their inboxes, as values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Final

from actions.aside import Late
from actions.candidate import Flaw
from actions.ending import Ground
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.immutable import immutable
from config.label import labels_of
from config.model import Config
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import ComponentState, Mode, TargetKind
from monitor.act.answer import why_not
from monitor.actor.request import Document
from monitor.decide.decision import Decision
from monitor.dialect import unix
from monitor.state.target import TargetState
from probes.judge.time import moment

_NOTHING: Final = Printable("")
SHOWN: Final = 800
"""Characters of what is told of a plan."""
_NONE_YET: Final = frozenset({Ground.EMPTY_INBOX, Ground.NOTHING_TO_DO})
_LACKS_A_FILE: Final = frozenset({Flaw.NO_CERTIFICATE, Flaw.NO_KEY, Flaw.UNDECODABLE})
"""Flaws that the next file, or the rest of one, may mend."""


@immutable
class Subject:
    """Components that certvigil changes as one: the members of a group, or one component of no group."""

    name: str
    """Of the group, or of the component."""
    members: tuple[str, ...]
    """Names of components, sorted."""
    mode: Mode
    """The least of theirs."""
    is_group: bool = False


def subjects_of(config: Config) -> Mapping[str, Subject]:
    """Return what certvigil may change, by name."""
    found = ((name, subject_named(name, config)) for name in config.subjects)
    return {name: subject for name, subject in found if subject is not None}


def subject_named(name: str, config: Config) -> Subject | None:
    """Return the group or component of that name, if certvigil may change it: each component of it has a service.

    A member of a group is none by itself.
    """
    if name not in config.groups and (name not in config.components or config.subject_of(name) != name):
        return None
    members = [config.components[each] for each in config.members_of(name)]
    if any(each.service is None for each in members):
        return None
    mode = min((each.mode for each in members), key=list(Mode).index)
    return Subject(name, tuple(each.name for each in members), mode, name in config.groups)


def actions_of(subject: str) -> str:
    """Return the name of the target that stands for the actions on a group or a component."""
    return f"{subject}/actions"


def inbox_of(name: str, config: Config) -> str:
    """Return the directory in which candidates for a group or a component are put."""
    return os.path.join(config.settings.actor.inbox_directory, name)


def action_target(subject: str, config: Config) -> TargetState:
    """Return the target that stands for the actions on a group or a component, with nothing known of it yet."""
    labels = labels_of(config.labels.get(subject, {}))
    location = printable(inbox_of(subject, config))
    return TargetState(actions_of(subject), TargetKind.COMPONENT, location, subject, labels=labels)


@immutable
class CandidateStatus:
    """The actor's answer about the content of an inbox."""

    candidate: str = ""
    """Identifies the candidate; empty where there is none, or it has a fault."""
    plan: str = ""
    """The hash of its plan."""
    since: float = 0.0
    """Unix time."""
    about: Printable = _NOTHING
    """What its plan gives to whom, and who brought it; as `Waiting.shown`."""
    not_after: float | None = None
    objections: tuple[tuple[Printable, Printable], ...] = ()
    """Ground and detail of each objection."""
    remarks: tuple[str, ...] = ()
    """Further sentences about it."""
    offers: int = 0
    """The number of offers that lie there."""
    oldest_offer: float | None = None
    """Unix time."""

    @property
    def lacks_a_file(self) -> bool:
        """Whether its only fault is a missing part: people copy one file after the other."""
        return bool(self.objections) and all(_is_lack(*each) for each in self.objections)


def _is_lack(ground: str, detail: str) -> bool:
    return ground == Ground.INCOMPLETE_CHAIN or (
        ground in {Ground.NO_CANDIDATE, Ground.NO_OFFER} and detail.partition(":")[0] in _LACKS_A_FILE
    )


@immutable
class FailedOrder:
    """An order of the daemon's that failed before anything was begun, once or several times in a row."""

    kind: Kind
    what: str
    """As `Decision.what`."""
    since: float
    """Unix time of the first of these failures."""
    times: int = 1
    at: float = 0.0
    """Unix time of the last failure."""
    why: Printable = _NOTHING
    """A sentence."""

    @property
    def sentence(self) -> Printable:
        """The failed order, the number of attempts, and the reason."""
        often = Printable("once") if self.times == 1 else sentence("{} times since {}", self.times, moment(self.since))
        last = moment(self.at)
        return sentence("the {} could not be begun, tried {}, last at {}: {}", self.kind, often, last, self.why)


@immutable
class Waiting:
    """A plan that waits for a person, or for its window."""

    plan: str
    """Its hash."""
    kind: Kind
    components: tuple[str, ...]
    at: float
    """Unix time at which it was proposed."""
    approved_until: float | None
    shown: str
    """The difference from other plans; printable."""
    group: str = ""
    """The group of which the components are; empty where they make none."""


@immutable
class ComponentStatus:
    """The status of one component, or one group of components, that certvigil may change."""

    name: str
    """Of the group, where it is one."""
    mode: Mode
    state: ComponentState
    inbox: str
    candidate: CandidateStatus
    decision: Decision | None
    """The present decision about it."""
    plan: str
    """The hash of the plan that waits for a person; empty where none does."""
    approved_until: float | None
    frozen: str | None
    """Why."""
    last: RecordedEnding | None
    failed: FailedOrder | None = None
    """The last order, if it could not be begun and is still wanted."""
    contested: Printable = _NOTHING
    """How another writer undoes changes; empty where there is none."""
    settled: bool = False
    """The last failure does not matter any more."""
    late: Late | None = None
    """The last late write to replaced files, until an operator confirms it."""
    notes: tuple[str, ...] = ()
    """Further sentences; printable."""
    waiting: tuple[Waiting, ...] = ()
    """The plans that wait, oldest first."""
    given_up: Mapping[str, str] = field(default_factory=dict)
    """Why each of its private keys that never return was given up, by the SHA-256 of its public half."""
    members: tuple[str, ...] = ()
    """The components of a group; empty where it is none."""

    @property
    def components(self) -> tuple[str, ...]:
        """The components that are changed: the members of the group, or the one component."""
        return self.members or (self.name,)


def candidate_status(answer: Document, before: CandidateStatus, now: float) -> CandidateStatus:
    """Return the status of an inbox by the answer to a plan at Unix time `now`; `before` is its earlier status."""
    found = _of_the_inbox(answer, before, now)
    offers = answer.get("offers_waiting")
    return found if offers is None else replace(found, offers=int(offers["count"]), oldest_offer=unix(offers["oldest"]))


def _of_the_inbox(answer: Document, before: CandidateStatus, now: float) -> CandidateStatus:
    if "plan" in answer:
        plan = answer["plan"]
        candidate = str(plan["candidate"])
        ends = [unix(end) for each in plan["certificates"] if (end := each["after"]["not_after"]) is not None]
        since = before.since if before.candidate == candidate else now
        remarks = tuple(str(each) for each in answer.get("remarks", ()))
        about = printable(str(plan["about"]), SHOWN)
        return CandidateStatus(candidate, str(plan["hash"]), since, about, min(ends, default=None), remarks=remarks)
    if "refused" in answer:
        objections: Sequence[Mapping[str, str]] = answer["refused"]["objections"]
        wrong = [each for each in objections if each["ground"] not in _NONE_YET]
        return CandidateStatus(
            objections=tuple((harmless(str(each["ground"])), harmless(str(each["detail"]))) for each in wrong),
            remarks=tuple(harmless(str(each)) for each in answer.get("remarks", ())) if wrong else (),
        )
    return CandidateStatus(objections=((Printable("cannot"), why_not(answer)),))
