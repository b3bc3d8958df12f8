"""From proposals to a plan: the shared part of `plan_replacement`, `plan_activation` and `plan_rollback`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Final

from actions.beside import left_beside
from actions.component_files import ComponentFile, ComponentFiles, FileReader, read_file
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.offered import Offer
from actions.plan import Ill, Kind, Order, Plan
from actions.precheck import Gap, Objection
from actions.proposal import ComponentProposal, changes, judge, remarks, servings, stands
from actions.rehearse import Effect
from actions.roots import of_all
from config.immutable import immutable
from config.text import Printable, printable
from config.vocabulary import FileRole
from probes.certificate import Certificate


@immutable
class Remainder:
    """The fate of the candidates in an inbox once one of them is in place.

    Certificates and public halves of keys, by the SHA-256 of each, hexadecimal.
    """

    spent: frozenset[str] = frozenset()
    """Used, or obsolete."""
    open: frozenset[str] = frozenset()
    """Of candidates that may still be wanted."""

    def is_done_with(self, held: frozenset[str]) -> bool:
        """Whether a file that holds these may be removed."""
        return not self.open or (not held & self.open and bool(held & self.spent))


_NOWHERE: Final = Printable("")
_NOTHING_LEFT: Final = Remainder()


@immutable
class Prepared:
    """A plan that nothing speaks against."""

    order: Order = field(repr=False)
    effects: tuple[Effect, ...]
    """The effect on each client at each endpoint."""
    remarks: tuple[str, ...]
    """Facts that are no objections: sentences, printable."""
    leaves: Mapping[str, tuple[Certificate | None, Certificate]]
    """By component: the server's certificate that was in use last, and the new one."""
    remainder: Remainder = field(default_factory=lambda: _NOTHING_LEFT)
    answers: frozenset[str] = frozenset()
    """The requests that its certificates answer, by the SHA-256 of their keys."""
    offer: Offer | None = None
    """The offer that its certificate is from; None where it is from an inbox, or a person handed it over."""
    origin: Printable = _NOWHERE
    """Where its candidate is from, the end of a sentence; empty of what needs none."""
    folders: tuple[Printable, ...] = ()
    """The folders of other programs that its files are from."""
    backup_sets: Mapping[str, str] = field(default_factory=dict)
    """By component: the last of the sets that it is given back."""


@immutable
class RefusedPlan:
    """Why there is no plan."""

    objections: tuple[Objection, ...]
    effects: tuple[Effect, ...] = ()
    remainder: Remainder | None = None
    """Where the candidate is in place already."""
    remarks: tuple[str, ...] = ()
    """Facts that help with the objections: sentences, printable."""


SiteFiles = list[tuple[ComponentSite, ComponentFiles]]
"""Components with their files, by the names of the components."""


def read_sites(sites: Sequence[ComponentSite], reader: FileReader) -> SiteFiles | RefusedPlan:
    """Return the sites, sorted by name, with their files."""
    objections: list[Objection] = []
    disk: SiteFiles = []
    for site in sorted(sites, key=lambda site: site.component.name):
        files: dict[FileRole, ComponentFile] = {}
        for role, given in site.component.artefacts.files.items():
            try:
                files[role] = read_file(role, site.component.artefacts, reader)
            except OSError as error:
                why = error.strerror or "it cannot be read"
                where = printable(str(error.filename or given))
                objections.append(Objection(Ground.UNREADABLE, f"{where}: {printable(why)}"))
        disk.append((site, files))
    uses = Counter(file.path for _, files in disk for file in files.values())
    objections += (
        Objection(Ground.PATH_SHARED, f"{printable(path)} is {count} artefacts at once, and can be only one")
        for path, count in uses.items()
        if count > 1
    )
    return RefusedPlan(tuple(objections)) if objections else disk


