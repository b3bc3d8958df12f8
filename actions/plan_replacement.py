"""Planning a replacement: the candidate for each component, among those that are offered, and the new files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from actions.artefact import carried_over, render, says_the_same
from actions.candidate import Candidate, Candidates, Offered
from actions.choice import Choice, choose
from actions.complete import complete
from actions.component_files import ComponentFiles, FileReader, held, password_of
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.plan import Kind, candidate_of
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, Remainder, SiteFiles, conclude, read_sites
from actions.proposal import ComponentProposal, FilesCondition, changes, demands_of, key_is_elsewhere, standing_of
from config.vocabulary import FileRole
from probes.certificate import Certificate
from probes.judge.client import leaf_first


def plan_replacement(
    sites: Sequence[ComponentSite],
    candidates: Candidates,
    reader: FileReader,
    now: float,
    *,
    losses: Collection[str] = (),
    quarantined: Mapping[str, str] = MappingProxyType({}),
) -> Prepared | RefusedPlan:
    """Return the order that puts `candidates` in place for all `sites` at once, at Unix time `now`.

    Each component gets the newest usable candidate for its kind of key, as `choose` says; where all candidates are for
    one kind, they are for all components. `losses` names the clients that may be lost; `quarantined` gives the reason
    against a set, by `candidate_of`. Components whose files hold the candidate already are left out; of the others
    every file is part of the plan, so that the whole set is compared, backed up and bound by its hash.
    """
    disk = read_sites(sites, reader)
    if isinstance(disk, RefusedPlan):
        return disk
    every = _proposals(disk, candidates, reader, now, quarantined)
    if isinstance(every, RefusedPlan):
        return every
    remainder = _remainder(every, candidates)
    changed = _changed(every)
    if not changed:
        done = Objection(Ground.NOTHING_TO_DO, "the files hold this certificate, chain and key already")
        newer = [each.why for one in every for each in one.choice.passed_over]
        return RefusedPlan(tuple(dict.fromkeys((done, *newer))), remainder=remainder)
    made = conclude(Kind.REPLACE, changed, reader, now, losses)
    if isinstance(made, RefusedPlan):
        return made
    return replace(made, remarks=(*made.remarks, *_of_others(every, candidates)), remainder=remainder)


def _of_others(every: Sequence[ComponentProposal], candidates: Candidates) -> list[str]:
    """Return the remarks on candidates that are not used."""
    concerned = {each for one in every for each in one.choice.certificates}
    unused = [each for each in candidates.leaves if each not in concerned]
    return [
        *(remark for each in every for remark in each.choice.remarks(each.name)),
        *(f"{each.title}, for a key of {each.key.kind}, fits no component of these" for each in unused),
    ]


def _proposals(
    disk: SiteFiles, candidates: Candidates, reader: FileReader, now: float, quarantined: Mapping[str, str]
) -> list[ComponentProposal] | RefusedPlan:
    """Return a proposal for each component; a set that is in quarantine only where there is no other."""
    barred: dict[Candidate, str] = {}
    while True:
        chosen = [_chosen(site, files, candidates, now, barred) for site, files in disk]
        if objections := tuple(each for each in chosen if isinstance(each, Objection)):
            return RefusedPlan(objections)
        every = [each for each in chosen if isinstance(each, ComponentProposal)]
        changed = _changed(every)
        why = quarantined.get(candidate_of(change for each in changed for change in changes(each, reader)))
        fresh = {each.choice.candidate: why for each in changed if each.choice.fit and why is not None}
        if not fresh:
            return every
        barred |= fresh


def _changed(every: Sequence[ComponentProposal]) -> list[ComponentProposal]:
    return [each for each in every if each.content != held(each.files)]


def _chosen(
    site: ComponentSite, files: ComponentFiles, candidates: Candidates, now: float, barred: Mapping[Candidate, str]
) -> ComponentProposal | Objection:
    """Return the proposal for one component, with the newest usable candidate that is not `barred`."""
    standing = standing_of(site, files, now)
    installed = standing.in_use
    offered = _fitting(candidates, site, installed)
    if isinstance(offered, Objection):
        return offered

    def against(candidate: Candidate) -> str | None:
        return barred.get(candidate) or key_is_elsewhere(site, files, installed, candidate)

    choice = choose(offered, demands_of(site, installed, Kind.REPLACE), now, against)
    if isinstance(choice, Objection):
        return choice
    return _proposal(site, files, standing, choice, now)


def _proposal(
    site: ComponentSite, files: ComponentFiles, standing: FilesCondition, choice: Choice, now: float
) -> ComponentProposal:
    views = tuple(dict.fromkeys(view for stage in site.stages for view in stage.views))
    candidate = complete(choice.candidate, standing.in_use, views, now)
    return ComponentProposal(
        site=site,
        candidate=candidate,
        files=files,
        content=_content(candidate, site, files, standing),
        choice=choice,
        standing=standing,
    )


def _fitting(
    candidates: Candidates, site: ComponentSite, installed: Sequence[Certificate]
) -> Sequence[Offered] | Objection:
    """Return the candidates for a component's kind of key, or else for the kind that its endpoints ask for."""
    offered = candidates.offered
    offered_kinds = dict.fromkeys(each.certificate.key.kind for each in offered)
    if len(offered_kinds) == 1:
        return offered
    asked = {stage.endpoint.key_type for stage in site.stages} - {None}
    kinds = {leaf_first(installed)[0].key.kind} if installed else asked
    fitting = [each for each in offered if each.certificate.key.kind in kinds]
    if len({each.certificate.key.kind for each in fitting}) == 1:
        return fitting
    wanted = " or ".join(sorted(filter(None, kinds))) or "unknown"
    name = site.component.name
    why = f"the certificates are for keys of {', '.join(offered_kinds)}, and the kind of {name} is {wanted}"
    return Objection(Ground.KEY_MISMATCH, f"no certificate can be chosen for {name}: {why}")


def _content(
    candidate: Candidate, site: ComponentSite, files: ComponentFiles, standing: FilesCondition
) -> dict[FileRole, bytes]:
    """Return the new content of each file; a file that says the same already keeps its bytes."""
    keystore = files[FileRole.KEYSTORE].data if FileRole.KEYSTORE in files else b""
    if standing.is_dead and standing.last.keystore:
        # The service expects the alias and the encryption of that keystore.
        keystore = standing.last.keystore
    rendered = render(candidate, site.component.artefacts, keystore, password_of(files))
    content: dict[FileRole, bytes] = {}
    for role, file in files.items():
        new = rendered.get(role, b"")
        is_same = says_the_same(file.data, new, file.password)
        content[role] = file.data if is_same else new + carried_over(file.data)
    return content


def _remainder(every: Sequence[ComponentProposal], candidates: Candidates) -> Remainder:
    """Return the fate of the candidates once `every` proposal is in place."""
    done = {each for one in every for each in (one.candidate.certificate, *one.choice.obsolete)}
    over = {each.certificate for one in every for each in one.choice.passed_over} - done
    keys = {each.certificate: each.key.public_sha256 for each in candidates.usable}

    def identified(leaves: Collection[Certificate]) -> frozenset[str]:
        return frozenset((*(each.sha256 for each in leaves), *(keys[each] for each in leaves if each in keys)))

    return Remainder(identified([each for each in candidates.leaves if each not in over]), identified(over))
