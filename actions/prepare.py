"""Making a plan: from a candidate, or from what an administrator put on disk, to what would be done, or why not."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

from actions.artefact import carried_over, digest_of, keys_in, presented_by, render, says_the_same, ways_of_presenting
from actions.backup import state_of
from actions.candidate import Candidate, Candidates, Given, NoCandidate, Offered, PrivateKey, read_candidate
from actions.choice import Choice, choose
from actions.complete import complete
from actions.contest import FileOnDisk
from actions.ending import Ground
from actions.keystore import loss
from actions.plan import Change, FileState, Ill, Kind, Order, Plan, Serving, candidate_of
from actions.precheck import (
    Demands,
    Issuers,
    Objection,
    dropped_names,
    missing_issuer,
    nothing_given_up,
    of_candidate,
    precheck,
)
from actions.rehearse import CannotBeServed, Effect, RehearsalStage, rehearse
from actions.soundness import faults_in, ill_of
from config.address import is_ip_address
from config.model import Artefacts, Component
from config.text import printable
from config.vocabulary import Code, FileRole, WriteMode
from probes.assess_set import SetFault
from probes.certificate import Certificate
from probes.judge.client import leaf_first
from probes.judge.key import judge_exposure
from probes.observation import Presented
from probes.pkcs12 import password_in

WITH_KEY: Final = (FileRole.COMBINED, FileRole.KEYSTORE, FileRole.KEY)


class FileReader(Protocol):
    """What is on disk; both raise OSError."""

    def resolve(self, path: str) -> str:
        """Return the absolute path with every symbolic link followed, of a missing file as well."""

    def stat(self, path: str) -> os.stat_result:
        """Return what the path itself is."""

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        """Return a regular file; links are not followed."""


@dataclass(frozen=True, slots=True)
class LastSet:
    """What a component had before its files came to be broken, as far as that is known."""

    chain: tuple[Certificate, ...] = ()
    """What a server presented of it, in that order."""
    keystore: bytes = field(repr=False, default=b"")
    states: Mapping[str, FileState] = field(default_factory=lambda: MappingProxyType({}))
    """By path: what each file was."""
    committed: frozenset[str] = frozenset()
    """SHA-256 of the leaves that a transaction put into use last, hexadecimal: they may be newer."""


def _nothing_known() -> LastSet:
    return LastSet()


@dataclass(frozen=True, slots=True)
class ComponentSite:
    """A component, and what its policy and its surroundings say of a candidate for it."""

    component: Component
    stages: tuple[RehearsalStage, ...] = ()
    """Its own endpoints with their clients, and what they present today."""
    allowed_issuers: tuple[Issuers, ...] = ()
    allow_shorter: bool = False
    min_lifetime: float | None = None
    """Seconds for which a candidate must remain valid, beside what the component says; None for no other."""
    last: Callable[[], LastSet] = _nothing_known
    """Returns what it had last; asked only where no server starts with its files."""
    test_fails: Callable[[], bool] = lambda: False
    """Says whether the service's configuration test fails now; asked only where that decides something."""
    given_up: Callable[[Iterable[str]], str] = nothing_given_up
    """Says that one of some keys was given up, as `Account.why_not` does."""


@dataclass(frozen=True, slots=True)
class Remainder:
    """What becomes of candidates in an inbox once one of them is in place.

    Certificates and public halves of keys, by the SHA-256 of each, hexadecimal.
    """

    spent: frozenset[str] = frozenset()
    """Used, or obsolete."""
    open: frozenset[str] = frozenset()
    """Of candidates that may still be wanted."""

    def is_done_with(self, held: frozenset[str]) -> bool:
        """Whether a file that holds this may be removed."""
        return not self.open or (not held & self.open and bool(held & self.spent))


_NOTHING_LEFT: Final = Remainder()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What would be done."""

    order: Order = field(repr=False)
    effects: tuple[Effect, ...]
    """What becomes of each client at each endpoint."""
    remarks: tuple[str, ...]
    """What is worth knowing and no reason against it: sentences, printable."""
    leaves: Mapping[str, tuple[Certificate | None, Certificate]]
    """By component: the server's certificate that was in use last, and the one that its files are to hold."""
    remainder: Remainder = field(default_factory=lambda: _NOTHING_LEFT)


