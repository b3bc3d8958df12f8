"""A candidate for one component, with its old and its new files: objections to it, changes, remarks; pure.

Only `changes` asks the disk: for owner and mode of a directory in which no file of the component is left.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from actions.artefact import content_digest, presented_by, ways_of_presenting
from actions.candidate import Candidate
from actions.choice import Choice
from actions.component_files import (
    WITH_KEY,
    ComponentFile,
    ComponentFiles,
    FileReader,
    held,
    password_of,
    presented,
)
from actions.component_site import ComponentSite, LastSet
from actions.ending import Ground
from actions.keystore import loss, why_not_written
from actions.lines import presentable
from actions.plan import Change, FileState, Ill, Kind, Serving
from actions.precheck import (
    Demands,
    Objection,
    dropped_names,
    kept_out_by_time,
    missing_issuer,
    precheck,
    roots_known,
    why_rejected,
)
from actions.rehearse import CannotBeServed, Effect, RehearsalStage, rehearse
from actions.soundness import faults_in, ill_of
from actions.unseen import lost_unseen
from config.address import is_ip_address
from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import Code, FileRole, WriteMode
from probes.assess_set import SetFault
from probes.certificate import Certificate
from probes.container.pkcs12 import PKCS12
from probes.container.registry import recognise
from probes.judge.client import View, leaf_first, sent_for_sure
from probes.judge.key import judge_exposure
from probes.judge.roots import LackingClient, lacking
from probes.observation import Presented


@immutable
class FilesCondition:
    """The condition of a component's files before a change."""

    faults: tuple[SetFault, ...]
    in_use: tuple[Certificate, ...]
    """The certificates in the files; where no server starts with them, those that were served or committed last."""
    last: LastSet
    """Known only where no server starts with the files."""

    @property
    def ill(self) -> Ill | None:
        """The fault of the files; None where there is none."""
        return ill_of(self.faults)

    @property
    def is_dead(self) -> bool:
        """Whether no server starts with the files."""
        return self.ill is Ill.DEAD

    @property
    def is_locked(self) -> bool:
        """Whether a keystore is not opened by its password."""
        return any(each.locked for each in self.faults)


