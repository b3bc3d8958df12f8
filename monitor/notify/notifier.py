"""Notifies people: takes events, has messages written, kept and delivered, and calls the heartbeat."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from config.channel import FindingMatch, Silence
from config.immutable import immutable
from config.model import Config
from config.policy import Window
from config.text import Log, Printable, harmless, printable, sentence
from config.vocabulary import Code, DeliveryOutcome, Severity
from config.window import opening
from monitor.host.systemd import runs
from monitor.notify import news
from monitor.notify.advice import AdviceContext
from monitor.notify.deliver import SendOutcome, Tone
from monitor.notify.delivery import Delivery, DeliveryFate, attempted, deliverable, pause, waiting
from monitor.notify.lifecycle import Alert
from monitor.notify.liveness import Liveness
from monitor.notify.open_problem import OpenProblem
from monitor.notify.outbox import Changes, Outbox, OutboxState, RequestedSilence, no_changes
from monitor.notify.text import notice
from monitor.notify.workers import DeliveryWorkers
from monitor.state.events import (
    ActionEnded,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    PresentedChanged,
    StateEvent,
    TargetRemoved,
)
from monitor.state.messages import DatabaseHealthChanged, Looked
from monitor.state.target import TargetState
from probes.finding import Finding, finding

log: Log = logging.getLogger("certvigil.notify")

_QUIET: Final = 0.15
"""Seconds without news after which the news so far are told."""
_LONGEST: Final = 0.5
"""The most seconds for which the first news waits for more."""
_BURST: Final = 20
"""From so many targets on, it waits longer for more."""
_BURST_QUIET: Final = 0.5
_BURST_LONGEST: Final = 3.0
"""Together with `lifecycle.HOLD`, ten seconds: the longest delay of news."""
_RECORD_WITHIN: Final = 10.0
"""Seconds for which a message waits for its record, so that its id outlives a crash; then it is delivered anyhow."""
_FIRST_LOOK_WITHIN: Final = 60.0
"""Seconds after which people are notified although not everything was looked at: a file may hang for ever."""
_LOOK_ROUND: Final = 15.0
"""Seconds between two checks of due messages, even if the clock jumps."""
_FAILING: Final = 3
"""Attempts after which an undelivered message is a finding."""
_AGAIN: Final = 1.0
"""Seconds until a part that failed for no foreseen reason is tried again."""

_DIGEST_WITHIN: Final = 300.0
"""Seconds after its time in which a digest may still be written; a daemon that starts later waits for the next."""

_READ_WITHIN: Final = 30.0
"""Seconds for which the message of a transaction waits until its files are read, to name the certificate in use."""
_READ_SOON: Final = 0.5
"""Seconds until the next check whether they were read."""

_TELLING_OF: Final = (FindingRaised, FindingChanged, FindingCleared, TargetRemoved)


@immutable
class _Unread:
    """Messages of transactions whose files were not read since: they wait, to name the certificate in use."""

    ended: tuple[ActionEnded, ...]
    component_of: Mapping[str, str]
    """The component of each target."""
    deliveries: frozenset[str]
    until: float
    """Monotonic time from which they are delivered anyhow."""


class NotificationKeeper(Protocol):
    """Keeps alerts, messages and silences in the database."""

    @property
    def usable(self) -> bool:
        """Whether a change can probably be kept soon."""

    def keep(self, changes: Changes, done: Callable[[], None] = ...) -> None:
        """Keep `changes` soon, and call `done` then, in some thread."""


class DeliveryCounts(Protocol):
    """Counts messages."""

    def notified(self, channel: str, outcome: DeliveryOutcome) -> None:
        """Count a delivered or abandoned message, or a failed attempt."""

    def notifications_pending(self, pending: Mapping[str, int]) -> None:
        """Set the number of messages that are to be delivered to each channel."""


def gathering(since_first: float, since_last: float, targets: int) -> float:
    """Return for how many seconds to wait for more news, given the seconds since the first and the last news."""
    quiet, longest = (_QUIET, _LONGEST) if targets < _BURST else (_BURST_QUIET, _BURST_LONGEST)
    return max(0.0, min(quiet - since_last, longest - since_first))


class Notifier:
    """Notifies people. A part that fails never stops another part, or the daemon."""

    def __init__(  # noqa: PLR0917 (its surroundings, in the order in which they are made)
        self,
        config: Config,
        targets: Mapping[str, TargetState],
        outbox: Outbox,
        keeper: NotificationKeeper,
        counts: DeliveryCounts,
        report: Callable[[tuple[Finding, ...]], None],
    ) -> None:
        """Deliver the messages in `outbox`; `report` takes the findings about notifications themselves."""
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
        """Messages that were recorded, or that have waited long enough for their record."""
        self._unrecorded: set[str] = set()
        self._not_before: dict[str, float] = {}
        """Monotonic times."""
        self._unread: list[_Unread] = []
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._reported: tuple[Finding, ...] = ()
        self._loop = asyncio.get_running_loop()

    # Input

    def restore(self, kept: OutboxState) -> None:
        """Go on from the kept state."""
        self._outbox.restore(kept)
        self._ready.update(kept.deliveries)

    def take(self, events: Sequence[StateEvent]) -> None:
        """Take events, as a subscriber of the bus."""
        for event in events:
            if isinstance(event, _TELLING_OF) or (isinstance(event, PresentedChanged) and self._is_wrong(event.target)):
                self._touch(event.target)
        self._tell_committed([each for each in events if isinstance(each, ActionEnded)])

    def looked(self, look: Looked) -> None:
        """Take note that looks go on."""
        self._liveness.looked(look.kind, time.monotonic())

    def looked_at_everything(self) -> None:
        """Begin to notify: the states are no longer those of the database only."""
        self._looked_at_everything.set()
        if self._config.channels:
            # The database is made ready now: the first message must not wait for that.
            self._keeper.keep(no_changes())

    def database_health_changed(self, message: DatabaseHealthChanged) -> None:
        """Deliver messages without a record where the database fails: notifications matter more."""
        if message.problem:
            self._make_ready(tuple(self._unrecorded))

    def reconfigure(self, config: Config) -> None:
        """Go by `config` from now on."""
        self._config = config
        self._reconfigure_outbox()
        self._news.set()
        self._post.set()

    def announce(
        self, name: str, channels: Iterable[str], title: str, sentences: Sequence[str], tone: Tone
    ) -> frozenset[str]:
        """Tell channels of an event, such as a decision; return the ids of the new messages.

        `name` identifies the event.
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
        """Tell of just committed transactions. The message is kept at once, and delivered once the files were read."""
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
        """Add the certificate in use to the messages of committed transactions, as far as it was read since."""
        for each in tuple(self._unread):
            try:
                done = self._completed(each)
            except Exception:
                # One message that cannot be completed must not keep the others.
                log.exception("the certificate in use could not be added to a message")
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
                told.name,
                told.channel,
                told.title,
                told.sentences,
                host=self._config.host,
                tone=Tone.SUCCESS,
            )
            if identifier in deliveries:
                self._outbox.amend(replace(deliveries[identifier], message=message))
        return True

    def _in_use(self, name: str, since: float) -> str | None:
        """Return what a component, or each member of a group, uses now, as `news.in_use` does."""
        used = [news.in_use(each, self._targets, since) for each in self._config.members_of(name)]
        return None if None in used else "; ".join(dict.fromkeys(filter(None, used)))

    def _tell_digest(self, now: float) -> None:
        """Send the digest of informational findings at its times."""
        wanted = self._config.notifications.digest
        if wanted is None or not self._config.notifications.enabled or now < self._digest_at:
            return
        # A clock that is set back must not delay it for longer.
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
            self._config.channels,
            self._config.notifications,
            self._labels(),
            AdviceContext.of(self._config, has_systemd=runs()),
        )
        self._say_counts()

    def _is_wrong(self, target: str) -> bool:
        known = self._targets.get(target)
        return known is not None and bool(known.findings)

    def _touch(self, target: str) -> None:
        """Have the outbox look at a target soon: `_tell_problems` does so once no more news comes."""
        now = time.monotonic()
        if not self._touched:
            self._first_news = now
        self._last_news = now
        self._touched.add(target)
        self._news.set()

    # Work

    async def run(self) -> None:
        """Notify people until cancelled."""
        self._reconfigure_outbox()
        parts = (self._beat, self._tell_problems, self._deliver)
        try:
            await asyncio.gather(*map(self._again_and_again, parts))
        finally:
            self.end()

    def end(self) -> None:
        """Stop all deliveries; a message that is on its way is tried again after the next start."""
        for task in self._under_way.values():
            task.cancel()
        self._workers.end()

    async def _again_and_again(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:
                log.exception("a part of the notifier failed for no foreseen reason")
            await asyncio.sleep(_AGAIN)

    async def _tell_problems(self) -> None:
        if not self._looked_at_everything.is_set():
            try:
                async with asyncio.timeout(_FIRST_LOOK_WITHIN):
                    await self._looked_at_everything.wait()
            except TimeoutError:
                log.warning("people are notified from now on, although not everything was looked at yet")
                self._looked_at_everything.set()
        while True:
            await self._gather()
            self._news.clear()
            touched, self._touched = self._touched, set()
            for target in touched:
                self._outbox.observe(target)
            self._keep(self._outbox.write_due(time.time()))
            self._tell_digest(time.time())
            self._say_counts()
            await self._await_news()

    async def _await_news(self) -> None:
        due = self._outbox.next_due()
        pause = _LOOK_ROUND if due is None else min(_LOOK_ROUND, max(0.05, due - time.time()))
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            return

    async def _gather(self) -> None:
        """Wait while more news comes; what delivers is made ready meanwhile, since there will be something to say."""
        if self._touched and self._config.channels:
            self._workers.make_ready()
        while self._touched:
            now = time.monotonic()
            rest = gathering(now - self._first_news, now - self._last_news, len(self._touched))
            if not rest:
                return
            await asyncio.sleep(rest)

    def _keep(self, deliveries: Iterable[Delivery] = ()) -> None:
        """Have changes of the outbox kept; deliver `deliveries` once they are kept, or when that takes too long."""
        new = [delivery.id for delivery in deliveries]
        changes = self._outbox.take_changes()
        if not changes:
            return
        if not new:
            self._keeper.keep(changes)
            return
        # While the database cannot be used, the notifier goes on from the memory of this process.
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
        while True:
            self._post.clear()
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
        """Begin to deliver a message; where it is too early, return the monotonic time of the next attempt."""
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
            log.error("a delivery failed for no foreseen reason", exc_info=task.exception())
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
            log.info("delivered to %s: %s", name, title)
            self._counts.notified(channel.name, DeliveryOutcome.DELIVERED)
        else:
            log.warning("could not deliver to %s: %s: %s", name, title, harmless(after.why))
            self._counts.notified(channel.name, DeliveryOutcome.FAILED)
            self._not_before[delivery.id] = time.monotonic() + pause(after)
        if after.fate is DeliveryFate.DEAD:
            log.error("gave up the delivery to %s: %s", name, title)
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
            why = next((delivery.why for delivery in reversed(deliveries) if delivery.why), "the reason is not known")
            what = sentence("{} messages to it were given up", len(dead)) if dead else Printable("messages to it wait")
            cure = sentence(
                "; to test it: certvigil notify test; then: certvigil notify retry, or certvigil notify drop"
            )
            severity = Severity.CRITICAL if dead else Severity.WARNING
            yield finding(
                Code.DELIVERY_FAILED,
                sentence("the channel {} fails, {}: {}{}", harmless(name), what, harmless(why), cure),
                harmless(name),
                severity,
            )

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

    # Questions and orders of people

    def alerts(self) -> Sequence[Alert]:
        """Return all open problems, as each channel was told of them."""
        return self._outbox.alerts()

    def problems(self, offset: int, limit: int) -> tuple[int, Sequence[OpenProblem]]:
        """Return how many problems are open, and some of them, the worst first, whether or not they were told."""
        return self._outbox.problems(offset, limit, time.time())

    def undelivered(self) -> Sequence[Delivery]:
        """Return the messages that are to be delivered or were given up, oldest first."""
        return self._outbox.undelivered()

    def silences(self) -> Sequence[RequestedSilence]:
        """Return the silences in force: the configuration's, which have no id, and those that people asked for."""
        now = time.time()
        declared = (
            RequestedSilence("", each, "the configuration", 0.0) for each in self._config.notifications.silences
        )
        return [each for each in (*declared, *self._outbox.silences()) if now < each.silence.until]

    def acknowledge(self, problem: str, who: str, until: float | None) -> int:
        """Note that `who` knows of a problem; return the number of channels that were told of it."""
        found = self._outbox.acknowledge(problem, who, until, time.time())
        log.info(
            "%s acknowledged problem %s; channels that were told of it: %d", harmless(who), harmless(problem), found
        )
        self._changed()
        return found

    def silence(self, match: FindingMatch, reason: str, until: float, who: str) -> RequestedSilence:
        """Notify nobody of the findings of `match` until Unix time `until`; a group stands for its members, too."""
        members = (each for name in match.components for each in (name, *self._config.members_of(name)))
        match = replace(match, components=tuple(dict.fromkeys(members)))
        requested = RequestedSilence(secrets.token_hex(4), Silence(match, reason, until), who, time.time())
        log.info(
            "%s silenced findings (silence %s) until %d: %s",
            harmless(who),
            harmless(requested.id),
            until,
            printable(reason),
        )
        self._outbox.silence(requested)
        self._changed()
        return requested

    def unsilence(self, identifier: str, who: str) -> bool:
        """End a silence; return whether there was one."""
        found = self._outbox.unsilence(identifier)
        log.info("%s ended silence %s", harmless(who), harmless(identifier))
        self._changed()
        return found

    def retry(self, channel: str | None) -> int:
        """Deliver messages that were given up again, to `channel` or to all; return their number."""
        count = self._outbox.retry(channel)
        self._not_before.clear()
        self._ready.update(delivery.id for delivery in self._outbox.pending())
        self._changed()
        return count

    def drop(self, channel: str | None) -> int:
        """Drop the messages that were given up, to `channel` or to all; return their number."""
        count = self._outbox.drop(channel)
        self._changed()
        return count

    def _changed(self) -> None:
        self._keep()
        self._say_counts()
        self._news.set()
        self._post.set()
