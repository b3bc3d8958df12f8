"""Planning an activation: a service is put onto the files that an administrator left on disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from actions.candidate import Candidate, Given, NoCandidate, read_candidate
from actions.choice import Choice
from actions.component_files import ComponentFiles, FileReader, held, password_of, presented, with_certificates
from actions.component_site import ComponentSite, LastSet
from actions.ending import Ground
from actions.plan import Kind
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, conclude, read_sites
from actions.proposal import ComponentProposal, FilesCondition
from config.text import printable
from config.vocabulary import FileRole


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
    if objections:
        return RefusedPlan(tuple(objections))
    return conclude(Kind.ACTIVATE, proposals, reader, now, losses)


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