@dataclass(frozen=True, slots=True)
class RefusedPlan:
    """Why nothing is done."""

    objections: tuple[Objection, ...]
    effects: tuple[Effect, ...] = ()
    remainder: Remainder | None = None
    """Where what was to be put in place is in place already."""


@dataclass(frozen=True, slots=True)
class _File:
    """One artefact as it is."""

    role: FileRole
    given: str
    path: str
    state: FileState | None
    data: bytes = field(repr=False)
    password: bytes | None = field(repr=False, default=None)
    """Of a keystore."""

    def private_keys(self) -> tuple[PrivateKey | None, ...]:
        """Return the private keys in it, None for each that cannot be read."""
        return keys_in(self.data, self.password)


_Files = Mapping[FileRole, _File]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the files of a component amount to as they are."""

    faults: tuple[SetFault, ...]
    in_use: tuple[Certificate, ...]
    """What they hold; where no server starts with them, what was served or committed last."""
    last: LastSet
    """Known only where no server starts with them."""

    @property
    def is_dead(self) -> bool:
        """Whether no server starts with them."""
        return ill_of(self.faults) is Ill.DEAD

    @property
    def is_locked(self) -> bool:
        """Whether they are a keystore that its password does not open."""
        return any(each.locked for each in self.faults)


def _standing(site: ComponentSite, files: _Files, now: float) -> _Standing:
    held = presented_by(_held(files), _password(files))
    there = {role: None if file.state is None else file.data for role, file in files.items()}
    faults = faults_in(site.component.artefacts, there, _password(files), now)
    known = _Standing(faults, held, LastSet())
    if not known.is_dead:
        return known
    last = site.last()
    served = next((shown.chain for stage in site.stages for shown in stage.served if shown.chain), ())
    # Half of a set is none that ever was in use, unless it is the half that was put there last.
    is_last = bool(held) and leaf_first(held)[0].sha256 in last.committed
    in_use = next((each for each in (served, held if is_last else (), last.chain, held) if each), ())
    return _Standing(faults, in_use, last)


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A candidate for one component, with what its files are and are to be."""

    site: ComponentSite
    candidate: Candidate
    files: _Files
    content: Mapping[FileRole, bytes] = field(repr=False)
    """What every file is to hold."""
    choice: Choice
    """What else was offered."""
    standing: _Standing

    @property
    def installed(self) -> tuple[Certificate, ...]:
        """What it is compared with, in the order in which a server presents it."""
        return self.standing.in_use


def make_plan(  # noqa: PLR0917 (what it is made from, and then what is known against it)
    sites: Sequence[ComponentSite],
    candidates: Candidates,
    reader: FileReader,
    now: float,
    losses: Collection[str] = (),
    quarantined: Mapping[str, str] = MappingProxyType({}),
) -> Prepared | RefusedPlan:
    """Return the order that puts `candidates` in place for all `sites` at once, at Unix time `now`.

    Of several, a component takes those whose key is of the kind that it has today, and of these the newest that can be
    used, as `choose` says; where all are of one kind, they are for all. `losses` names the clients that may be lost;
    `quarantined` gives, by what `candidate_of` says of a set, why it is not to be tried. Components whose files say the
    same already are left out; of the others every file is part of the plan, so that the whole set is compared, backed
    up and bound by its hash.
    """
    disk = _read_all(sites, reader)
    if isinstance(disk, RefusedPlan):
        return disk
    every = _proposals(disk, candidates, reader, now, quarantined)
    if isinstance(every, RefusedPlan):
        return every
    concerned = {each for one in every for each in one.choice.certificates}
    unused = [each for each in candidates.leaves if each not in concerned]
    remainder = _remainder(every, candidates)
    proposals = [each for each in every if each.content != _held(each.files)]
    if not proposals:
        done = Objection(Ground.NOTHING_TO_DO, "the files hold this certificate, chain and key already")
        newer = [each.why for one in every for each in one.choice.passed_over]
        return RefusedPlan(tuple(dict.fromkeys((done, *newer))), remainder=remainder)
    made = _conclude(Kind.REPLACE, proposals, reader, now, losses)
    if isinstance(made, RefusedPlan):
        return made
    remarks = (
        *(remark for each in every for remark in each.choice.remarks(each.site.component.name)),
        *(f"{each.title}, for a key of {each.key.kind}, is none of these components'" for each in unused),
    )
    return replace(made, remarks=(*made.remarks, *remarks), remainder=remainder)


