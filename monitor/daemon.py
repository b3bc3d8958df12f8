"""The life of the daemon: it starts what `monitor.wiring` has made, reloads it, and takes it down again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, Final

from actions.journal_state import installed
from config.document import Mistake
from config.load import digest_on_disk, load
from config.model import DAY, Config, Watch
from config.text import Log, harmless, printable, sentence
from config.vocabulary import Code
from monitor import wiring
from monitor.decide.decision import ORDERED
from monitor.host import systemd
from monitor.host.life import ALREADY_RUNNING, Life, StateTaken, begin, own_files
from monitor.http import WebServer
from monitor.overview import Overview, RunState
from monitor.state.messages import JournalNews, TrustFilesChanged
from monitor.state.own import SELF
from monitor.state.trust import TrustReadings, read_trust_context
from monitor.store import DATABASE_ENDINGS, database_path
from monitor.store.pruning import Pruning
from probes.find import is_pattern_of_paths
from probes.finding import Finding, finding
from probes.opening import leave_alone

log: Log = logging.getLogger("certvigil.daemon")

STOP_WITHIN: Final = 4.0
"""Seconds for everything to end in after SIGTERM."""
READY_WITHIN: Final = 15.0
"""Seconds after the first look at every file in which the service manager is told of readiness, whichever endpoint has
not answered by then: it would end a start that takes too long."""
MEETING: Final = 1.0
"""Seconds for which an actor that has a socket is waited for, where its journal says what a first look means."""
HOUSEKEEPING: Final = 15.0
"""Seconds between two looks at certvigil's own state."""
FEW: Final = 64
"""Files that are looked at before helpers would have been started."""


def run_daemon(path: str, config: Config) -> int:
    """Run until SIGTERM or SIGINT, and return the exit code."""
    begun = begin(config.settings.state_directory, time.time())
    if isinstance(begun, StateTaken):
        log.critical("%s", printable(str(begun)))
        return ALREADY_RUNNING
    # Certificates are many objects that live long: at the default thresholds the collector would walk them all day.
    gc.set_threshold(50_000, 20, 100)
    # Threads that read and write beside the loop give way to it at once, rather than after 5 ms each time.
    sys.setswitchinterval(0.0005)

    # Before there are helpers: they open files, too.
    database = database_path(config.settings.state_directory)
    leave_alone((*own_files(config.settings.state_directory), *(f"{database}{end}" for end in DATABASE_ENDINGS)))
    # Before there are threads. With a database, remembered certificates need not be decoded again.
    helpers = _helpers(config.watches) if not os.path.exists(database) else None

    async def life() -> int:
        daemon = Daemon(path, config, helpers, begun)
        await daemon.run()
        return 1 if daemon.failed else 0

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(life())
    if code == 0:
        begun.end_well()
    begun.give_back()
    if any(thread.name.startswith(("files", "sets", "judge", "store", "deliver")) for thread in threading.enumerate()):
        # A file system that hangs holds its reader; the interpreter would wait for it for ever.
        logging.shutdown()
        os._exit(code)
    return code


def _helpers(watches: Sequence[Watch]) -> Executor | None:
    """Return processes that help with the first look at files, where there may be many files."""
    # Nothing is looked at yet, not even what is a file: a file system may hang.
    patterns = [pattern for each in watches for pattern in each.patterns]
    if len(patterns) <= FEW and not any(map(_may_be_many, patterns)):
        return None
    from monitor.look.pool import hire  # noqa: PLC0415 (loads multiprocessing, for the first start on many files alone)

    return hire()


def _may_be_many(pattern: str) -> bool:
    """Whether a watched path may stand for many files: a pattern, or what has the name of a directory."""
    return is_pattern_of_paths(pattern) or not os.path.splitext(pattern)[1]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's where it exists, which halves the cost of a look."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 (not on every platform)
    except ImportError:
        return asyncio.new_event_loop
    return new_event_loop


