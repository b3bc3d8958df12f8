"""Tells people: takes what changes, writes messages, keeps them, has them delivered, and calls the heartbeat."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from config.channel import FindingMatch, Silence
from config.model import Config
from config.policy import Window
from config.text import Log, harmless, printable
from config.vocabulary import Code, DeliveryOutcome, Severity
from config.window import opening
from monitor.notify import news
from monitor.notify.advice import AdviceContext
from monitor.notify.deliver import SendOutcome, Tone
from monitor.notify.delivery import Delivery, DeliveryFate, attempted, deliverable, pause, waiting
from monitor.notify.lifecycle import Alert
from monitor.notify.liveness import Liveness
from monitor.notify.outbox import Changes, Outbox, OutboxState, RequestedSilence, no_changes
from monitor.notify.problem import Member
from monitor.notify.text import notice
from monitor.notify.workers import DeliveryWorkers
from monitor.state.events import (
    ActionEnded,
    Event,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    PresentedChanged,
    TargetRemoved,
)
from monitor.state.messages import DatabaseHealthChanged, Looked
from monitor.state.target import TargetState
from probes.finding import Finding, finding

log: Log = logging.getLogger("certvigil.notify")

_QUIET: Final = 0.15
"""Seconds without news after which what came is told."""
_LONGEST: Final = 0.5
"""Seconds that the first news waits for more at most."""
_BURST: Final = 20
"""So many targets at once are worth waiting for more."""
_BURST_QUIET: Final = 0.5
_BURST_LONGEST: Final = 3.0
"""With `lifecycle.HOLD`, ten seconds: nothing new is told later than that."""
_RECORD_WITHIN: Final = 10.0
"""Seconds that a message waits for its record, so that its id outlives a crash; then it is delivered anyhow."""
_FIRST_LOOK_WITHIN: Final = 60.0
"""Seconds after which people are told although not everything was looked at: a file may hang for ever."""
_LOOK_ROUND: Final = 15.0
"""Seconds between two looks at what is due, whatever the clock does."""
_FAILING: Final = 3
"""Attempts after which it is a finding that a message was not delivered."""
_AGAIN: Final = 1.0
"""Seconds until whatever failed for no reason that was foreseen is tried again."""

_DIGEST_WITHIN: Final = 300.0
"""Seconds after its time at which a digest is written no more; who starts later waits for the next."""

_READ_WITHIN: Final = 30.0
"""Seconds that the message of a transaction waits until its files are read, to say what is in use."""
_READ_SOON: Final = 0.5
"""Seconds until it is asked again whether they were."""

_TELLING_OF: Final = (FindingRaised, FindingChanged, FindingCleared, TargetRemoved)


@dataclass(frozen=True, slots=True)
class _Unread:
    """Messages of transactions whose files were not read since their end: they wait to say what is in use."""

    ended: tuple[ActionEnded, ...]
    component_of: Mapping[str, str]
    """The component of each target."""
    deliveries: frozenset[str]
    until: float
    """Monotonic time from which they are delivered without that."""


class Keeper(Protocol):
    """Keeps what must not be forgotten."""

    @property
    def usable(self) -> bool:
        """Whether what is to be kept now is likely to be kept soon."""

    def keep(self, changes: Changes, done: Callable[[], None] = ...) -> None:
        """Keep `changes` soon, and call `done` then, in some thread."""


class DeliveryCounts(Protocol):
    """Counts what was told."""

    def notified(self, channel: str, outcome: DeliveryOutcome) -> None:
        """Count a message that was delivered or given up, or an attempt that failed."""

    def notifications_pending(self, pending: Mapping[str, int]) -> None:
        """Say how many messages to each channel are to be delivered."""


def nothing_happens(_: Member) -> str:
    """Say that nothing will happen by itself."""
    return ""


def gathering(since_first: float, since_last: float, targets: int) -> float:
    """Return the seconds for which to wait for more, so many seconds after the first and the last news so far."""
    quiet, longest = (_QUIET, _LONGEST) if targets < _BURST else (_BURST_QUIET, _BURST_LONGEST)
    return max(0.0, min(quiet - since_last, longest - since_first))


class Notifier:
    """All that tells people; one part that fails never stops another, nor the daemon."""

    def __init__(  # noqa: PLR0917 (its surroundings, in the order in which they are made)
        self,
        config: Config,
        targets: Mapping[str, TargetState],
        outbox: Outbox,
        keeper: Keeper,
        counts: DeliveryCounts,
        report: Callable[[tuple[Finding, ...]], None],
    ) -> None:
        """Deliver what lies in `outbox`; `report` takes what is wrong with notifications themselves."""
        self._targets = targets
        self._keeper = keeper
        self._counts = counts
        self._report = report
        self._config = config
        self._outbox = outbox
        self._workers = DeliveryWorkers()
        self._liveness = Liveness(time.monotonic())
        self._digested = self._digest_at = 0.0
        self._touched: set[str] = set()
        self._first_news = self._last_news = 0.0
        self._news, self._post = asyncio.Event(), asyncio.Event()
        self._looked_at_everything = asyncio.Event()
        self._ready: set[str] = set()
        """Letters that were recorded, or that waited for that long enough."""
        self._unrecorded: set[str] = set()
        self._not_before: dict[str, float] = {}
        """Monotonic times."""
        self._unread: list[_Unread] = []
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._reported: tuple[Finding, ...] = ()
        self._loop = asyncio.get_running_loop()

    # What comes in

    def restore(self, kept: OutboxState) -> None:
        """Go on from what was kept."""
        self._outbox.restore(kept)
        self._ready.update(kept.deliveries)

    def take(self, events: Sequence[Event]) -> None:
        """Take what happened: a subscriber of the bus."""
        for event in events:
            if isinstance(event, _TELLING_OF) or (isinstance(event, PresentedChanged) and self._is_wrong(event.target)):
                self._touch(event.target)
        self._tell_committed([each for each in events if isinstance(each, ActionEnded)])

    def looked(self, look: Looked) -> None:
        """Take note that looks go on."""
        self._liveness.looked(look.kind, time.monotonic())

    def looked_at_everything(self) -> None:
        """Begin to tell, since the states are no longer only the remembered ones."""
        self._looked_at_everything.set()
        if self._config.channels:
            # To keep the first message would take long if that had still to be made ready.
            self._keeper.keep(no_changes())

    def database_health_changed(self, message: DatabaseHealthChanged) -> None:
        """Deliver what waits to be recorded, where that cannot be: notifications matter more."""
        if message.problem:
            self._make_ready(tuple(self._unrecorded))

    def reconfigure(self, config: Config) -> None:
        """Tell as `config` says from now on."""
        self._config = config
        self._reconfigure_outbox()
        self._news.set()
        self._post.set()

    def announce(
        self, name: str, channels: Iterable[str], title: str, sentences: Sequence[str], tone: Tone
    ) -> frozenset[str]:
        """Tell channels of something that happened, as a decision; return the ids of the messages that are new.

        `name` is what tells it from anything else.
        """
        deliveries = []
        for channel in channels:
            if channel in self._config.channels:
                identifier, message = notice(name, channel, title, sentences, host=self._config.host, tone=tone)
                deliveries.append(
                    Delivery(id=identifier, channel=channel, problems=(), message=message, at=time.time())
                )
        new = [delivery for delivery in deliveries if self._outbox.announce(delivery)]
        self._keep(new)
        self._say_counts()
        return frozenset(delivery.id for delivery in new)

    def _tell_committed(self, ended: Sequence[ActionEnded]) -> None:
        """Tell whoever wants it what was committed just now, once its files were read; kept at once without that."""
        now = time.time()
        recent = [each for each in ended if now - each.at < news.NEWS_FOR]
        if not recent:
            return
        known = self._targets
        component_of = {each.target: known[each.target].component or "" for each in recent if each.target in known}
        ids: set[str] = set()
        for each in news.committed(recent, component_of, self._config.notifications, self._labels(), {}):
            ids |= self.announce(each.name, [each.channel], each.title, each.sentences, Tone.SUCCESS)
        if ids:
            until = time.monotonic() + _READ_WITHIN
            self._unread.append(_Unread(tuple(recent), component_of, frozenset(ids), until))
            self._post.set()

    def _complete(self) -> None:
        """Add what is in use now to the messages of what was committed, as far as it was read since."""
        for each in tuple(self._unread):
            try:
                done = self._completed(each)
            except Exception:
                # One message that cannot be completed must not keep the others.
                log.exception("what is in use now cannot be said")
                done = True
            if done:
                self._unread.remove(each)
                self._keep()

    def _completed(self, unread: _Unread) -> bool:
        """Complete these messages; return whether they need not wait any more."""
        since = max(each.at for each in unread.ended)
        used = {name: self._in_use(name, since) for name in unread.component_of.values()}
        if None in used.values() and time.monotonic() < unread.until:
            return False
        read = {name: what for name, what in used.items() if what}
        deliveries = {each.id: each for each in self._outbox.pending() if each.id in unread.deliveries}
        terms = self._config.notifications
        for told in news.committed(unread.ended, unread.component_of, terms, self._labels(), read):
            identifier, message = notice(
                told.name, told.channel, told.title, told.sentences, host=self._config.host, tone=Tone.SUCCESS
            )
            if identifier in deliveries:
                self._outbox.amend(replace(deliveries[identifier], message=message))
        return True

    def _in_use(self, name: str, since: float) -> str | None:
        """Return what a component, or each member of a group, uses now, as `news.in_use` does."""
        used = [news.in_use(each, self._targets, since) for each in self._config.members_of(name)]
        return None if None in used else "; ".join(dict.fromkeys(filter(None, used)))

    def _tell_digest(self, now: float) -> None:
        """Tell what is informational, at the times for which that is asked."""
        wanted = self._config.notifications.digest
        if wanted is None or not self._config.notifications.enabled or now < self._digest_at:
            return
        # A clock that is set back must not put it off for longer.
        self._digest_at = now + _LOOK_ROUND
        since = opening(Window(wanted.cron, _DIGEST_WITHIN, wanted.timezone), now).since
        if since is None or since == self._digested:
            return
        self._digested = since
        silences = [each.silence for each in self.silences()]
        digest = news.digest_of(self._targets.values(), silences, self._labels())
        if digest is not None:
            self.announce(f"digest {since:.0f}", wanted.channels, *digest, Tone.INFO)

    def _labels(self) -> Mapping[str, Mapping[str, str]]:
        return self._config.labels

    def _reconfigure_outbox(self) -> None:
        self._outbox.reconfigure(
            self._config.channels, self._config.notifications, self._labels(), AdviceContext.of(self._config)
        )
        self._say_counts()

    def _is_wrong(self, target: str) -> bool:
        known = self._targets.get(target)
        return known is not None and bool(known.findings)

    def _touch(self, target: str) -> None:
        """Have the outbox look at a target soon: `_review` does, once no more news comes."""
        now = time.monotonic()
        if not self._touched:
            self._first_news = now
        self._last_news = now
        self._touched.add(target)
        self._news.set()

    # What goes on

    async def run(self) -> None:
        """Tell people until cancelled."""
        self._reconfigure_outbox()
        parts = (self._beat, self._review, self._deliver)
        try:
            await asyncio.gather(*map(self._again_and_again, parts))
        finally:
            self.end()

    def end(self) -> None:
        """Have nothing delivered any more; what is on its way is tried again after the next start."""
        for task in self._under_way.values():
            task.cancel()
        self._workers.end()

    async def _again_and_again(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:
                log.exception("a part of the notifier failed for no reason that was foreseen")
            await asyncio.sleep(_AGAIN)

    async def _review(self) -> None:
        if not self._looked_at_everything.is_set():
            try:
                async with asyncio.timeout(_FIRST_LOOK_WITHIN):
                    await self._looked_at_everything.wait()
            except TimeoutError:
                log.warning("people are told from now on, although not everything was looked at yet")
                self._looked_at_everything.set()
        while True:
            await self._gather()
            self._news.clear()
            touched, self._touched = self._touched, set()
            for target in touched:
                self._outbox.observe(target)
            self._keep(self._outbox.review(time.time()))
            self._tell_digest(time.time())
            self._say_counts()
            await self._await_news()

    async def _await_news(self) -> None:
        due = self._outbox.next_review()
        pause = _LOOK_ROUND if due is None else min(_LOOK_ROUND, max(0.05, due - time.time()))
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            return

    async def _gather(self) -> None:
        """Wait while more comes of what has come already."""
        while self._touched:
            now = time.monotonic()
            rest = gathering(now - self._first_news, now - self._last_news, len(self._touched))
            if not rest:
                return
            await asyncio.sleep(rest)

    def _keep(self, deliveries: Iterable[Delivery] = ()) -> None:
        """Have what changed in the outbox kept; deliver `deliveries` once they are, or when that takes too long."""
        new = [delivery.id for delivery in deliveries]
        changes = self._outbox.take_changes()
        if not changes:
            return
        if not new:
            self._keeper.keep(changes)
            return
        # What the notifier goes on from while the database cannot be used is this process's memory.
        if not self._keeper.usable:
            self._make_ready(new)
            self._keeper.keep(changes)
            return
        self._unrecorded.update(new)
        timer = self._loop.call_later(_RECORD_WITHIN, self._make_ready, new)

        def kept() -> None:
            timer.cancel()
            self._make_ready(new)

        def say_kept() -> None:
            try:
                self._loop.call_soon_threadsafe(kept)
            except RuntimeError:
                log.debug("a message was kept when the daemon had ended")

        self._keeper.keep(changes, say_kept)

    def _make_ready(self, deliveries: Iterable[str]) -> None:
        self._ready.update(deliveries)
        self._unrecorded.difference_update(deliveries)
        self._post.set()

    async def _deliver(self) -> None:
        prepared = False
        while True:
            self._post.clear()
            if self._config.channels and not prepared:
                await self._workers.prepare()
                prepared = True
            self._complete()
            now = time.monotonic()
            later = [at for at in map(self._start, deliverable(self._outbox.pending())) if at is not None]
            if self._unread:
                later.append(now + _READ_SOON)
            pause = max(0.0, min(later, default=now + _LOOK_ROUND) - now)
            try:
                async with asyncio.timeout(min(pause, _LOOK_ROUND)):
                    await self._post.wait()
            except TimeoutError:
                continue

    def _start(self, delivery: Delivery) -> float | None:
        """Begin to deliver a message; where it is too early for that, return the monotonic time of the next attempt."""
        if (
            delivery.id not in self._ready
            or delivery.id in self._under_way
            or delivery.channel not in self._config.channels
            or any(delivery.id in each.deliveries for each in self._unread)
        ):
            return None
        not_before = self._not_before.get(delivery.id, 0.0)
        if time.monotonic() < not_before:
            return not_before
        task = self._under_way[delivery.id] = self._loop.create_task(self._attempt(delivery))
        task.add_done_callback(lambda _: self._ended(delivery.id))
        return None

    def _ended(self, delivery: str) -> None:
        task = self._under_way.pop(delivery)
        if not task.cancelled() and task.exception() is not None:
            log.error("delivering failed for no reason that was foreseen", exc_info=task.exception())
            self._not_before[delivery] = time.monotonic() + 60.0
        self._post.set()

    async def _attempt(self, delivery: Delivery) -> None:
        channel = self._config.channels[delivery.channel]
        positions = waiting(delivery, channel)
        receipts = dict(
            zip(
                positions,
                await asyncio.gather(
                    *(self._workers.deliver(delivery.message, channel.urls[position]) for position in positions)
                ),
                strict=True,
            )
        )
        after = attempted(delivery, receipts, channel, self._config.notifications.attempts, time.time())
        name, title = harmless(channel.name), harmless(after.message.title)
        if after.fate is DeliveryFate.DELIVERED:
            log.info("told %s: %s", name, title)
            self._counts.notified(channel.name, DeliveryOutcome.DELIVERED)
        else:
            log.warning("could not tell %s: %s: %s", name, title, harmless(after.why))
            self._counts.notified(channel.name, DeliveryOutcome.FAILED)
            self._not_before[delivery.id] = time.monotonic() + pause(after)
        if after.fate is DeliveryFate.DEAD:
            log.error("gave up to tell %s: %s", name, title)
            self._counts.notified(channel.name, DeliveryOutcome.DEAD)
        if after.fate is not DeliveryFate.PENDING:
            self._not_before.pop(delivery.id, None)
            self._ready.discard(delivery.id)
            self._news.set()
        self._outbox.amend(after)
        self._keep()
        self._say_counts()

    def _say_counts(self) -> None:
        pending = self._outbox.counts()
        self._counts.notifications_pending({name: pending[name] for name in self._config.channels})
        findings = tuple(self._own_findings())
        if findings != self._reported:
            self._reported = findings
            self._report(findings)

    def _own_findings(self) -> Iterable[Finding]:
        failing: dict[str, list[Delivery]] = {}
        for delivery in self._outbox.undelivered():
            if delivery.fate is DeliveryFate.DEAD or delivery.attempts >= _FAILING:
                failing.setdefault(delivery.channel, []).append(delivery)
        for name, deliveries in failing.items():
            dead = [delivery for delivery in deliveries if delivery.fate is DeliveryFate.DEAD]
            why = next((delivery.why for delivery in reversed(deliveries) if delivery.why), "nobody knows why")
            what = f"{len(dead)} messages to it were given up" if dead else "messages to it wait"
            cure = "; certvigil notify test tries it, certvigil notify retry or drop decides on them"
            severity = Severity.CRITICAL if dead else Severity.WARNING
            yield finding(Code.DELIVERY_FAILED, f"the channel {name} fails, {what}: {why}{cure}", name, severity)

    async def _beat(self) -> None:
        while True:
            beat = self._config.notifications.heartbeat
            if beat is None:
                await asyncio.sleep(_LOOK_ROUND)
                continue
            begun = time.monotonic()
            kinds = {known.kind for known in self._targets.values()}
            if self._liveness.goes_on(self._config, kinds, begun):
                receipt = await self._workers.beat(beat.url)
                if receipt.outcome is not SendOutcome.DELIVERED:
                    log.warning("the heartbeat's URL %s", harmless(receipt.why))
            else:
                log.error("the heartbeat stops: looks have stopped")
            await asyncio.sleep(max(0.0, beat.every - (time.monotonic() - begun)))

    # What is asked

    def alerts(self) -> Sequence[Alert]:
        """Return every problem that a channel was told of, and that is not resolved."""
        return self._outbox.alerts()

    def undelivered(self) -> Sequence[Delivery]:
        """Return the messages that are to be delivered or were given up, oldest first."""
        return self._outbox.undelivered()

    def silences(self) -> Sequence[RequestedSilence]:
        """Return the silences in force: those of the configuration, which have no id, and those asked for."""
        now = time.time()
        declared = (
            RequestedSilence("", each, "the configuration", 0.0) for each in self._config.notifications.silences
        )
        return [each for each in (*declared, *self._outbox.silences()) if now < each.silence.until]

    def acknowledge(self, problem: str, who: str, until: float | None) -> int:
        """Note that `who` knows of a problem; return how many channels were told of it."""
        found = self._outbox.acknowledge(problem, who, until, time.time())
        log.info("%s acknowledged problem %s, which %d channels were told of", harmless(who), harmless(problem), found)
        self._changed()
        return found

    def silence(self, match: FindingMatch, reason: str, until: float, who: str) -> RequestedSilence:
        """Tell nobody of what `match` means until Unix time `until`; a group stands for its members, too."""
        members = (each for name in match.components for each in (name, *self._config.members_of(name)))
        match = replace(match, components=tuple(dict.fromkeys(members)))
        held = RequestedSilence(secrets.token_hex(4), Silence(match, reason, until), who, time.time())
        log.info("%s asked for silence %s until %d: %s", harmless(who), harmless(held.id), until, printable(reason))
        self._outbox.silence(held)
        self._changed()
        return held

    def unsilence(self, identifier: str, who: str) -> bool:
        """End a silence; return whether there was one."""
        found = self._outbox.unsilence(identifier)
        log.info("%s ended silence %s", harmless(who), harmless(identifier))
        self._changed()
        return found

    def retry(self, channel: str | None) -> int:
        """Deliver what was given up again, to `channel` or to all; return how many messages that are."""
        count = self._outbox.retry(channel)
        self._not_before.clear()
        self._ready.update(delivery.id for delivery in self._outbox.pending())
        self._changed()
        return count

    def drop(self, channel: str | None) -> int:
        """Forget what was given up, to `channel` or to all; return how many messages that are."""
        count = self._outbox.drop(channel)
        self._changed()
        return count

    def _changed(self) -> None:
        self._keep()
        self._say_counts()
        self._news.set()
        self._post.set()
