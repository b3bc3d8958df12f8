"""Fixtures for every test: a private CA, real servers, peers that misbehave, Prometheus."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from config.command_reach import speak_for, spoken_for
from monitor.lab.ca import Authority
from monitor.lab.process import find_command
from monitor.lab.servers import Lighttpd, LocalServer, Nginx, Site, TLSSettings
from tests.kit import examples, forks, huge_pages
from tests.kit.long import dealt
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.prometheus import Prometheus
from tests.kit.start import StartServer
from tests.kit.stunnel import Stunnel
from tests.kit.tenth import drawn
from tests.kit.workers import Workers

_TLS: Final = TLSSettings()

_PROCESS: Final = pytest.StashKey[int]()
"""The id of the process that runs the tests."""
_WORKERS: Final = pytest.StashKey[forks.Parent]()
"""What the workers of a whole run are forked off from."""

# pytest resets the filters that probes.certificate sets, and then makes each warning an error.
_HOSTILE_CERTIFICATES: Final = ("ignore:Parsed a serial number", "ignore:Attribute's length must be:UserWarning")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests, too")
    parser.addoption(
        "--slow-tenth", metavar="SEED", default="", help="run a tenth of the slow tests, too, drawn by any text"
    )


def pytest_xdist_auto_num_workers() -> int:
    """Return two processes more than there are processors, since many tests wait for servers."""
    return len(os.sched_getaffinity(0)) + 2


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: only with --all")
    examples.play(everything=config.getoption("--all"))
    if _runs_everything(config) and not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        # All reports are kept, which the collector would walk again and again.
        gc.disable()
        forks.share()
        options = ["--all"] if config.getoption("--all") else []
        config.stash[_WORKERS] = forks.Parent("tests.kit.worker_server", *options)
    for line in _HOSTILE_CERTIFICATES:
        config.addinivalue_line("filterwarnings", line)


def _runs_everything(config: pytest.Config) -> bool:
    return config.args_source is config.ArgsSource.TESTPATHS


def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Have the workers be forked off, where there are any for a whole run."""
    workers = config.stash.get(_WORKERS, None)
    if workers is not None:
        for each in specs:
            each.python = shlex.join([sys.executable, "-m", "tests.kit.worker", workers.address])


def pytest_collection(session: pytest.Session) -> None:
    """Have the collector not walk all that is collected, which stays to the end."""
    if hasattr(session.config, "workerinput"):
        gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and _runs_everything(config):
        items[:] = dealt(items, worker["workercount"], lambda each: each.nodeid)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the collector look no more at what is there by now; what it does not touch a fork need not copy."""
    gc.freeze()
    gc.enable()
    if hasattr(session.config, "workerinput"):
        huge_pages.gather()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and not item.config.getoption("--all"):
        seed = item.config.getoption("--slow-tenth")
        if not seed or not drawn(seed, item.nodeid):
            pytest.skip("slow: only with --all")
    missing = [
        str(name) for mark in item.iter_markers("server") for name in mark.args if find_command(str(name)) is None
    ]
    if missing:
        what = f"not installed: {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(what, pytrace=False)
        pytest.skip(what)


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_PROCESS] = os.getpid()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """End a process that a test has forked, and that failed: it would go on with the tests, beside its parent."""
    if os.getpid() != item.config.stash[_PROCESS]:
        sys.stderr.write(f"{call.excinfo}\n")
        sys.stderr.flush()
        os._exit(70)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if seed := config.getoption("--slow-tenth"):
        again = f"pytest -m slow --slow-tenth {shlex.quote(seed)}"
        terminalreporter.write_line(f"A tenth of the slow tests was drawn by {seed}; that tenth again: {again}")


@pytest.fixture(autouse=True)
def _speaks_for_nobody_else() -> Iterator[None]:
    """Have no test speak for the certvigil that a command of an earlier test was about."""
    before = spoken_for()
    yield
    speak_for(before)


@pytest.fixture(scope="session")
def root_ca() -> Authority:
    """Return the CA that the lab's clients trust."""
    return Authority.root()


@pytest.fixture(scope="session")
def issuing_ca(root_ca: Authority) -> Authority:
    """Return the CA below it that issues to servers."""
    return root_ca.intermediate()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Leave what is entered here when the test ends, also when it fails."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_nginx(tmp_path: Path, cleanup: ExitStack) -> StartServer[Nginx]:
    def start(*sites: Site, tls: TLSSettings = _TLS) -> Nginx:
        return cleanup.enter_context(Nginx(_new_directory(tmp_path, "nginx"), sites, tls))

    return start


@pytest.fixture
def start_lighttpd(tmp_path: Path, cleanup: ExitStack) -> StartServer[Lighttpd]:
    def start(*sites: Site, tls: TLSSettings = _TLS) -> Lighttpd:
        return cleanup.enter_context(Lighttpd(_new_directory(tmp_path, "lighttpd"), sites, tls))

    return start


@pytest.fixture
def start_local(cleanup: ExitStack) -> StartServer[LocalServer]:
    """Start a TLS server in this process, where no real one is needed."""

    def start(*sites: Site, tls: TLSSettings = _TLS) -> LocalServer:
        return cleanup.enter_context(LocalServer(sites, tls))

    return start


@pytest.fixture
def start_stunnel(tmp_path: Path, cleanup: ExitStack) -> StartServer[Stunnel]:
    def start(*sites: Site, tls: TLSSettings = _TLS) -> Stunnel:
        return cleanup.enter_context(Stunnel(_new_directory(tmp_path, "stunnel"), sites, tls))

    return start


@pytest.fixture
def start_workers(tmp_path: Path, cleanup: ExitStack) -> StartServer[Workers]:
    def start(*sites: Site, tls: TLSSettings = _TLS) -> Workers:
        return cleanup.enter_context(Workers(_new_directory(tmp_path, "workers"), sites, tls))

    return start


@pytest.fixture
def start_peer(cleanup: ExitStack) -> Callable[[Behaviour], HostilePeer]:
    def start(behaviour: Behaviour) -> HostilePeer:
        return cleanup.enter_context(HostilePeer(behaviour))

    return start


@pytest.fixture
def start_prometheus(tmp_path: Path, cleanup: ExitStack) -> Callable[..., Prometheus]:
    def start(*targets: str, rules: Sequence[str] = ()) -> Prometheus:
        return cleanup.enter_context(Prometheus(_new_directory(tmp_path, "prometheus"), targets, rules))

    return start


def _new_directory(parent: Path, name: str) -> str:
    return str(parent / f"{name}-{len(list(parent.glob(f'{name}-*')))}")
