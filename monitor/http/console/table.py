"""The table of certificates: a row for each component, and for each other target that presents a certificate. Pure."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

from config.immutable import immutable
from config.model import Component, Config, Thresholds
from config.vocabulary import Code, FileRole, Severity, TargetKind, Verdict, worst
from monitor.http.answers import Answer
from monitor.http.console.drawing import LifeBar, life_bar
from monitor.inventory import installed_chain
from monitor.state.target import TargetState
from probes.assess_set import WITH_LEAF
from probes.certificate import Certificate
from probes.chain import are_anchors
from probes.finding import Edge
from probes.judge.client import leaf_first
from probes.judge.time import calendar

ROWS: Final = 200
"""Of a page."""
_CHOICES: Final = 200
"""The most values that a filter offers."""
_LONGEST_QUERY: Final = 300
NEVER: Final = 1 << 62
"""In place of an end that is not known: Unix time, later than any."""
_FAILS_TO_LOAD: Final = (Code.KEY_MISMATCH, Code.UNREADABLE)
"""Findings on the files of a component with which no service loads them."""

Chosen = TypeVar("Chosen", bound=StrEnum)
Targets = Mapping[str, TargetState]
ThresholdsOf = Callable[[str], Thresholds | None]
"""Gives the thresholds of a target; None for the usual ones."""


@immutable
class PageFacts:
    """What a page is made of: the daemon's state at one moment."""

    config: Config
    targets: Targets
    thresholds: ThresholdsOf
    now: float
    """Unix time."""


class SortKey(StrEnum):
    """By what the rows are sorted."""

    END = "end"
    NAME = "name"
    SUBJECT = "subject"
    ISSUER = "issuer"
    STATE = "state"


class QueryError(ValueError):
    """A parameter of a page's address has no meaning; says which, printable."""