def _proposals(
    disk: Sequence[tuple[ComponentSite, _Files]],
    candidates: Candidates,
    reader: FileReader,
    now: float,
    quarantined: Mapping[str, str],
) -> list[_Proposal] | RefusedPlan:
    """Return what each component is to be given; a set that is in quarantine only where there is no other."""
    barred: dict[Candidate, str] = {}
    while True:
        chosen = [_chosen(site, files, candidates, now, barred) for site, files in disk]
        if objections := tuple(each for each in chosen if isinstance(each, Objection)):
            return RefusedPlan(objections)
        every = [each for each in chosen if isinstance(each, _Proposal)]
        changed = [each for each in every if each.content != _held(each.files)]
        why = quarantined.get(candidate_of(change for each in changed for change in _changes(each, reader)))
        fresh = {each.choice.candidate: why for each in changed if each.choice.fit and why is not None}
        if not fresh:
            return every
        barred |= fresh


def _chosen(
    site: ComponentSite, files: _Files, candidates: Candidates, now: float, barred: Mapping[Candidate, str]
) -> _Proposal | Objection:
    standing = _standing(site, files, now)
    installed = standing.in_use
    offered = _fitting(candidates, site, installed)
    if isinstance(offered, Objection):
        return offered

    def against(candidate: Candidate) -> str | None:
        return barred.get(candidate) or _key_is_elsewhere(site, files, installed, candidate)

    choice = choose(offered, _demands(site, installed, Kind.REPLACE), now, against)
    if isinstance(choice, Objection):
        return choice
    views = tuple(dict.fromkeys(view for stage in site.stages for view in stage.views))
    candidate = complete(choice.candidate, installed, views, now)
    return _Proposal(site, candidate, files, _content(candidate, site, files, standing), choice, standing)


def _remainder(every: Sequence[_Proposal], candidates: Candidates) -> Remainder:
    """Return what is done with once `every` proposal is in place."""
    done = {each for one in every for each in (one.candidate.certificate, *one.choice.obsolete)}
    over = {each.certificate for one in every for each in one.choice.passed_over} - done
    keys = {each.certificate: each.key.public_sha256 for each in candidates.usable}

    def identified(leaves: Collection[Certificate]) -> frozenset[str]:
        return frozenset((*(each.sha256 for each in leaves), *(keys[each] for each in leaves if each in keys)))

    return Remainder(identified([each for each in candidates.leaves if each not in over]), identified(over))


def plan_activation(
    sites: Sequence[ComponentSite], reader: FileReader, now: float, losses: Collection[str] = ()
) -> Prepared | RefusedPlan:
    """Return the order that has `sites` serve what is on disk, at Unix time `now`; it changes no file.

    The whole set on disk is held to what a candidate is held to, in the order in which it lies there. The hash binds it
    by what is to be served and by the bytes of its files.
    """
    disk = _read_all(sites, reader)
    if isinstance(disk, RefusedPlan):
        return disk
    proposals: list[_Proposal] = []
    objections: list[Objection] = []
    for site, files in disk:
        objections += (
            Objection(Ground.UNREADABLE, f"{printable(file.given)}: there is no such file")
            for file in files.values()
            if file.state is None
        )
        made = read_candidate([Given(file.given, file.data) for file in files.values()], _password(files))
        if isinstance(made, NoCandidate):
            objections.append(Objection(Ground.UNUSABLE, f"{site.component.name}: {made.detail}"))
        elif as_it_lies := presented_by(_held(files), _password(files)):
            candidate = Candidate(as_it_lies[0], as_it_lies[1:], made.key, made.root)
            standing = _Standing((), as_it_lies, LastSet())
            proposals.append(_Proposal(site, candidate, files, _held(files), Choice(candidate), standing))
        else:
            objections.append(
                Objection(Ground.UNUSABLE, f"{site.component.name}: the certificate is in the key's file")
            )
    if objections:
        return RefusedPlan(tuple(objections))
    return _conclude(Kind.ACTIVATE, proposals, reader, now, losses)


