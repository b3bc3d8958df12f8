"""The explanation of a code, from the catalogue and its advice, for `certvigil explain` and the page of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from config.catalogue import CATALOGUE, CatalogueEntry, ProblemScope
from config.immutable import immutable
from config.model import Artefacts, Component
from config.service import Service
from config.text import Printable
from config.vocabulary import Code, Group, Severity, TargetKind
from monitor.notify.advice import AdviceContext, advice
from monitor.notify.problem import Member
from probes.finding import finding

_COMPONENT: Final = "COMPONENT"
_SUBJECT: Final = {Group.CLIENT: Printable("CLIENT"), Group.NAME: Printable("NAME")}
"""Of findings in a group."""
_WHERE: Final = {
    TargetKind.FILE: "FILE",
    TargetKind.ENDPOINT: "HOST:PORT",
    TargetKind.COMPONENT: "INBOX",
    TargetKind.SELF: "",
}
_SITE: Final = AdviceContext(
    components={
        _COMPONENT: Component(
            _COMPONENT,
            Artefacts(certificate="CERTIFICATE", key="KEY"),
            service=Service(("/usr/bin/systemctl", "restart", "SERVICE")),
        )
    },
    has_systemd=True,
)
_BY_CERTIFICATE: Final = "one problem for each certificate, wherever it is and whatever else is wrong with it"
_GROUPING: Final[Mapping[ProblemScope, str]] = {
    ProblemScope.CERTIFICATE: _BY_CERTIFICATE,
    ProblemScope.SERVER_CERTIFICATE: _BY_CERTIFICATE,
    ProblemScope.CAUSE: "one problem for each target; where many fail for one cause, one for all of them",
    ProblemScope.COMPONENT: "one problem for each component, or for each target of no component",
    ProblemScope.SUBJECT: "one problem for each subject, such as a channel",
}


@immutable
class Explanation:
    """Everything that people are told about a code. `certvigil explain --json` prints its fields, and no others."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "use_attribute_docstrings": True}
    """For the published schema (`monitor.http.published`)."""

    code: Code
    group: Group
    severity: Severity
    """Where the circumstances say nothing else."""
    informational: bool
    """Whether nobody on the host can change it."""
    meaning: str
    """Sentences."""
    otherwise: str
    """A sentence that says when the severity is another; empty where it never is."""
    cure: str
    """A phrase, as are all texts below."""
    cure_in_store: str
    """Of a certificate that a store or a bundle trusts; empty where it is the same."""
    cures: Mapping[str, str]
    """By the reason with which the detail of a finding begins."""
    hurts: Mapping[str, str]
    """By the kind of target."""
    by_itself: str
    advice: Mapping[str, Sequence[str]]
    """By the kind of target, for a component with a service; names in capitals are placeholders."""
    seen_by_actor: bool
    """Whether the actor can see it by a look of its own; a policy acts unattended only on such findings."""
    grouping: str
    """How findings become problems, about each of which there is one message."""


def explanation(code: Code) -> Explanation:
    """Return everything that people are told about a code."""
    entry = CATALOGUE[code]
    return Explanation(
        code=code,
        group=entry.group,
        severity=entry.severity,
        informational=entry.informational,
        meaning=entry.meaning,
        otherwise=entry.otherwise,
        cure=entry.cure,
        cure_in_store=entry.anchor_cure,
        cures={str(reason): cure for reason, cure in entry.cures.items()},
        hurts={str(kind): whom for kind, whom in entry.hurts.items()},
        by_itself=entry.by_itself,
        advice={str(kind): advice([_example(code, kind)], _SITE) for kind in entry.hurts},
        seen_by_actor=entry.seen_by_actor,
        grouping=_grouping(entry),
    )


def by_kind(texts: Mapping[str, str]) -> Sequence[str]:
    """Return texts by the kind of target as lines: one line where all are equal, else one for each kind."""
    if len(set(texts.values())) == 1:
        return [next(iter(texts.values()))]
    return [f"{_KIND.get(kind, kind)}: {text}" for kind, text in texts.items()]


_KIND: Final = {str(TargetKind.SELF): "certvigil itself"}


def policies_line(explained: Explanation) -> str:
    """Return how policies may use the code."""
    if explained.seen_by_actor:
        return f"`finding: {explained.code}`; the actor can see it itself, so a policy may act on it unattended"
    return f"`finding: {explained.code}`; the actor cannot see it itself, so an action on it alone needs an approval"


def advice_lines(explained: Explanation) -> Sequence[str]:
    """Return the advice as lines; where it depends on the kind of target, each line begins with that."""
    if len({tuple(each) for each in explained.advice.values()}) == 1:
        return next(iter(explained.advice.values()))
    return [f"{_KIND.get(kind, kind)}: {each}" for kind, sentences in explained.advice.items() for each in sentences]


def _example(code: Code, kind: TargetKind) -> Member:
    subject = _SUBJECT.get(CATALOGUE[code].group, Printable(""))
    return Member(
        target=_COMPONENT if kind is TargetKind.COMPONENT else "TARGET",
        kind=kind,
        component=None if kind is TargetKind.SELF else _COMPONENT,
        finding=finding(code, Printable(""), Printable("CHANNEL") if kind is TargetKind.SELF else subject),
        since=0.0,
        location=_WHERE[kind],
    )


def _grouping(entry: CatalogueEntry) -> str:
    text = _GROUPING[entry.scope]
    if entry.implied_by == frozenset(Code):
        return f"{text}; the rejection is part of the problem that causes it"
    if entry.implied_by:
        return f"{text}; no message of its own after a message about {' or '.join(sorted(entry.implied_by))}"
    if entry.informational:
        return f"{text}; told in a digest only"
    return text