def conclude(
    kind: Kind,
    proposals: Sequence[ComponentProposal],
    reader: FileReader,
    now: float,
    losses: Collection[str],
    *,
    waived: Collection[Ground] = (),
) -> Prepared | RefusedPlan:
    """Return the order that carries out all proposals at once, or every objection to one of them; raises OSError.

    Objections on the grounds `waived` are remarks.
    """
    verdicts = [judge(each, kind, losses, now, waived) for each in proposals]
    effects = tuple(effect for each in verdicts for effect in each.effects)
    views = ((each.candidate, [view for stage in each.site.stages for view in stage.views]) for each in proposals)
    lacks = of_all(views, now)
    accepted = tuple(
        f"{each.ground}, which the person who asks accepts: {each.detail}"
        for each in _of_members(proposals, [each.waived for each in verdicts])
    )
    if objections := _of_members(proposals, [each.objections for each in verdicts]):
        return RefusedPlan(objections, effects, remarks=(*accepted, *lacks))
    plan = _plan(kind, proposals, reader, {effect.after.client for effect in effects if effect.lost})
    order = Order(
        plan,
        _content(plan, proposals),
        {} if kind is Kind.ACTIVATE else _mends(proposals),
        frozenset(each.candidate.key.public_sha256 for each in proposals),
    )
    said = dict.fromkeys(remark for each in proposals for remark in remarks(each))
    beside = () if kind is Kind.ACTIVATE else tuple(_left_beside(proposals, reader))
    return Prepared(order, effects, (*accepted, *said, *lacks, *beside), {each.name: each.leaves for each in proposals})


def _of_members(
    proposals: Sequence[ComponentProposal], against: Sequence[Sequence[Objection]]
) -> tuple[Objection, ...]:
    """Return the objections to all proposals, each once; of several proposals, with the components that it is about.

    A gap in the chain is one, whichever clients of which component miss the issuer.
    """
    names: dict[Objection, list[str]] = {}
    gaps: dict[str, Gap] = {}
    for gap in (each.gap for objections in against for each in objections if each.gap is not None):
        gaps[gap.identity] = gaps.get(gap.identity, gap).with_clients(gap.clients)
    for proposal, objections in zip(proposals, against, strict=True):
        for each in objections:
            one = each if each.gap is None else gaps[each.gap.identity].objection()
            names.setdefault(one, []).append(proposal.name)
    if len(proposals) == 1:
        return tuple(names)
    return tuple(
        each if each.detail.startswith(f"{about[0]}: ") else replace(each, detail=f"{', '.join(about)}: {each.detail}")
        for each, about in names.items()
    )


def _plan(kind: Kind, proposals: Sequence[ComponentProposal], reader: FileReader, lost: Collection[str]) -> Plan:
    activates = kind is Kind.ACTIVATE
    return Plan(
        kind=kind,
        components=tuple(each.name for each in proposals),
        changes=() if activates else tuple(change for each in proposals for change in changes(each, reader)),
        expected_losses=tuple(sorted(lost)),
        serves=tuple(serving for each in proposals for serving in servings(each, new=True)),
        served=tuple(serving for each in proposals for serving in servings(each, new=False)),
        stands=tuple(stand for each in proposals for stand in stands(each)) if activates else (),
        group=_group_of(proposals),
    )


def _group_of(proposals: Sequence[ComponentProposal]) -> str:
    """Return the one group of which all components are; empty where there is none."""
    groups = {each.site.group for each in proposals}
    return groups.pop() if len(groups) == 1 else ""


def _left_beside(proposals: Sequence[ComponentProposal], reader: FileReader) -> Iterator[str]:
    """Yield the files beside those of the components that have replaced certificates."""
    own = {path for each in proposals for file in each.files.values() for path in (file.given, file.path)}
    old = {one for each in proposals for one in each.installed}
    chains = [(*each.candidate.presented, each.candidate.root) for each in proposals]
    return left_beside(own, old, {one for chain in chains for one in chain if one is not None}, reader)


def _content(plan: Plan, proposals: Sequence[ComponentProposal]) -> dict[str, bytes]:
    """Return the new bytes of each file that changes, by path."""
    paths = {change.path for change in plan.changes}
    return {
        file.path: content
        for each in proposals
        for role, file in each.files.items()
        if file.path in paths and (content := each.content[role]) is not None
    }


def _mends(proposals: Sequence[ComponentProposal]) -> dict[str, Ill]:
    return {each.name: ill for each in proposals if (ill := each.standing.ill) is not None}
