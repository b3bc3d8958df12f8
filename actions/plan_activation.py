"""Planning an activation: a service is put onto the files that an administrator left on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from actions.candidate import Candidate, Given, NoCandidate, read_candidate
from actions.choice import Choice
from actions.component_files import ComponentFiles, FileReader, held, password_of, presented, with_certificates
from actions.component_site import ComponentSite, LastSet
from actions.ending import Ground
from actions.plan import Kind
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, conclude, read_sites
from actions.proposal import ComponentProposal, FilesCondition
from config.text import printable, sentence
from config.vocabulary import FileRole, KeyKind


def plan_activation(
    sites: Sequence[ComponentSite], reader: FileReader, now: float, *, losses: Collection[str] = ()
) -> Prepared | RefusedPlan:
    """Return the order that has `sites` serve their files on disk, at Unix time `now`; it changes no file.

    The whole set on disk must pass every check of a candidate, in the order in which its certificates lie there. The
    hash binds the chains to be served and the bytes of the files.
    """
    disk = read_sites(sites, reader)
    if isinstance(disk, RefusedPlan):
        return disk
    proposals: list[ComponentProposal] = []
    objections: list[Objection] = []
    for site, files in disk:
        objections += (
            Objection(Ground.UNREADABLE, f"{printable(file.given)}: there is no such file")
            for role, file in files.items()
            if file.state is None and not (role is FileRole.CHAIN and site.component.artefacts.lines)
        )
        proposal = _proposal(site, files)
        if isinstance(proposal, Objection):
            objections.append(proposal)
        else:
            proposals.append(proposal)
    objections += _different_certificates(proposals)
    if objections:
        return RefusedPlan(tuple(objections))
    return conclude(Kind.ACTIVATE, proposals, reader, now, losses)


def _different_certificates(proposals: Sequence[ComponentProposal]) -> Iterator[Objection]:
    """Yield that the members of a group have different certificates on disk, of the same kind of key."""
    found: dict[tuple[str, KeyKind], dict[str, list[str]]] = {}
    for each in proposals:
        leaf = each.leaves[1]
        if each.site.group:
            by_leaf = found.setdefault((each.site.group, leaf.key.kind), {})
            by_leaf.setdefault(f"{leaf.title}, sha256 {leaf.sha256[:16]}", []).append(each.name)
    for (group, _), by_leaf in found.items():
        if len(by_leaf) > 1:
            said = "; ".join(f"{', '.join(names)}: {leaf}" for leaf, names in by_leaf.items())
            why = f"the members of group {group} have different certificates on disk ({said}); a group has one"
            yield Objection(
                Ground.UNUSABLE,
                sentence("{}: `certvigil replace {}` gives it to all", printable(why, 2000), printable(group)),
            )


def _proposal(site: ComponentSite, files: ComponentFiles) -> ComponentProposal | Objection:
    given = [Given(file.given, file.data) for file in with_certificates(files).values()]
    made = read_candidate(given, password_of(files))
    if isinstance(made, NoCandidate):
        return Objection(Ground.UNUSABLE, f"{site.component.name}: {made.detail}")
    as_it_lies = presented(site.component.artefacts, files)
    if not as_it_lies:
        return Objection(Ground.UNUSABLE, f"{site.component.name}: the certificate is in the key's file")
    candidate = Candidate(as_it_lies[0], as_it_lies[1:], made.key, made.root)
    return ComponentProposal(
        site=site,
        candidate=candidate,
        files=files,
        content=held(files),
        choice=Choice(candidate),
        standing=FilesCondition((), as_it_lies, LastSet()),
    )