def plan_rollback(
    sites: Sequence[ComponentSite],
    content: Mapping[str, bytes],
    reader: FileReader,
    now: float,
    losses: Collection[str] = (),
) -> Prepared | RefusedPlan:
    """Return the order that gives all `sites` the files of a backup set back, byte for byte, at Unix time `now`.

    `content` is by path, links followed. What was good enough before is held to what a candidate is held to all the
    same, but for how long it lasts.
    """
    disk = _read_all([replace(site, allow_shorter=True) for site in sites], reader)
    if isinstance(disk, RefusedPlan):
        return disk
    missing = [file.given for _, files in disk for file in files.values() if file.path not in content]
    if missing:
        detail = f"the backup set does not hold {printable(', '.join(missing))}"
        return RefusedPlan((Objection(Ground.UNREADABLE, detail),))
    proposals: list[_Proposal] = []
    objections: list[Objection] = []
    for site, files in disk:
        old = {role: content[file.path] for role, file in files.items()}
        if old == _held(files):
            objections += _still_dead(site, _standing(site, files, now))
            continue
        made = read_candidate([Given(file.given, old[role]) for role, file in files.items()], _password(files))
        if isinstance(made, NoCandidate):
            objections.append(Objection(Ground.UNUSABLE, f"{site.component.name}: {made.detail}"))
        else:
            as_it_was = replace(made, put_right=())
            standing = _standing(site, files, now)
            proposals.append(_Proposal(site, as_it_was, files, old, Choice(as_it_was), standing))
    if objections:
        return RefusedPlan(tuple(objections))
    if not proposals:
        return RefusedPlan((Objection(Ground.NOTHING_TO_DO, "the files are those of the backup set already"),))
    return _conclude(Kind.ROLLBACK, proposals, reader, now, losses)


def _still_dead(site: ComponentSite, standing: _Standing) -> Iterator[Objection]:
    """Yield why no server starts with what is on disk, where a backup set holds the same."""
    for each in standing.faults if standing.is_dead else ():
        if each.certain:
            why = f"no server starts with {printable(each.target)}: {each.detail}; the backup set holds the same"
            yield Objection(Ground.UNUSABLE, f"{site.component.name}: {why}")


def set_on_disk(component: Component, reader: FileReader) -> tuple[FileOnDisk, float]:
    """Return what a component has on disk, and the Unix time at which one of its files last changed; raises OSError."""
    files = {role: _read(role, component.artefacts, reader) for role in component.artefacts.files}
    there = [each.path for each in files.values() if each.state is not None]
    changed = max((reader.stat(each).st_ctime for each in there), default=0.0)
    chain = tuple(each.sha256 for each in _presented(files))
    digests = {each.path: each.state.sha256 if each.state is not None else "" for each in files.values()}
    return FileOnDisk(digests, frozenset({chain} if chain else ())), changed


def chain_on_disk(component: Component, reader: FileReader) -> tuple[Certificate, ...]:
    """Return what a server would present of a component's files; raises OSError."""
    return _presented({role: _read(role, component.artefacts, reader) for role in component.artefacts.files})


def _presented(files: _Files) -> tuple[Certificate, ...]:
    return presented_by(_held(files), _password(files))


def keys_at_hand(component: Component, reader: FileReader) -> tuple[PrivateKey, ...]:
    """Return the private keys that a component has, for a certificate that comes without one."""
    found: list[PrivateKey] = []
    for role in (each for each in WITH_KEY if each in component.artefacts.files):
        try:
            found += filter(None, _read(role, component.artefacts, reader).private_keys())
        except OSError:
            continue
    return tuple(found)


