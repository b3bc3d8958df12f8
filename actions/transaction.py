"""The transaction: replaces files, puts services onto them, proves it live, and else undoes it; never half done."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from actions import backup, service, target
from actions.account import Account
from actions.backup import BackupError
from actions.ending import CANDIDATES_FAULT, Cause, Ending, Failure, Outcome
from actions.journal import Event, Journal, JournalError, Record
from actions.lock import Busy, acquire
from actions.plan import Change, Kind, Order, Plan, candidate_of, plan_to_json
from actions.service import Trouble
from actions.target import Condition, ThirdPartyError
from actions.validate import Live, Seen, Sight, Terms, judge_new, judge_old, sight_to_json, watch
from actions.world import World
from config.service import Activation, Service
from config.text import printable

_KEEP: Final = 20


@dataclass(frozen=True, slots=True)
class Setting:
    """What a transaction works with."""

    world: World
    journal: Journal
    directory: str
    """The state directory, which exists."""
    services: Mapping[str, Service]
    """By component; one without needs no activation."""
    live: Live
    terms: Terms = field(default_factory=Terms)
    stopping: Callable[[], bool] = lambda: False
    """Whether this process was told to end: what has switched no file yet is given up."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Who asked for it, for what and why, for the record: `by`, `why` and `wish`, plain values."""
    told: Callable[[Record], None] = lambda _record: None
    """Hears of each step once it is in the journal."""

    @property
    def backups(self) -> str:
        """Where backup sets are."""
        return os.path.join(self.directory, "backups")

    @property
    def locks(self) -> str:
        """Where locks are."""
        return os.path.join(self.directory, "locks")

    def prepare(self) -> None:
        """Make the directories; raises OSError."""
        for each in (self.backups, self.locks):
            self.world.make_directory(each)
        self.world.sync_directory(self.directory)


def transact(setting: Setting, order: Order) -> Ending:
    """Carry out an order, wholly or not at all; whatever happens comes back as the ending.

    Blocks until the end: at most the service's time limits and twice the deadline of the terms.
    """
    name = time.strftime("%Y%m%dt%H%M%S", time.gmtime(setting.world.now())) + f"-{secrets.token_hex(4)}"
    try:
        setting.prepare()
        locks = acquire(setting.world, setting.locks, order.plan.components)
    except OSError as error:
        return _refuse(
            setting, name, order.plan, Failure(Cause.STORAGE, f"the state directory cannot be used: {_said(error)}")
        )
    if isinstance(locks, Busy):
        who = f"process {locks.holder} is at work on {locks.component}"
        return _refuse(setting, name, order.plan, Failure(Cause.BUSY, who))
    try:
        # Under the locks: whoever gave a key up meanwhile is heard.
        if (failure := _given_up(setting, order)) is not None:
            return _refuse(setting, name, order.plan, failure)
        return Transaction(setting, name, order.plan).run(order.content)
    finally:
        # Ending the process gives them back as well.
        with suppress(OSError):
            locks.release()


def _given_up(setting: Setting, order: Order) -> Failure | None:
    try:
        why = Account.of(setting.journal.records()).why_not(order.keys)
    except OSError as error:
        return Failure(Cause.STORAGE, f"the journal cannot be read: {_said(error)}")
    except JournalError as error:
        return Failure(Cause.JOURNAL, str(error))
    return Failure(Cause.KEY_GIVEN_UP, why) if why else None


def _refuse(setting: Setting, name: str, plan: Plan, failure: Failure) -> Ending:
    record = Record(
        setting.world.now(),
        name,
        Event.REFUSED,
        {
            "kind": plan.kind,
            "components": plan.components,
            "hash": plan.hash,
            **setting.asked,
            **_recorded(Outcome.REFUSED, failure),
        },
    )
    # A journal that takes no record is among the reasons to refuse.
    with suppress(JournalError):
        setting.journal.append(record)
    return Ending(name, Outcome.REFUSED, failure.cause, f"{_of(plan)}: {failure.sentence}; nothing was changed.")


def _recorded(outcome: Outcome, failure: Failure) -> dict[str, str]:
    return {"outcome": outcome, "cause": failure.cause, "reason": failure.sentence}


def _of(plan: Plan) -> str:
    return printable(", ".join(plan.components))


def _said(error: OSError) -> str:
    return printable(f"{error.strerror or type(error).__name__}" + (f" ({error.filename})" if error.filename else ""))


