"""Reading the configuration: from files to a valid Config, or to all their mistakes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from config import profile
from config.channel import Channel, FindingMatch, Notifications
from config.document import KeyPath, Mistake, YAMLDocument, join, parse, shown, substitute
from config.fields import RESERVED_NAMES, channel_url, duration_text, heartbeat_url
from config.host import own_name
from config.immutable import immutable
from config.label import labels_of
from config.model import (
    DEFAULT_CLIENT,
    CertifiStore,
    Client,
    Component,
    ComponentGroup,
    Config,
    Endpoint,
    FileTarget,
    SystemStore,
    TrustStore,
    Watch,
    groups_by_member,
)
from config.pattern import is_one_of
from config.policy import Policy, PolicyMatch, Replace
from config.schema.component import declared_services
from config.schema.policy import CheckSection
from config.schema.problem import Problem
from config.schema.root import RootSection
from config.schema.section import DeclaredNames, is_pattern, unlike
from config.schema.validate import Validated, validate
from config.shipped import shipped_policies
from config.text import printable
from config.trusted import is_read_only, read_secrets, unsafe
from config.vocabulary import LINE_ROLES, FileRole, Mode

SIZE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one configuration file."""

_ACTIONS: Final = "actions"
_IMPLICIT_STORES: Final = MappingProxyType(
    {"system": TrustStore("system", SystemStore()), "mozilla": TrustStore("mozilla", CertifiStore())}
)
_IMPLICIT_CLIENTS: Final = MappingProxyType({DEFAULT_CLIENT: Client(DEFAULT_CLIENT, "system")})


@immutable
class _File:
    path: str
    data: bytes


def load(path: str, environ: Mapping[str, str], *, secrets: bool = True) -> Config | tuple[Mistake, ...]:
    """Return the configuration at `path`, or every mistake in it, by file and line.

    `path` is a file, or a directory whose `*.yaml` and `*.yml` files are read as one document; `${NAME}` is replaced
    from `environ`. Without `secrets`, the files with URLs are not read, and a variable that only a channel names may be
    unset: who delivers nothing need not have the right to read them.
    """
    found = load_marked(path, environ, secrets=secrets)
    return found.config if isinstance(found, Marked) else found


class Marked(NamedTuple):
    """A configuration, and its document, which knows the place of each value."""

    config: Config
    document: YAMLDocument


def load_marked(path: str, environ: Mapping[str, str], *, secrets: bool = True) -> Marked | tuple[Mistake, ...]:
    """Return the result of `load`, with the document beside it."""
    found = examine(path, environ, secrets=secrets)
    return found.sound if found.sound is not None and not found.mistakes else found.mistakes


class Examined(NamedTuple):
    """What a configuration declares where it has no mistakes, and every mistake."""

    sound: Marked | None
    """Made of the sections and items without mistakes; None where the document cannot be read."""
    mistakes: tuple[Mistake, ...]


def examine(path: str, environ: Mapping[str, str], *, secrets: bool = True) -> Examined:
    """Return the sound parts of the configuration at `path`, and every mistake in it, by file and line."""
    files, mistakes = _read(path)
    documents, wrong = _parse_all(files, environ, may_be_unset=() if secrets else ("channels",))
    is_whole = not mistakes and len(documents) == len(files)
    mistakes.extend(wrong)
    if not documents:
        return Examined(None, _in_order(mistakes))
    joined, clashes = _join_all(documents)
    mistakes.extend(clashes)
    document, found, is_added = _with_profile(joined)
    is_whole &= is_added
    validated = validate(document, _names(document) if is_whole else DeclaredNames(None, None, None, None))
    declared = _declare(document, validated)
    notified = _notify(validated, read_secrets if secrets else _unread)
    found = [*found, *validated.problems, *declared.problems, *notified.problems]
    found.extend(_check_policy_names(document, validated))
    if is_whole:
        known = _KnownTargets.of(document, validated, declared)
        found.extend(_check_waivers(validated, known))
        found.extend(_check_policies(validated, declared, known))
        found.extend(_check_groups(document, validated, declared))
        found.extend(_check_stores(document, validated, declared))
    told = {(mistake.file, mistake.line, mistake.key) for mistake in mistakes}
    more = (document.mistake(*problem) for problem in found)
    mistakes.extend(each for each in more if (each.file, each.line, each.key) not in told)
    return Examined(Marked(_config(validated.root, declared, notified, files, path), document), _in_order(mistakes))


