"""The status of components that certvigil may change, and of the candidates in their inboxes, as values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from actions.aside import Late
from actions.candidate import Flaw
from actions.ending import Ground
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.model import Config
from config.text import printable
from config.vocabulary import ComponentState, Mode, TargetKind
from monitor.actor.request import Document
from monitor.decide.decision import Decision
from monitor.dialect import unix
from monitor.state.target import TargetState
from probes.judge.time import moment

_NONE_YET: Final = frozenset({Ground.EMPTY_INBOX, Ground.NOTHING_TO_DO})
_LACKS_A_FILE: Final = frozenset({Flaw.NO_CERTIFICATE, Flaw.NO_KEY, Flaw.UNDECODABLE})
"""Flaws that the next file, or the rest of one, may mend."""


@dataclass(frozen=True, slots=True)
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
    """Return what certvigil may change, by name: each component of it has a service."""
    found: dict[str, Subject] = {}
    for name in config.subjects:
        members = [config.components[each] for each in config.members_of(name)]
        if all(each.service is not None for each in members):
            mode = min((each.mode for each in members), key=list(Mode).index)
            found[name] = Subject(name, tuple(each.name for each in members), mode, name in config.groups)
    return found


def actions_of(subject: str) -> str:
    """Return the name of the target that stands for the actions on a group or a component."""
    return f"{subject}/actions"


def inbox_of(name: str, config: Config) -> str:
    """Return the directory in which candidates for a group or a component are put."""
    return os.path.join(config.settings.actor.inbox_directory, name)


def action_target(subject: str, config: Config) -> TargetState:
    """Return the target that stands for the actions on a group or a component, with nothing known of it yet."""
    return TargetState(actions_of(subject), TargetKind.COMPONENT, printable(inbox_of(subject, config)), subject)


@dataclass(frozen=True, slots=True)
class CandidateStatus:
    """What the actor says of the content of an inbox."""

    candidate: str = ""
    """What identifies it; empty where there is nothing, or something is wrong with it."""
    plan: str = ""
    """The hash of what it would lead to."""
    since: float = 0.0
    """Unix time."""
    not_after: float | None = None
    objections: tuple[tuple[str, str], ...] = ()
    """Ground and detail of each thing that is wrong."""
    remarks: tuple[str, ...] = ()
    """What else is to be said of it."""

    @property
    def lacks_a_file(self) -> bool:
        """Whether nothing is wrong with it but that something is missing: people copy one file after the other."""
        return bool(self.objections) and all(_is_lack(*each) for each in self.objections)


def _is_lack(ground: str, detail: str) -> bool:
    return ground == Ground.INCOMPLETE_CHAIN or (
        ground == Ground.NO_CANDIDATE and detail.partition(":")[0] in _LACKS_A_FILE
    )


@dataclass(frozen=True, slots=True)
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
    why: str = ""
    """A sentence, printable."""

    @property
    def sentence(self) -> str:
        """What failed, how often and why; printable."""
        often = "once" if self.times == 1 else f"{self.times} times since {moment(self.since)}"
        return f"the {self.kind} could not be begun, tried {often}, last at {moment(self.at)}: {self.why}"


@dataclass(frozen=True, slots=True)
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
    """What tells it from the others; printable."""
    group: str = ""
    """The group of which the components are; empty where they make none."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """What is known of a component, or a group of components, that certvigil may change."""

    name: str
    """Of the group, where it is one."""
    mode: Mode
    state: ComponentState
    inbox: str
    candidate: CandidateStatus
    decision: Decision | None
    """What is to be done to it, or waits to be."""
    plan: str
    """The hash of the plan that waits for a person; empty where none does."""
    approved_until: float | None
    frozen: str | None
    """Why."""
    last: RecordedEnding | None
    failed: FailedOrder | None = None
    """What was decided last, where that could not even be begun, and is still wanted."""
    contested: str = ""
    """How somebody else undoes what is done; empty where nobody does."""
    settled: bool = False
    """What went wrong last is no concern any more."""
    late: Late | None = None
    """What somebody wrote last to files that had been replaced, until an operator says that it is known."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing: sentences, printable."""
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


def is_done(answer: Document) -> bool:
    """Whether what lies in an inbox is in place already."""
    objections = answer.get("refused", {}).get("objections", ())
    return Ground.NOTHING_TO_DO in {each["ground"] for each in objections}


def candidate_of(answer: Document, before: CandidateStatus, now: float) -> CandidateStatus:
    """Return what an answer to a plan says of an inbox at Unix time `now`, where `before` was what it held."""
    if "plan" in answer:
        plan = answer["plan"]
        candidate = str(plan["candidate"])
        ends = [unix(end) for each in plan["certificates"] if (end := each["after"]["not_after"]) is not None]
        since = before.since if before.candidate == candidate else now
        remarks = tuple(str(each) for each in answer.get("remarks", ()))
        return CandidateStatus(candidate, str(plan["hash"]), since, min(ends, default=None), remarks=remarks)
    if "refused" in answer:
        objections: Sequence[Mapping[str, str]] = answer["refused"]["objections"]
        wrong = [each for each in objections if each["ground"] not in _NONE_YET]
        return CandidateStatus(objections=tuple((str(each["ground"]), str(each["detail"])) for each in wrong))
    return CandidateStatus(objections=(("cannot", why_not(answer)),))


def needs_a_person(answer: Document) -> bool:
    """Whether the actor has refused what a person may have done, and nobody else."""
    objections = answer.get("refused", {}).get("objections", ())
    return bool(objections) and all(each["ground"] == Ground.NEEDS_A_PERSON for each in objections)


def why_not(answer: Document | None) -> str:
    """Say why what was asked of the actor was not done, a sentence."""
    if answer is None:
        return "the actor gave no answer"
    if "refused" in answer:
        return "; ".join(f"{each['ground']}: {each['detail']}" for each in answer["refused"]["objections"])
    if answer.get("endings"):
        return str(answer["endings"][-1]["sentence"])
    return str(answer.get("cannot", "the actor gave no sense"))
