"""The transaction: replaces files, puts services onto them, proves it live, and else undoes it; never half done."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from actions import aside, backup, service, target
from actions.aside import AsideFile, Late
from actions.backup import BackupError
from actions.ending import CANDIDATES_FAULT, Cause, Ending, Failure, Outcome
from actions.guard import Guarded
from actions.journal import ENDED, Event, Journal, JournalError, Record
from actions.journal_state import JournalState
from actions.lock import Busy, acquire
from actions.plan import Change, FileState, Ill, Kind, Order, Plan, Serving, candidate_of, plan_from_json, plan_to_json
from actions.service import Running, Trouble
from actions.target import Condition, ThirdPartyError
from actions.validate import Live, LiveView, Seen, Terms, Worth, judge_new, judge_old, live_view_to_json, watch
from actions.verdict import Disk, JournalStage, Old, RecoveryFacts
from actions.world import World
from config.service import Activation, Service
from config.text import printable

_KEEP: Final = 20
_TRIES: Final = 3
"""Times that old files are put back before their medium counts as failing."""
_SUPERSEDED: Final = Failure(
    Cause.CHANGED,
    "somebody else put another whole set in place meanwhile, which is served, and accepted by all that accepted before",
)


@dataclass(frozen=True, slots=True)
class TransactionContext:
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
    attended: bool = True
    """A person asked for it and waits for the end."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Who asked for it, for what and why, for the record: `by`, `why` and `action`, plain values."""
    told: Callable[[Record], None] = lambda _record: None
    """Hears of each step once it is in the journal."""
    kept_for: float = aside.KEPT_FOR
    """Seconds for which files stay linked that were replaced."""

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


def transact(context: TransactionContext, order: Order) -> Ending:
    """Carry out an order, wholly or not at all; whatever happens comes back as the ending.

    Blocks until the end: at most the service's time limits and twice the deadline of the terms.
    """
    name = time.strftime("%Y%m%dt%H%M%S", time.gmtime(context.world.now())) + f"-{secrets.token_hex(4)}"
    try:
        context.prepare()
        locks = acquire(context.world, context.locks, order.plan.components)
    except OSError as error:
        return _refuse(
            context, name, order.plan, Failure(Cause.STORAGE, f"the state directory cannot be used: {_said(error)}")
        )
    if isinstance(locks, Busy):
        who = f"process {locks.holder} is at work on {locks.component}"
        return _refuse(context, name, order.plan, Failure(Cause.BUSY, who))
    try:
        # Under the locks: whoever gave a key up meanwhile is heard.
        if (failure := _given_up(context, order)) is not None:
            return _refuse(context, name, order.plan, failure)
        return Transaction(context, name, order.plan, mends=order.mends).run(order.content)
    finally:
        # Ending the process gives them back as well.
        with suppress(OSError):
            locks.release()


def refusal(context: TransactionContext, order: Order) -> Failure | None:
    """Return why an order would be refused now; None where it would begin.

    Only configuration tests are run, and nothing is noted.
    """
    return _given_up(context, order) or Transaction(context, "", order.plan, mends=order.mends).refused()


def _given_up(context: TransactionContext, order: Order) -> Failure | None:
    try:
        why = JournalState.of(context.journal.records()).why_not(order.keys)
    except OSError as error:
        return Failure(Cause.STORAGE, f"the journal cannot be read: {_said(error)}")
    except JournalError as error:
        return Failure(Cause.JOURNAL, str(error))
    return Failure(Cause.KEY_GIVEN_UP, why) if why else None


def _refuse(context: TransactionContext, name: str, plan: Plan, failure: Failure) -> Ending:
    record = Record(
        context.world.now(),
        name,
        Event.REFUSED,
        {
            "kind": plan.kind,
            "components": plan.components,
            "hash": plan.hash,
            **context.asked,
            **_recorded(Outcome.REFUSED, failure),
        },
    )
    # A journal that takes no record is among the reasons to refuse.
    with suppress(JournalError):
        context.journal.append(record)
    return Ending(name, Outcome.REFUSED, failure.cause, f"{_of(plan)}: {failure.sentence}; nothing was changed.")


def _recorded(outcome: Outcome, failure: Failure) -> dict[str, str]:
    return {"outcome": outcome, "cause": failure.cause, "reason": failure.sentence}


def _of(plan: Plan) -> str:
    return printable(", ".join(plan.components))


def _names(output: str, change: Change) -> bool:
    """Whether a command's output names a file."""
    return any(
        re.search(rf"(?<![\w./-]){re.escape(printable(path))}(?![\w/-]|\.\w)", output)
        for path in {change.path, change.given or change.path}
    )


def _said(error: OSError) -> str:
    return printable(f"{error.strerror or type(error).__name__}" + (f" ({error.filename})" if error.filename else ""))


@dataclass(frozen=True, slots=True)
class _WholeSet:
    """A set on disk that a service may be started onto."""

    name: str
    """For a sentence."""
    files: Mapping[str, FileState | None]
    """By path: what each was when it was judged."""