class Daemon:
    """One daemon, from its start to its stop."""

    def __init__(self, path: str, config: Config, helpers: Executor | None = None, life: Life | None = None) -> None:
        """Make its parts for the configuration at `path`, read as `config`; nothing goes on before `run`."""
        now = time.time()
        self.path = path
        self.failed = False
        self._run_state = RunState(started=now, loaded=now)
        self._life = life
        self._helpers = helpers
        self._for_life = _for_life(config)
        self._announced = self._recording = False
        self._stop = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pools = wiring.Pools.start()
        database = database_path(config.settings.state_directory)
        self._trust_readings = TrustReadings()
        trust_context, findings = read_trust_context(config, readings=self._trust_readings)
        self.parts = wiring.build(trust_context, database, self._pools, helpers, now)
        self.parts.state.bus.connect(
            wiring.subscribers_of(self.parts),
            wiring.routes_of(self.parts, self._trust_files_changed, self._journal_news),
        )
        self.parts.state.own.report("trust", findings)
        self.parts.state.own.report("life", () if life is None else life.findings(now))
        overview = Overview(self.parts, self._run_state, database, path, self.reload)
        self.web = WebServer(overview, config.settings)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.parts.state.registry.config

    async def run(self) -> None:
        """Run until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload("SIGHUP")))
        systemd.notify("STATUS=reading the database")
        self._remember()
        gc.freeze()
        await self._start_web()
        self.parts.state.own.publish()
        await self._meet_actor()
        self.parts.look.sets.reconfigure()
        self.parts.look.endpoints.reconfigure()
        self.parts.look.supported.reconfigure()
        for each in (*wiring.running(self.parts), self._announce(), self._keep_house()):
            self._spawn(each)
        await self._stop.wait()
        self._run_state.stopping = True
        await self._end()

    def _remember(self) -> None:
        """Load targets, messages and decisions from the database."""
        parts = self.parts
        for state in parts.notify.store.load().values():
            parts.state.registry.remember(state)
        # The first scan tells which files are not looked at; until then the remembered findings hold.
        itself = parts.state.registry.targets.get(SELF)
        unsearched = [
            raised.finding
            for (code, subject), raised in (itself.findings.items() if itself is not None else ())
            if code is Code.UNREADABLE and subject.startswith(os.sep)
        ]
        parts.state.own.report("files", unsearched)
        parts.state.own.report("undeclared", parts.look.undeclared.remember(itself))
        parts.notify.notifier.restore(parts.notify.store.load_kept())
        parts.act.journal.restore(parts.notify.store.newest_action())
        # Orders that had not begun are decided again.
        parts.decide.table.restore(
            (subject, identity) for subject, identity, status in parts.notify.store.decisions() if status not in ORDERED
        )

    async def _meet_actor(self) -> None:
        """Begin to follow the journal, and wait shortly for it where a look would take an own certificate for another.

        Else the first look after each start would tell of a default certificate that is none.
        """
        self._spawn(self.parts.act.journal.run())
        registry, latest = self.parts.state.registry, time.monotonic() + MEETING
        signs = (each.default_certificate for each in self.config.components.values())
        by_key = any(each is not None and each.self_signed for each in signs)
        if not by_key or not await asyncio.to_thread(os.path.exists, self.config.settings.actor.socket):
            return
        while self.parts.act.journal.no_actor is not None and time.monotonic() < latest:  # noqa: ASYNC110 (at most 1 s)
            await asyncio.sleep(0.01)
        registry.trust_context = replace(registry.trust_context, config=self._with_own(self.config))

    async def _start_web(self) -> None:
        self.web.allow(self.config.settings.web.tokens)
        self.web.call(self.config.host)
        self._report_web(await self.web.start())

    async def _announce(self) -> None:
        """Tell the service manager when the first scan is over, and from then on that the daemon is alive."""
        await self._await_files()
        self.parts.notify.store.start()
        self._recording = True
        await self._await_endpoints()
        self.parts.notify.notifier.looked_at_everything()
        self.parts.decide.decider.begin()
        self._announced = True
        systemd.notify("READY=1", f"STATUS=watching {len(self.parts.state.registry.targets)} targets")
        interval = systemd.watchdog_interval()
        while interval is not None:
            systemd.notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    async def _await_files(self) -> None:
        """Return once every file was looked at."""
        progress, done = self.parts.look.files.progress, -1
        while not progress.finished or self.parts.look.sets.unseen:
            systemd.notify(f"STATUS=looked at {progress.done} of {progress.total} files")
            if progress.done != done:
                # The objects of the first scan stay: the collector need not walk them each time.
                gc.freeze()
                done = progress.done
            await asyncio.sleep(0.02)
        self._dismiss_helpers()
        gc.freeze()
        # Few objects are made from now on.
        gc.set_threshold(10_000, 20, 100)

    async def _await_endpoints(self) -> None:
        """Return once every endpoint has answered, or after `READY_WITHIN` seconds."""
        latest = time.monotonic() + READY_WITHIN
        while (unseen := self.parts.look.endpoints.unseen) and time.monotonic() < latest:
            endpoints = len(self.config.endpoints)
            systemd.notify(f"STATUS=looked at {endpoints - unseen} of {endpoints} endpoints")
            await asyncio.sleep(0.02)

    def _dismiss_helpers(self) -> None:
        if self._helpers is not None:
            from monitor.look.pool import dismiss  # noqa: PLC0415 (see `_helpers`)

            dismiss(self._helpers)
            self._helpers = None

    async def _keep_house(self) -> None:
        """Check the state of the daemon itself now and then, and report it."""
        loop, counters, pruning = asyncio.get_running_loop(), self.parts.state.counters, Pruning()
        while True:
            state = self.parts.look.files.watch_state
            counters.watching(state.watched, state.polled)
            now = time.time()
            if pruning.is_due(now, suspect=self._is_clock_suspect(now)):
                self.parts.notify.store.prune(now - self.config.settings.history_days * DAY)
            counters.waivers(sum(now < waiver.until for waiver in self.config.waivers))
            digest = await loop.run_in_executor(self._pools.judge, digest_on_disk, self.path)
            self._run_state.stale = digest != self.config.digest
            counters.config_stale(stale=self._run_state.stale)
            counters.history_left_out(self.parts.notify.store.left_out)
            if self._life is not None:
                await loop.run_in_executor(self._pools.judge, self._life.go_on, now)
                self.parts.state.own.report("life", self._life.findings(now))
            self.parts.state.own.publish()
            await asyncio.sleep(HOUSEKEEPING)

    def _is_clock_suspect(self, now: float) -> bool:
        """Whether the clock was put forward or back lately, a moment ago included, or the actor does not believe it."""
        self.parts.look.clock.compare(now, time.monotonic())
        registry = self.parts.state.registry
        itself = registry.targets.get(SELF)
        told = itself is not None and any(code is Code.CLOCK_SUSPECT for code, _ in itself.findings)
        return told or registry.clock.stepped_at is not None

    # Reading the configuration again

    async def reload(self, who: str) -> tuple[Mistake, ...]:
        """Read the configuration again because `who` asked; where it has mistakes, return them and keep the old one."""
        async with self._reloading:
            if self._announced:
                systemd.reloading()
            loop = asyncio.get_running_loop()
            config = await loop.run_in_executor(self._pools.judge, load, self.path, os.environ)
            if isinstance(config, Config):
                log.info("read the configuration again, asked by %s", harmless(who))
                await self._go_by(config)
                mistakes: tuple[Mistake, ...] = ()
            else:
                mistakes = config
                log.error(
                    "kept the old configuration: the new one, read for %s, has %d mistakes",
                    harmless(who),
                    len(mistakes),
                )
                self._reject(mistakes)
            if self._announced:
                systemd.notify("READY=1")
            return mistakes

    async def _go_by(self, config: Config) -> None:
        """Put a new configuration in force."""
        if _for_life(config) != self._for_life:
            log.warning("host, state_directory, socket, web and metrics are those of the start until the next one")
        config = replace(config, host=self.config.host)
        self.parts.state.own.report("config", ())
        self._report_web(map(str, await self.web.reload_web_config()))
        self._run_state.loaded, self._run_state.stale = time.time(), False
        self.parts.state.counters.config_loaded(self._run_state.loaded)
        self.parts.state.counters.config_stale(stale=False)
        # Whoever asks for a reload may know of a change that no file's status shows.
        self._trust_readings = TrustReadings()
        await self._read_trust(config)
        self.web.allow(config.settings.web.tokens)

    def _reject(self, mistakes: tuple[Mistake, ...]) -> None:
        for mistake in mistakes:
            log.error("%s", printable(str(mistake), 4096))
        detail = sentence("{} mistakes, the first: {}", len(mistakes), harmless(str(mistakes[0])))
        self.parts.state.own.report("config", [finding(Code.CONFIG_REJECTED, detail)])
        self.parts.state.counters.config_rejected()

    def _trust_files_changed(self, _: TrustFilesChanged) -> None:
        self._spawn(self._read_trust_again())

    def _journal_news(self, _: JournalNews) -> None:
        if self._with_own(self.config) != self.config:
            self._spawn(self._read_trust_again())

    def _with_own(self, config: Config) -> Config:
        """Return `config` with the certificates that replacements brought: none of them is a product's default one."""
        return config.with_own(installed(self.parts.act.journal.state))

    async def _read_trust_again(self) -> None:
        async with self._reloading:
            await self._read_trust(self.config)

    async def _read_trust(self, config: Config) -> None:
        """Go by `config` from now on, with those of its trust stores read anew whose files changed."""
        config = self._with_own(config)
        loop, before = asyncio.get_running_loop(), self.parts.state.registry.trust_context
        read = partial(read_trust_context, config, before, self._trust_readings)
        trust_context, findings = await loop.run_in_executor(self._pools.judge, read)
        wiring.reconfigure(self.parts, trust_context)
        self.parts.state.own.report("trust", findings)

    def _report_web(self, problems: Iterable[str]) -> None:
        """Report the listeners that are not up, and mistakes of the web configuration."""
        found: list[Finding] = []
        for number, problem in enumerate(problems, start=1):
            detail = sentence("not everything is answered over HTTP: {}", harmless(problem))
            log.error("%s", detail)
            found.append(finding(Code.CONFIG_REJECTED, detail, sentence("web {}", number)))
        self.parts.state.own.report("web", found)

    # Tasks, and the end

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` beside the rest; an unforeseen exception in it ends the daemon with an error."""
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
        self.parts.notify.notifier.end()
        self._dismiss_helpers()
        self._pools.shut_down()
        loop = asyncio.get_running_loop()
        recorded = await loop.run_in_executor(None, self.parts.notify.store.close, max(0.5, end - time.monotonic()))
        # Before the first scan is over nothing is written: it will be seen again.
        if self._recording and not recorded:
            log.error("not all events could be recorded")


def _for_life(config: Config) -> tuple[object, ...]:
    """Return the settings that a reload does not change."""
    settings = config.settings
    return config.host, settings.state_directory, settings.socket, replace(settings.web, tokens=()), settings.x509_cert