def standing_of(site: ComponentSite, files: ComponentFiles, now: float) -> FilesCondition:
    """Return the condition of a component's files at Unix time `now`."""
    on_disk = presented(site.component.artefacts, files)
    faults = faults_in(site.component.artefacts, held(files), password_of(files), now)
    known = FilesCondition(faults, on_disk, LastSet())
    if not known.is_dead:
        return known
    last = site.last()
    # Half of a set was never in use, unless it is the half that was committed last.
    is_last = bool(on_disk) and leaf_first(on_disk)[0].sha256 in last.committed
    in_use = next((each for each in (site.served, on_disk if is_last else (), last.chain, on_disk) if each), ())
    return FilesCondition(faults, in_use, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentProposal:
    """A candidate for one component, with its files as they are and as they are to be."""

    site: ComponentSite
    candidate: Candidate
    files: ComponentFiles
    content: Mapping[FileRole, bytes | None] = field(repr=False)
    """The new content of every file; None where there is to be none, and an empty file where there is none to write."""
    choice: Choice
    """The candidate among the others that were offered."""
    standing: FilesCondition
    unedited: tuple[Printable, ...] = ()
    """Why configuration lines cannot be brought in line with the chain: sentences."""

    @property
    def name(self) -> str:
        """The name of the component."""
        return self.site.component.name

    @property
    def installed(self) -> tuple[Certificate, ...]:
        """The certificates that the candidate is compared with, in the order in which a server presents them."""
        return self.standing.in_use

    @property
    def leaves(self) -> tuple[Certificate | None, Certificate]:
        """The server's certificate that was in use last, and the new one."""
        before = leaf_first(self.installed)[0] if self.installed else None
        return before, leaf_first(self.candidate.presented)[0]


@immutable
class ProposalVerdict:
    """Everything against a proposal, and its effect on each client."""

    objections: tuple[Objection, ...]
    effects: tuple[Effect, ...] = ()
    waived: tuple[Objection, ...] = ()
    """Objections that were waived."""


def judge(
    proposal: ComponentProposal, kind: Kind, losses: Collection[str], now: float, waived: Collection[Ground] = ()
) -> ProposalVerdict:
    """Return the verdict on a proposal at Unix time `now`; `losses` names the clients that may be lost.

    What the precheck has against it on the grounds `waived` is no objection; each client that is lost still is.
    """
    demands = demands_of(proposal.site, proposal.installed, kind)
    found = precheck(proposal.candidate, demands, now)
    against = tuple(each for each in found if each.ground not in waived)
    noted = tuple(each for each in found if each.ground in waived)
    objections = (*_unwritable(proposal, kind), *against, *_unusable(proposal, now))
    stages = [_staged(stage, proposal.installed) for stage in proposal.site.stages]
    effects = rehearse(proposal.candidate, stages, now)
    if isinstance(effects, CannotBeServed):
        against_all = (*objections, Objection(Ground.CANNOT_BE_SERVED, effects.detail))
        return ProposalVerdict(_with_provenance(against_all, proposal.candidate))
    # An incomplete chain names the clients that miss the issuer, and a validity is everybody's: these need no second
    # objection.
    is_incomplete = any(one.ground is Ground.INCOMPLETE_CHAIN for one in against)
    known = missing_issuer(proposal.candidate, demands.views, now) if is_incomplete else frozenset()
    known |= kept_out_by_time(proposal.candidate, demands.views, now)
    elsewhere = roots_known(proposal.candidate, demands.views)
    presented_now = proposal.site.served or (leaf_first(demands.installed) if demands.installed else ())
    is_offer = bool(proposal.candidate.offered)
    unseen = lost_unseen(
        proposal.candidate.presented, presented_now, proposal.site.unseen, elsewhere, losses, is_offer=is_offer
    )
    # Nobody shall trust a server's certificate because it vouches for itself.
    chain = () if proposal.candidate.certificate.self_issued else proposal.candidate.presented
    lacks = {each.client: each for each in lacking(chain, demands.views, elsewhere, now)}
    lost = _losses(proposal.candidate, effects, {*losses, *known}, lacks)
    found = (*objections, *lost, *unseen)
    return ProposalVerdict(_with_provenance(found, proposal.candidate), effects, noted)


def demands_of(site: ComponentSite, installed: Sequence[Certificate], kind: Kind) -> Demands:
    """Return the demands of a component on a candidate that takes the place of `installed`."""
    return Demands(
        tuple(dict.fromkeys(name for stage in site.stages for name in _names(stage))),
        tuple(dict.fromkeys(view for stage in site.stages for view in stage.views)),
        # An activation puts the files on disk in the place of the chain that is served.
        site.served if kind is Kind.ACTIVATE else tuple(installed),
        tuple(site.served),
        site.allowed_issuers,
        site.allow_shorter,
        min_lifetime=site.min_lifetime if site.min_lifetime is not None else site.component.min_lifetime,
        given_up=site.given_up,
        revoked=site.revoked,
        compromised=site.compromised,
        leaf_alone=_views(site, leaf_alone=True) - _views(site, leaf_alone=False),
    )


def _views(site: ComponentSite, *, leaf_alone: bool) -> frozenset[View]:
    stages = (stage for stage in site.stages if stage.endpoint.may_send_leaf_alone is leaf_alone)
    return frozenset(view for stage in stages for view in stage.views)


def _names(stage: RehearsalStage) -> Iterator[str]:
    """Yield the names by which clients connect; an address that is only a location is no name."""
    endpoint = stage.endpoint
    for view in stage.views:
        yield from view.client.names
    if endpoint.server_name is not None or not (is_ip_address(endpoint.host) or endpoint.host == "localhost"):
        yield endpoint.verified_name


def _staged(stage: RehearsalStage, installed: Sequence[Certificate]) -> RehearsalStage:
    """Return the stage, with the installed chain as served where the served chain is not known."""
    if stage.served or not installed:
        return stage
    on_disk = sent_for_sure(leaf_first(installed), stage.endpoint)
    return replace(stage, served=(Presented(Printable("on disk"), on_disk, "", "", ""),))


# Objections


def _unwritable(proposal: ComponentProposal, kind: Kind) -> Iterator[Objection]:
    """Yield why the files may not be written as proposed."""
    for why in proposal.unedited:
        yield Objection(Ground.LINE_NOT_EDITED, f"{proposal.name}: {why}")
    for role, file in proposal.files.items():
        if proposal.content[role] == b"" and file.state is not None and not role.is_line:
            detail = f"{file.given} would be empty: give the root of the candidate, too"
            yield Objection(Ground.NO_CHAIN_TO_WRITE, printable(detail))
        rewritten = kind is Kind.REPLACE and file.data != proposal.content[role]
        if role is FileRole.KEYSTORE and rewritten and (lost := _loss(proposal, file)):
            yield Objection(Ground.KEYSTORE_WOULD_BE_LOST, f"{printable(file.given)} {lost}")
        if role in WITH_KEY and file.state is not None and not file.private_keys():
            for found in judge_exposure(file.state.mode, printable(file.given), file.state.owner):
                yield Objection(Ground.KEY_WOULD_BE_EXPOSED, found.detail)
    if (
        elsewhere := key_is_elsewhere(proposal.site, proposal.files, proposal.installed, proposal.candidate)
    ) is not None:
        yield Objection(Ground.KEY_MISMATCH, elsewhere)


def _loss(proposal: ComponentProposal, keystore: ComponentFile) -> str | None:
    """Return the content that would be lost with a keystore, as `loss` does, or that its format is not written.

    Where its password does not open it, the last keystore that it opened counts, or that the service does not start.
    """
    if (why := why_not_written(keystore.data)) is not None:
        return why
    last = proposal.standing.last.keystore
    if not proposal.standing.is_locked or (not last and not proposal.site.test_fails()):
        return loss(keystore.data, keystore.password)
    return loss(last, keystore.password)


def key_is_elsewhere(
    site: ComponentSite, files: ComponentFiles, installed: Sequence[Certificate], candidate: Candidate
) -> str | None:
    """Return that a component's key is not among its files, and the candidate needs another key; else None."""
    if files.keys() & set(WITH_KEY) or not installed:
        return None
    if leaf_first(installed)[0].public_key_sha256() == candidate.key.public_sha256:
        return None
    return (
        f"the key of {site.component.name} is not among its files, so only a certificate for the same key can be used"
    )


def _unusable(proposal: ComponentProposal, now: float) -> Iterator[Objection]:
    """Yield why no server could start with the new files."""
    after = {role: proposal.content[role] or None for role in proposal.files}
    for each in faults_in(proposal.site.component.artefacts, after, password_of(proposal.files), now):
        # The precheck says whether certificate and key belong together.
        if each.certain and each.code is not Code.KEY_MISMATCH:
            why = f"{proposal.name}: no server starts with {printable(each.target)}: {each.detail}"
            yield Objection(Ground.UNUSABLE, why)


def _with_provenance(found: Sequence[Objection], candidate: Candidate) -> tuple[Objection, ...]:
    """Return the objections; of an offer, each says who brought it."""
    if not candidate.offered:
        return tuple(found)
    said = sentence("; it was offered {}, which is no reason to trust its issuer", candidate.offered)
    return tuple(
        replace(each, detail=f"{each.detail}{said}")
        if each.gap is None
        else replace(each.gap, cure=f"{each.gap.cure}{said}").objection()
        for each in found
    )


def _losses(
    candidate: Candidate, effects: Sequence[Effect], expected: Collection[str], lacks: Mapping[str, LackingClient]
) -> Iterator[Objection]:
    """Yield each client that would be lost unexpectedly, once; of one that `lacks` the root, what comes first."""
    lost = {effect.after.client: effect for effect in effects if effect.lost}
    for name, effect in lost.items():
        if name not in expected:
            why = why_rejected(effect.after, is_offer=bool(candidate.offered))
            first = _root_first(lacks[name]) if name in lacks and not candidate.offered else ""
            yield Objection(Ground.CLIENT_LOST, f"{name} would no longer accept {effect.endpoint}: {why}{first}")


def _root_first(lack: LackingClient) -> Printable:
    """Return that the trust store of a client gets the root first, the end of a sentence."""
    store = harmless(lack.store)
    sha256 = Printable("SHA256") if lack.root is None else harmless(lack.root.sha256)
    add = sentence("first `certvigil trust add {} --from ROOT --sha256 {}`", store, sha256)
    compare = Printable("once that SHA-256 is compared with the CA's own word")
    return sentence("; its trust store {} lacks {}: {}, {}", store, lack.issuer, add, compare)


# The parts of a plan


def changes(proposal: ComponentProposal, reader: FileReader) -> Iterator[Change]:
    """Yield the change of each file; raises OSError."""
    component = proposal.site.component
    for role, file in _in_order(proposal):
        content = proposal.content[role]
        if file.state is None and not content:
            continue
        before = file.state or proposal.standing.last.states.get(file.path)
        before = before or _metadata(file, proposal.files, reader)
        after = None if content is None else replace(before, sha256=hashlib.sha256(content).hexdigest())
        yield Change(
            component=component.name,
            path=file.path,
            before=file.state,
            after=after,
            given=file.given if file.given != file.path else "",
            in_place=component.write_mode is WriteMode.IN_PLACE,
            says=content_digest(content or b"", file.password) if role is FileRole.KEYSTORE else "",
        )


def _in_order(proposal: ComponentProposal) -> Iterator[tuple[FileRole, ComponentFile]]:
    """Yield the files in the order of their changes: no configuration file may name a chain that is not there."""
    lines_first = proposal.content.get(FileRole.CHAIN, b"") is None
    yield from sorted(proposal.files.items(), key=lambda each: each[0].is_line is not lines_first)


def _metadata(missing: ComponentFile, files: ComponentFiles, reader: FileReader) -> FileState:
    """Return owner and mode for a file that is not there yet: those of its neighbour, or of its directory."""
    like = next((file.state for file in files.values() if file.state is not None), None)
    if like is None:
        directory = reader.stat(os.path.dirname(missing.path))
        like = FileState("", 0o644, directory.st_uid, directory.st_gid)
    return replace(like, mode=like.mode & 0o600 if missing.role in WITH_KEY else like.mode | 0o044)


def servings(proposal: ComponentProposal, *, new: bool) -> Iterator[Serving]:
    """Yield the chains that each endpoint presents with the new or the old files."""
    content = proposal.content if new else held(proposal.files)
    chain = presented_by(presentable(proposal.site.component.artefacts, content), password_of(proposal.files))
    root = proposal.candidate.root if new else None
    alone = {stage.endpoint.name for stage in proposal.site.stages if stage.endpoint.may_send_leaf_alone}
    for endpoint in proposal.site.component.endpoints:
        yield Serving(endpoint, ways_of_presenting(chain, root, leaf_alone=endpoint in alone))


def stands(proposal: ComponentProposal) -> Iterator[tuple[str, str, str]]:
    """Yield component, path and SHA-256 of each file on disk."""
    for file in proposal.files.values():
        if file.state is not None:
            yield proposal.name, file.path, file.state.sha256


# Remarks


def remarks(proposal: ComponentProposal) -> Iterator[str]:
    """Yield facts about the change that are no objections: sentences, printable."""
    candidate, component, installed = proposal.candidate, proposal.name, proposal.installed
    yield from candidate.put_right
    yield from _mended(proposal)
    if silent := ", ".join(printable(each.endpoint.name) for each in proposal.site.stages if not each.served):
        yield f"{component}: nobody answers there now, so what is served and who accepts it is not seen: {silent}"
    if dropped := dropped_names(candidate.certificate, installed):
        yield f"{component}: names that are no longer covered: {', '.join(dropped)}"
    if installed and (old := leaf_first(installed)[0].key).kind is not candidate.certificate.key.kind:
        new = candidate.certificate.key
        yield f"{component}: the key changes from {old} to {new}: a client that supports only {old.kind} is lost"
    keystore = proposal.files.get(FileRole.KEYSTORE)
    if keystore is not None and keystore.state is not None and recognise(keystore.data) is not PKCS12:
        why = "is no keystore" if keystore.data else "is empty"
        yield f"{component}: {printable(keystore.given)} {why}; it becomes a PKCS#12 keystore, whatever its name says"
    for role in WITH_KEY:
        if role in proposal.files and None in proposal.files[role].private_keys():
            yield f"{component}: the private key on disk is encrypted, the new one will not be"


def _mended(proposal: ComponentProposal) -> Iterator[str]:
    """Yield the faults that the change mends, and the facts that these faults hide."""
    component, standing = proposal.name, proposal.standing
    yield from (
        f"{component}: this mends {printable(each.target)}: {each.detail}" for each in standing.faults if each.certain
    )
    if standing.is_locked and not standing.last.keystore:
        yield f"{component}: the content of the keystore is not known; the backup set keeps the keystore"
    if standing.is_dead and not standing.in_use:
        yield f"{component}: the certificate in use before is not known: names and end are not compared"