def _parse_all(
    files: Iterable[_File], environ: Mapping[str, str], may_be_unset: Collection[str]
) -> tuple[list[YAMLDocument], list[Mistake]]:
    documents: list[YAMLDocument] = []
    mistakes: list[Mistake] = []
    for file in files:
        parsed, wrong = parse(file.data, file.path)
        mistakes.extend(wrong)
        if parsed is not None:
            document, wrong = substitute(parsed, environ, may_be_unset)
            mistakes.extend(wrong)
            documents.append(document)
    return documents, mistakes


def _config(root: RootSection, declared: _Declared, notified: _Notified, files: Iterable[_File], path: str) -> Config:
    stores = {name: each.build(name) for name, each in root.trust_stores.items()}
    clients = {name: each.build(name) for name, each in root.clients.items()}
    groups = _groups(root)
    return Config(
        settings=root.settings(),
        host=root.host or own_name(),
        watches=_watches(root),
        files=tuple(declared.files),
        endpoints=MappingProxyType(declared.endpoints),
        components=MappingProxyType(declared.components),
        groups=MappingProxyType(groups),
        trust_stores=MappingProxyType({**_IMPLICIT_STORES, **stores}),
        clients=MappingProxyType({**_IMPLICIT_CLIENTS, **clients}),
        policies=_policies(root),
        waivers=tuple(each.build() for each in root.waivers),
        not_tls=tuple(each.build() for each in root.not_tls),
        rotation=root.rotation.build() if root.rotation is not None else None,
        channels=MappingProxyType(notified.channels),
        notifications=_with_groups(notified.notifications, groups),
        profile=root.profile,
        parameters=profile.parameter_texts(root.appliance),
        guides=root.guides,
        sources=tuple(file.path for file in files),
        digest=_digest(files),
        given=os.path.abspath(path),
    )


def _watches(root: RootSection) -> tuple[Watch, ...]:
    watches = tuple(each.build() for each in root.watch)
    return (*watches, Watch(tuple(root.revocation.crls), of_lists=True)) if root.revocation.crls else watches


def _groups(root: RootSection) -> dict[str, ComponentGroup]:
    taken: set[str] = set()
    groups: dict[str, ComponentGroup] = {}
    # Beside what is wrong with it, a document may hold what is sound.
    for name, given in root.groups.items():
        members = {each for each in given if each in root.components} - taken
        taken |= members
        if members and name not in root.components:
            groups[name] = ComponentGroup(name, tuple(sorted(members)))
    return groups


def _with_groups(notifications: Notifications, groups: Mapping[str, ComponentGroup]) -> Notifications:
    """Return who is told what, where what is done to a group is told to those who are told of a member, too."""
    group_of = groups_by_member(groups)

    def related(match: FindingMatch, *, upwards: bool) -> FindingMatch:
        found = [member for name in match.components if name in groups for member in groups[name].members]
        found += [group_of[name] for name in match.components if upwards and name in group_of]
        return replace(match, related=tuple(dict.fromkeys(found)))

    return replace(
        notifications,
        routes=tuple(replace(each, match=related(each.match, upwards=True)) for each in notifications.routes),
        silences=tuple(replace(each, match=related(each.match, upwards=False)) for each in notifications.silences),
    )


def _policies(root: RootSection) -> tuple[Policy, ...]:
    own = tuple(each.build() for each in root.policies)
    names = {each.name for each in own}
    return (*own, *(each for each in shipped_policies() if each.name not in names))


def digest_on_disk(path: str) -> str:
    """Return the digest that the configuration at `path` has now, as `Config.digest`."""
    return _digest(_read(path)[0])