def keys_in_use(site: ComponentSite, reader: FileReader) -> frozenset[str]:
    """Return the private keys of a component, by the SHA-256 of their public halves: those on disk, and those served.

    Raises OSError where its files cannot be read.
    """
    files = {role: _read(role, site.component.artefacts, reader) for role in site.component.artefacts.files}
    chains = [_presented(files), *(shown.chain for stage in site.stages for shown in stage.served)]
    held = frozenset(
        key.public_sha256 for role in WITH_KEY if role in files for key in files[role].private_keys() if key is not None
    )
    return held | {leaf_first(chain)[0].public_key_sha256() for chain in chains if chain}


def keys_of_set(component: Component, content: Mapping[str, bytes], reader: FileReader) -> frozenset[str]:
    """Return the private keys of a backup set, by the SHA-256 of their public halves; `content` is by path.

    Raises OSError where a path or the password of a keystore cannot be read.
    """
    password = keystore_password(component.artefacts, reader)
    held = held_by(component.artefacts, content, reader)
    keys = frozenset(
        key.public_sha256
        for role in WITH_KEY
        if (data := held.get(role)) is not None
        for key in keys_in(data, password)
        if key is not None
    )
    chain = presented_by(held, password)
    return keys | ({leaf_first(chain)[0].public_key_sha256()} if chain else frozenset())


def read_password(path: str, reader: FileReader) -> bytes:
    """Return the password that the file at `path` holds; raises OSError, also where it is no text."""
    password = password_in(reader.read(reader.resolve(path))[1])
    try:
        password.decode()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "the password in it is no UTF-8 text", path) from None
    return password


def keystore_password(artefacts: Artefacts, reader: FileReader) -> bytes | None:
    """Return the password of a component's keystore; None where it is configured without. Raises as `read_password`."""
    return None if artefacts.password_file is None else read_password(artefacts.password_file, reader)


def held_by(artefacts: Artefacts, content: Mapping[str, bytes], reader: FileReader) -> dict[FileRole, bytes | None]:
    """Return what a component's files hold where `content` is what lies at each path; None is a file that is missing.

    Raises OSError where a path cannot be resolved.
    """
    return {role: content.get(reader.resolve(given)) for role, given in artefacts.files.items()}


def shared_paths(
    names: Collection[str], components: Mapping[str, Component], reader: FileReader
) -> Iterator[Objection]:
    """Yield each file of the named components that is another component's over symbolic links; raises OSError.

    Where both are configured with the very same path, that is how they are meant.
    """
    given = {path for name in names for path in components[name].artefacts.files.values()}
    ours = {reader.resolve(path) for path in given}
    for name, component in components.items():
        for path in component.artefacts.files.values() if name not in names else ():
            if path in given:
                continue
            # Where links are not followed for the other one, its files are none of these.
            with suppress(OSError):
                if (resolved := reader.resolve(path)) in ours:
                    yield Objection(Ground.PATH_SHARED, f"{printable(resolved)} is a file of {name}, too")


def _read_all(sites: Sequence[ComponentSite], reader: FileReader) -> list[tuple[ComponentSite, _Files]] | RefusedPlan:
    """Return the sites, sorted by name, with their files."""
    objections: list[Objection] = []
    disk: list[tuple[ComponentSite, _Files]] = []
    for site in sorted(sites, key=lambda site: site.component.name):
        files: dict[FileRole, _File] = {}
        for role, given in site.component.artefacts.files.items():
            try:
                files[role] = _read(role, site.component.artefacts, reader)
            except OSError as error:
                why = error.strerror or "it cannot be read"
                objections.append(
                    Objection(Ground.UNREADABLE, f"{printable(str(error.filename or given))}: {printable(why)}")
                )
        disk.append((site, files))
    uses = Counter(file.path for _, files in disk for file in files.values())
    objections += (
        Objection(Ground.PATH_SHARED, f"{printable(path)} is {count} artefacts at once, and can be only one")
        for path, count in uses.items()
        if count > 1
    )
    return RefusedPlan(tuple(objections)) if objections else disk


