"""What a process costs that does little: its processor time from its start on, and the memory that it holds when idle.

Processor time is that of a process and of all that it started, as a ratio to that of a Python that imports what any
program about certificates imports. All run as where pip has installed them: compiled once, and not at each start.
"""

from __future__ import annotations

import compileall
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from monitor.lab.ca import Authority
from monitor.lab.process import free_address, wait_for
from monitor.lab.servers import LocalServer, write_site
from tests.bench.daemon import PATIENCE, MeasuredDaemon
from tests.bench.estate import MeasuredEstate
from tests.bench.processes import cpu_of_session, pss_of_session
from tests.bench.report import Measurement

RUNS: Final = 5
SETTLED: Final = 5.0
"""Seconds after which what an idle process holds no longer changes."""
_IMPORT: Final = (sys.executable, "-c", "import cryptography.x509, OpenSSL.SSL, yaml")
_CERTVIGIL: Final = os.path.join(os.path.dirname(sys.executable), "certvigil")
_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_STATUS_OF_A_VERDICT: Final = frozenset(range(4))


def measure(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure commands, daemons and an actor, all that they need below `directory`."""
    for package in ("config", "probes", "actions", "monitor"):
        compileall.compile_dir(os.path.join(_ROOT, package), quiet=1)
    here = os.path.join(directory, "start")
    os.makedirs(here)
    file = estate.files[0]
    imported = _ratio_of("import", lambda: _cpu_of(_IMPORT), 1.0)
    yield _against(imported, "help_vs_import", lambda: _cpu_of((_CERTVIGIL, "--help")), 1.0)
    yield _against(imported, "check_file_vs_import", lambda: _cpu_of((_CERTVIGIL, "check", file)), 1.4)
    site = write_site(os.path.join(here, "site"), Authority.root("Bench").issue("www.example.com"))
    with LocalServer([site]) as server:
        look = (_CERTVIGIL, "check", server.address, "--name", "www.example.com", "--ca-file", site.certificate)
        yield _against(imported, "check_host_vs_import", lambda: _cpu_of(look), 1.7)
    yield _against(imported, "start_cpu_vs_import", lambda: _cpu_of_start(file), 4.0)
    yield _memory("pss_small_mb", lambda: _pss_of_daemon(file), 70)
    yield _memory("actor_pss_mb", _pss_of_actor, 40)
    yield _memory("pss_20k_mb", lambda: _pss_of_daemon(estate.pattern, len(estate.files)), 130, runs=3)


def _against(floor: float, name: str, cpu: Callable[[], float], limit: float) -> Measurement:
    return Measurement(name, round(_ratio_of(name, cpu, floor), 2), "ratio", limit)


def _ratio_of(name: str, cpu: Callable[[], float], floor: float) -> float:
    # The first one reads from the disk.
    cpu()
    return _median(name, [cpu() / floor for _ in range(RUNS)])


def _memory(name: str, megabytes: Callable[[], float], limit: float, runs: int = RUNS) -> Measurement:
    return Measurement(name, round(_median(name, [megabytes() for _ in range(runs)]), 1), "MB", limit)


def _median(name: str, values: Sequence[float]) -> float:
    median = statistics.median(values)
    spread = f"{min(values):.3g} to {max(values):.3g}"
    sys.stderr.write(f"{name}: {median:.3g} ({spread}), load {os.getloadavg()[0]:.1f}\n")
    return median


def _cpu_of(command: Sequence[str]) -> float:
    """Return the seconds of processor time that a command takes, and all that it starts and waits for."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in _STATUS_OF_A_VERDICT:
        raise RuntimeError(f"{command} ended with status {process.returncode}: {complaint.decode()}")
    return usage.ru_utime + usage.ru_stime


def _cpu_of_start(file: str) -> float:
    """Return the processor time from the start of a daemon until it is ready and its metrics were read once."""
    with tempfile.TemporaryDirectory() as directory, MeasuredDaemon(directory, file) as daemon:
        daemon.scrape()
        return cpu_of_session(daemon.pid)


def _pss_of_daemon(pattern: str, files: int = 1) -> float:
    with tempfile.TemporaryDirectory() as directory, MeasuredDaemon(directory, pattern) as daemon:
        daemon.await_recorded(files)
        daemon.scrape()
        time.sleep(SETTLED)
        return pss_of_session(daemon.pid)


def _pss_of_actor() -> float:
    with tempfile.TemporaryDirectory() as directory, _actor(directory) as pid:
        time.sleep(SETTLED)
        return pss_of_session(pid)


@contextmanager
def _actor(directory: str) -> Iterator[int]:
    """Run an idle actor for a component inside the block, and yield its process id."""
    site = write_site(os.path.join(directory, "site"), Authority.root("Bench").issue("www.example.com"))
    socket, config_file = os.path.join(directory, "actor.sock"), os.path.join(directory, "config.yaml")
    with open(config_file, "w", encoding="utf-8") as file:
        json.dump(_of_component(directory, socket, site.certificate, site.key), file)
    with open(os.path.join(directory, "log"), "wb") as log:
        command = (_CERTVIGIL, "actor", "--config", config_file)
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: os.path.exists(socket), PATIENCE, "the actor's socket")
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def _of_component(directory: str, socket: str, certificate: str, key: str) -> Mapping[str, object]:
    return {
        "state_directory": os.path.join(directory, "state"),
        "socket": os.path.join(directory, "certvigil.sock"),
        "actor": {
            "socket": socket,
            "directory": os.path.join(directory, "actor"),
            "inbox_directory": os.path.join(directory, "inbox"),
            "daemon_user": str(os.getuid()),
            "group": str(os.getgid()),
        },
        "components": {
            "web": {
                "artefacts": {"certificate": certificate, "key": key},
                "endpoints": [{"address": "{}:{}".format(*free_address()), "server_name": "www.example.com"}],
                "service": {"reload": ["/bin/true"], "restart": ["/bin/true"]},
            }
        },
    }
