"""A server that a command starts by itself outlives the actor, however that ends; nothing of the actor's own does."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from actions.process import ProcessId, identify, runs
from monitor.actor.client import NoActor, ask
from monitor.actor.request import Request, Verb
from monitor.lab.process import accepts, find_command, wait_for
from tests.kit.actor import ActorHouse, house
from tests.kit.authority import fresh
from tests.kit.daemon import CERTVIGIL, PATIENCE
from tests.kit.openssl_client import presented

pytestmark = pytest.mark.server("nginx")


@dataclass
class ByHand:
    """An actor that somebody started on a terminal."""

    pid: int
    terminal: int

    def types(self, character: bytes) -> None:
        os.write(self.terminal, character)

    def hangs_up(self) -> None:
        os.close(self.terminal)
        self.terminal = -1

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        # Once it was waited for, its number is nobody's, or another's.
        with suppress(ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


@contextmanager
def by_hand(web: ActorHouse) -> Iterator[ByHand]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(CERTVIGIL[0], [*CERTVIGIL, "actor", "--config", web.config_file])
    actor = ByHand(pid, terminal)
    try:
        wait_for(lambda: answers(web), PATIENCE, "the actor's answer")
        yield actor
    finally:
        actor.kill()


def tell(web: ActorHouse, request: Request) -> None:
    ask(web.settings["socket"], request, lambda _: None, timeout=PATIENCE)


def answers(web: ActorHouse) -> bool:
    try:
        tell(web, Request(Verb.STATE))
    except (NoActor, OSError):
        return False
    return True


START = """#!/bin/sh
# As an init script does: ends what runs, and starts it anew, which then runs in the background.
cd {directory} || exit 1
kill -QUIT $(cat nginx.pid) && while test -e nginx.pid; do sleep 0.01; done
{start}
"""


@contextmanager
def started_by_itself(start: str) -> Iterator[ActorHouse]:
    """Give a house whose server is restarted by a script, and is no child of the test's from then on."""
    with house() as web:
        directory = web.server.directory
        config = Path(web.server.config_file)
        Path(directory, "own.conf").write_text(config.read_text().replace("daemon off;", ""))
        script = Path(directory, "restart")
        nginx = f"{find_command('nginx')} -p {directory} -c {directory}/own.conf -e {web.server.log_file}"
        script.write_text(START.format(directory=directory, start=start.format(nginx=nginx)))
        script.chmod(0o755)
        test = [find_command("nginx"), *web.server.test_command[1:]]
        service = {"test": test, "restart": [str(script)], "writes": [directory]}
        web.configure({"service": service})
        try:
            yield web
        finally:
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(master(web).pid, signal.SIGTERM)


def master(web: ActorHouse) -> ProcessId:
    return identify(int(Path(web.server.directory, "nginx.pid").read_text()))


def children(pid: int) -> list[ProcessId]:
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        # A thread may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            found += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return [identify(int(each)) for each in found]


DAEMON = "{nginx}"
IN_THE_BACKGROUND = "{nginx} -g 'daemon off;' &\nwhile ! test -s nginx.pid; do sleep 0.01; done"


@pytest.mark.parametrize(
    ("start", "ends"),
    [
        (DAEMON, [lambda actor: actor.signal(signal.SIGKILL)]),
        (IN_THE_BACKGROUND, [lambda actor: actor.signal(signal.SIGHUP), lambda actor: actor.types(b"\x03")]),
        (IN_THE_BACKGROUND, [lambda actor: actor.hangs_up(), lambda actor: actor.signal(signal.SIGTERM)]),
    ],
    ids=["killed", "SIGHUP and Ctrl-C", "a hangup and SIGTERM"],
)
def test_a_server_that_a_command_started_outlives_an_actor_started_by_hand(
    start: str, ends: Sequence[Callable[[ByHand], None]]
) -> None:
    """Seen: a server that a command starts by itself ends with the actor. Of the actor's own nothing is left."""
    new = fresh()
    with started_by_itself(start) as web:
        web.put(new)
        with by_hand(web) as actor:
            code, said = web.command("replace", "web")
            assert code == 0, said
            server = master(web)
            tell(web, Request(Verb.READ, components=("web",)))
            own = [each for each in children(actor.pid) if each != server]
            assert own, "the reader is a child of the actor"
            for end in ends:
                end(actor)
            wait_for(lambda: os.waitpid(actor.pid, os.WNOHANG)[0], PATIENCE, "the end of the actor")
        wait_for(lambda: not any(map(runs, own)), what="the end of the actor's own children")
        assert runs(server)
        assert accepts(web.server.host, web.server.port)
        assert presented(web.server)[0] == new.der()


ELSEWHERE = """
import signal, sys, threading
from config.load import load
from monitor.actor.server import run_actor
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.exit(run_actor(sys.argv[1], load(sys.argv[1], {})))
"""


def test_an_actor_that_waits_hears_of_a_signal_that_does_not_interrupt_it() -> None:
    """Seen on a busy machine: a signal just before it waits was heard with the next one only."""
    with house() as web, subprocess.Popen([CERTVIGIL[0], "-c", ELSEWHERE, web.config_file]) as process:
        try:
            wait_for(lambda: answers(web), PATIENCE, "the actor's answer")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
