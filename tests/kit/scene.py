"""Components with files on disk and services that hold in memory, which is a file too, what they were started with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

from actions.backup import Retention
from actions.ending import Ending
from actions.journal import ENDED, Journal, Record
from actions.journal_state import JournalState
from actions.plan import Change, FileState, Kind, Order, Plan, Serving
from actions.recover import recover
from actions.target import state
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from actions.validate import Acceptance, Live, LiveView, Served, Terms
from actions.world import Metadata, World, write_new
from config.service import Service
from tests.kit.worlds import HastyWorld, Step, StepWorld, names_of

FAST: Final = Terms(successes=2, interval=0.05, deadline=0.2)
"""The pauses take no time; what takes time all the same may last until the deadline."""
PATIENT: Final = Terms(successes=2, interval=1.0, deadline=10.0)
"""Where a busy machine is no reason for another end than a quiet one has; the pauses take no time either."""
CLIENTS: Final = ("browser", "java")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Scene:
    """Components below one directory; each has a certificate, a key, a service and an endpoint of its name."""

    root: str
    components: tuple[str, ...] = ("web",)
    new: Mapping[str, bytes] = field(default_factory=dict)
    """By component: the certificate that replaces `GOOD old`."""
    missing_chain: bool = False
    """Whether the plan makes a file that was not there."""
    removed_chain: bool = False
    """Whether the plan removes a file."""
    lined: bool = False
    """Whether a configuration file names the chain exactly while it is there; else the service does not start."""
    in_place: bool = False
    quiesce: bool = False
    terms: Terms = FAST
    expected_losses: tuple[str, ...] = ()
    group: str = ""
    """The group of which all of them are."""
    has_it: tuple[str, ...] = ()
    """Components whose files are the new ones before the replacement, as of a member of a group that has them."""
    retention: Retention = field(default_factory=Retention)
    disk: World = field(default_factory=HastyWorld)
    """Where it is; there it is made unless it is there."""

    def __post_init__(self) -> None:
        if self.disk.names(self.root):
            return
        for each in ("", "/state", *(f"/{each}" for each in self.components)):
            self.disk.make_directory(f"{self.root}{each}")
        for each in self.components:
            self._make(self.certificate(each), b"GOOD old certificate\n" * 9, 0o644)
            self._make(self.key(each), b"old key\n" * 9, 0o640)
            self._make(f"{self.root}/{each}.memory", b"GOOD old certificate\n" * 9, 0o600)
            if self.removed_chain:
                self._make(self.chain(each), b"the old chain\n", 0o644)
            if self.lined:
                self._make(self.configuration(each), self._configured(each, named=self.removed_chain), 0o600)

    def _make(self, path: str, data: bytes, mode: int) -> None:
        write_new(self.disk, path, data, Metadata(mode, os.geteuid(), os.getegid()))

    @staticmethod
    def write(path: str, data: bytes, mode: int = 0o644) -> None:
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)

    def certificate(self, component: str) -> str:
        return f"{self.root}/{component}/site.crt"

    def chain(self, component: str) -> str:
        return f"{self.root}/{component}/site.chain"

    def configuration(self, component: str) -> str:
        return f"{self.root}/{component}/site.conf"

    def _configured(self, component: str, *, named: bool) -> bytes:
        return b"# configuration\n" + (f"chain={self.chain(component)}\n".encode() if named else b"")

    def key(self, component: str) -> str:
        return f"{self.root}/{component}/site.key"

    def memory(self, component: str) -> bytes:
        try:
            return self.read(f"{self.root}/{component}.memory")
        except FileNotFoundError:
            return b""

    def service(self, component: str) -> Service:
        up: tuple[str, ...] = ("/bin/cp", self.certificate(component), f"{self.root}/{component}.memory")
        if self.lined:
            # As a server does that cannot read a file which its configuration names.
            reads = f'. {self.configuration(component)} && {{ [ -z "$chain" ] || [ -e "$chain" ]; }}'
            up = ("/bin/sh", "-c", f"chain=; {reads} && exec {' '.join(up)}")
        return Service(
            restart=up,
            test=("/bin/grep", "-q", "GOOD", self.certificate(component)),
            stop=("/bin/rm", "-f", f"{self.root}/{component}.memory"),
            start=up,
            quiesce=self.quiesce,
        )

    def context(self, world: World | None = None, **services: Service) -> TransactionContext:
        world = world or self.disk
        services = {each: self.service(each) for each in self.components} | services
        if isinstance(world, HastyWorld):
            world.hastens = self.terms in (FAST, PATIENT)
        if isinstance(world, StepWorld):
            around = os.path.dirname(self.root)
            world.spelling = names_of(services, (f"{self.root}/", ""), (self.root, "."), (around, ".."))
        return TransactionContext(
            world,
            Journal(world, f"{self.root}/state/journal.jsonl"),
            f"{self.root}/state",
            services,
            Live(self.look, self.judge, self.whole),
            self.terms,
            retention=self.retention,
        )

    def look(self, components: tuple[str, ...], _now: float) -> LiveView:
        held = {each: self.memory(each) for each in components}
        return LiveView(
            tuple(Served(each, "default", (sha(data),) if data else ()) for each, data in held.items()),
            self._accepted(held),
        )

    def judge(self, components: tuple[str, ...], files: Mapping[str, bytes], _now: float) -> frozenset[Acceptance]:
        return self._accepted({each: files.get(self.certificate(each), b"") for each in components})

    def whole(self, components: tuple[str, ...]) -> tuple[Serving, ...] | None:
        """Return what is served of the files as they are; `new key` belongs to a certificate that says `new`."""
        serves = []
        for each in components:
            certificate, key = self.read(self.certificate(each)), self.read(self.key(each))
            if key.split()[-2] not in certificate.split():
                return None
            serves.append(Serving(each, ((sha(certificate),),)))
        return tuple(serves)

    @staticmethod
    def _accepted(held: Mapping[str, bytes]) -> frozenset[Acceptance]:
        return frozenset(
            Acceptance(client, each)
            for each, data in held.items()
            for client in CLIENTS
            if b"GOOD" in data and f"no {client}".encode() not in data
        )

    def order(self) -> Order:
        """Return the order that replaces certificate and key of every component."""
        content: dict[str, bytes] = {}
        changes = []
        for each in self.components:
            content[self.key(each)] = b"the new key\n" * 7
            content[self.certificate(each)] = self.new.get(each, b"GOOD new certificate\n" * 7)
            if each in self.has_it:
                content |= {path: self.read(path) for path in (self.key(each), self.certificate(each))}
            if self.lined and self.removed_chain:
                content[self.configuration(each)] = self._configured(each, named=False)
            if self.missing_chain:
                content[self.chain(each)] = b"a chain\n"
            if self.lined and self.missing_chain:
                content[self.configuration(each)] = self._configured(each, named=True)
            changes += [
                Change(each, path, before := state(self.disk, path), after(before, content[path]), "", self.in_place)
                for path in content
                if path.startswith(f"{self.root}/{each}/")
            ]
            if self.removed_chain:
                changes.append(Change(each, self.chain(each), state(self.disk, self.chain(each)), None))
        old = {each: sha(self.read(self.certificate(each))) for each in self.components}
        return Order(
            Plan(
                Kind.REPLACE,
                tuple(sorted(self.components)),
                tuple(changes),
                self.expected_losses,
                tuple(Serving(each, ((sha(content[self.certificate(each)]),),)) for each in self.components),
                tuple(Serving(each, ((old[each],),)) for each in self.components),
                group=self.group,
            ),
            content,
        )

    def read(self, path: str) -> bytes:
        return self.disk.read(self.disk.resolve(path))[1]

    def replace(self, world: World | None = None, **services: Service) -> Ending:
        order = self.order()
        context = self.context(world, **services)
        with closing(context.journal):
            return transact(context, order)

    def recover(self, world: World | None = None, *, services_run: bool = True) -> tuple[Ending, ...]:
        context = self.context(world)
        with closing(context.journal):
            return recover(context, services_run=services_run)

    def records(self) -> tuple[Record, ...]:
        with closing(Journal(self.disk, f"{self.root}/state/journal.jsonl")) as journal:
            return tuple(journal.records())

    def ends(self) -> list[str]:
        """Return how transactions ended, by the journal."""
        return [each.event.value for each in self.records() if each.event in ENDED]

    def beside(self, journal_state: JournalState | None = None) -> list[str]:
        """Return what lies beside the targets and is none, but for what stays linked for its time by the records."""
        kept = kept_aside(JournalState.of(self.records()) if journal_state is None else journal_state)
        return [
            f"{each}/{name}"
            for each in self.components
            for name in self.disk.names(f"{self.root}/{each}")
            if name.startswith(".") and f"{self.root}/{each}/{name}" not in kept
        ]


def kept_aside(journal_state: JournalState) -> set[str]:
    """Return the paths of the files that stay linked after they were replaced."""
    return {file.aside for each in journal_state.aside.values() for file in each.files}


def new_state(change: Change) -> FileState:
    """Return the state that a file is to have, which is not removed."""
    assert change.after is not None
    return change.after


def after(before: FileState | None, data: bytes) -> FileState:
    if before is None:
        return FileState(sha(data), 0o600, os.geteuid(), os.getegid())
    return replace(before, sha256=sha(data))


def trace_of(scene: Scene) -> list[Step]:
    world = StepWorld()
    scene.replace(world)
    return world.trace


def torn(scene: Scene, order: Order) -> list[str]:
    """Return the targets that are neither the old nor the new file: at no instant may there be one."""
    return [
        change.path
        for change in order.plan.changes
        if state(scene.disk, change.path) not in (change.before, change.after)
    ]


def broken(scene: Scene, order: Order, *, served: bool = True) -> list[str]:
    """Return how the invariant does not hold after recovery, as sentences read off the disk."""
    changes = order.plan.changes
    now = [state(scene.disk, change.path) for change in changes]
    old = all(found == change.before for found, change in zip(now, changes, strict=True))
    new = all(found == change.after for found, change in zip(now, changes, strict=True))
    journal_state = JournalState.of(scene.records())
    if journal_state.frozen:
        return [] if not torn(scene, order) else ["frozen with a torn file"]
    wrong = [] if old or new else ["neither all old nor all new"]
    wrong += [f"left beside: {name}" for name in scene.beside(journal_state)]
    if served:
        wrong += [
            f"{each} serves what is not on disk"
            for each in scene.components
            if scene.memory(each) != scene.read(scene.certificate(each))
        ]
    return wrong
