"""Tells people: takes what changes, writes letters, keeps them, has them delivered, and calls the heartbeat."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from actions.deliver import Outcome, Tone
from config.channel import Match, Silence
from config.model import Config
from config.policy import Window
from config.vocabulary import Code, DeliveryOutcome, Severity
from config.window import opening
from monitor.events import (
    ActionEnded,
    Event,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    Looked,
    PresentedChanged,
    TargetRemoved,
)
from monitor.known import Known
from monitor.tell import news
from monitor.tell.advice import Site
from monitor.tell.couriers import Couriers
from monitor.tell.desk import Changes, Desk, Held, Kept, no_changes
from monitor.tell.letter import Fate, Letter, attempted, deliverable, pause, waiting
from monitor.tell.lifecycle import Alert
from monitor.tell.mute import Transaction
from monitor.tell.problem import Member
from monitor.tell.pulse import Pulse
from monitor.tell.text import Outlook, notice
from probes.finding import Finding, finding

log = logging.getLogger("certvigil.tell")

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
"""Seconds that a letter waits for its record, so that it has the same id after a crash; then it is delivered anyhow."""
_FIRST_LOOK_WITHIN: Final = 60.0
"""Seconds after which people are told although not everything was looked at: a file may hang for ever."""
_LOOK_ROUND: Final = 15.0
"""Seconds between two looks at what is due, whatever the clock does."""
_FAILING: Final = 3
"""Attempts after which it is a finding that a letter was not delivered."""
_AGAIN: Final = 1.0
"""Seconds until whatever failed for no reason that was foreseen is tried again."""

_DIGEST_WITHIN: Final = 300.0
"""Seconds after its time at which a digest is written no more; who starts later waits for the next."""

_TELLING_OF: Final = (FindingRaised, FindingChanged, FindingCleared, TargetRemoved)


class Keeper(Protocol):
    """Keeps what must not be forgotten."""

    @property
    def usable(self) -> bool:
        """Whether what is to be kept now is likely to be kept soon."""

    def keep(self, changes: Changes, done: Callable[[], None] = ...) -> None:
        """Keep `changes` soon, and call `done` then, in some thread."""


class Counts(Protocol):
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


class Telling:
    """All that tells people; one part that fails never stops another, nor the daemon."""

    def __init__(
        self,
        config: Config,
        known: Callable[[], Mapping[str, Known]],
        keeper: Keeper,
        counts: Counts,
        report: Callable[[tuple[Finding, ...]], None],
        *,
        outlook: Outlook = nothing_happens,
        transactions: Callable[[], Mapping[str, Transaction]] = dict,
    ) -> None:
        """Begin with nothing told; `report` takes what is wrong with telling itself.

        `transactions` gives the newest one of each component: nobody is told of what is under one.
        """
        self._known = known
        self._keeper = keeper
        self._counts = counts
        self._report = report
        self._config = config
        self._desk = Desk(known, outlook, transactions)
        self._couriers = Couriers()
        self._pulse = Pulse(time.monotonic())
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
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._reported: tuple[Finding, ...] = ()
        self._loop = asyncio.get_running_loop()

    # What comes in

    def restore(self, kept: Kept) -> None:
        """Go on from what was kept."""
        self._desk.restore(kept)
        self._ready.update(kept.letters)

    def take(self, events: Sequence[Event]) -> None:
        """Take what happened: a subscriber of the bus."""
        for event in events:
            if isinstance(event, _TELLING_OF) or (isinstance(event, PresentedChanged) and self._is_wrong(event.target)):
                self._touch(event.target)
        self._tell_committed([each for each in events if isinstance(each, ActionEnded)])

    def looked(self, look: Looked) -> None:
        """Take note that looks go on."""
        self._pulse.looked(look.kind, time.monotonic())

    def looked_at_everything(self) -> None:
        """Begin to tell, since what is believed is no longer only what was remembered."""
        self._looked_at_everything.set()
        if self._config.channels:
            # To keep the first letter would take long if that had still to be made ready.
            self._keeper.keep(no_changes())

    def keeper_fails(self) -> None:
        """Deliver what waits to be recorded: it cannot be, and telling matters more."""
        self._make_ready(tuple(self._unrecorded))

    def reconfigure(self, config: Config) -> None:
        """Tell as `config` says from now on."""
        self._config = config
        self._reconfigure_desk()
        self._news.set()
        self._post.set()

    def announce(self, name: str, channels: Iterable[str], title: str, sentences: Sequence[str], tone: Tone) -> None:
        """Tell channels of something that happened, as a decision; `name` is what tells it from anything else."""
        letters = []
        for channel in channels:
            if channel in self._config.channels:
                identifier, message = notice(name, channel, self._config.host, title, sentences, tone)
                letters.append(Letter(identifier, channel, (), message, time.time()))
        self._keep([letter for letter in letters if self._desk.announce(letter)])
        self._say_counts()

    def _tell_committed(self, ended: Sequence[ActionEnded]) -> None:
        """Tell whoever wants it what was committed just now."""
        now = time.time()
        recent = [each for each in ended if now - each.at < news.NEWS_FOR]
        if not recent:
            return
        known = self._known()
        component_of = {each.target: known[each.target].component or "" for each in recent if each.target in known}
        used = {name: news.in_use(name, known.values()) for name in component_of.values()}
        for each in news.committed(recent, component_of, self._config.telling, self._labels(), used):
            self.announce(each.name, [each.channel], each.title, each.sentences, Tone.SUCCESS)

    def _tell_digest(self, now: float) -> None:
        """Tell what is informational, at the times for which that is asked."""
        wanted = self._config.telling.digest
        if wanted is None or not self._config.telling.enabled or now < self._digest_at:
            return
        # A clock that is set back must not put it off for longer.
        self._digest_at = now + _LOOK_ROUND
        since = opening(Window(wanted.cron, _DIGEST_WITHIN, wanted.timezone), now).since
        if since is None or since == self._digested:
            return
        self._digested = since
        silences = [each.silence for each in self.silences()]
        digest = news.digest_of(self._known().values(), silences, self._labels())
        if digest is not None:
            self.announce(f"digest {since:.0f}", wanted.channels, *digest, Tone.INFO)

    def _labels(self) -> Mapping[str, Mapping[str, str]]:
        return {name: component.labels for name, component in self._config.components.items()}

    def _reconfigure_desk(self) -> None:
        self._desk.reconfigure(self._config.channels, self._config.telling, self._labels(), Site.of(self._config))
        self._say_counts()

    def _is_wrong(self, target: str) -> bool:
        known = self._known().get(target)
        return known is not None and bool(known.findings)

    def _touch(self, target: str) -> None:
        now = time.monotonic()
        if not self._touched:
            self._first_news = now
        self._last_news = now
        self._touched.add(target)
        self._news.set()

    # What goes on

    async def run(self) -> None:
        """Tell people until cancelled."""
        self._reconfigure_desk()
        parts = (self._beat, self._review, self._deliver)
        try:
            await asyncio.gather(*map(self._again_and_again, parts))
        finally:
            self.end()

    def end(self) -> None:
        """Have nothing delivered any more; what is on its way is tried again after the next start."""
        for task in self._under_way.values():
            task.cancel()
        self._couriers.end()

    async def _again_and_again(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:
                log.exception("a part of telling failed for no reason that was foreseen")
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
                self._desk.observe(target)
            self._keep(self._desk.review(time.time()))
            self._tell_digest(time.time())
            self._say_counts()
            await self._await_news()

    async def _await_news(self) -> None:
        due = self._desk.next_review()
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

    def _keep(self, letters: Iterable[Letter] = ()) -> None:
        """Have what changed on the desk kept; deliver `letters` once they are, or when that takes too long."""
        new = [letter.id for letter in letters]
        changes = self._desk.take_changes()
        if not changes:
            return
        if not new:
            self._keeper.keep(changes)
            return
        # What telling goes on from while the database cannot be used is this process's memory.
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
                log.debug("a letter was kept when the daemon had ended")

        self._keeper.keep(changes, say_kept)

    def _make_ready(self, letters: Iterable[str]) -> None:
        self._ready.update(letters)
        self._unrecorded.difference_update(letters)
        self._post.set()

    async def _deliver(self) -> None:
        prepared = False
        while True:
            self._post.clear()
            if self._config.channels and not prepared:
                await self._couriers.prepare()
                prepared = True
            now = time.monotonic()
            later = [at for at in map(self._start, deliverable(self._desk.pending())) if at is not None]
            pause = max(0.0, min(later, default=now + _LOOK_ROUND) - now)
            try:
                async with asyncio.timeout(min(pause, _LOOK_ROUND)):
                    await self._post.wait()
            except TimeoutError:
                continue

    def _start(self, letter: Letter) -> float | None:
        """Begin to deliver a letter; where it is too early for that, return the monotonic time of the next attempt."""
        if letter.id not in self._ready or letter.id in self._under_way or letter.channel not in self._config.channels:
            return None
        not_before = self._not_before.get(letter.id, 0.0)
        if time.monotonic() < not_before:
            return not_before
        task = self._under_way[letter.id] = self._loop.create_task(self._attempt(letter))
        task.add_done_callback(lambda _: self._ended(letter.id))
        return None

    def _ended(self, letter: str) -> None:
        task = self._under_way.pop(letter)
        if not task.cancelled() and task.exception() is not None:
            log.error("delivering failed for no reason that was foreseen", exc_info=task.exception())
            self._not_before[letter] = time.monotonic() + 60.0
        self._post.set()

    async def _attempt(self, letter: Letter) -> None:
        channel = self._config.channels[letter.channel]
        positions = waiting(letter, channel)
        receipts = dict(
            zip(
                positions,
                await asyncio.gather(
                    *(self._couriers.deliver(letter.message, channel.urls[position]) for position in positions)
                ),
                strict=True,
            )
        )
        after = attempted(letter, receipts, channel, self._config.telling.attempts, time.time())
        if after.fate is Fate.DELIVERED:
            log.info("told %s: %s", channel.name, after.message.title)
            self._counts.notified(channel.name, DeliveryOutcome.DELIVERED)
        else:
            log.warning("could not tell %s: %s: %s", channel.name, after.message.title, after.why)
            self._counts.notified(channel.name, DeliveryOutcome.FAILED)
            self._not_before[letter.id] = time.monotonic() + pause(after)
        if after.fate is Fate.DEAD:
            log.error("gave up to tell %s: %s", channel.name, after.message.title)
            self._counts.notified(channel.name, DeliveryOutcome.DEAD)
        if after.fate is not Fate.PENDING:
            self._not_before.pop(letter.id, None)
            self._ready.discard(letter.id)
        self._desk.amend(after)
        self._keep()
        self._say_counts()

    def _say_counts(self) -> None:
        pending = self._desk.counts()
        self._counts.notifications_pending({name: pending[name] for name in self._config.channels})
        findings = tuple(self._own_findings())
        if findings != self._reported:
            self._reported = findings
            self._report(findings)

    def _own_findings(self) -> Iterable[Finding]:
        failing: dict[str, list[Letter]] = {}
        for letter in self._desk.undelivered():
            if letter.fate is Fate.DEAD or letter.attempts >= _FAILING:
                failing.setdefault(letter.channel, []).append(letter)
        for name, letters in failing.items():
            dead = [letter for letter in letters if letter.fate is Fate.DEAD]
            why = next((letter.why for letter in reversed(letters) if letter.why), "nobody knows why")
            what = f"{len(dead)} messages to it were given up" if dead else "messages to it wait"
            cure = "; certvigil notify test tries it, certvigil notify retry or drop decides on them"
            severity = Severity.CRITICAL if dead else Severity.WARNING
            yield finding(Code.DELIVERY_FAILED, f"the channel {name} fails, {what}: {why}{cure}", name, severity)

    async def _beat(self) -> None:
        while True:
            beat = self._config.telling.heartbeat
            if beat is None:
                await asyncio.sleep(_LOOK_ROUND)
                continue
            begun = time.monotonic()
            kinds = {known.kind for known in self._known().values()}
            if self._pulse.goes_on(self._config, kinds, begun):
                receipt = await self._couriers.beat(beat.url)
                if receipt.outcome is not Outcome.DELIVERED:
                    log.warning("the heartbeat's URL %s", receipt.why)
            else:
                log.error("the heartbeat stops: looks have stopped")
            await asyncio.sleep(max(0.0, beat.every - (time.monotonic() - begun)))

    # What is asked

    def alerts(self) -> Sequence[Alert]:
        """Return every problem that a channel was told of, and that is not resolved."""
        return self._desk.alerts()

    def undelivered(self) -> Sequence[Letter]:
        """Return the letters that are to be delivered or were given up, oldest first."""
        return self._desk.undelivered()

    def everything(self) -> Kept:
        """Return all that must be kept; any thread may ask."""
        return self._desk.everything()

    def silences(self) -> Sequence[Held]:
        """Return the silences in force: those of the configuration, which have no id, and those asked for."""
        now = time.time()
        declared = (Held("", each, "the configuration", 0.0) for each in self._config.telling.silences)
        return [each for each in (*declared, *self._desk.silences()) if now < each.silence.until]

    def acknowledge(self, problem: str, who: str, until: float | None) -> int:
        """Note that `who` knows of a problem; return how many channels were told of it."""
        found = self._desk.acknowledge(problem, who, until, time.time())
        log.info("%s acknowledged problem %s, which %d channels were told of", who, problem, found)
        self._changed()
        return found

    def silence(self, match: Match, reason: str, until: float, who: str) -> Held:
        """Tell nobody of what `match` means until Unix time `until`."""
        held = Held(secrets.token_hex(4), Silence(match, reason, until), who, time.time())
        log.info("%s asked for silence %s until %d: %s", who, held.id, until, reason)
        self._desk.silence(held)
        self._changed()
        return held

    def unsilence(self, identifier: str, who: str) -> bool:
        """End a silence; return whether there was one."""
        found = self._desk.unsilence(identifier)
        log.info("%s ended silence %s", who, identifier)
        self._changed()
        return found

    def retry(self, channel: str | None) -> int:
        """Deliver what was given up again, to `channel` or to all; return how many messages that are."""
        count = self._desk.retry(channel)
        self._not_before.clear()
        self._ready.update(letter.id for letter in self._desk.pending())
        self._changed()
        return count

    def drop(self, channel: str | None) -> int:
        """Forget what was given up, to `channel` or to all; return how many messages that are."""
        count = self._desk.drop(channel)
        self._changed()
        return count

    def _changed(self) -> None:
        self._keep()
        self._say_counts()
        self._news.set()
        self._post.set()
