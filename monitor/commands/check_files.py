"""The files of `certvigil check`: they are looked at together, so that each certificate finds its key."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from config.immutable import immutable
from config.model import FileTarget
from config.text import harmless, printable, sentence
from config.vocabulary import FileContent, FileRole, UnreadableReason
from monitor.commands.checked import Checked
from monitor.commands.given import STANDARD_INPUT, Directory, PassedOverPath
from monitor.commands.keys import KeyFile, KeyPaths, key_beside, key_in, key_paths_in, keys_among
from probes.assess import FileContext, assess_file, is_worth_watching
from probes.chain import find_leaf
from probes.container.registry import called
from probes.file import SIZE_LIMIT, look_at_file, look_into, read_passwords
from probes.judge.client import View
from probes.judge.key import judge_match
from probes.judge.sharing import FileKeys, servers_leaf
from probes.observation import FileObservation, Unreadable
from probes.revocation.evidence import NO_EVIDENCE

Observed = Mapping[str, FileObservation]
"""The observation of each file, by path, in the order of the arguments."""


@immutable
class Manner:
    """How files are judged."""

    view: View | None
    """The client that judges, if there is one."""
    names: tuple[str, ...]
    """Each certificate must have them."""
    key: KeyFile | None
    """The certificates in files that were named must belong to this key."""
    now: float


def look_at(target: FileTarget, now: float) -> FileObservation:
    """Return the observation of a file, or of standard input."""
    if target.path != STANDARD_INPUT.path:
        return look_at_file(target, now, with_keys=True)
    try:
        data = sys.stdin.buffer.read(SIZE_LIMIT + 1)
    except OSError as error:
        failure = Unreadable(UnreadableReason.IO_ERROR, harmless(os.strerror(error.errno or errno.EIO)))
    else:
        if len(data) <= SIZE_LIMIT:
            return look_into(data, target, now, read_passwords(target.password_files), with_keys=True)
        failure = Unreadable(UnreadableReason.TOO_LARGE, sentence("it is larger than {} bytes", SIZE_LIMIT))
    return FileObservation(target.name, now, None, FileContent.NOTHING, failure=failure)


def judge_files(targets: Iterable[FileTarget], observed: Observed, manner: Manner) -> Iterator[Checked]:
    """Yield the verdict on each file that holds, or may hold, a certificate, and on each file that was named."""
    targets = list(targets)
    known = NO_EVIDENCE.with_lists(seen.lists for seen in observed.values())
    paths = key_paths_in(observed)
    keys = FileKeys()
    for path, seen in observed.items():
        keys.note(printable(path, 4096), servers_leaf(seen.content, seen.certificates))
    met = (each for each in targets if each.role is FileRole.FOUND)
    used = {key.where for key in _keys_used(met, observed, paths)}
    for target in targets:
        seen = observed[target.path]
        if seen.content is FileContent.KEY and target.role is FileRole.FOUND and printable(target.path, 4096) in used:
            # Who may read it is said of its certificate.
            continue
        if not is_worth_watching(seen, FileContext(target)):
            continue
        key = _key_of(target, targets, observed, manner, paths)
        context = FileContext(
            target,
            view=manner.view,
            names=manner.names,
            keys=key.public if key else (),
            keys_where=key.where if key else "",
            revocation=known.about(seen.certificates),
            sharing=keys.sharing(printable(target.path, 4096)),
        )
        findings = [*assess_file(seen, context, manner.now).findings, *(key.exposed if key else ())]
        if key is not None and seen.content is FileContent.ANCHOR:
            # A CA's certificate beside its key: the verdict on anchors says nothing of the key.
            findings += judge_match(find_leaf(seen.certificates), key.public, harmless(key.where))
        yield Checked(
            target.name,
            tuple(dict.fromkeys(findings)),
            seen.certificates,
            bool(seen.certificates or seen.keys or seen.encrypted_keys or seen.lists),
            format=seen.format,
            key=key,
            keystore=seen.keystore,
            lists=seen.lists,
        )


def passed_over(directory: Directory, observed: Observed, targets: Iterable[FileTarget]) -> Iterator[PassedOverPath]:
    """Yield everything in a directory that has no verdict, and the reason."""
    found = {each.path: each for each in targets if each.role is FileRole.FOUND}
    keys = _keys_used(found.values(), observed, key_paths_in(observed))
    used = {where for key in keys for where in (key.where, *key.also)}
    for path, target in found.items():
        where, seen = printable(path, 4096), observed[path]
        if not path.startswith(directory.path.rstrip("/") + "/") or where in used:
            continue
        if not is_worth_watching(seen, FileContext(target)):
            yield PassedOverPath(where, _why(seen))
    yield from directory.passed_over


def _why(seen: FileObservation) -> str:
    if seen.failure is not None:
        return seen.failure.detail
    held = called(seen.format)
    if seen.content is FileContent.KEY:
        return f"{held or 'a private key'} of no certificate here"
    return held or "no certificate in it"


def _keys_used(targets: Iterable[FileTarget], observed: Observed, paths: KeyPaths) -> Iterator[KeyFile]:
    for target in targets:
        if observed[target.path].certificates and (key := _key_nearby(target, observed, paths)):
            yield key


def _key_of(
    target: FileTarget, targets: Iterable[FileTarget], observed: Observed, manner: Manner, paths: KeyPaths
) -> KeyFile | None:
    seen = observed[target.path]
    if not seen.certificates:
        return None
    if manner.key is not None and target.role is FileRole.LISTED:
        return manner.key
    return _key_nearby(target, observed, paths) or _only_key(targets, observed, target)


def _key_nearby(target: FileTarget, observed: Observed, paths: KeyPaths) -> KeyFile | None:
    seen = observed[target.path]
    own = key_in(seen, printable(target.path, 4096), own_file=False)
    if own is not None or target.path == STANDARD_INPUT.path:
        return own
    # The look at the key has the time of the look at the certificate.
    beside = key_beside(target, observed, lambda each: look_at_file(each, seen.at, with_keys=True))
    public_half = find_leaf(seen.certificates).public_key_sha256()
    same = keys_among(public_half, os.path.dirname(target.path), observed, paths)
    if beside is None:
        return replace(same[0], also=tuple(each.where for each in same[1:])) if same else None
    others = (each.where for each in same if each.where != beside.where)
    return replace(beside, also=tuple(others)) if public_half in beside.public else beside


def _only_key(targets: Iterable[FileTarget], observed: Observed, target: FileTarget) -> KeyFile | None:
    """Return the key, if exactly one key and one certificate were named; their file names do not matter."""
    named = [each for each in targets if each.role is FileRole.LISTED]
    certificates = [each for each in named if observed[each.path].content is FileContent.LEAF]
    keys = [each for each in named if observed[each.path].content is FileContent.KEY]
    if certificates != [target] or len(keys) != 1:
        return None
    # The key's own file has the finding that others may read it.
    return key_in(observed[keys[0].path], keys[0].name, own_file=False)