def _read(role: FileRole, artefacts: Artefacts, reader: FileReader) -> _File:
    """Return one artefact, missing or not; raises OSError, also where the password of a keystore cannot be read."""
    given = artefacts.files[role]
    password = keystore_password(artefacts, reader) if role is FileRole.KEYSTORE else None
    path = reader.resolve(given)
    try:
        found, data = reader.read(path)
    except FileNotFoundError:
        return _File(role, given, path, None, b"", password)
    return _File(role, given, path, state_of(found, data), data, password)


def _fitting(
    candidates: Candidates, site: ComponentSite, installed: Sequence[Certificate]
) -> Sequence[Offered] | Objection:
    """Return the candidates for a component: of its kind of key, or else of that which its endpoints ask for."""
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
    found = ", ".join(offered_kinds)
    which = f"which of the certificates, for keys of {found}, {site.component.name} is to have cannot be told"
    return Objection(Ground.KEY_MISMATCH, f"{which}: its own kind is {wanted}")


def _content(candidate: Candidate, site: ComponentSite, files: _Files, standing: _Standing) -> dict[FileRole, bytes]:
    """Return what each file is to hold, which is what it holds where that says the same."""
    keystore = files[FileRole.KEYSTORE].data if FileRole.KEYSTORE in files else b""
    if standing.is_dead and standing.last.keystore:
        # Its name and its encryption are what the service expects.
        keystore = standing.last.keystore
    rendered = render(candidate, site.component.artefacts, keystore, _password(files))
    content: dict[FileRole, bytes] = {}
    for role, file in files.items():
        new = rendered.get(role, b"")
        kept = says_the_same(file.data, new, file.password)
        content[role] = file.data if kept else new + carried_over(file.data)
    return content


def _password(files: _Files) -> bytes | None:
    """Return the password of the keystore, where there is one among the files."""
    return files[FileRole.KEYSTORE].password if FileRole.KEYSTORE in files else None


def _held(files: _Files) -> dict[FileRole, bytes]:
    return {role: file.data for role, file in files.items()}


def _conclude(
    kind: Kind, proposals: Sequence[_Proposal], reader: FileReader, now: float, losses: Collection[str]
) -> Prepared | RefusedPlan:
    objections: list[Objection] = []
    effects: list[Effect] = []
    for each in proposals:
        demands = _demands(each.site, each.installed, kind)
        against = precheck(each.candidate, demands, now)
        objections += (*_unwritable(each, kind), *against, *_unusable(each, now))
        shown = rehearse(each.candidate, [_staged(stage, each.installed) for stage in each.site.stages], now)
        if isinstance(shown, CannotBeServed):
            objections.append(Objection(Ground.CANNOT_BE_SERVED, shown.detail))
            continue
        effects += shown
        # Which clients miss the issuer was said once already.
        told = any(one.ground is Ground.INCOMPLETE_CHAIN for one in against)
        known = missing_issuer(each.candidate, demands.views, now) if told else frozenset()
        objections += _losses(shown, {*losses, *known})
    lost = {effect.after.client for effect in effects if effect.lost}
    if objections:
        return RefusedPlan(tuple(dict.fromkeys(objections)), tuple(effects))
    plan = Plan(
        kind,
        tuple(each.site.component.name for each in proposals),
        tuple(change for each in proposals for change in _changes(each, reader)) if kind is not Kind.ACTIVATE else (),
        tuple(sorted(lost)),
        tuple(serving for each in proposals for serving in _serving(each, new=True)),
        tuple(serving for each in proposals for serving in _serving(each, new=False)),
        tuple(stand for each in proposals for stand in _stands(each)) if kind is Kind.ACTIVATE else (),
    )
    paths = {change.path for change in plan.changes}
    content = {
        file.path: each.content[role] for each in proposals for role, file in each.files.items() if file.path in paths
    }
    remarks = dict.fromkeys(remark for each in proposals for remark in _remarks(each))
    leaves = {
        each.site.component.name: (
            leaf_first(each.installed)[0] if each.installed else None,
            leaf_first(each.candidate.presented)[0],
        )
        for each in proposals
    }
    mends = {} if kind is Kind.ACTIVATE else _mends(proposals)
    keys = frozenset(each.candidate.key.public_sha256 for each in proposals)
    return Prepared(Order(plan, content, mends, keys), tuple(effects), tuple(remarks), leaves)