@dataclass(slots=True)
class Transaction:
    """One transaction under way, by whoever holds the locks of its components."""

    context: TransactionContext
    name: str
    """Empty where it is only asked whether it would begin: then nothing is noted."""
    plan: Plan
    baseline: LiveView = field(default_factory=LiveView)
    touched: int = 0
    """How many of the changes, from the first on, may have been made."""
    stopped: bool = False
    """Services may have been stopped for the switch."""
    activated: bool = False
    """Services may have been put onto the new files."""
    superseded: bool = False
    """Somebody else's set is on disk, whole, served and accepted."""
    patient: bool = True
    """It was not waited for yet that somebody else's set becomes so."""
    last: LiveView = field(default_factory=LiveView)
    remarks: list[str] = field(default_factory=list)
    live: bool = True
    """Services run; at boot they are left alone."""
    distrusted: bool = False
    """Writing over a file failed before, so that reading it does not tell what is on the medium."""
    displaced: str = ""
    """Why a command that activates was not run, a sentence: the files were no longer those to take up."""
    mends: Mapping[str, Ill] = field(default_factory=dict)
    """By component: what is the matter with its files as they were."""
    failing: bool = False
    """A service's configuration test failed with the files as they were."""
    began: tuple[float, float] = (0.0, 0.0)
    """By the wall clock and by the one that never jumps."""

    def __post_init__(self) -> None:
        """Take the time."""
        self.began = (self.context.world.now(), self.context.world.monotonic())

    def now(self) -> float:
        """Return the Unix time by which this transaction judges, whatever becomes of the wall clock meanwhile."""
        wall, steady = self.began
        return wall + self.context.world.monotonic() - steady

    @property
    def no_return(self) -> bool:
        """Whether the services are known not to start with the old files: then they are never put onto them."""
        return self.failing or Ill.DEAD in self.mends.values()

    @property
    def _new(self) -> set[tuple[str, ...]]:
        """The chains that are served with the new files, SHA-256 of each certificate."""
        return {chain for each in self.plan.serves for chain in each.chains}

    def _serves_new(self, live_view: LiveView) -> bool:
        """Whether one of the new chains is seen to be served."""
        return bool(self._new & {each.chain for each in live_view.served})

    def run(self, content: Mapping[str, bytes]) -> Ending:
        """Carry out the plan from the beginning."""
        refused = self.refused()
        if refused is not None:
            return _refuse(self.context, self.name, self.plan, refused)
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

    def refused(self) -> Failure | None:
        """Return why it does not begin; None where it does. Nothing is touched."""
        try:
            found = self._check() or self._check_targets()
        except OSError as error:
            found = Failure(Cause.STORAGE, f"a target cannot be examined: {_said(error)}")
        except JournalError as error:
            found = Failure(Cause.JOURNAL, str(error))
        return found or self._test_before()

    def _test_before(self) -> Failure | None:
        """Return that a configuration test fails as it is, for another reason than what this mends."""

        def unexplained(world: World, tested: Service, begun: service.Begun | None) -> Trouble | None:
            trouble = service.test(world, tested, begun)
            self.failing = self.failing or trouble is not None
            return None if trouble is None or self._is_explained(tested, trouble) else trouble

        trouble = self._each_service(unexplained)
        if trouble is None:
            return None
        why = "its configuration is not good as it is"
        if self.mends and self.plan.changes and not self.context.attended:
            why += ", and the test does not name a file that this mends, so a person must ask for it"
        return Failure(Cause.CONFIG_TEST_BEFORE, f"{why}: {trouble.sentence}")

    def _is_explained(self, tested: Service, trouble: Trouble) -> bool:
        """Whether the files that this mends may be why a test fails; where nobody attends, whether the test says so."""
        broken = [name for name, each in self._services().items() if each == tested and name in self.mends]
        if not self.plan.changes or not broken:
            return False
        if self.context.attended:
            return True
        return any(
            self.mends[each.component] is not Ill.EXPIRED and _names(trouble.ran.output, each)
            for each in self.plan.changes
            if each.component in broken
        )

    def _check(self) -> Failure | None:
        journal_state = JournalState.of(self.context.journal.records())
        for component, reason in journal_state.frozen.items():
            if component in self.plan.components:
                return Failure(Cause.COMPONENT_FROZEN, f"{component} is frozen until an operator clears it ({reason})")
        if (unfinished := self._unfinished(journal_state)) is not None:
            return unfinished
        failed = journal_state.quarantined.get(candidate_of(self.plan.changes)) if self.plan.changes else None
        if failed is not None:
            return Failure(Cause.QUARANTINED, f"this candidate is in quarantine ({failed})")
        return None

    def _unfinished(self, journal_state: JournalState) -> Failure | None:
        """Return that another transaction may have left files of these components half and half."""
        for name, begin in journal_state.unfinished.items():
            before = plan_from_json(begin.data["plan"])
            if name == self.name or not set(before.components) & set(self.plan.components):
                continue
            events = {each.event for each in self.context.journal.records() if each.transaction == name}
            if events & ENDED:
                continue
            where = ", ".join(sorted({os.path.dirname(each.path) for each in before.changes}))
            why = (
                f"transaction {name} of {', '.join(before.components)} could not be finished yet: see what keeps the "
                f"files in {where} from being read or changed, and run `certvigil recover`, which says so, too"
            )
            return Failure(Cause.TARGET, printable(why, 2000))
        return None

    def _check_targets(self) -> Failure | None:
        world = self.context.world
        for change in self.plan.changes:
            if (why := target.obstacle(world, change, self.context.terms.trusted_owners)) is not None:
                return Failure(Cause.TARGET, why)
            if target.state(world, change.path) != change.before:
                return Failure(Cause.CHANGED, f"{printable(change.path)} is not what it was when this was planned")
        return None

    def _prepare(self, content: Mapping[str, bytes]) -> Failure | None:
        """Do everything that may want for space or permission; raises OSError, JournalError.

        The intent is the point after which being told to end no longer ends it: what is half switched is finished.
        """
        world, plan = self.context.world, self.plan
        self.note(
            Event.BEGIN,
            plan=plan_to_json(plan),
            hash=plan.hash,
            candidate=candidate_of(plan.changes),
            leaf=next((chain[0] for each in plan.serves for chain in each.chains if chain), ""),
            **self.context.asked,
            **({"mends": dict(self.mends)} if self.mends else {}),
            **({"failing": True} if self.failing else {}),
            baseline=live_view_to_json(self.baseline),
        )
        for component in sorted({change.component for change in plan.changes}):
            paths = [change.path for change in plan.changes if change.component == component]
            backup.take(world, self.context.backups, component, self.name, paths)
        self.note(Event.BACKED_UP)
        for change in plan.changes:
            target.stage(world, change, self.name, content.get(change.path, b""))
        self._sync_directories()
        self.note(Event.STAGED)
        if self.context.stopping():
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
        # What runs while the files are broken may be all that there is: it is stopped once the new ones are tested.
        if not self.no_return and (failure := self._stop()) is not None:
            return failure
        for number, change in enumerate(self.plan.changes):
            self.touched = number + 1
            try:
                target.switch(self.context.world, change, self.name)
            except ThirdPartyError as error:
                self.touched = number
                return Failure(Cause.CHANGED, str(error))
            self.note(Event.SWITCHED, number=number)
        self._sync_directories()
        return None

    def _stop(self) -> Failure | None:
        self.stopped = any(each.quiesce for each in self._services().values())
        if trouble := self._each_service(service.stop):
            return Failure(Cause.STOP, f"it could not be stopped: {trouble.sentence}")
        return None

    def forward(self) -> Failure | None:
        """Go on from where every file is the new one: test, activate, validate."""
        return self._attempt(self._activate) or self._attempt(self._validate)

    def _activate(self) -> Failure | None:
        if (changed := self._changed()) is not None:
            return changed
        if trouble := self._each_service(service.test):
            cause, too = (Cause.CONFIG_TEST_BEFORE, ", too") if self.failing else (Cause.CONFIG_TEST, "")
            return Failure(cause, f"its configuration test fails with the new files{too}: {trouble.sentence}")
        services = (self.context.services.get(each) for each in self.plan.components)
        untested = not any(each is not None and each.test is not None for each in services)
        self.note(Event.CONFIG_TESTED, **({"tested": False} if untested else {}))
        if self.no_return and (failure := self._stop()) is not None:
            return failure
        before = self._identities()
        # What such files have kept from starting cannot be reloaded; who asks for it to be mended wants it to run.
        is_down = self.no_return and self.context.attended and not self.baseline.answering
        way = service.activate_again if is_down else service.activate
        if trouble := self._each_service(self._onto(way, self._not_new)):
            if self.displaced:
                return Failure(Cause.CHANGED, self.displaced)
            cause = Cause.ACTIVATION_TIMEOUT if trouble.timed_out else Cause.ACTIVATION
            return Failure(cause, f"it could not be activated: {trouble.sentence}")
        if not self._certificate_proves() and not self.stopped and (same := self._unchanged(before)):
            return Failure(Cause.NOT_PROVEN, f"{same[0]} says it restarted, but is the same process as before")
        self.note(Event.ACTIVATED)
        return None

    def _onto(
        self, act: Callable[..., Trouble | None], check: Callable[[Service], str]
    ) -> Callable[..., Trouble | None]:
        """Return `act` with `check` made once more immediately before each command by which files are taken up."""

        def guarded(world: World, one: Service, *more: Any) -> Trouble | None:
            def checked() -> str:
                self.displaced = check(one)
                self.activated = self.activated or not self.displaced
                return self.displaced

            return act(Guarded(world, one, checked), one, *more)

        return guarded

    def _not_new(self, _one: Service) -> str:
        """Say which file is not the new one, as a sentence; empty where all are."""
        return self._unlike({each.path: each.after for each in self.plan.changes}, self.plan.components)

    def _not_whole(self, one: Service) -> str:
        """Say which file of a service's components is of neither whole set, as a sentence; empty where none is."""
        names = self._names_of(one)
        changes = [each for each in self.plan.changes if each.component in names]
        old = self._unlike({each.path: each.before for each in changes}, names)
        if not old or not changes:
            return old
        return old if self._unlike({each.path: each.after for each in changes}, names) else ""

    def _unlike(self, wanted: Mapping[str, FileState | None], names: Collection[str]) -> str:
        world = self.context.world
        try:
            for path, state in wanted.items():
                if target.state(world, path) != state:
                    return f"{printable(path)} was changed by someone else"
            for each in self.plan.changes:
                if each.path in wanted and target.moved(world, each):
                    return f"symbolic links to {printable(each.path)} were changed by someone else"
            for component, path, digest in self.plan.stands:
                found = target.state(world, path) if component in names else None
                if component in names and (found is None or found.sha256 != digest):
                    return f"{printable(path)} was changed by someone else"
        except OSError as error:
            return f"a file could not be read again: {_said(error)}"
        return ""

    def _names_of(self, one: Service) -> tuple[str, ...]:
        return tuple(name for name, each in self._services().items() if each == one)

    def _unchanged(self, before: Mapping[str, str | None]) -> list[str]:
        """Return whose process is still the same at the deadline: a restart may end before the new one is there."""
        world = self.context.world
        end = world.monotonic() + self.context.terms.deadline
        while True:
            same = [each for each, now in self._identities().items() if now is not None and now == before[each]]
            if not same or world.monotonic() + self.context.terms.interval > end:
                return same
            world.sleep(self.context.terms.interval)

    def _certificate_proves(self) -> bool:
        """Whether serving the new chains shows that the files are in use."""
        return bool(self._new) and not self._serves_new(self.baseline)

    def _identities(self) -> dict[str, str | None]:
        world = self.context.world
        restarted = {n: s for n, s in self._services().items() if s.activate is Activation.RESTART}
        return {name: service.identity(world, each) for name, each in restarted.items()}

    def _validate(self) -> Failure | None:
        seen = watch(self.context.world, self._look, self._judge, self.context.terms)
        self.last = seen.live_view
        if seen.theirs:
            return self._of_theirs(seen)
        if seen.unserved:
            return Failure(Cause.NOT_SERVED, f"the new certificate is not served: {'; '.join(seen.unserved)}")
        if seen.lost:
            lost = ", ".join(f"{each.client} at {each.endpoint}" for each in seen.lost)
            return Failure(Cause.CLIENT_LOST, f"clients that accepted the old certificate refuse the new: {lost}")
        if (changed := self._changed()) is not None:
            return changed
        if not any(each.chain for each in seen.live_view.served):
            self._remark("no endpoint answered before or after: the change was not seen live")
        self.note(Event.VALIDATED, accepted=sorted(seen.live_view.accepted))
        return None

    def _judge(self, live_view: LiveView) -> Seen:
        """Say what is wrong with what is served: by the new files while these are on disk, else by somebody else's."""
        required = self.context.terms.required or self.no_return
        seen = judge_new(self.plan, self.baseline, live_view, required=required)
        changed = self._changed()
        if changed is None and (self.plan.changes or seen.steady):
            return seen
        serves = self._whole()
        if changed is None and (serves is None or self._is_ours(serves)):
            return seen
        return replace(self._judge_theirs(serves, live_view), theirs=True)

    def _judge_theirs(self, serves: tuple[Serving, ...] | None, live_view: LiveView) -> Seen:
        if serves is None:
            return Seen(live_view, ("what somebody else put on disk is no whole set",))
        if not any(each.chain for each in live_view.served):
            return Seen(live_view, ("nothing is served",))
        theirs = replace(self.plan, serves=serves)
        return judge_new(theirs, self.baseline, live_view, required=self.context.terms.required)

    def _is_ours(self, serves: tuple[Serving, ...]) -> bool:
        ours = {each.endpoint: set(each.chains) for each in self.plan.serves}
        return all(ours.get(each.endpoint, set()) & set(each.chains) for each in serves)

    def _whole(self) -> tuple[Serving, ...] | None:
        try:
            return self.context.live.whole(self.plan.components)
        # Looking comes from outside; what cannot be examined is not known to be whole.
        except Exception as error:  # noqa: BLE001
            self._remark(f"what is on disk could not be examined: {type(error).__name__}")
            return None

    def _of_theirs(self, seen: Seen) -> Failure:
        """Return why it does not go on with the new files, where somebody else's were seen on disk."""
        self.patient = False
        # A key that was given up is nobody's to bring back, however well it is served.
        barred = [why for why in map(self.fault, self.plan.components) if why] if seen.steady else []
        self.superseded = seen.steady and not barred
        if self.superseded:
            return _SUPERSEDED
        changed = self._changed() or Failure(Cause.CHANGED, "the files were changed by someone else meanwhile")
        lost = [f"{each.client} does not accept it at {each.endpoint}" for each in seen.lost]
        return Failure(Cause.CHANGED, f"{changed.sentence}: {'; '.join((*seen.unserved, *lost, *barred))}")

    def give_way(self) -> Ending | None:
        """End where somebody else's set on disk is whole, served and accepted; None where it is not."""
        if not self.live or not self._gives_way():
            return None
        return self._end(Outcome.SUPERSEDED, Event.SUPERSEDED, _SUPERSEDED)

    def _gives_way(self) -> bool:
        """Whether somebody else's set on disk comes to be whole, served and accepted; waits for that once."""
        if not self.patient or not self._look().answering:
            return False
        seen = watch(self.context.world, self._look, self._judge, self.context.terms)
        if seen.theirs:
            self._of_theirs(seen)
        return self.superseded

    def _changed(self) -> Failure | None:
        for change in self.plan.changes:
            if target.state(self.context.world, change.path) != change.after or target.moved(
                self.context.world, change
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
        if self.superseded:
            return self._end(Outcome.SUPERSEDED, Event.SUPERSEDED, failure)
        if failure.cause is Cause.CHANGED and not (self.touched or self.stopped or self.activated):
            # Nothing is to be undone, and what is served is none of our doing.
            return self.abandon(failure)
        if self.plan.changes and self._nobody_gains_by_the_old(failure):
            kept = f"{failure.sentence}; nobody would be better off with the old files, so the new ones stay"
            return self._end(Outcome.FAILED_FORWARD, Event.FAILED_FORWARD, Failure(failure.cause, kept))
        if not self.plan.changes:
            return self._undo_activation(failure)
        if self.no_return and (self.activated or self.stopped):
            return self._remain_on_the_new(failure)
        if self.touched and not self.no_return and (worth := self.worth()).old is Old.BARRED:
            return self._freeze_on_the_new(failure, worth.why)
        return self.undo(failure)

    def commit(self) -> Ending:
        """End with the new files."""
        return self._end(Outcome.COMMITTED, Event.COMMITTED, Failure(Cause.NONE, "the files are in use"))

    def _nobody_gains_by_the_old(self, failure: Failure) -> bool:
        """Whether the new chains are served, someone accepts them, and the old set, judged now, would win nobody back.

        Where the new chains are not served by all, the old set must even be worse.
        """
        served = self.last.accepted | self.last.partly
        if failure.cause not in (Cause.CLIENT_LOST, Cause.NOT_SERVED) or not served:
            return False
        if self.baseline.answering - self.last.reliable or not self._serves_new(self.last):
            return False
        try:
            old = self._old_files()
            # Looking and judging come from outside, and whatever is wrong with them, the old set is the safe one.
            would = frozenset() if self.no_return else self.context.live.judge(self.plan.components, old, self.now())
        except Exception as error:  # noqa: BLE001
            self._remark(f"the old set could not be judged: {type(error).__name__}")
            return False
        gains = any(each.client not in self.plan.expected_losses for each in would - self.last.accepted)
        return not gains and (failure.cause is Cause.CLIENT_LOST or would < served)

    def _old_files(self) -> dict[str, bytes]:
        world, root = self.context.world, self.context.backups
        old: dict[str, bytes] = {}
        for component in {change.component for change in self.plan.changes}:
            old.update(backup.content(world, root, backup.load(world, root, component, self.name)))
        return old

    def _undo_activation(self, failure: Failure) -> Ending:
        """End where no file was changed, so that there is nothing to go back to but a service that answers."""
        if not self.activated:
            return self.abandon(failure)
        if (
            problem := self._serve_again(
                lambda live_view: judge_new(Plan(Kind.ACTIVATE, (), ()), self.baseline, live_view)
            )
        ) is None:
            return self._end(Outcome.FAILED_FORWARD, Event.FAILED_FORWARD, failure)
        return self.freeze(Failure(failure.cause, f"{failure.sentence}; {problem.sentence}"))

    def _remain_on_the_new(self, failure: Failure) -> Ending:
        """End with the new files where services do not start with the old ones: on them, or on what still runs."""
        if failure.cause is Cause.CHANGED:
            return self.freeze(Failure(failure.cause, f"{failure.sentence}; no service starts with the old files"))
        kept = Failure(failure.cause, f"{failure.sentence}; no service starts with the old files, so the new ones stay")
        if (problem := self._serve_new()) is not None:
            return self.freeze(Failure(kept.cause, f"{kept.sentence}, and {problem}"))
        return self._end(Outcome.FAILED_FORWARD, Event.FAILED_FORWARD, kept)

    def _serve_new(self) -> str | None:
        """Return why the new files are not served, where a service that ran no longer does; what runs is left alone."""
        live_view = self._look()
        is_served = not self.plan.serves or self._serves_new(live_view)
        if is_served and not judge_new(self.plan, self.baseline, live_view).unserved:
            return None
        if live_view.answering:
            return "what runs was left alone"
        if not (self.baseline.answering or self.context.attended):
            # Somebody may have stopped it.
            self._remark("no endpoint answered before or after: the service was not started")
            return None
        problem = self._serve_again(lambda seen: judge_new(self.plan, self.baseline, seen, required=True))
        return None if problem is None else "with these no service could be started either"

    def undo(
        self, failure: Failure, *, live: bool = True, ready: Callable[[], Failure | None] = lambda: None
    ) -> Ending:
        """Put every old file back and the services onto them, and see that they serve them; else freeze.

        Without `live`, services are left alone: they have not been started yet. `ready` is asked once the files are a
        whole set, before anything is done to a service; what it returns keeps it from that.
        """
        self.live = live
        self.note_if_possible(Event.ROLLING_BACK, cause=failure.cause, reason=failure.sentence, touched=self.touched)
        problem, again = self._restored()
        if problem is not None and problem.cause is Cause.CHANGED and (ending := self.give_way()) is not None:
            return ending
        if problem is None:
            problem = ready()
        if problem is None and live:
            problem = self._serve_old()
        if problem is not None:
            why = Failure(failure.cause, f"{failure.sentence}; and then {problem.sentence}")
            return self.freeze(why, again=again)
        if not live:
            self._remark("the old files are back; that they are served was not seen, the services being down")
        if failure.cause in CANDIDATES_FAULT:
            self.note_if_possible(Event.QUARANTINED, candidate=candidate_of(self.plan.changes), reason=failure.sentence)
        return self._end(Outcome.ROLLED_BACK, Event.ROLLED_BACK, failure)

    def _restored(self) -> tuple[Failure | None, bool]:
        """Put old files back, and once more where that failed; return what is wrong then, and whether it may pass.

        A medium that refuses once must not leave half a set until somebody calls for a recovery.
        """
        problem = None
        # What is written over has been tried again as it was written, and can no longer be told by reading it.
        tries = 1 if any(each.written_over for each in self.plan.changes) else _TRIES
        for attempt in range(tries):
            if attempt:
                self.context.world.sleep(self.context.terms.interval)
            try:
                return self._restore(), False
            except ThirdPartyError as error:
                return Failure(Cause.CHANGED, str(error)), False
            except BackupError as error:
                return Failure(Cause.STORAGE, f"an old file could not be put back: {error}"), False
            except OSError as error:
                problem = Failure(Cause.STORAGE, f"an old file could not be put back: {_said(error)}")
        return problem, True

    def _serve_old(self) -> Failure | None:
        """Have the old files served again, unless no service may be put onto them; then what runs is left alone."""
        if self.no_return and not (self.activated or self.stopped):
            return None
        if (self.activated or self.stopped) and self.plan.changes and (worth := self.worth()).old is Old.BARRED:
            return Failure(Cause.ACTIVATION, f"no service is put onto the old set: {worth.why}")
        return self._serve_again(self._judge_undone)

    def _judge_undone(self, live_view: LiveView) -> Seen:
        """Say what is wrong after a rollback: files that were not touched may be somebody else's by now."""
        seen = judge_old(self.plan, self.baseline, live_view)
        if seen.unserved and (serves := self._whole()) is not None:
            theirs = self._judge_theirs(serves, live_view)
            return theirs if not theirs.unserved else seen
        return seen

    def _restore(self) -> Failure | None:
        """Put old files back, none where one of them has become someone else's; raises OSError, BackupError.

        Whatever must be written for it is written first: then the whole set goes back by renames.
        """
        world, root = self.context.world, self.context.backups
        found = [(change, self.condition(change)) for change in self.plan.changes[: self.touched]]
        if (foreign := self._foreign(found)) is not None:
            self.make_others_whole()
            return foreign
        back = [
            change
            for change, condition in reversed(found)
            if condition is not Condition.OLD or (self.distrusted and change.written_over)
        ]
        try:
            for change in back:
                target.bring(world, root, change, self.name)
        except BackupError:
            # Nor may it stay half and half.
            if self._can_complete():
                self.complete()
            raise
        for change in back:
            target.restore(world, root, change, self.name)
        self.settle()
        for change in self.plan.changes[: self.touched]:
            if self.condition(change) is not Condition.OLD:
                return Failure(Cause.STORAGE, f"{printable(change.path)} is not what it was, though it was put back")
        return None

    def make_others_whole(self) -> None:
        """Leave no component half and half but one that has a file of someone else's; raises OSError, ThirdPartyError.

        The old set, unless it may not come back or cannot be had, or the new one is served already.
        """
        world, root = self.context.world, self.context.backups
        found = [(change, self.condition(change)) for change in self.plan.changes[: self.touched]]
        theirs = {change.component for change, condition in found if condition is Condition.OTHER}
        barred = self.worth().old is Old.BARRED
        for component in dict.fromkeys(each.component for each in self.plan.changes if each.component not in theirs):
            own = [(change, condition) for change, condition in found if change.component == component]
            count = sum(each.component == component for each in self.plan.changes)
            kinds = {condition for change, condition in own if change.before != change.after}
            is_new = kinds == {Condition.NEW} and len(own) == count
            if kinds <= {Condition.OLD} or (is_new and (barred or self._has_taken_up_the_new(component))):
                continue
            back = [change for change, condition in reversed(own) if condition is not Condition.OLD]
            try:
                for change in () if barred else back:
                    target.bring(world, root, change, self.name)
            except BackupError:
                back = []
            if barred or not back:
                self.complete(component)
                continue
            for change in back:
                target.restore(world, root, change, self.name)
        self.settle()

    def _has_taken_up_the_new(self, component: str) -> bool:
        """Whether the service of a component serves the new set; where services are down, it will."""
        return not self.live or self._serves_new(self._look((component,)))

    @staticmethod
    def _foreign(found: Iterable[tuple[Change, Condition]]) -> Failure | None:
        for change, condition in found:
            if condition is Condition.OTHER:
                return Failure(
                    Cause.CHANGED, f"{printable(change.path)} is neither the old nor the new file: it was left alone"
                )
        return None

    def obstacle(self) -> str:
        """Say which file is someone else's, as a sentence; empty where none is. Raises OSError."""
        foreign = self._foreign((each, self.condition(each)) for each in self.plan.changes[: self.touched])
        return "" if foreign is None else foreign.sentence

    def _can_complete(self, component: str = "") -> bool:
        """Whether what is not new yet lies beside the targets, and what has not been touched is still the old."""
        for number, change in enumerate(self.plan.changes):
            if component and change.component != component:
                continue
            found = self.condition(change)
            if change.before == change.after or (found is Condition.NEW and number < self.touched):
                continue
            is_free = found is not Condition.OTHER if number < self.touched else found is Condition.OLD
            if not is_free or not target.new_at_hand(self.context.world, change, self.name):
                return False
        return True

    def complete(self, component: str = "") -> None:
        """Put the rest of the new files in their places, of all or of one; raises OSError, ThirdPartyError."""
        if component and not self._can_complete(component):
            return
        for number, change in enumerate(self.plan.changes):
            if component and change.component != component:
                continue
            is_new = self.condition(change) is Condition.NEW and not (self.distrusted and change.written_over)
            if change.before == change.after or is_new:
                continue
            self.touched = max(self.touched, number + 1)
            target.complete(self.context.world, change, self.name)
            self.note_if_possible(Event.SWITCHED, number=number)
        self.touched = self.touched if component else len(self.plan.changes)
        self.settle()

    def facts(self, stage: JournalStage) -> RecoveryFacts:
        """Return what recovery decides by, of a transaction that came as far as `stage`; raises OSError."""
        self.settle()
        world, root = self.context.world, self.context.backups
        found = [(change, self.condition(change)) for change in self.plan.changes[: self.touched]]
        real = [condition for change, condition in found if change.before != change.after]
        if self._foreign(found) is not None:
            disk = Disk.FOREIGN
        elif self.touched == len(self.plan.changes) and all(each is Condition.NEW for each in real):
            disk = Disk.NEW
        else:
            disk = Disk.OLD if all(each is Condition.OLD for each in real) else Disk.MIXED
        old_at_hand = True
        try:
            for change, condition in found:
                if condition is not Condition.OLD:
                    target.old_at_hand(world, root, change, self.name)
        except BackupError:
            old_at_hand = False
        worth = self.worth(served=disk is Disk.NEW)
        return RecoveryFacts(stage, disk, worth.old, old_at_hand, self._can_complete(), self.live)

    def worth(self, *, served: bool = False) -> Worth:
        """Return what the old set is worth now, and why.

        With `served`, the new set is the one on disk, and the old is spent, too, where only the new has clients.
        """
        if not self.plan.changes:
            return Worth()
        if self.no_return:
            return Worth(Old.BARRED, "no service starts with it")
        live, components, now = self.context.live, self.plan.components, self.now()
        # Looking and judging come from outside, and whatever is wrong with them, the old set is the safe one.
        try:
            old = self._old_files()
            if live.worth is not None and (worth := live.worth(components, old, now)).old is not Old.USABLE:
                return worth
            if served and not live.judge(components, old, now):
                new = {each.path: self.context.world.read(each.path)[1] for each in self.plan.changes}
                if live.judge(components, new, now):
                    return Worth(Old.SPENT, "no client accepts it any more")
        except Exception as error:  # noqa: BLE001
            self._remark(f"the old set could not be judged: {type(error).__name__}")
        return Worth()

    def stay_unseen(self, failure: Failure) -> Ending:
        """End with the new files where services do not run, so that nothing of them was seen."""
        self._remark("the new files stay; that they are served was not seen, the services being down")
        return self._end(Outcome.FAILED_FORWARD, Event.FAILED_FORWARD, failure)

    def _freeze_on_the_new(self, failure: Failure, why: str) -> Ending:
        """End with the new files, whole where that can be, since the old ones may not come back."""
        kept = f"{failure.sentence}; the old set may not come back ({why})"
        try:
            if self._can_complete():
                self.complete()
                kept += ", so the new files stay"
        except OSError as error:
            said = f"{kept}, and the new files could not all be put in place: {_said(error)}"
            return self.freeze(Failure(failure.cause, said), again=True)
        except ThirdPartyError as error:
            kept = f"{kept}, and {error}"
        return self.freeze(Failure(failure.cause, kept))

    def settle(self) -> None:
        """Have what the targets are now reach the medium: a process that changed them may have been killed before.

        Raises OSError.
        """
        for change in self.plan.changes:
            target.settle(self.context.world, change)
        self._sync_directories()

    def condition(self, change: Change) -> Condition:
        """Say what one file is now; raises OSError."""
        world, root, old = self.context.world, self.context.backups, None
        if change.written_over:
            with suppress(BackupError):
                old = backup.content(world, root, backup.load(world, root, change.component, self.name)).get(
                    change.path
                )
        return target.condition(world, change, self.name, old)

    def _serve_again(self, judge: Callable[[LiveView], Seen]) -> Failure | None:
        """Get the services to serve what is on disk: by doing nothing where nothing was done, by force at last."""
        ways: list[service.Act] = [service.revive]
        if self.activated or self.stopped:
            ways.insert(0, service.activate_again)
        elif judge(self._look()).steady:
            return None
        terms = self.context.terms
        problem = None
        for way in ways:
            trouble = self._each_service(self._onto(way, self._not_whole), go_on=True)
            seen = watch(self.context.world, self._look, judge, terms) if trouble is None else None
            if seen is not None and not seen.unserved:
                return None
            said = trouble.sentence if trouble is not None else "; ".join(seen.unserved if seen else ())
            problem = Failure(Cause.ACTIVATION, f"the old set is not served again: {said}")
        return problem

    def freeze(self, failure: Failure, *, again: bool = False) -> Ending:
        """End with neither: nothing is removed, and nothing is done to these components until an operator says so.

        With `again`, what failed may pass, and each recovery tries again. Whatever service answers nobody is started
        once where that is right.
        """
        if started := self._start_the_dead():
            failure = Failure(failure.cause, f"{failure.sentence}; {started}")
        if not (again and self._is_frozen_for(failure.sentence)):
            more = {"again": True} if again else {}
            self.note_if_possible(
                Event.FROZEN, components=self.plan.components, **_recorded(Outcome.FROZEN, failure), **more
            )
        rest = "nothing more is done here until an operator clears it"
        if again:
            rest = "the next recovery tries again, and nothing else is done here until then"
        sentence = f"{_of(self.plan)}: {failure.sentence}. FROZEN: {rest}."
        return Ending(self.name, Outcome.FROZEN, failure.cause, sentence, tuple(self.remarks))

    def _is_frozen_for(self, reason: str) -> bool:
        """Whether that is what is known of it already."""
        try:
            frozen = [each for each in self._records() if each.event is Event.FROZEN]
        except (OSError, JournalError):
            return False
        return bool(frozen) and bool(frozen[-1].data.get("again")) and frozen[-1].data.get("reason") == reason

    def _records(self) -> list[Record]:
        return [each for each in self.context.journal.records() if each.transaction == self.name]

    # A service that answers nobody

    def _start_the_dead(self, *, patient: bool = True) -> str:
        """Start each service that ran, answers nobody any more and may be started; returns what was done, printable.

        Where it is `patient`, somebody else may write the rest of a set until the deadline.
        """
        if not self.live:
            return ""
        return "; ".join(
            self._start_once(one, names, patient)
            for one in dict.fromkeys(self._services().values())
            if self._is_dead(names := self._names_of(one))
        )

    def _is_dead(self, names: tuple[str, ...]) -> bool:
        """Whether nobody is answered where somebody was when the transaction began, several times in a row."""
        for number in range(self.context.terms.successes):
            if number:
                self.context.world.sleep(self.context.terms.interval)
            if not self._unanswered(self._look(names)):
                return False
        return True

    def _unanswered(self, live_view: LiveView) -> tuple[str, ...]:
        """Return the ways of asking that were answered and are not, as sentences; none where any is answered."""
        ways = {each.way for each in live_view.served}
        silent = ways & self.baseline.answering
        return () if live_view.answering else tuple(printable(f"{name} ({how})") for name, how in sorted(silent))

    def _start_once(self, one: Service, names: tuple[str, ...], patient: bool) -> str:
        who = f"{printable(', '.join(names))} answers nobody"
        try:
            if any(each.event is Event.STARTED and names == tuple(each.data["components"]) for each in self._records()):
                return f"{who}, and was started once before"
        except (OSError, JournalError):
            return f"{who}, and was not started: whether it was before is not known"
        may = service.may_start(self.context.world, one, stopped=self.stopped, activated=self.activated)
        if may:
            return f"{who}, and was not started: {may}"
        which = self._awaited_set(names) if patient else self._set_on_disk(names)
        if isinstance(which, str):
            return f"{who}, and was not started: {which}"
        self.note_if_possible(Event.STARTED, components=names, onto=which.name)
        guarded = Guarded(self.context.world, one, lambda: self._unlike(which.files, ()))
        trouble = service.begin(guarded, one, self._begun_if_possible)
        done = f"{who}; it was started once, onto {which.name}"
        if trouble is not None:
            return f"{done}: {trouble.sentence}"
        seen = watch(
            self.context.world,
            lambda: self._look(names),
            lambda live_view: Seen(live_view, self._unanswered(live_view)),
            self.context.terms,
        )
        return f"{done}, and still answers nobody" if seen.unserved else f"{done}, and it answers again"

    def _awaited_set(self, names: tuple[str, ...]) -> _WholeSet | str:
        """Return what `_set_on_disk` does: whoever writes a set of their own may be about to write the rest of it."""
        world, terms = self.context.world, self.context.terms
        end = world.monotonic() + terms.deadline
        while isinstance(which := self._set_on_disk(names), str) and self.context.live.fit is not None:
            if world.monotonic() + terms.interval > end:
                break
            world.sleep(terms.interval)
        return which

    def _was_started(self) -> bool:
        return any(each.event is Event.STARTED for each in self._records())

    def start_the_dead_later(self) -> Ending | None:
        """Start, once, what failed and answers nobody of components that were frozen before; None where nothing is."""
        if self._was_started():
            return None
        # Who stopped it meanwhile is not known: only what its supervisor says failed is started.
        self.stopped = self.activated = False
        started = self._start_the_dead(patient=False)
        if not self._was_started():
            return None
        frozen = next(each.data for each in reversed(self._records()) if each.event is Event.FROZEN)
        failure = Failure(Cause(frozen["cause"]), f"{frozen['reason']}; {started}")
        self.note_if_possible(Event.FROZEN, components=self.plan.components, **_recorded(Outcome.FROZEN, failure))
        return Ending(self.name, Outcome.FROZEN, failure.cause, f"{_of(self.plan)}: {failure.sentence}.")

    def _set_on_disk(self, names: tuple[str, ...]) -> _WholeSet | str:
        """Return the set that these components have on disk, where a service may be started onto it, or why not."""
        world = self.context.world
        changes = [each for each in self.plan.changes if each.component in names]
        paths = (*(each.path for each in changes), *(path for name, path, _ in self.plan.stands if name in names))
        try:
            files = {path: target.state(world, path) for path in paths}
        except OSError as error:
            return f"its files cannot be read: {_said(error)}"
        worth = self.worth()
        if changes and all(files[each.path] == each.after for each in changes):
            return _WholeSet("the new set", files)
        if changes and all(files[each.path] == each.before for each in changes) and worth.old is not Old.BARRED:
            return _WholeSet("the old set", files)
        if not changes and self.plan.stands and not self._unlike({}, names):
            return _WholeSet("the set of the plan", files)
        if self.context.live.fit is None:
            return "the files on disk are of no set that is recorded"
        try:
            against = [why for name in names if (why := self.context.live.fit(name, self.now()))]
        # As above.
        except Exception as error:  # noqa: BLE001
            against = [f"they could not be judged: {type(error).__name__}"]
        if against:
            return f"the files on disk are of no set that is recorded, and {'; '.join(against)}"
        return _WholeSet("the set that somebody else put on disk, which passes every check of a candidate", files)

    def fault(self, component: str) -> str:
        """Say why what a component has on disk is no whole set, key included; empty where it is, or nobody can tell."""
        world = self.context.world
        given = [each.given or each.path for each in self.plan.changes if each.component == component]
        given += [path for name, path, _ in self.plan.stands if name == component]
        held: dict[str, bytes] = {}
        wanted = {each.given or each.path for each in self.plan.changes if each.before is not None}
        try:
            for path in map(world.resolve, given):
                try:
                    held[path] = world.read(path)[1]
                except FileNotFoundError:
                    if path in {world.resolve(each) for each in wanted}:
                        return f"{printable(path)} is missing"
            if self.context.live.worth is None or not given:
                return ""
            worth = self.context.live.worth((component,), held, self.now())
        except OSError as error:
            return f"its files cannot be read: {_said(error)}"
        return worth.why if worth.old is Old.BARRED else ""

    def clear_accounted(self) -> tuple[str, ...]:
        """Remove what was put beside the targets and is elsewhere, too; returns what stays. Raises OSError."""
        world, root = self.context.world, self.context.backups
        known = {each.after.sha256 for each in self.plan.changes}
        for change in self.plan.changes:
            with suppress(OSError):
                found = target.state(world, change.path)
                known.update({found.sha256} if found is not None else ())
            with suppress(BackupError):
                target.intact_copy(world, root, change, self.name)
                known.update({change.before.sha256} if change.before is not None else ())
        stays = tuple(
            path
            for change in self.plan.changes
            for path in target.clear_accounted(world, change, self.name, frozenset(known))
        )
        self._tidied(keep_backup=True)
        return stays

    def _end(self, outcome: Outcome, event: Event, failure: Failure) -> Ending:
        if self.note_if_possible(event, **_recorded(outcome, failure)):
            # Without that record recovery has to find what it needs beside the targets.
            try:
                self.clear(keep_backup=True, keep_aside=True)
                self._compare()
            except OSError as error:
                self._remark(f"what was put beside the files could not be removed yet: {_said(error)}")
            except (BackupError, JournalError) as error:
                self._remark(str(error))
        ending = {
            Outcome.COMMITTED: "",
            Outcome.ROLLED_BACK: "; undone, the old files are in place",
            Outcome.FAILED_FORWARD: ". Look at it soon",
            Outcome.SUPERSEDED: "; it was left alone",
        }[outcome]
        sentence = f"{_of(self.plan)}: {failure.sentence}{ending}."
        return Ending(self.name, outcome, failure.cause, sentence, tuple(self.remarks))

    def clear(self, *, keep_backup: bool, keep_aside: bool = False) -> None:
        """Remove what was put beside the targets, and old backup sets; raises OSError.

        With `keep_aside`, what was in the place of a target stays linked for a while.
        """
        kept: list[AsideFile] = []
        for change in self.plan.changes:
            if keep_aside:
                kept += target.keep_aside(self.context.world, change, self.name)
            else:
                target.clear(self.context.world, change, self.name)
        self._tidied(keep_backup=keep_backup, kept=kept)

    def _tidied(self, *, keep_backup: bool, kept: Sequence[AsideFile] = ()) -> None:
        world, root = self.context.world, self.context.backups
        self._sync_directories()
        strange = [path for each in self.plan.changes for path in target.strangers(world, each, self.name)]
        if strange:
            self._remark(printable(f"{', '.join(strange)}: no file, and none of certvigil's, so it was left", 2000))
        if kept and not self._has_aside():
            self.note_if_possible(Event.ASIDE, **aside.to_data(kept, world.now() + self.context.kept_for))
        for component in sorted({change.component for change in self.plan.changes}):
            if not keep_backup and not self._pinned(component):
                backup.discard(world, root, component, self.name)
            backup.prune(world, root, component, _KEEP)
        self.note_if_possible(Event.CLOSED, **({"left": strange} if strange else {}))

    def _has_aside(self) -> bool:
        """Whether what stays linked is noted already: this is done once more after an interruption."""
        return any(each.event is Event.ASIDE for each in self._records())

    def _compare(self) -> None:
        """Say what was written already to what stays linked; raises OSError, BackupError, JournalError."""
        kept = aside.waiting(self.context.journal.records()).get(self.name)
        for data in aside.compare(self.context.world, self.context.backups, kept) if kept is not None else ():
            self._remark(Late.of(self.note(Event.WRITTEN_LATE, **data)).sentence)

    def _pinned(self, component: str) -> bool:
        try:
            return backup.load(self.context.world, self.context.backups, component, self.name).pinned
        except BackupError:
            return False

    def _sync_directories(self) -> None:
        for directory in sorted({os.path.dirname(change.path) for change in self.plan.changes}):
            self.context.world.sync_directory(directory)

    def _services(self) -> Mapping[str, Service]:
        services = self.context.services
        return {each: services[each] for each in self.plan.components if each in services}

    def _each_service(self, act: service.Act, *, go_on: bool = False) -> Trouble | None:
        """Return the first trouble; with `go_on` the services after it have their turn all the same.

        Components that have the same service have it together, and once. Each command is in the journal before it does
        anything, so that recovery knows of one that outlives this process. Raises JournalError; not with `go_on`, the
        way back, nor while nothing was done: then the command is run all the same.
        """
        doing = self.touched > 0 or self.stopped or self.activated
        begun: service.Begun | None = self._begun if doing and not go_on else self._begun_if_possible
        if not self.name:
            # Whoever only asks has no lock, and writes nothing that would say that the command is over.
            begun = None
        first = None
        for each in dict.fromkeys(self._services().values()):
            trouble = act(self.context.world, each, begun)
            first = first or trouble
            if trouble is not None and not go_on:
                break
        return first

    def _begun(self, running: Running) -> None:
        record = Record(
            self.context.world.now(),
            self.name,
            Event.COMMAND,
            {"components": self.plan.components, **running.to_json()},
        )
        # No step of its own: nobody is told.
        self.context.journal.append(record)

    def _begun_if_possible(self, running: Running) -> None:
        try:
            self._begun(running)
        except JournalError as error:
            self._remark(str(error))

    def _look(self, components: tuple[str, ...] = ()) -> LiveView:
        try:
            return self.context.live.look(components or self.plan.components, self.now())
        # Looking comes from outside; a look that fails in a new way sees nothing, and that undoes.
        except Exception as error:  # noqa: BLE001
            self._remark(f"a look failed: {type(error).__name__}")
            return LiveView()

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def note(self, event: Event, **data: Any) -> Record:
        """Write one record; raises JournalError."""
        record = Record(self.context.world.now(), self.name, event, data)
        self.context.journal.append(record)
        self.context.told(record)
        return record

    def note_if_possible(self, event: Event, **data: Any) -> bool:
        """Write one record where that can be; what is on disk tells recovery as much."""
        try:
            self.note(event, **data)
        except JournalError as error:
            self._remark(str(error))
            return False
        return True
