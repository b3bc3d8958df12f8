"""How many false alarms a thousand renewals give, as people, configuration management and ACME clients write them."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from random import Random
from threading import Lock
from typing import Final, NamedTuple

from monitor.lab.ca import Authority, Issued, KeyType, new_key
from monitor.lab.servers import LocalServer, Site, write_site
from tests.bench.daemon import MeasuredDaemon
from tests.bench.report import Measurement
from tests.kit.receivers import MessageReceiver
from tests.kit.renewals import RenewalShape, RenewedFiles

COMPONENTS: Final = 100
GAPS: Final = (0.0, 0.0, 0.2, 0.2, 1.0, 3.0, 5.0, 10.0, 30.0, 120.0)
"""Seconds between two writes of a renewal; each component is renewed once with each."""
BREATH: Final = 3.0
"""Seconds between two renewals of a component."""
SERVERS: Final = 20
_RAISED: Final = re.compile(r'^\S+ (?:warning|error) +raised (\S+) .*code="(\w+)"', re.MULTILINE)


class _Renewed(NamedTuple):
    """A component: its name, its files on disk, and what its server presents."""

    name: str
    disk: RenewedFiles
    site: Site


def measure(directory: str, gaps: Sequence[float] = GAPS) -> Iterator[Measurement]:
    """Measure with a server that takes up each renewal once it is whole."""
    here = os.path.join(directory, "renewals")
    root = Authority.root()
    issuing = root.intermediate()
    os.makedirs(here)
    components = list(_laid_out(here, issuing))
    bundle = os.path.join(here, "root.pem")
    with open(bundle, "wb") as file:
        file.write(root.pem())
    receiver = MessageReceiver().start()
    with ExitStack() as running:
        sites = [each.site for each in components]
        servers = [running.enter_context(LocalServer(sites[first::SERVERS])) for first in range(SERVERS)]
        daemon = MeasuredDaemon(here)
        _configure(daemon.config_file, components, servers, {"bundle": bundle}, receiver.url())
        with daemon:
            time.sleep(BREATH)
            _renew_all(components, servers, issuing, gaps)
            time.sleep(BREATH)
    receiver.stop()
    alarms = _raised(daemon.log_file, components) + _told(receiver)
    yield Measurement("false_alarms_per_1000_renewals", round(alarms * 1000 / (COMPONENTS * len(gaps)), 2), "alarms", 0)


def _laid_out(here: str, issuing: Authority) -> Iterator[_Renewed]:
    """Yield the components, with a first certificate on disk and served."""
    for number, shape in enumerate(islice(cycle(RenewalShape), COMPONENTS)):
        name = f"{number}.renewals.example"
        disk = RenewedFiles(os.path.join(here, f"on-disk-{number}"), shape)
        issued = _issue(issuing, name)
        disk.create(issued)
        yield _Renewed(name, disk, write_site(os.path.join(here, "served"), issued, name=name, stem=name))


def _configure(
    path: str,
    components: Sequence[_Renewed],
    servers: Sequence[LocalServer],
    trust_store: Mapping[str, str],
    channel: str,
) -> None:
    """Add the components, their client and the channel to the configuration at `path`."""
    with open(path, "r+", encoding="utf-8") as config_file:
        config = json.load(config_file) | {
            "trust_stores": {"lab": trust_store},
            "clients": {"browser": {"trusts": "lab"}},
            "channels": {"bench": {"urls": [channel]}},
            "components": {
                f"c{number}": {
                    "artefacts": each.disk.artefacts,
                    "endpoints": [{"address": servers[number % SERVERS].address, "name": each.name, "every": "10s"}],
                    "clients": ["browser"],
                }
                for number, each in enumerate(components)
            },
        }
        config_file.seek(0)
        config_file.truncate()
        json.dump(config, config_file)


def _renew_all(
    components: Sequence[_Renewed], servers: Sequence[LocalServer], issuing: Authority, gaps: Sequence[float]
) -> None:
    """Renew all components at once, each with the gaps in an order of its own."""
    locks = [Lock() for _ in servers]
    with ThreadPoolExecutor(COMPONENTS) as writers:
        for done in [
            writers.submit(
                _live,
                Random(number).sample(gaps, len(gaps)),
                partial(_issue, issuing, each.name),
                each.disk,
                partial(_take_up, each.site, servers[number % SERVERS], locks[number % SERVERS]),
            )
            for number, each in enumerate(components)
        ]:
            done.result()


def _raised(log_file: str, components: Sequence[_Renewed]) -> int:
    """Return how many findings the daemon recorded, and say which."""
    with open(log_file, encoding="utf-8") as log:
        raised = Counter((code, components[_number(target)].disk.shape) for target, code in _RAISED.findall(log.read()))
    for (code, shape), count in raised.most_common():
        sys.stderr.write(f"recorded {count} times: {code} of {shape}\n")
    return sum(raised.values())


def _told(receiver: MessageReceiver) -> int:
    """Return how many messages were sent, and say which."""
    for got in receiver.accepted:
        sys.stderr.write(f"told: {got.title}\n")
    return len(receiver.accepted)


def _issue(issuing: Authority, name: str) -> Issued:
    return issuing.issue(name, key=new_key(KeyType.P256))


def _number(target: str) -> int:
    return int(re.sub(r"^c(\d+)/.*", r"\1", target))


def _live(
    gaps: Sequence[float], issue: Callable[[], Issued], disk: RenewedFiles, take_up: Callable[[Issued], None]
) -> None:
    """Renew a component once with each gap, and have it served each time."""
    for gap in gaps:
        issued = issue()
        disk.renew(issued, gap)
        take_up(issued)
        time.sleep(BREATH)


def _take_up(site: Site, server: LocalServer, lock: Lock, issued: Issued) -> None:
    # A server reads the files of all its sites.
    with lock:
        site.install(issued)
        server.reload()
