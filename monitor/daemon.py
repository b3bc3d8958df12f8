"""The composition root: wires configuration, memory, vigils, export and signals, and takes them down again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from config.document import Mistake
from config.load import digest_on_disk, load
from config.model import DAY, Config
from config.policy import Notify
from config.vocabulary import Code
from monitor.act.status import ComponentStatus
from monitor.act.steward import Steward
from monitor.actor.request import Verb
from monitor.decide.decision import ORDERED, Decision
from monitor.decide.loop import Decider
from monitor.decide.outlook import outlook
from monitor.decide.situation import Situation
from monitor.host import systemd
from monitor.host.life import ALREADY_RUNNING, Life, StateTaken, begin, own_files
from monitor.http import DaemonStatus, WebServer
from monitor.look.demand import Module, Prober, RefusedProbe
from monitor.look.endpoints import EndpointVigil
from monitor.look.files import FileVigil
from monitor.look.pool import dismiss, hire
from monitor.look.reading import ArtefactReader
from monitor.look.sets import SetVigil
from monitor.metrics import Counters, Page, Piece, piece
from monitor.metrics.probed import Probed
from monitor.notify.deliver import Tone
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import OutboxState
from monitor.state.bus import Bus
from monitor.state.events import Looked
from monitor.state.log import event_log
from monitor.state.registry import SELF, TargetRegistry
from monitor.state.target import TargetState
from monitor.state.trust import read_trust_context
from monitor.store import DATABASE_ENDINGS, Degraded, HistoryEntry, Store, database_path
from monitor.store import history as read_history
from probes.finding import Finding, finding
from probes.opening import leave_alone

log = logging.getLogger("certvigil.daemon")

STOP_WITHIN: Final = 4.0
"""Seconds for everything to end in after SIGTERM."""
READY_WITHIN: Final = 15.0
"""Seconds after the first look at every file in which the service manager is told of readiness, whichever endpoint has
not answered by then: it would end a start that takes too long."""
HOUSEKEEPING: Final = 15.0
"""Seconds between two looks at certvigil's own state."""


def run_daemon(path: str, config: Config) -> int:
    """Run until SIGTERM or SIGINT, and return the exit code."""
    begun = begin(config.settings.state_directory, time.time())
    if isinstance(begun, StateTaken):
        log.critical("%s", begun)
        return ALREADY_RUNNING
    # Certificates are many objects that live long: at the default thresholds the collector would walk them all day.
    gc.set_threshold(50_000, 20, 100)
    # Threads that read and write beside the loop give way to it at once, rather than after 5 ms each time.
    sys.setswitchinterval(0.0005)

    # Before there are helpers: they open files, too.
    database = database_path(config.settings.state_directory)
    leave_alone((*own_files(config.settings.state_directory), *(f"{database}{end}" for end in DATABASE_ENDINGS)))
    # Before there are threads. What is remembered need not be decoded again.
    first = config.watches and not os.path.exists(database)
    helpers = hire() if first else None

    async def life() -> int:
        daemon = Daemon(path, config, helpers, begun)
        await daemon.run()
        return 1 if daemon.failed else 0

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(life())
    if code == 0:
        begun.end_well()
    begun.give_back()
    if any(thread.name.startswith(("files", "judge", "store", "deliver")) for thread in threading.enumerate()):
        # A file system that hangs holds its reader; the interpreter would wait for it for ever.
        logging.shutdown()
        os._exit(code)
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's where it exists, which halves the cost of a look."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 (not on every platform)
    except ImportError:
        return asyncio.new_event_loop
    return new_event_loop


