"""The state of one transaction, which all its steps share: context, plan, progress, and its records in the journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from actions import service
from actions.aside import KEPT_FOR
from actions.backup import Retention
from actions.journal import Event, Journal, JournalError, Record
from actions.journal_state import JournalState, TakenIn
from actions.plan import Ill, Plan
from actions.service import Running, Trouble
from actions.validate import Live, LiveView, Terms
from actions.world import World
from config.immutable import immutable
from config.service import Service


@immutable
class TransactionContext:
    """The surroundings of a transaction."""

    world: World
    journal: Journal
    directory: str
    """The state directory, which exists."""
    services: Mapping[str, Service]
    """By component. A component without a service needs no activation."""
    live: Live
    terms: Terms = field(default_factory=Terms)
    stopping: Callable[[], bool] = lambda: False
    """Whether this process was told to end. A transaction that has switched no file is then abandoned."""
    attended: bool = True
    """A person asked for the transaction and waits for its end."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Who asked for the transaction, for which action and why, as plain values: `by`, `why` and `action`."""
    told: Callable[[Record], None] = lambda _record: None
    """Receives each step once the step is in the journal."""
    kept_for: float = KEPT_FOR
    """Seconds for which replaced files stay linked."""
    retention: Retention = field(default_factory=Retention)
    """The backup sets that are kept."""
    _journal_state: TakenIn[JournalState] = field(
        default_factory=partial(TakenIn, JournalState.of), init=False, repr=False, compare=False
    )

    def journal_state(self) -> JournalState:
        """Return the state that the journal's records make, not to be changed; raises JournalError, OSError."""
        return self._journal_state.of(self.journal.records())

    @property
    def backups(self) -> str:
        """The directory of the backup sets."""
        return os.path.join(self.directory, "backups")

    @property
    def locks(self) -> str:
        """The directory of the locks."""
        return os.path.join(self.directory, "locks")

    def prepare(self) -> None:
        """Make the directories; raises OSError."""
        for each in (self.backups, self.locks):
            self.world.make_directory(each)
        self.world.sync_directory(self.directory)


