"""Planning a replacement: the candidate for each component, among those that are offered, and the new files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from actions.artefact import carried_over, render, says_the_same
from actions.candidate import Candidate, Candidates, Offered
from actions.choice import Choice, choose
from actions.complete import complete
from actions.component_files import ComponentFiles, FileReader, held, password_of, writers_of
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.lines import edited_lines
from actions.plan import Kind, candidate_of
from actions.precheck import Objection, unfit
from actions.prepare import Prepared, RefusedPlan, Remainder, SiteFiles, conclude, read_sites
from actions.proposal import ComponentProposal, FilesCondition, changes, demands_of, key_is_elsewhere, standing_of
from config.immutable import immutable
from config.vocabulary import FileRole, WriteMode
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
    go_on: Callable[[], None] = lambda: None,
) -> Prepared | RefusedPlan:
    """Return the order that puts `candidates` in place for all `sites` at once, at Unix time `now`.

    Each component gets the newest usable candidate for its kind of key, as `choose` says; where all candidates are for
    one kind, they are for all components. What is chosen for a member of a group can be used for all of its members.
    `losses` names the clients that may be lost; `quarantined` gives the reason against a set, by `candidate_of`.
    Components whose files hold the candidate already are left out, unless another member of their group is changed; of
    the others every file is part of the plan, so that the whole set is compared, backed up and bound by its hash.
    `go_on` is called before each component; an error that it raises ends the planning.
    """
    disk = read_sites(sites, reader)
    if isinstance(disk, RefusedPlan):
        return disk
    every = _proposals(disk, candidates, reader, now, quarantined, go_on)
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


def _proposals(  # noqa: PLR0917 (the plan, so far)
    disk: SiteFiles,
    candidates: Candidates,
    reader: FileReader,
    now: float,
    quarantined: Mapping[str, str],
    go_on: Callable[[], None],
) -> list[ComponentProposal] | RefusedPlan:
    """Return a proposal for each component; a set that is in quarantine only where there is no other."""
    barred: dict[Candidate, str] = {}
    receivers = [_Receiver(site, files, standing_of(site, files, now), reader) for site, files in disk]
    while True:
        chosen: list[ComponentProposal | Objection] = []
        for each in receivers:
            go_on()
            chosen.append(_chosen(each, _companions(each, receivers), candidates, now, barred))
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
    """Return the components whose files change, and with them all members of their groups."""
    changed = {each.name: each.site.group for each in every if each.content != held(each.files)}
    groups = {*changed.values()} - {""}
    return [each for each in every if each.name in changed or each.site.group in groups]


@immutable
class _Receiver:
    """A component that is to be given a candidate, as it is now."""

    site: ComponentSite
    files: ComponentFiles
    standing: FilesCondition
    reader: FileReader

    def against(self, candidate: Candidate, now: float) -> Objection | None:
        """Return why a candidate is not for this component; None where it may be."""
        site, installed = self.site, self.standing.in_use
        reasons = unfit(candidate, demands_of(site, installed, Kind.REPLACE), now)
        why = key_is_elsewhere(site, self.files, installed, candidate)
        return next(iter(reasons), None) or (None if why is None else Objection(Ground.KEY_MISMATCH, why))

    def fitting(self, candidates: Candidates) -> Sequence[Offered] | Objection:
        """Return the candidates for the component's kind of key."""
        return _fitting(candidates, self.site, self.standing.in_use)


def _companions(one: _Receiver, every: Sequence[_Receiver]) -> list[_Receiver]:
    """Return the other members of the group of a component."""
    return [each for each in every if each is not one and one.site.group and each.site.group == one.site.group]


def _chosen(
    receiver: _Receiver,
    companions: Sequence[_Receiver],
    candidates: Candidates,
    now: float,
    barred: Mapping[Candidate, str],
) -> ComponentProposal | Objection:
    """Return the proposal for one component, with the newest candidate that all can use and that is not `barred`."""
    offered = receiver.fitting(candidates)
    if isinstance(offered, Objection):
        return offered
    offered_to = [(each, found) for each in companions if not isinstance(found := each.fitting(candidates), Objection)]

    def against(candidate: Candidate) -> Objection | None:
        if candidate in barred:
            return Objection(Ground.QUARANTINED, barred[candidate])
        if (own := receiver.against(candidate, now)) is not None:
            return own
        for other, theirs in offered_to:
            if candidate in theirs and (why := other.against(candidate, now)) is not None:
                name, group = other.site.component.name, other.site.group
                return Objection(why.ground, f"it is for all of {group}, and not for {name}: {why.detail}")
        return None

    demands = demands_of(receiver.site, receiver.standing.in_use, Kind.REPLACE)
    choice = choose(offered, demands, now, against)
    if isinstance(choice, Objection):
        return choice
    return _proposal(receiver, choice, now)


def _proposal(receiver: _Receiver, choice: Choice, now: float) -> ComponentProposal:
    site, files, standing = receiver.site, receiver.files, receiver.standing
    views = tuple(dict.fromkeys(view for stage in site.stages for view in stage.views))
    candidate = complete(choice.candidate, standing.in_use, views, now)
    lines, unedited = edited_lines(
        site.component.artefacts, held(files), writers_of(files), receiver.reader, wanted=bool(candidate.chain)
    )
    return ComponentProposal(
        site=site,
        candidate=candidate,
        files=files,
        content={**_content(candidate, site, files, standing), **lines},
        choice=choice,
        standing=standing,
        unedited=tuple(unedited.values()),
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
) -> dict[FileRole, bytes | None]:
    """Return the new content of each file with certificates or keys; a file that says the same keeps its bytes.

    A chain that is named by configuration lines is removed where the candidate has none, unless nothing can be removed.
    """
    keystore = files[FileRole.KEYSTORE].data if FileRole.KEYSTORE in files else b""
    if standing.is_dead and standing.last.keystore:
        # The service expects the alias and the encryption of that keystore.
        keystore = standing.last.keystore
    rendered = render(candidate, site.component.artefacts, keystore, password_of(files))
    content: dict[FileRole, bytes | None] = {}
    is_removable = site.component.artefacts.lines and site.component.write_mode is WriteMode.RENAME
    for role, file in files.items():
        new = rendered.get(role, b"")
        if role.is_line:
            continue
        if not new and (file.state is None or (role is FileRole.CHAIN and site.component.artefacts.lines)):
            content[role] = None if is_removable or file.state is None else file.data
            continue
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