def _digest(files: Iterable[_File]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(b"%s\0%d\0%s" % (os.fsencode(file.path), len(file.data), file.data))
    return whole.hexdigest()


def _in_order(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    return tuple(sorted(dict.fromkeys(mistakes), key=lambda mistake: (mistake.file, mistake.line)))


def _read(path: str) -> tuple[list[_File], list[Mistake]]:
    """Return the configuration files at `path`, and the mistakes because of which others are not read."""
    files: list[_File] = []
    mistakes: list[Mistake] = []
    try:
        paths = _paths(path)
        mistakes.extend(_unsafe_directories(path, paths))
    except OSError as error:
        return [], [_unreadable(path, error)]
    if not paths:
        mistakes.append(Mistake(printable(path), 0, "", "an empty directory, expected *.yaml or *.yml files"))
    for each in paths:
        try:
            data, problem = _read_file(each)
        except OSError as error:
            mistakes.append(_unreadable(each, error))
            continue
        if problem:
            mistakes.append(Mistake(printable(each), 0, "", problem))
        else:
            files.append(_File(each, data))
    return files, mistakes


def _paths(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    names = sorted(os.listdir(path))
    return [os.path.join(path, name) for name in names if name.endswith((".yaml", ".yml")) and name[0] != "."]


def _unreadable(path: str, error: OSError) -> Mistake:
    return Mistake(printable(path), 0, "", f"{error.strerror or 'cannot be read'}, expected a file that can be read")


def _read_file(path: str) -> tuple[bytes, str]:
    """Return the bytes of a configuration file, or why it cannot be trusted."""
    # A FIFO must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b"", "not a regular file, expected one"
        problem = "" if is_read_only(descriptor) else unsafe(status, user=os.geteuid(), sticky_is_safe=False)
        if problem:
            return b"", problem
        data = file.read(SIZE_LIMIT + 1)
    return (data, "") if len(data) <= SIZE_LIMIT else (b"", f"too large, expected at most {SIZE_LIMIT} bytes")


def _unsafe_directories(path: str, paths: Iterable[str]) -> Iterator[Mistake]:
    directories = {os.path.dirname(resolve(each)) for each in paths for resolve in (os.path.abspath, os.path.realpath)}
    for directory in sorted(directories):
        # Where names are fixed, nobody can put another file in place of ours in a sticky directory.
        problem = unsafe(os.stat(directory), user=os.geteuid(), sticky_is_safe=not os.path.isdir(path))
        if problem and not is_read_only(directory):
            yield Mistake(printable(directory), 0, "", problem)


def _join_all(documents: Iterable[YAMLDocument]) -> tuple[YAMLDocument, list[Mistake]]:
    mistakes: list[Mistake] = []
    first, *others = documents
    for other in others:
        joined, lost = join(first, other)
        for path in lost:
            problem = f"given twice, expected once; it is at {first.mark(path)} already"
            mistakes.append(other.mistake(path, problem))
        first = joined
    return first, mistakes


def _with_profile(document: YAMLDocument) -> tuple[YAMLDocument, list[Problem], bool]:
    """Return `document` merged into its profile's document, the mistakes, and whether all of it could be merged."""
    name = document.values.get("profile")
    if not isinstance(name, str):
        given = profile.SECTION in document.values and name is None
        unasked = Problem((profile.SECTION,), "given without a profile, expected 'profile' beside it")
        return document, [unasked] if given else [], not given
    if name not in profile.shipped():
        return (
            document,
            [Problem(("profile",), f"there is no profile {shown(name)}{unlike(name, profile.shipped())}")],
            False,
        )
    added, problems = profile.expand(name, document)
    return (profile.lay_over(document, added) if added else document), list(problems), added is not None


def _names(document: YAMLDocument) -> DeclaredNames:
    """Return the declarations of `document`, with or without mistakes."""

    def declared(section: str, implicit: Iterable[str]) -> frozenset[str]:
        items = document.values.get(section)
        return frozenset(implicit).union(items if isinstance(items, dict) else ())

    services = document.values.get("services")
    return DeclaredNames(
        declared("trust_stores", _IMPLICIT_STORES),
        declared("clients", _IMPLICIT_CLIENTS),
        declared("components", ()),
        declared("channels", ()),
        declared_services(services if isinstance(services, dict) else {}),
        declared("groups", ()),
    )


@immutable
class _Declared:
    """The targets of a document, and the origin of each."""

    document: YAMLDocument
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)
    files: list[FileTarget] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    targets: dict[str, KeyPath] = field(default_factory=dict)
    owners: dict[str, FileTarget] = field(default_factory=dict)

    def add_endpoint(self, endpoint: Endpoint, path: KeyPath) -> None:
        self._claim(endpoint.name, path)
        self.endpoints[endpoint.name] = endpoint

    def add_file(self, file: FileTarget, path: KeyPath) -> None:
        self._claim(file.name, path)
        self.files.append(file)
        owner = self.owners.setdefault(os.path.normpath(file.path), file)
        if owner is not file:
            problem = f"{shown(file.path)} is '{owner.name}' already, expected a file of its own"
            self.problems.append(Problem(path, problem))

    def _claim(self, name: str, path: KeyPath) -> None:
        if name in self.targets:
            where = self.document.mark(self.targets[name])
            problem = f"there is a target {shown(name)} at {where} already, expected another name or address"
            self.problems.append(Problem(path, problem))
        self.targets.setdefault(name, path)


def _declare(document: YAMLDocument, validated: Validated) -> _Declared:
    """Return the targets that the sound parts of `document` declare."""
    declared = _Declared(document)
    tls = validated.root.tls.build()
    for index, endpoint in zip(validated.positions.get("endpoints", ()), validated.root.endpoints, strict=True):
        for each in endpoint.build(tls):
            declared.add_endpoint(each, ("endpoints", index))
    for name, section in validated.root.components.items():
        component, endpoints = section.build(name, validated.root.keys, tls)
        declared.components[name] = component
        for role, path in component.artefacts.files.items():
            password = component.artefacts.password_file if role is FileRole.KEYSTORE else None
            file = FileTarget(
                f"{name}/{role}",
                path,
                role,
                name,
                password_files=() if password is None else (password,),
                keys=component.keys,
                line=component.artefacts.line_of.get(role),
                default_certificate=component.default_certificate,
                labels=labels_of(component.labels),
            )
            where = ("lines", LINE_ROLES.index(role), "file") if role.is_line else (str(role),)
            declared.add_file(file, ("components", name, "artefacts", *where))
        for index, built in enumerate(endpoints):
            declared.add_endpoint(built, ("components", name, "endpoints", index))
    return declared


@immutable
class _Notified:
    """Channels and notifications, with the secrets from files of their own."""

    channels: dict[str, Channel]
    notifications: Notifications
    problems: list[Problem]


_Reads = Callable[[str, Callable[[str], object]], tuple[str, ...]]
"""How a file with secrets is read: as `read_secrets`."""


def _unread(_file: str, _check: Callable[[str], object]) -> tuple[str, ...]:
    return ("",)


def _notify(validated: Validated, read: _Reads) -> _Notified:
    """Return the notifications in the sound parts of the document, and the mistakes in the files that they name."""
    problems: list[Problem] = []

    def secrets(file: str | None, check: Callable[[str], object], path: KeyPath) -> tuple[str, ...]:
        if file is None:
            return ()
        try:
            return read(file, check)
        except ValueError as error:
            problems.append(Problem(path, f"{printable(file)}: {error}"))
            return ("",)

    channels = {
        name: section.build(name, secrets(section.urls_file, channel_url, ("channels", name, "urls_file")))
        for name, section in validated.root.channels.items()
    }
    section = validated.root.notifications
    beat = section.heartbeat.url_file if section.heartbeat else None
    url, *others = secrets(beat, heartbeat_url, ("notifications", "heartbeat", "url_file")) or ("",)
    if others:
        problems.append(Problem(("notifications", "heartbeat", "url_file"), "holds several lines, expected one URL"))
    return _Notified(channels, section.build(url), problems)


@immutable
class _KnownTargets:
    """The names that targets have, or may have, by a document of which some parts are not sound."""

    names: frozenset[str]
    """Of sound sections, and of others as far as they say so."""
    components: tuple[str, ...] = ()
    """Components with mistakes: whatever begins with their names may be one of their targets."""
    others: bool = False
    """An endpoint with mistakes does not say what it is called."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """The group of each member."""

    @classmethod
    def of(cls, document: YAMLDocument, validated: Validated, declared: _Declared) -> _KnownTargets:
        """Return the names in a document."""
        names, components, others = set(declared.targets), [], False
        group_of = {member: name for name, members in validated.root.groups.items() for member in members}
        for name, component in declared.components.items():
            if component.service is not None:
                names.add(_actions_of(group_of.get(name, name)))
        for section, *which in {problem.path[:2] for problem in validated.problems}:
            if section == "components" and which:
                components.append(str(which[0]))
            elif section in {"endpoints", "components"}:
                items = document.values.get(section)
                item = items[which[0]] if which and isinstance(items, list) and isinstance(which[0], int) else None
                called = (item.get("name") or item.get("address")) if isinstance(item, dict) else None
                if isinstance(called, str):
                    names.add(called)
                else:
                    others = True
        return cls(frozenset(names | RESERVED_NAMES), tuple(components), others, group_of)

    def may_be(self, name: str) -> bool:
        """Whether a target may have that name; what a watch finds, called by its path, cannot be known."""
        of_component = any(name.startswith(f"{each}/") for each in self.components)
        return self.others or name in self.names or name.startswith("/") or of_component


def _check_waivers(validated: Validated, known: _KnownTargets) -> Iterator[Problem]:
    """Yield each waiver for an unknown target; a path may be a file that a watch finds later."""
    for index, waiver in zip(validated.positions.get("waivers", ()), validated.root.waivers, strict=True):
        yield from _check_target(waiver.target, ("waivers", index, "target"), known)


def _actions_of(subject: str) -> str:
    """Return the name of the target that stands for the actions on a group, or on a component of no group."""
    return f"{subject}/{_ACTIONS}"


def _check_target(name: str, path: KeyPath, known: _KnownTargets) -> Iterator[Problem]:
    member, _, what = name.partition("/")
    if what == _ACTIONS and member in known.groups:
        group = known.groups[member]
        problem = f"'{member}' is changed with its group, expected '{_actions_of(group)}', which has the findings"
        yield Problem(path, problem)
    elif not known.may_be(name):
        yield Problem(path, f"there is no target {shown(name)}{unlike(name, known.names)}")


def _check_policy_names(document: YAMLDocument, validated: Validated) -> Iterator[Problem]:
    first: dict[str, KeyPath] = {}
    for index, policy in zip(validated.positions.get("policies", ()), validated.root.policies, strict=True):
        path = ("policies", index, "name")
        if policy.name in first:
            where = document.mark(first[policy.name])
            yield Problem(path, f"there is a policy {shown(policy.name)} at {where} already, expected another name")
        first.setdefault(policy.name, path)


def _check_groups(document: YAMLDocument, validated: Validated, declared: _Declared) -> Iterator[Problem]:
    """Yield where a group could not be changed as one, or be told from a component."""
    first: dict[str, KeyPath] = {}
    for name, members in validated.root.groups.items():
        if name in declared.components:
            where = document.mark(("components", name))
            yield Problem(("groups", name), f"there is a component '{name}' at {where} already, expected another name")
        for index, member in enumerate(members):
            path: KeyPath = ("groups", name, index)
            if member in first:
                other, where = first[member][1], document.mark(first[member])
                yield Problem(
                    path,
                    f"'{member}' is in group '{other}' at {where} already, expected it in one group, once: "
                    "in two, it could be changed without a part of its group",
                )
            first.setdefault(member, path)
        known = [each for each in members if each in declared.components]
        watched = [each for each in known if declared.components[each].service is None]
        if watched and len(watched) < len(known):
            changed = next(each for each in known if each not in watched)
            yield Problem(
                ("groups", name),
                f"'{watched[0]}' has no 'service', and '{changed}' has one, expected it in each member or in none: "
                "the members are changed as one, or not at all",
            )


def _check_stores(document: YAMLDocument, validated: Validated, declared: _Declared) -> Iterator[Problem]:
    """Yield where a trust store could not be told from a component or group, or where two change one file."""
    first: dict[str, str] = {}
    for name, section in validated.root.trust_stores.items():
        store = section.build(name)
        if not store.is_changeable or store.path is None:
            continue
        for what, names in (("component", declared.components), ("group", validated.root.groups)):
            if name in names:
                where = document.mark((f"{what}s", name))
                problem = (
                    f"there is a {what} '{name}' at {where} already, expected another name: both can be changed by it"
                )
                yield Problem(("trust_stores", name), problem)
        path = os.path.normpath(store.path)
        owner = declared.owners[path].name if path in declared.owners else first.get(path)
        if owner is not None:
            problem = f"{shown(store.path)} is '{owner}' already, expected a file of its own where both can be changed"
            yield Problem(("trust_stores", name, "bundle"), problem)
        first.setdefault(path, name)


def _check_policies(validated: Validated, declared: _Declared, known: _KnownTargets) -> Iterator[Problem]:
    """Yield each policy that is for an unknown target, or that can never do what it says."""
    for index, section in zip(validated.positions.get("policies", ()), validated.root.policies, strict=True):
        policy = section.build()
        for position, target in enumerate(policy.match.targets):
            if not is_pattern(target):
                yield from _check_target(target, ("policies", index, "match", "target", position), known)
        matched = list(_matched(policy.match, validated.root, declared.components))
        yield from _check_issuers(policy, matched, ("policies", index, "mode"))
        yield from _check_drift(section.when, matched, ("policies", index, "when"))
        if section.override_window_when is not None:
            yield from _check_drift(section.override_window_when, matched, ("policies", index, "override_window_when"))


def _matched(match: PolicyMatch, root: RootSection, components: Mapping[str, Component]) -> Iterator[Component]:
    """Yield the components that a policy changes: those that it is for, and the other members of their groups."""
    group_of = {member: name for name, members in root.groups.items() for member in members}
    named = {name for name, each in components.items() if _is_for(match, each, group_of.get(name, name))}
    groups = {group_of[name] for name in named if name in group_of}
    for name, component in components.items():
        group = group_of.get(name)
        is_meant = name in named or group in groups
        if is_meant and (not match.groups or (group is not None and is_one_of(group, match.groups))):
            yield component


def _is_for(match: PolicyMatch, component: Component, subject: str) -> bool:
    """Whether a policy is for a component, which is changed as `subject`; its profile aside."""
    files = (f"{component.name}/{role}" for role in component.artefacts.files)
    targets = (*component.endpoints, *files, _actions_of(subject))
    return (
        is_one_of(component.name, match.components or ("*",))
        and (not match.targets or any(is_one_of(each, match.targets) for each in targets))
        and all(is_one_of(component.labels.get(label, ""), wanted) for label, wanted in match.labels.items())
    )


def _check_issuers(policy: Policy, matched: Iterable[Component], path: KeyPath) -> Iterator[Problem]:
    """Yield where a policy would install what nobody vouches for."""
    if policy.mode is not Mode.AUTO or not isinstance(policy.action, Replace) or policy.action.allowed_issuers:
        return
    open_to_any = next((each.name for each in matched if not each.allowed_issuers), None)
    if open_to_any is not None:
        problem = (
            f"found 'auto', but '{open_to_any}' does not say whose certificates it may get; expected "
            "'allowed_issuers' in 'replace', or in that component"
        )
        yield Problem(path, problem)


def _check_drift(check: CheckSection, matched: Sequence[Component], path: KeyPath) -> Iterator[Problem]:
    """Yield where a check would hold before a component counts as not serving what is on disk: then it cannot."""
    if check.drift_older_than is not None:
        least = max(matched, key=lambda each: each.not_served_after, default=None)
        if least is not None and check.drift_older_than + (check.lasting or 0.0) < least.not_served_after:
            grace = duration_text(least.not_served_after)
            problem = (
                f"found '{duration_text(check.drift_older_than)}', but '{least.name}' counts as not serving what is on "
                f"disk only after its 'not_served_after' of {grace}; expected at least {grace}, or a shorter "
                "'not_served_after' in that component"
            )
            yield Problem((*path, "drift_older_than"), problem)
    for key, checks in (("any", check.any_of), ("all", check.all_of)):
        for index, each in enumerate(checks or ()):
            yield from _check_drift(each, matched, (*path, key, index))
    if check.negated is not None:
        yield from _check_drift(check.negated, matched, (*path, "not"))