@dataclass(slots=True)
class TransactionState:
    """One transaction under way; the process that works on it holds the locks of its components."""

    context: TransactionContext
    name: str
    """Empty where the question is only whether the transaction would begin: then no record is written."""
    plan: Plan
    mends: Mapping[str, Ill] = field(default_factory=dict)
    """By component: the fault of its old files."""
    failing: bool = False
    """A service's configuration test failed with the old files."""
    baseline: LiveView = field(default_factory=LiveView)
    """The look before the first step."""
    touched: int = 0
    """The number of changes, from the first on, that may have been made."""
    stopped: bool = False
    """Services may have been stopped for the switch."""
    activated: bool = False
    """Services may have been put onto the new files."""
    last: LiveView = field(default_factory=LiveView)
    """The last look at the new files in use."""
    superseded: bool = False
    """Another writer's set is on disk, whole, served and accepted."""
    patient: bool = True
    """The transaction has not yet waited for another writer's set to become so."""
    displaced: str = ""
    """Why an activating command was not run, a sentence: the files had changed."""
    services_run: bool = True
    """Services run. At boot they do not run yet, and are left alone."""
    distrusted: bool = False
    """Writing over a file failed before: reading the file does not tell the content of the medium."""
    remarks: list[str] = field(default_factory=list)
    """Sentences for the operator, printable."""
    began: tuple[float, float] = (0.0, 0.0)
    """By the wall clock and by the monotonic clock."""

    def __post_init__(self) -> None:
        """Take the time."""
        self.began = (self.world.now(), self.world.monotonic())

    @property
    def world(self) -> World:
        """The world of the context."""
        return self.context.world

    @property
    def root(self) -> str:
        """The directory of the backup sets."""
        return self.context.backups

    def now(self) -> float:
        """Return the Unix time by which this transaction judges; a jump of the wall clock does not change it."""
        wall, steady = self.began
        return wall + self.world.monotonic() - steady

    @property
    def no_return(self) -> bool:
        """Whether services are known not to start with the old files: then no service is put onto them."""
        return self.failing or Ill.DEAD in self.mends.values()

    @property
    def changed_components(self) -> list[str]:
        """The components whose files change, sorted."""
        return sorted({each.component for each in self.plan.changes})

    def sync_directories(self) -> None:
        """Have the names in the directories of all targets reach the medium; raises OSError."""
        for directory in sorted({os.path.dirname(change.path) for change in self.plan.changes}):
            self.world.sync_directory(directory)

    # Services

    def services(self) -> Mapping[str, Service]:
        """Return the services, by component."""
        services = self.context.services
        return {each: services[each] for each in self.plan.components if each in services}

    def names_of(self, one: Service) -> tuple[str, ...]:
        """Return the components that have a service."""
        return tuple(name for name, each in self.services().items() if each == one)

    def each_service(self, act: service.Act, *, go_on: bool = False) -> Trouble | None:
        """Have each service act, and return the first trouble; with `go_on`, later services act in spite of trouble.

        Components that share a service have it act once. Each command is in the journal before it does anything, so
        that recovery knows of a command that outlives this process. Raises JournalError, except with `go_on` (the way
        back) and while nothing was done: then the command is run without its record.
        """
        doing = self.touched > 0 or self.stopped or self.activated
        begun: service.OnBegin | None = self._note_command if doing and not go_on else self.note_command_if_possible
        if not self.name:
            # A mere question has no lock, and writes no record that would end the command.
            begun = None
        first = None
        for each in dict.fromkeys(self.services().values()):
            trouble = act(self.world, each, begun)
            names = self.names_of(each)
            if trouble is not None and len(names) < len(self.plan.components):
                trouble = replace(trouble, of=", ".join(names))
            first = first or trouble
            if trouble is not None and not go_on:
                break
        return first

    # Looking

    def look(self, components: tuple[str, ...] = ()) -> LiveView:
        """Return a look at the endpoints of these components, or of all."""
        try:
            return self.context.live.look(components or self.plan.components, self.now())
        # The look comes from outside. A look that fails sees nothing, and the transaction is undone.
        except Exception as error:  # noqa: BLE001
            self.remark(f"a look failed: {type(error).__name__}")
            return LiveView()

    @property
    def new_chains(self) -> set[tuple[str, ...]]:
        """The chains that are served with the new files, SHA-256 of each certificate."""
        return {chain for each in self.plan.serves for chain in each.chains}

    def serves_new(self, live_view: LiveView) -> bool:
        """Whether at least one of the new chains is served."""
        return bool(self.new_chains & {each.chain for each in live_view.served})

    # Records

    def remark(self, sentence: str) -> None:
        """Keep a sentence for the operator, once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def records(self) -> list[Record]:
        """Return the records of this transaction; raises JournalError, OSError."""
        return [each for each in self.context.journal.records() if each.transaction == self.name]

    def note(self, event: Event, **data: Any) -> Record:
        """Write one record; raises JournalError."""
        record = Record(self.world.now(), self.name, event, data)
        self.context.journal.append(record)
        self.context.told(record)
        return record

    def note_if_possible(self, event: Event, **data: Any) -> bool:
        """Write one record where that is possible; recovery reads the same from the disk."""
        try:
            self.note(event, **data)
        except JournalError as error:
            self.remark(str(error))
            return False
        return True

    def _note_command(self, running: Running) -> None:
        data = {"components": self.plan.components, **running.to_json()}
        # A command is no step of its own: `told` does not receive it.
        self.context.journal.append(Record(self.world.now(), self.name, Event.COMMAND, data))

    def note_command_if_possible(self, running: Running) -> None:
        """Write the record of a command where that is possible."""
        try:
            self._note_command(running)
        except JournalError as error:
            self.remark(str(error))