class Daemon:
    """One daemon: everything it consists of, and its life from start to stop."""

    def __init__(self, path: str, config: Config, helpers: Executor | None = None, life: Life | None = None) -> None:
        now = time.time()
        self._life = life
        self.path = path
        self.started = self._loaded = now
        self._stale = self._announced = self._recording = False
        self._for_life = _for_life(config)
        self.counters = Counters(version("certvigil"), now)
        self.counters.host(config.host)
        self.page = Page(
            x509_cert=config.settings.x509_cert, interval=lambda known: self.config.interval(known.target, known.kind)
        )
        self._own_findings: dict[str, tuple[Finding, ...]] = {}
        self.failed = False
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._reloading = asyncio.Lock()
        # Judging must not wait for a file on a file system that hangs.
        self._reader = ThreadPoolExecutor(1, "files")
        self._judge = ThreadPoolExecutor(1, "judge")
        self._sets = ThreadPoolExecutor(2, "sets")
        self._helpers = helpers
        trust_context, findings = read_trust_context(config)
        self._own_findings["trust"] = findings
        self._own_findings["life"] = () if life is None else life.findings(now)
        self._database = database_path(config.settings.state_directory)
        self.store = Store(
            self._database,
            snapshot=lambda: tuple(self.registry.known.values()),
            on_health=self._store_health,
            kept=self._kept,
        )
        self.notifier = Notifier(
            config,
            lambda: self.registry.known,
            self.store,
            self.counters,
            self._notifier_fails,
            outlook=lambda member: outlook(self.decider.decisions(member.component or member.target)),
            transactions=lambda: self.steward.transactions(),  # noqa: PLW0108 (which is made last)
        )
        self.decider = Decider(
            lambda: self.config,
            lambda: self.registry.known,
            lambda subject: self.steward.done(subject),  # noqa: PLW0108 (which is made last)
            self._decided,
            self.store.record,
            lambda: self.steward.say(),  # noqa: PLW0108
        )
        bus = Bus(
            event_log(self._location),
            self.store.record,
            self.notifier.take,
            self.decider.take,
            lambda events: self.sets.take(events),  # noqa: PLW0108 (which is made last)
        )
        self.registry = TargetRegistry(trust_context, bus, self.page)
        self.endpoints = EndpointVigil(self.registry, self._judge, looked=self._looked)
        self.sets = SetVigil(
            self.registry,
            self._sets,
            looked=self._looked,
            event_latency=self.counters.event_latency,
            component_changed=self._component_changed,
            read=ArtefactReader(
                lambda: self.config.settings.actor.socket,
                self._sets,
                lambda component: self.sets.look_again(component),  # noqa: PLW0108 (which is being made)
            ).read,
        )
        self.files = FileVigil(
            self.registry,
            self._reader,
            looked=self._looked,
            event_latency=self.counters.event_latency,
            overflowed=self.counters.overflowed,
            sets=self.sets,
            trust_changed=lambda: self._spawn(self._read_trust_again()),
            unsearched=self._unsearched,
            helpers=helpers,
        )
        self._prober = Prober(self._judge, config.settings.concurrency)
        self.steward = Steward(
            self.registry, self.decider.decisions, self.decider.touch, self._look_again, self._actions_changed
        )
        self.web = WebServer(self, config.settings)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.registry.trust_context.config

    async def run(self) -> None:
        """Run until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload("SIGHUP")))
        systemd.notify("STATUS=reading what is remembered")
        for known in self.store.load().values():
            self.registry.remember(known)
        # What is not looked at is known after the first scan; until then it is as it was.
        itself = self.registry.known.get(SELF)
        self._own_findings["files"] = tuple(
            raised.finding
            for (code, subject), raised in (itself.findings.items() if itself is not None else ())
            if code is Code.UNREADABLE and subject.startswith(os.sep)
        )
        self.notifier.restore(self.store.load_kept())
        gc.freeze()
        self.web.allow(self.config.settings.web.tokens)
        self.web.call(self.config.host)
        self._own_findings["web"] = self._web_findings(await self.web.start())
        self._say_own()
        self.sets.reconfigure()
        self.endpoints.reconfigure()
        self.steward.recorded_until = self.store.newest_action()
        # What was to be done and had not begun is decided again.
        self.decider.restore(
            (subject, identity) for subject, identity, status in self.store.decisions() if status not in ORDERED
        )
        vigils = (self.files, self.sets, self.endpoints, self.steward, self.decider, self.notifier)
        for vigil in (*(each.run() for each in vigils), self._announce(), self._keep_house()):
            self._spawn(vigil)
        calendar = AsyncIOScheduler(timezone="UTC")
        calendar.add_job(self._prune, "cron", hour=3, minute=17, coalesce=True, misfire_grace_time=DAY)
        calendar.start()
        await self._stop.wait()
        calendar.shutdown(wait=False)
        await self._end()

    def targets(self) -> Mapping[str, TargetState]:
        """Return what is believed of every target, by name."""
        return self.registry.known

    def components(self) -> Sequence[ComponentStatus]:
        """Return what is known of each component that certvigil may change."""
        return self.steward.charges(time.time())

    def situations(self) -> Sequence[Situation]:
        """Return what decisions rest on."""
        return self.decider.situations()

    def metrics(self) -> Iterator[Piece]:
        """Return the metrics, made step by step."""
        yield from self.page.pieces()
        yield piece(self.counters.text())

    def not_ready(self) -> Sequence[str]:
        """Return why certvigil is not doing its work yet, or no longer; empty where it is."""
        if self._stop.is_set():
            return ["it is stopping"]
        problems = [found.detail for found in self._own_findings.get("web", ())]
        progress = self.files.progress
        if not progress.finished:
            problems.append(f"it has looked at {progress.done} of {progress.total} files")
        if self.sets.unseen:
            problems.append(f"it has not looked yet at the files of {len(self.sets.unseen)} components")
        if unseen := self.endpoints.unseen:
            endpoints = len(self.config.endpoints)
            problems.append(f"it has looked at {endpoints - unseen} of {endpoints} endpoints, and waits for the others")
        return problems

    def status(self) -> DaemonStatus:
        """Return what certvigil knows of itself."""
        now, watching, progress = time.time(), self.files.watch_state, self.files.progress
        return DaemonStatus(
            version=version("certvigil"),
            host=self.config.host,
            started=self.started,
            sources=self.config.sources,
            digest=self.config.digest,
            loaded=self._loaded,
            stale=self._stale,
            files_looked_at=progress.done,
            files_to_look_at=progress.total,
            directories_notified=watching.watched,
            directories_polled=watching.polled,
            polled_because=watching.reason,
            waivers=tuple(waiver for waiver in self.config.waivers if now < waiver.until),
            no_actor=self.steward.actor or "",
        )

    async def rule(self, verb: Verb, plan: str, by: str, why: str) -> Mapping[str, Any] | str:
        """Have the actor note what `by` says of a plan; return its answer, or why it takes none."""
        return await self.steward.rule(verb, plan, by, why)

    async def history(
        self, target: str | None, since: float, until: float | None, limit: int
    ) -> Sequence[HistoryEntry] | Degraded:
        """Return what happened from Unix time `since` until just before `until`, newest first."""
        return await self._loop.run_in_executor(None, read_history, self._database, target, since, until, limit)

    async def probe(self, target: str, module: Module, seconds: float) -> Probed | RefusedProbe:
        """Return what is seen at `target`, where it may be looked there, within `seconds`."""
        return await self._prober.probe(target, module, self.registry.trust_context, seconds)

    async def _announce(self) -> None:
        """Tell the service manager once everything was looked at, and then that this goes on."""
        progress, done = self.files.progress, -1
        while not progress.finished or self.sets.unseen:
            systemd.notify(f"STATUS=looked at {progress.done} of {progress.total} files")
            if progress.done != done:
                # What was read at the start stays: there is no use in walking it at any collection.
                gc.freeze()
                done = progress.done
            await asyncio.sleep(0.02)
        self._dismiss_helpers()
        gc.freeze()
        # What comes is little.
        gc.set_threshold(10_000, 20, 100)
        self.store.start()
        self._recording = True
        latest = time.monotonic() + READY_WITHIN
        while (unseen := self.endpoints.unseen) and time.monotonic() < latest:
            endpoints = len(self.config.endpoints)
            systemd.notify(f"STATUS=looked at {endpoints - unseen} of {endpoints} endpoints")
            await asyncio.sleep(0.02)
        self.notifier.looked_at_everything()
        self.decider.begin()
        self._announced = True
        systemd.notify("READY=1", f"STATUS=keeping vigil over {len(self.registry.known)} targets")
        interval = systemd.watchdog_interval()
        while interval is not None:
            systemd.notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _dismiss_helpers(self) -> None:
        if self._helpers is not None:
            dismiss(self._helpers)
            self._helpers = None

    async def _keep_house(self) -> None:
        """Say now and then what only looking at certvigil itself can tell."""
        loop = asyncio.get_running_loop()
        while True:
            state = self.files.watch_state
            self.counters.watching(state.watched, state.polled)
            now = time.time()
            self.counters.waivers(sum(now < waiver.until for waiver in self.config.waivers))
            digest = await loop.run_in_executor(self._judge, digest_on_disk, self.path)
            self._stale = digest != self.config.digest
            self.counters.config_stale(stale=self._stale)
            if self._life is not None:
                await loop.run_in_executor(self._judge, self._life.go_on, now)
                self._own_findings["life"] = self._life.findings(now)
            self._say_own()
            await asyncio.sleep(HOUSEKEEPING)

    async def reload(self, who: str) -> tuple[Mistake, ...]:
        """Read the configuration again because `who` asked; where it has mistakes, return them and keep the old one."""
        async with self._reloading:
            if self._announced:
                systemd.reloading()
            loop = asyncio.get_running_loop()
            config = await loop.run_in_executor(self._judge, load, self.path, os.environ)
            if isinstance(config, Config):
                log.info("read the configuration again, asked by %s", who)
                self._own_findings.pop("config", None)
                if _for_life(config) != self._for_life:
                    log.warning(
                        "host, state_directory, socket, web and metrics are those of the start until the next one"
                    )
                config = replace(config, host=self.config.host)
                self._own_findings["web"] = self._web_findings(map(str, await self.web.reload_web_config()))
                self._loaded, self._stale = time.time(), False
                self.counters.config_loaded(self._loaded)
                self.counters.config_stale(stale=False)
                await self._surround(config)
                self.web.allow(config.settings.web.tokens)
                mistakes: tuple[Mistake, ...] = ()
            else:
                mistakes = config
                log.error("kept the old configuration: the new one, read for %s, has %d mistakes", who, len(mistakes))
                for mistake in mistakes:
                    log.error("%s", mistake)
                self._own_findings["config"] = (
                    finding(Code.CONFIG_REJECTED, f"{len(mistakes)} mistakes, the first: {mistakes[0]}"),
                )
                self.counters.config_rejected()
            self._say_own()
            if self._announced:
                systemd.notify("READY=1")
            return mistakes

    async def _read_trust_again(self) -> None:
        async with self._reloading:
            await self._surround(self.config)
            self._say_own()

    async def _surround(self, config: Config) -> None:
        """Judge by `config` from now on, with its trust stores read anew."""
        loop = asyncio.get_running_loop()
        trust_context, findings = await loop.run_in_executor(
            self._judge, read_trust_context, config, self.registry.trust_context
        )
        self._own_findings["trust"] = findings
        self.registry.trust_context = trust_context
        self.page.reconfigure()
        self.registry.reconsider()
        self.sets.reconfigure()
        self.endpoints.reconfigure()
        self.notifier.reconfigure(config)
        self.files.rescan()
        self.steward.reconfigure()
        self.decider.reconfigure()

    def _web_findings(self, problems: Iterable[str]) -> tuple[Finding, ...]:
        found = tuple(
            finding(Code.CONFIG_REJECTED, f"not everything is answered over HTTP: {problem}", f"web {number}")
            for number, problem in enumerate(problems, start=1)
        )
        for each in found:
            log.error("%s", each.detail)
        return found

    def _looked(self, look: Looked) -> None:
        self.counters.looked(look)
        self.notifier.looked(look)

    def _location(self, target: str) -> str:
        """Return the path or the address of a target; empty for one that is watched no longer."""
        known = self.registry.known.get(target)
        return known.location if known is not None else ""

    def _kept(self) -> OutboxState:
        return self.notifier.everything()

    def _notifier_fails(self, findings: tuple[Finding, ...]) -> None:
        self._own_findings["notifications"] = findings
        self._say_own()

    def _look_again(self, component: str) -> None:
        """Have the files and the endpoints of a component looked at."""
        self.sets.look_again(component)
        self._component_changed(component)

    def _component_changed(self, component: str) -> None:
        declared = self.config.components.get(component)
        if declared is not None:
            self.endpoints.hasten(declared.endpoints)

    def _decided(self, decision: Decision) -> None:
        """Have done what was decided."""
        self.counters.decided(self.decider.counted)
        if isinstance(decision.action, Notify):
            reasons = [each.because for each in decision.reasons]
            title = f"{decision.subject}: policy {decision.policy} holds"
            self.notifier.announce(decision.identity, decision.action.channels, title, reasons, Tone.WARNING)
        else:
            self.steward.order(decision)

    def _actions_changed(self) -> None:
        clock = self.steward.clock
        self._own_findings["clock"] = () if clock is None else (finding(Code.CLOCK_SUSPECT, clock),)
        charges = self.steward.charges(time.time())
        self.counters.components({each.name: each.state for each in charges}, actor=self.steward.actor is None)
        plans = {each.name: Counter(one.kind for one in each.waiting) for each in charges}
        self.counters.waiting(plans, {each.name: len(each.given_up) for each in charges})
        self.counters.actions(self.steward.ended, self.steward.newest())

    def _unsearched(self, findings: Sequence[Finding]) -> None:
        self._own_findings["files"] = tuple(findings)
        self._say_own()

    def _store_health(self, health: Degraded | None) -> None:
        """Take the store's word, from whichever thread."""

        def say() -> None:
            self.counters.database_degraded(degraded=health is not None)
            self._own_findings["database"] = (
                () if health is None else (finding(Code.DATABASE_DEGRADED, f"{health.reason}: {health.detail}"),)
            )
            if health is not None:
                self.notifier.keeper_fails()
            self._say_own()

        self._loop.call_soon_threadsafe(say)

    def _say_own(self) -> None:
        findings = [found for group in self._own_findings.values() for found in group]
        self.registry.about_self(findings, time.time())

    def _prune(self) -> None:
        self.store.prune(time.time() - self.config.settings.history_days * DAY)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` beside the rest; that it fails for a reason not foreseen ends the daemon, loudly."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.critical("a part of the daemon failed", exc_info=task.exception())
            self.failed = True
            self._stop.set()

    async def _end(self) -> None:
        """Take everything down, within `STOP_WITHIN` seconds."""
        systemd.notify("STOPPING=1")
        log.info("stopping")
        end = time.monotonic() + STOP_WITHIN
        await self.web.stop()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_WITHIN / 2)
        self.notifier.end()
        self._dismiss_helpers()
        for executor in (self._reader, self._judge, self._sets):
            executor.shutdown(wait=False, cancel_futures=True)
        loop = asyncio.get_running_loop()
        recorded = await loop.run_in_executor(None, self.store.close, max(0.5, end - time.monotonic()))
        # Before the first scan is over nothing is written: it will be seen again.
        if self._recording and not recorded:
            log.error("not everything that happened could be recorded")


def _for_life(config: Config) -> tuple[object, ...]:
    """Return the settings that a reload does not change."""
    settings = config.settings
    return config.host, settings.state_directory, settings.socket, replace(settings.web, tokens=()), settings.x509_cert