def _mends(proposals: Iterable[_Proposal]) -> dict[str, Ill]:
    ills = {each.site.component.name: ill_of(each.standing.faults) for each in proposals}
    return {name: ill for name, ill in ills.items() if ill is not None}


def _unusable(proposal: _Proposal, now: float) -> Iterator[Objection]:
    """Yield why no server could start with the files as they are to be."""
    artefacts, name = proposal.site.component.artefacts, proposal.site.component.name
    held = {role: proposal.content[role] or None for role in proposal.files}
    for each in faults_in(artefacts, held, _password(proposal.files), now):
        # Whether certificate and key belong together was said of the candidate.
        if each.certain and each.code is not Code.KEY_MISMATCH:
            yield Objection(Ground.UNUSABLE, f"{name}: no server starts with {printable(each.target)}: {each.detail}")


def _stands(proposal: _Proposal) -> Iterator[tuple[str, str, str]]:
    for file in proposal.files.values():
        if file.state is not None:
            yield proposal.site.component.name, file.path, file.state.sha256


def _losses(effects: Sequence[Effect], expected: Collection[str]) -> Iterator[Objection]:
    """Yield each client that would be lost unexpectedly, once."""
    lost = {effect.after.client: effect for effect in effects if effect.lost}
    for name, effect in lost.items():
        if name not in expected:
            why = of_candidate(effect.after.why)
            yield Objection(Ground.CLIENT_LOST, f"{name} would no longer accept {effect.endpoint}: {why}")


def _unwritable(proposal: _Proposal, kind: Kind) -> Iterator[Objection]:
    for role, file in proposal.files.items():
        if not proposal.content[role] and file.state is not None:
            detail = f"{file.given} would be empty: give the root of the candidate, too"
            yield Objection(Ground.NO_CHAIN_TO_WRITE, printable(detail))
        rewritten = kind is Kind.REPLACE and file.data != proposal.content[role]
        if role is FileRole.KEYSTORE and rewritten and (why := _loss(proposal, file)):
            yield Objection(Ground.KEYSTORE_WOULD_BE_LOST, f"{printable(file.given)} {why}")
        if role in WITH_KEY and file.state is not None and not file.private_keys():
            for found in judge_exposure(file.state.mode, printable(file.given)):
                yield Objection(Ground.KEY_WOULD_BE_EXPOSED, found.detail)
    if (why := _key_is_elsewhere(proposal.site, proposal.files, proposal.installed, proposal.candidate)) is not None:
        yield Objection(Ground.KEY_MISMATCH, why)


def _loss(proposal: _Proposal, keystore: _File) -> str | None:
    """Say what would be lost with a keystore, as `loss` does.

    Where its password does not open it, the last one that it opened tells, or that the service does not start with it.
    """
    last = proposal.standing.last.keystore
    if not proposal.standing.is_locked or (not last and not proposal.site.test_fails()):
        return loss(keystore.data, keystore.password)
    return loss(last, keystore.password)


def _key_is_elsewhere(
    site: ComponentSite, files: _Files, installed: Sequence[Certificate], candidate: Candidate
) -> str | None:
    """Say why a component whose key is not among its files cannot be given a candidate; None where it can."""
    if files.keys() & set(WITH_KEY) or not installed:
        return None
    if leaf_first(installed)[0].public_key_sha256() == candidate.key.public_sha256:
        return None
    return (
        f"the key of {site.component.name} is not among its files, so only a certificate for the same key can be used"
    )