@immutable
class TableQuery:
    """What is to be shown, as the address of the page has it. An empty field admits all."""

    q: str = ""
    """Text in the name, the location, the subject, the issuer, the names or the SHA-256."""
    group: str = ""
    label: str = ""
    """`name=value`."""
    issuer: str = ""
    state: Verdict | None = None
    sort: SortKey = SortKey.END
    descending: bool = False
    page: int = 1

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Return the query of an address; raises QueryError."""
        texts = {name: parameters.get(name, "").strip()[:_LONGEST_QUERY] for name in ("q", "group", "label", "issuer")}
        page = parameters.get("page") or "1"
        if not (page.isascii() and page.isdecimal() and 0 < len(page) < 7 and int(page) > 0):
            raise QueryError("page is no number of a page")
        order = parameters.get("order") or "up"
        if order not in {"up", "down"}:
            raise QueryError("order is neither up nor down")
        return cls(
            **texts,
            state=_one_of(Verdict, parameters.get("state", ""), "state"),
            sort=_one_of(SortKey, parameters.get("sort", ""), "sort") or SortKey.END,
            descending=order == "down",
            page=int(page),
        )

    @property
    def is_filter(self) -> bool:
        """Whether it admits some rows only."""
        return bool(self.q or self.group or self.label or self.issuer or self.state is not None)

    def address(self, **changed: Any) -> str:
        """Return the query part of the address of this page, with some fields changed; defaults are left out."""
        wanted, usual = replace(self, **changed), TableQuery()
        given: dict[str, str] = {
            each.name: str(getattr(wanted, each.name))
            for each in fields(TableQuery)
            if each.name != "descending" and getattr(wanted, each.name) != getattr(usual, each.name)
        }
        if wanted.descending:
            given["order"] = "down"
        return f"?{urlencode(given, errors='replace')}" if given else ""

    def sorted_by(self, key: SortKey) -> str:
        """Return the address at which the rows are sorted by `key`, the other way round where they are already."""
        return self.address(sort=key, descending=self.sort is key and not self.descending, page=1)


def _one_of(kind: type[Chosen], text: str, name: str) -> Chosen | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise QueryError(f"{name} is none of {', '.join(map(str, kind))}") from None


class ClientWord(Answer):
    """The verdict of a client at an endpoint."""

    client: str
    target: str
    accepts: bool
    why: str


class ListedCertificate(Answer):
    """A row of the table."""

    name: str
    """Of the component, or of the target."""
    kind: str
    """`component`, `file` or `endpoint`."""
    group: str | None
    location: str
    state: Verdict
    subject: str
    issuer: str
    names: Sequence[str]
    sha256: str
    not_before: datetime | None
    not_after: datetime | None
    beside: int
    """Further certificates in the same file."""
    on_disk: str | None
    """SHA-256; null where none is known."""
    served: Sequence[str]
    """SHA-256 of what the endpoints present; empty where nothing is known."""
    next_reload: str
    """What a reload or restart brings; empty where nothing would change, or nothing is known."""
    accepts: Sequence[str]
    """Clients that accept it at every endpoint."""
    rejects: Sequence[ClientWord]
    findings: Sequence[Code]


@immutable
class ShownRow:
    """A row with its drawing."""

    facts: ListedCertificate
    bar: LifeBar | None


@immutable
class TablePage:
    """A page of the table."""

    query: TableQuery
    total: int
    """Rows on all pages."""
    known: int
    """Rows without any filter."""
    rows: tuple[ShownRow, ...]
    groups: tuple[str, ...]
    labels: tuple[str, ...]
    issuers: tuple[str, ...]

    @property
    def keys(self) -> Mapping[str, SortKey]:
        """By what rows can be sorted, by the name of each."""
        return {str(each): each for each in SortKey}

    @property
    def pages(self) -> int:
        """The number of pages."""
        return max(1, -(-self.total // ROWS))

    @property
    def first(self) -> int:
        """The number of the first row, from 1."""
        return (self.query.page - 1) * ROWS + 1


class Listed(Answer):
    """A page of the table for programs."""

    total: int
    page: int
    pages: int
    items: Sequence[ListedCertificate]


@immutable
class TablePlace:
    """What a row is made of."""

    name: str
    leaf: Certificate
    state: TargetState
    """The target by which it is named, or that of a component which shows its leaf."""
    component: Component | None = None


class TableIndex:
    """All rows, put in order once for the readers of some seconds in which nothing changes."""

    def __init__(self, config: Config, targets: Targets) -> None:
        self._targets = targets
        self.places = tuple(_places(config, targets))
        self.groups = tuple(sorted(config.groups))
        self.labels = tuple(_labels(targets))
        issuers = Counter(each.leaf.issuer for each in self.places).most_common(_CHOICES)
        self.issuers = tuple(sorted(name for name, _ in issuers))
        self._ordered: dict[SortKey, Sequence[TablePlace]] = {}

    def ordered(self, key: SortKey) -> Sequence[TablePlace]:
        """Return all rows, sorted by `key`."""
        if key not in self._ordered:
            self._ordered[key] = sorted(self.places, key=_sorting(key, self._targets))
        return self._ordered[key]


def table(known: PageFacts, index: TableIndex, query: TableQuery) -> TablePage:
    """Return the page that `query` asks for."""
    config, targets = known.config, known.targets
    chosen = index.ordered(query.sort)
    if query.is_filter:
        chosen = [each for each in chosen if _is_meant(each, query, config, targets)]
    begin = (query.page - 1) * ROWS
    if query.descending:
        shown = chosen[max(0, len(chosen) - begin - ROWS) : max(0, len(chosen) - begin)][::-1]
    else:
        shown = chosen[begin : begin + ROWS]
    where = _where({each.leaf.sha256 for each in shown if each.component is None}, targets)
    return TablePage(
        query=query,
        total=len(chosen),
        known=len(index.places),
        rows=tuple(
            ShownRow(
                _row(each, config, targets, where), life_bar(each.leaf, known.thresholds(each.state.target), known.now)
            )
            for each in shown
        ),
        groups=index.groups,
        labels=index.labels,
        issuers=index.issuers,
    )


def listed(page: TablePage) -> Listed:
    """Return a page for programs."""
    return Listed(total=page.total, page=page.query.page, pages=page.pages, items=[each.facts for each in page.rows])


_COLUMNS: Final = (
    *("name", "kind", "group", "location", "state", "subject", "issuer", "names", "sha256", "not_before", "not_after"),
    *("on_disk", "served", "next_reload", "accepts", "rejects", "findings"),
)


def as_csv(page: TablePage) -> str:
    """Return a page as CSV (RFC 4180); text that a spreadsheet would compute begins with an apostrophe."""
    file = io.StringIO()
    # Some spreadsheets take a semicolon for the end of a cell that is not quoted.
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(_COLUMNS)
    for each in page.rows:
        facts = each.facts.model_dump(mode="json")
        facts["rejects"] = [f"{word['client']} at {word['target']}" for word in facts["rejects"]]
        writer.writerow(_cell(facts[column]) for column in _COLUMNS)
    return file.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _places(config: Config, targets: Targets) -> Iterator[TablePlace]:
    for component in config.components.values():
        place = _of_component(component, targets)
        if place is not None:
            yield place
    for state in targets.values():
        if state.component is None and state.presented:
            yield TablePlace(state.target, chief(state.presented), state)


def _of_component(component: Component, targets: Targets) -> TablePlace | None:
    """Return the place of a component: its leaf on disk, or else the first one that is served."""
    names = [f"{component.name}/{role}" for role in WITH_LEAF] + list(component.endpoints)
    state = next((targets[name] for name in names if name in targets and targets[name].presented), None)
    return None if state is None else TablePlace(component.name, leaf_first(state.presented)[0], state, component)


def chief(presented: Sequence[Certificate]) -> Certificate:
    """Return the certificate by which a target is named: its leaf; of a bundle of anchors, the first to end."""
    if len(presented) == 1:
        return presented[0]
    if are_anchors(presented):
        return min(presented, key=lambda each: NEVER if each.not_after is None else each.not_after)
    return leaf_first(presented)[0]


def _is_meant(place: TablePlace, query: TableQuery, config: Config, targets: Targets) -> bool:
    if query.group and (place.component is None or config.group_of.get(place.component.name) != query.group):
        return False
    if query.label:
        name, _, value = query.label.partition("=")
        if (name, value) not in place.state.labels:
            return False
    if query.issuer and place.leaf.issuer != query.issuer:
        return False
    if query.state is not None and _state(place, targets) is not query.state:
        return False
    return not query.q or query.q.casefold() in _text(place)


def _text(place: TablePlace) -> str:
    """Return all that the search looks at."""
    leaf, state = place.leaf, place.state
    where = "" if state.location == place.name else state.location
    return "\n".join((place.name, where, leaf.subject, leaf.issuer, *leaf.names, leaf.sha256)).casefold()


def _sorting(key: SortKey, targets: Targets) -> Callable[[TablePlace], Any]:
    match key:
        case SortKey.END:
            return lambda each: (NEVER if each.leaf.not_after is None else each.leaf.not_after, each.name)
        case SortKey.NAME:
            return lambda each: each.name
        case SortKey.SUBJECT:
            return lambda each: (each.leaf.subject, each.name)
        case SortKey.ISSUER:
            return lambda each: (each.leaf.issuer, each.name)
        case SortKey.STATE:
            return lambda each: (-_state(each, targets).badness, each.leaf.not_after or NEVER, each.name)


def _of(place: TablePlace, targets: Targets) -> Iterable[TargetState]:
    """Return the targets that a row is about."""
    component = place.component
    if component is None:
        return (place.state,)
    names = [*(f"{component.name}/{role}" for role in FileRole), *component.endpoints]
    return [targets[name] for name in names if name in targets]


def verdict_of(state: TargetState) -> Verdict:
    """Return the verdict on a target as `TargetState.verdict` does, for the many that have no finding at once."""
    return state.verdict if state.findings or state.last_look is None else Verdict.OK


def _state(place: TablePlace, targets: Targets) -> Verdict:
    if place.component is None:
        return verdict_of(place.state)
    return worst(map(verdict_of, _of(place, targets)))


def _labels(targets: Targets) -> list[str]:
    found = {pair for state in targets.values() for pair in state.labels}
    return [f"{name}={value}" for name, value in sorted(found)[:_CHOICES]]


def _where(wanted: set[str], targets: Targets) -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return for each certificate, by its SHA-256, the files that hold it and the endpoints that present it."""
    found: dict[str, tuple[list[str], list[str]]] = {each: ([], []) for each in wanted}
    for state in targets.values():
        if state.presented:
            sha256 = chief(state.presented).sha256
            if sha256 in found:
                found[sha256][state.kind is TargetKind.ENDPOINT].append(state.target)
    return {sha256: (tuple(files), tuple(endpoints)) for sha256, (files, endpoints) in found.items()}