@dataclass(slots=True)
class Transaction:
    """One transaction under way, by whoever holds the locks of its components."""

    setting: Setting
    name: str
    plan: Plan
    baseline: Sight = field(default_factory=Sight)
    touched: int = 0
    """How many of the changes, from the first on, may have been made."""
    stopped: bool = False
    """Services may have been stopped for the switch."""
    activated: bool = False
    """Services may have been put onto the new files."""
    last: Sight = field(default_factory=Sight)
    remarks: list[str] = field(default_factory=list)
    began: tuple[float, float] = (0.0, 0.0)
    """By the wall clock and by the one that never jumps."""

    def __post_init__(self) -> None:
        """Take the time."""
        self.began = (self.setting.world.now(), self.setting.world.monotonic())

    def now(self) -> float:
        """Return the Unix time by which this transaction judges, whatever becomes of the wall clock meanwhile."""
        wall, steady = self.began
        return wall + self.setting.world.monotonic() - steady

    def run(self, content: Mapping[str, bytes]) -> Ending:
        """Carry out the plan from the beginning."""
        try:
            refused = self._check() or self._check_targets()
        except OSError as error:
            refused = Failure(Cause.STORAGE, f"a target cannot be examined: {_said(error)}")
        except JournalError as error:
            refused = Failure(Cause.JOURNAL, str(error))
        if refused is None and (trouble := self._each_service(service.test)):
            refused = Failure(Cause.CONFIG_TEST_BEFORE, f"its configuration is not good as it is: {trouble.sentence}")
        if refused is not None:
            return _refuse(self.setting, self.name, self.plan, refused)
        self.baseline = self._look()
        try:
            stopped = self._prepare(content)
        except OSError as error:
            return self.abandon(Failure(Cause.STORAGE, f"the change could not be prepared: {_said(error)}"))
        except JournalError as error:
            return self.abandon(Failure(Cause.JOURNAL, str(error)))
        if stopped is not None:
            return self.abandon(stopped)
        failure = self._attempt(self._switch) or self.forward()
        return self.conclude(failure)

    def _check(self) -> Failure | None:
        account = Account.of(self.setting.journal.records())
        for component, reason in account.frozen.items():
            if component in self.plan.components:
                return Failure(Cause.COMPONENT_FROZEN, f"{component} is frozen until an operator clears it ({reason})")
        failed = account.quarantined.get(candidate_of(self.plan.changes)) if self.plan.changes else None
        if failed is not None:
            return Failure(Cause.QUARANTINED, f"this candidate is in quarantine ({failed})")
        return None

    def _check_targets(self) -> Failure | None:
        world = self.setting.world
        for change in self.plan.changes:
            if (why := target.obstacle(world, change, self.setting.terms.trusted_owners)) is not None:
                return Failure(Cause.TARGET, why)
            if target.state(world, change.path) != change.before:
                return Failure(Cause.CHANGED, f"{printable(change.path)} is not what it was when this was planned")
        return None

    def _prepare(self, content: Mapping[str, bytes]) -> Failure | None:
        """Do everything that may want for space or permission; raises OSError, JournalError.

        The intent is the point after which being told to end no longer ends it: what is half switched is finished.
        """
        world, plan = self.setting.world, self.plan
        self.note(
            Event.BEGIN,
            plan=plan_to_json(plan),
            hash=plan.hash,
            candidate=candidate_of(plan.changes),
            leaf=next((chain[0] for each in plan.serves for chain in each.chains if chain), ""),
            **self.setting.asked,
            baseline=sight_to_json(self.baseline),
        )
        for component in sorted({change.component for change in plan.changes}):
            paths = [change.path for change in plan.changes if change.component == component]
            backup.take(world, self.setting.backups, component, self.name, paths)
        self.note(Event.BACKED_UP)
        for change in plan.changes:
            target.stage(world, change, self.name, content.get(change.path, b""))
        self._sync_directories()
        self.note(Event.STAGED)
        if self.setting.stopping():
            return Failure(Cause.INTERRUPTED, "certvigil was told to end")
        self.note(Event.INTENT)
        return None

    def abandon(self, failure: Failure) -> Ending:
        """End before the first file was switched."""
        self.note_if_possible(Event.ROLLED_BACK, **_recorded(Outcome.REFUSED, failure))
        try:
            self.clear(keep_backup=False)
        except OSError as error:
            self._remark(f"what was put beside the files could not be removed yet: {_said(error)}")
        sentence = f"{_of(self.plan)}: {failure.sentence}; nothing was changed."
        return Ending(self.name, Outcome.REFUSED, failure.cause, sentence, tuple(self.remarks))

    def _switch(self) -> Failure | None:
        self.stopped = any(each.quiesce for each in self._services().values())
        if trouble := self._each_service(service.stop):
            return Failure(Cause.STOP, f"it could not be stopped: {trouble.sentence}")
        for number, change in enumerate(self.plan.changes):
            self.touched = number + 1
            try:
                target.switch(self.setting.world, change, self.name)
            except ThirdPartyError as error:
                self.touched = number
                return Failure(Cause.CHANGED, str(error))
            self.note(Event.SWITCHED, number=number)
        self._sync_directories()
        return None

    def forward(self) -> Failure | None:
        """Go on from where every file is the new one: test, activate, validate."""
        return self._attempt(self._activate) or self._attempt(self._validate)

    def _activate(self) -> Failure | None:
        if (changed := self._changed()) is not None:
            return changed
        if trouble := self._each_service(service.test):
            return Failure(Cause.CONFIG_TEST, f"its configuration test fails with the new files: {trouble.sentence}")
        services = (self.setting.services.get(each) for each in self.plan.components)
        untested = not any(each is not None and each.test is not None for each in services)
        self.note(Event.CONFIG_TESTED, **({"tested": False} if untested else {}))
        self.activated = True
        before = self._identities()
        if trouble := self._each_service(service.activate):
            cause = Cause.ACTIVATION_TIMEOUT if trouble.timed_out else Cause.ACTIVATION
            return Failure(cause, f"it could not be activated: {trouble.sentence}")
        if not self._certificate_proves() and not self.stopped and (same := self._unchanged(before)):
            return Failure(Cause.NOT_PROVEN, f"{same[0]} says it restarted, but is the same process as before")
        self.note(Event.ACTIVATED)
        return None

    def _unchanged(self, before: Mapping[str, str | None]) -> list[str]:
        """Return whose process is still the same at the deadline: a restart may end before the new one is there."""
        world = self.setting.world
        end = world.monotonic() + self.setting.terms.deadline
        while True:
            same = [each for each, now in self._identities().items() if now is not None and now == before[each]]
            if not same or world.monotonic() + self.setting.terms.interval > end:
                return same
            world.sleep(self.setting.terms.interval)

    def _certificate_proves(self) -> bool:
        """Whether serving the new chains shows that the files are in use."""
        new = {chain for each in self.plan.serves for chain in each.chains}
        return bool(new) and not new & {each.chain for each in self.baseline.served}

    def _identities(self) -> dict[str, str | None]:
        world = self.setting.world
        restarted = {n: s for n, s in self._services().items() if s.activate is Activation.RESTART}
        return {name: service.identity(world, each) for name, each in restarted.items()}

    def _validate(self) -> Failure | None:
        terms = self.setting.terms

        def judge(sight: Sight) -> Seen:
            return judge_new(self.plan, self.baseline, sight, required=terms.required)

        seen = watch(self.setting.world, self._look, judge, terms)
        self.last = seen.sight
        if seen.unserved:
            return Failure(Cause.NOT_SERVED, f"the new certificate is not served: {'; '.join(seen.unserved)}")
        if seen.lost:
            lost = ", ".join(f"{each.client} at {each.endpoint}" for each in seen.lost)
            return Failure(Cause.CLIENT_LOST, f"clients that accepted the old certificate refuse the new: {lost}")
        if (changed := self._changed()) is not None:
            return changed
        if not any(each.chain for each in seen.sight.served):
            self._remark("no endpoint answered before or after: the change was not seen live")
        self.note(Event.VALIDATED, accepted=sorted(seen.sight.accepted))
        return None

    def _changed(self) -> Failure | None:
        for change in self.plan.changes:
            if target.state(self.setting.world, change.path) != change.after or target.moved(
                self.setting.world, change
            ):
                return Failure(Cause.CHANGED, f"{printable(change.path)} was changed by someone else after the switch")
        return None

    def _attempt(self, step: Callable[[], Failure | None]) -> Failure | None:
        try:
            return step()
        except OSError as error:
            return Failure(Cause.STORAGE, f"a file operation failed: {_said(error)}")
        except JournalError as error:
            return Failure(Cause.JOURNAL, str(error))
        # From here on a fault of our own must undo as well, rather than leave the change half done.
        except Exception as error:  # noqa: BLE001
            return Failure(Cause.INTERNAL, f"certvigil itself failed: {type(error).__name__}")

    def conclude(self, failure: Failure | None) -> Ending:
        """End after the last step, or after the failure that kept it from being reached."""
        if failure is None:
            return self.commit()
        if self.plan.changes and self._nobody_gains_by_the_old(failure):
            kept = f"{failure.sentence}; nobody would be better off with the old files, so the new ones stay"
            return self._end(Outcome.FAILED_FORWARD, Event.FAILED_FORWARD, Failure(failure.cause, kept))
        if not self.plan.changes:
            return self._undo_activation(failure)
        return self.undo(failure)

    def commit(self) -> Ending:
        """End with the new files."""
        return self._end(Outcome.COMMITTED, Event.COMMITTED, Failure(Cause.NONE, "the files are in use"))

    def _nobody_gains_by_the_old(self, failure: Failure) -> bool:
        """Whether the new chains are served, someone accepts them, and the old set, judged now, would win nobody back.

        Where the new chains are not served by all, the old set must even be worse.
        """
        new = {chain for each in self.plan.serves for chain in each.chains}
        served = self.last.accepted | self.last.partly
        if failure.cause not in (Cause.CLIENT_LOST, Cause.NOT_SERVED) or not served:
            return False
        if self.baseline.answering - self.last.reliable or not new & {each.chain for each in self.last.served}:
            return False
        try:
            old = self._old_files()
            # Looking and judging come from outside, and whatever is wrong with them, the old set is the safe one.
            would = self.setting.live.judge(self.plan.components, old, self.now())
        except Exception as error:  # noqa: BLE001
            self._remark(f"the old set could not be judged: {type(error).__name__}")
            return False
        gains = any(each.client not in self.plan.expected_losses for each in would - self.last.accepted)
        return not gains and (failure.cause is Cause.CLIENT_LOST or would < served)

    def _old_files(self) -> dict[str, bytes]:
        world, root = self.setting.world, self.setting.backups
        old: dict[str, bytes] = {}
        for component in {change.component for change in self.plan.changes}:
            old.update(backup.content(world, root, backup.load(world, root, component, self.name)))
        return old

    def _undo_activation(self, failure: Failure) -> Ending:
        """End where no file was changed, so that there is nothing to go back to but a service that answers."""
        if not self.activated:
            return self.abandon(failure)
        if (
            problem := self._serve_again(lambda sight: judge_new(Plan(Kind.ACTIVATE, (), ()), self.baseline, sight))
        ) is None:
            return self._end(Outcome.FAILED_FORWARD, Event.FAILED_FORWARD, failure)
        return self.freeze(Failure(failure.cause, f"{failure.sentence}; {problem.sentence}"))

    def undo(self, failure: Failure, *, live: bool = True) -> Ending:
        """Put every old file back and the services onto them, and see that they serve them; else freeze.

        Without `live`, services are left alone: they have not been started yet.
        """
        self.note_if_possible(Event.ROLLING_BACK, cause=failure.cause, reason=failure.sentence, touched=self.touched)
        try:
            problem = self._restore()
        except ThirdPartyError as error:
            problem = Failure(Cause.CHANGED, str(error))
        except (OSError, BackupError) as error:
            said = _said(error) if isinstance(error, OSError) else str(error)
            problem = Failure(Cause.STORAGE, f"an old file could not be put back: {said}")
        if problem is None and live:
            problem = self._serve_again(lambda sight: judge_old(self.plan, self.baseline, sight))
        if problem is not None:
            return self.freeze(Failure(failure.cause, f"{failure.sentence}; and then {problem.sentence}"))
        if not live:
            self._remark("the old files are back; that they are served was not seen, the services being down")
        if failure.cause in CANDIDATES_FAULT:
            self.note_if_possible(Event.QUARANTINED, candidate=candidate_of(self.plan.changes), reason=failure.sentence)
        return self._end(Outcome.ROLLED_BACK, Event.ROLLED_BACK, failure)

    def _restore(self) -> Failure | None:
        """Put old files back, none where one of them has become someone else's; raises OSError, BackupError."""
        found = [(change, self.condition(change)) for change in self.plan.changes[: self.touched]]
        for change, condition in found:
            if condition is Condition.OTHER:
                return Failure(
                    Cause.CHANGED, f"{printable(change.path)} is neither the old nor the new file: it was left alone"
                )
        for change, condition in reversed(found):
            if condition is not Condition.OLD:
                target.restore(self.setting.world, self.setting.backups, change, self.name)
        self.settle()
        for change in self.plan.changes[: self.touched]:
            if self.condition(change) is not Condition.OLD:
                return Failure(Cause.STORAGE, f"{printable(change.path)} is not what it was, though it was put back")
        return None

    def settle(self) -> None:
        """Have what the targets are now reach the medium: a process that changed them may have been killed before.

        Raises OSError.
        """
        for change in self.plan.changes:
            target.settle(self.setting.world, change)
        self._sync_directories()

    def condition(self, change: Change) -> Condition:
        """Say what one file is now; raises OSError."""
        world, root, old = self.setting.world, self.setting.backups, None
        if change.in_place:
            with suppress(BackupError):
                old = backup.content(world, root, backup.load(world, root, change.component, self.name)).get(
                    change.path
                )
        return target.condition(world, change, self.name, old)

    def _serve_again(self, judge: Callable[[Sight], Seen]) -> Failure | None:
        """Get the services to serve what is on disk: by doing nothing where nothing was done, by force at last."""
        ways: list[Callable[[World, Service], Trouble | None]] = [service.revive]
        if self.activated or self.stopped:
            ways.insert(0, service.activate_again)
        elif judge(self._look()).steady:
            return None
        terms = self.setting.terms
        problem = None
        for way in ways:
            trouble = self._each_service(way, go_on=True)
            seen = watch(self.setting.world, self._look, judge, terms) if trouble is None else None
            if seen is not None and not seen.unserved:
                return None
            said = trouble.sentence if trouble is not None else "; ".join(seen.unserved if seen else ())
            problem = Failure(Cause.ACTIVATION, f"the old set is not served again: {said}")
        return problem

    def freeze(self, failure: Failure) -> Ending:
        """End with neither: nothing is removed, and nothing is done to these components until an operator says so."""
        self.note_if_possible(Event.FROZEN, components=self.plan.components, **_recorded(Outcome.FROZEN, failure))
        sentence = (
            f"{_of(self.plan)}: {failure.sentence}. FROZEN: nothing more is done here until an operator clears it."
        )
        return Ending(self.name, Outcome.FROZEN, failure.cause, sentence, tuple(self.remarks))

    def _end(self, outcome: Outcome, event: Event, failure: Failure) -> Ending:
        if self.note_if_possible(event, **_recorded(outcome, failure)):
            # Without that record recovery has to find what it needs beside the targets.
            try:
                self.clear(keep_backup=True)
            except OSError as error:
                self._remark(f"what was put beside the files could not be removed yet: {_said(error)}")
        ending = {
            Outcome.COMMITTED: "",
            Outcome.ROLLED_BACK: "; undone, the old files are in place",
            Outcome.FAILED_FORWARD: ". Look at it soon",
        }[outcome]
        sentence = f"{_of(self.plan)}: {failure.sentence}{ending}."
        return Ending(self.name, outcome, failure.cause, sentence, tuple(self.remarks))

    def clear(self, *, keep_backup: bool) -> None:
        """Remove what was put beside the targets, and old backup sets; raises OSError."""
        world, root = self.setting.world, self.setting.backups
        for change in self.plan.changes:
            target.clear(world, change, self.name)
        self._sync_directories()
        for component in sorted({change.component for change in self.plan.changes}):
            if not keep_backup and not self._pinned(component):
                backup.discard(world, root, component, self.name)
            backup.prune(world, root, component, _KEEP)
        self.note_if_possible(Event.CLOSED)

    def _pinned(self, component: str) -> bool:
        try:
            return backup.load(self.setting.world, self.setting.backups, component, self.name).pinned
        except BackupError:
            return False

    def _sync_directories(self) -> None:
        for directory in sorted({os.path.dirname(change.path) for change in self.plan.changes}):
            self.setting.world.sync_directory(directory)

    def _services(self) -> Mapping[str, Service]:
        services = self.setting.services
        return {each: services[each] for each in self.plan.components if each in services}

    def _each_service(self, act: Callable[[World, Service], Trouble | None], *, go_on: bool = False) -> Trouble | None:
        """Return the first trouble; with `go_on` the services after it have their turn all the same.

        Components that have the same service have it together, and once.
        """
        first = None
        for each in dict.fromkeys(self._services().values()):
            trouble = act(self.setting.world, each)
            first = first or trouble
            if trouble is not None and not go_on:
                break
        return first

    def _look(self) -> Sight:
        try:
            return self.setting.live.look(self.plan.components, self.now())
        # Looking comes from outside; a look that fails in a new way sees nothing, and that undoes.
        except Exception as error:  # noqa: BLE001
            self._remark(f"a look failed: {type(error).__name__}")
            return Sight()

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def note(self, event: Event, **data: Any) -> None:
        """Write one record; raises JournalError."""
        record = Record(self.setting.world.now(), self.name, event, data)
        self.setting.journal.append(record)
        self.setting.told(record)

    def note_if_possible(self, event: Event, **data: Any) -> bool:
        """Write one record where that can be; what is on disk tells recovery as much."""
        try:
            self.note(event, **data)
        except JournalError as error:
            self._remark(str(error))
            return False
        return True
