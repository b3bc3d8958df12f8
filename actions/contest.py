"""Whether certvigil and another writer undo each other's changes, by the commits in the journal and the disk; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from actions.journal import Event, Record
from actions.journal_state import RECENT
from actions.plan import Change, Plan, Serving, plan_from_json
from config.immutable import immutable
from config.text import harmless, printable, sentence
from probes.judge.time import moment

DAY: Final = 86_400.0
NEAR: Final = DAY
"""Seconds after a commit within which every other set that replaces it counts, and not only an earlier set."""
PERIOD: Final = 30 * DAY
"""Seconds for which a reverted commit counts."""
ENOUGH: Final = 2
"""Reverted commits, after which nothing more is done unattended."""

Chain = tuple[str, ...]
"""SHA-256 of each certificate that a server would present, hexadecimal."""


@immutable
class FileOnDisk:
    """A component's files at some time."""

    files: Mapping[str, str]
    """SHA-256 of the content, hexadecimal, by path; empty where there is no such file."""
    chains: frozenset[Chain] = frozenset()
    """The chains that a server would present of them; empty where they are not known."""

    def is_as(self, other: FileOnDisk) -> bool:
        """Whether both are the same: by their bytes, or by the chains that are served of them."""
        same = all(other.files.get(path, digest) == digest for path, digest in self.files.items())
        return same or bool(self.chains & other.chains)


@immutable
class Committed:
    """A change of a component's files that is in the journal."""

    began: float
    """Unix time."""
    at: float
    before: FileOnDisk
    after: FileOnDisk


@immutable
class Contest:
    """Another writer reverted changes of certvigil more than once."""

    times: int
    committed: float
    """Unix time of the last change that was reverted."""
    paths: tuple[str, ...]
    """The files with another content now."""


@immutable
class OtherWriter:
    """The writer of a file, as far as the system tells."""

    path: str
    at: float
    """Unix time of the last change of the file, its owner and mode included."""
    owner: str = ""
    package: str = ""
    """The package that the file belongs to; empty where none is known."""


def commits_of(records: Iterable[Record], component: str, endpoints: Collection[str]) -> tuple[Committed, ...]:
    """Return the last commits to a component, oldest first, since an operator last thawed it.

    `endpoints` are its own, by name. Only the last `RECENT` commits are sure to be in the journal.
    """
    begun: dict[str, Record] = {}
    found: list[Committed] = []
    for record in records:
        if record.event is Event.BEGIN:
            begun[record.transaction] = record
        elif record.event is Event.THAWED and component in record.data.get("components", ()):
            found.clear()
        elif record.event in {Event.COMMITTED, Event.FAILED_FORWARD} and record.transaction in begun:
            begin = begun[record.transaction]
            plan = plan_from_json(begin.data["plan"])
            if any(each.component == component for each in plan.changes):
                found.append(_committed(plan, component, endpoints, begin.at, record.at))
    return tuple(found[-RECENT:])


def _committed(plan: Plan, component: str, endpoints: Collection[str], began: float, at: float) -> Committed:
    changes = [each for each in plan.changes if each.component == component]
    return Committed(
        began,
        at,
        FileOnDisk({each.path: _before(each) for each in changes}, _chains(plan.served, endpoints)),
        FileOnDisk({each.path: each.new_sha256 for each in changes}, _chains(plan.serves, endpoints)),
    )


def _before(change: Change) -> str:
    return change.before.sha256 if change.before is not None else ""


def _chains(serving: Iterable[Serving], endpoints: Collection[str]) -> frozenset[Chain]:
    return frozenset(chain for each in serving if each.endpoint in endpoints for chain in each.chains)


def contest(past: Sequence[Committed], now_on_disk: FileOnDisk, changed: float, now: float) -> Contest | None:
    """Return that another writer reverted commits once too often; else None.

    `past` is oldest first; `now_on_disk` are the files at Unix time `now`, last changed at `changed`. A commit was
    reverted where the next commit found, or the disk has, files from before it, or any other files within a day.
    """
    if not past or past[-1].after.is_as(now_on_disk):
        return None
    found = [*((each.before, each.began) for each in past[1:]), (now_on_disk, changed)]
    reverted = [
        one
        for number, (one, (then, when)) in enumerate(zip(past, found, strict=True))
        if now - one.at <= PERIOD and not one.after.is_as(then) and _is_revert(past[: number + 1], then, when)
    ]
    last = past[-1]
    if len(reverted) < ENOUGH or reverted[-1] is not last:
        return None
    paths = tuple(path for path, digest in last.after.files.items() if now_on_disk.files.get(path, digest) != digest)
    return Contest(len(reverted), last.at, paths)


def _is_revert(past: Sequence[Committed], then: FileOnDisk, when: float) -> bool:
    """Whether `then` reverts the last of `past`, and is no new set of its own."""
    last = past[-1].after.files
    others = {path: digest for path, digest in then.files.items() if digest != last.get(path, digest)}
    earlier = [each.files for one in past for each in (one.before, one.after)]
    back = all(any(each.get(path) == digest for each in earlier) for path, digest in others.items())
    return back or when - past[-1].at <= NEAR


def contest_sentence(component: str, found: Contest, writer: OtherWriter | None) -> str:
    """Return who reverts the changes of certvigil, and how to go on."""
    said = f"another writer replaced the files of certvigil {_times(found.times)}"
    said += f", the last time after {moment(found.committed)}"
    if writer is not None:
        by = f", whose owner is {writer.owner}" if writer.owner else ""
        package = f" and which belongs to the package {writer.package}" if writer.package else ""
        said += f": {printable(writer.path)}{printable(by)}{printable(package)}, was written at {moment(writer.at)}"
    return sentence(
        "{}; nothing more is done to it unattended. Have only one of the two write these files; "
        "then `certvigil recover --thaw {}`, or a new candidate, lets certvigil go on",
        harmless(said),
        printable(component),
    )


def _times(count: int) -> str:
    return "twice" if count == ENOUGH else f"{count} times"