def _row(
    place: TablePlace,
    config: Config,
    targets: Targets,
    where: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]],
) -> ListedCertificate:
    leaf, component, states = place.leaf, place.component, tuple(_of(place, targets))
    if component is not None:
        installed = installed_chain(component, targets)
        on_disk = installed[0].sha256 if installed else None
        served = [
            leaf_first(targets[name].presented)[0].sha256
            for name in component.endpoints
            if name in targets and targets[name].presented
        ]
        kind, group = "component", config.group_of.get(component.name)
        reload = next_reload(states, on_disk, served)
    else:
        files, endpoints = where.get(leaf.sha256, ((), ()))
        on_disk = leaf.sha256 if files else None
        served = [leaf.sha256 for _ in endpoints]
        kind, group, reload = str(place.state.kind), None, ""
    edges = [(each, state.target) for state in states for each in state.edges]
    return ListedCertificate(
        name=place.name,
        kind=kind,
        group=group,
        location=place.state.location,
        state=_state(place, targets),
        subject=leaf.subject,
        issuer=leaf.issuer,
        names=leaf.names,
        sha256=leaf.sha256,
        not_before=None if leaf.not_before is None else calendar(leaf.not_before),
        not_after=None if leaf.not_after is None else calendar(leaf.not_after),
        beside=len(place.state.presented) - 1 if component is None else 0,
        on_disk=on_disk,
        served=list(dict.fromkeys(served)),
        next_reload=reload,
        accepts=_accepting(edges),
        rejects=[
            ClientWord(client=each.client, target=target, accepts=False, why=each.why)
            for each, target in edges
            if not each.accepted
        ],
        findings=_codes(states),
    )


def next_reload(states: Iterable[TargetState], on_disk: str | None, served: Sequence[str]) -> str:
    """Return what a reload or restart of a component's service brings, a clause; empty where that is no other set."""
    if on_disk is None:
        return ""
    broken = [
        code
        for state in states
        if state.kind is TargetKind.FILE
        for code, _ in state.findings
        if code in _FAILS_TO_LOAD
    ]
    if broken:
        return f"fails: {broken[0]}"
    return "serves the one on disk" if any(each != on_disk for each in served) else ""


def _accepting(edges: Sequence[tuple[Edge, str]]) -> list[str]:
    refusing = {each.client for each, _ in edges if not each.accepted}
    return [name for name in dict.fromkeys(each.client for each, _ in edges) if name not in refusing]


def _codes(states: Iterable[TargetState]) -> list[Code]:
    raised = [each.finding for state in states for each in state.findings.values()]
    told = [each for each in raised if each.severity.rank >= Severity.WARNING.rank]
    return list(dict.fromkeys(each.code for each in sorted(told, key=lambda each: (-each.severity.rank, each.code))))