def _demands(site: ComponentSite, installed: Sequence[Certificate], kind: Kind) -> Demands:
    # What is on disk is what is to be activated; what it takes the place of is what is served.
    served = next((shown.chain for stage in site.stages for shown in stage.served if shown.chain), ())
    return Demands(
        tuple(dict.fromkeys(name for stage in site.stages for name in _names(stage))),
        tuple(dict.fromkeys(view for stage in site.stages for view in stage.views)),
        served if kind is Kind.ACTIVATE else tuple(installed),
        site.allowed_issuers,
        site.allow_shorter,
        min_lifetime=site.min_lifetime if site.min_lifetime is not None else site.component.min_lifetime,
        given_up=site.given_up,
    )


def _names(stage: RehearsalStage) -> Iterator[str]:
    """Yield the names by which clients connect; an address that only says where to look is none."""
    endpoint = stage.endpoint
    for view in stage.views:
        yield from view.client.names
    if endpoint.server_name is not None or not (is_ip_address(endpoint.host) or endpoint.host == "localhost"):
        yield endpoint.verified_name


def _staged(stage: RehearsalStage, installed: Sequence[Certificate]) -> RehearsalStage:
    """Return the stage with what is on disk standing in for what is served, where that is not known."""
    if stage.served or not installed:
        return stage
    return replace(stage, served=(Presented("on disk", leaf_first(installed), "", "", ""),))


def _changes(proposal: _Proposal, reader: FileReader) -> Iterator[Change]:
    component = proposal.site.component
    for role, file in proposal.files.items():
        if file.state is None and not proposal.content[role]:
            continue
        before = file.state or proposal.standing.last.states.get(file.path)
        before = before or _metadata(file, proposal.files, reader)
        after = replace(before, sha256=hashlib.sha256(proposal.content[role]).hexdigest())
        given = file.given if file.given != file.path else ""
        in_place = component.write_mode is WriteMode.IN_PLACE
        says = digest_of(proposal.content[role], file.password) if role is FileRole.KEYSTORE else ""
        yield Change(component.name, file.path, file.state, after, given, in_place, says)


def _metadata(missing: _File, files: _Files, reader: FileReader) -> FileState:
    """Return owner and mode for a file that is not there yet: those of its neighbour, or of its directory."""
    like = next((file.state for file in files.values() if file.state is not None), None)
    if like is None:
        directory = reader.stat(os.path.dirname(missing.path))
        like = FileState("", 0o644, directory.st_uid, directory.st_gid)
    return replace(like, mode=like.mode & 0o600 if missing.role in WITH_KEY else like.mode | 0o044)


def _serving(proposal: _Proposal, *, new: bool) -> Iterator[Serving]:
    content = proposal.content if new else _held(proposal.files)
    chain = presented_by(content, _password(proposal.files))
    chains = ways_of_presenting(chain, proposal.candidate.root if new else None)
    for endpoint in proposal.site.component.endpoints:
        yield Serving(endpoint, chains)


def _remarks(proposal: _Proposal) -> Iterator[str]:
    candidate, component = proposal.candidate, proposal.site.component.name
    yield from candidate.put_right
    installed = proposal.installed
    yield from _broken(proposal)
    if dropped := dropped_names(candidate.certificate, installed):
        yield f"{component}: names that are no longer covered: {', '.join(dropped)}"
    if installed and (old := leaf_first(installed)[0].key).kind is not candidate.certificate.key.kind:
        new = candidate.certificate.key
        yield f"{component}: the key changes from {old} to {new}: who knows only the one kind no longer connects"
    for role in WITH_KEY:
        if role in proposal.files and None in proposal.files[role].private_keys():
            yield f"{component}: the private key on disk is encrypted, the new one will not be"


def _broken(proposal: _Proposal) -> Iterator[str]:
    """Yield what is broken and is mended, and with what the candidate could not be compared."""
    component, standing = proposal.site.component.name, proposal.standing
    yield from (
        f"{component}: this mends {printable(each.target)}: {each.detail}" for each in standing.faults if each.certain
    )
    if standing.is_locked and not standing.last.keystore:
        yield f"{component}: what the keystore holds is not known; it is kept in the backup set"
    if standing.is_dead and not standing.in_use:
        yield f"{component}: no certificate that was in use is known: names and end are compared with none"
