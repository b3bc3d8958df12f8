"""Ordinary life compressed into minutes, service by service, and the faults that somebody must be told of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from monitor.lab.servers import LocalServer
from tests.scene.host import SceneHost, SceneService
from tests.scene.stage import Stage

Part = Callable[[SceneHost, Stage], None]


def renew(service: SceneService, gap: float, *, take_up: bool = True) -> None:
    """Write another certificate as this service's files are written, and have it served."""
    service.disk.renew(service.issue(), gap)
    if take_up:
        service.server.reload()


def shop(host: SceneHost, stage: Stage) -> None:
    """Play certbot, whose deploy hook fails once."""
    service = host.services["shop"]
    for _ in range(2):
        with stage.quietly("shop", "certbot turns its links 0.2 s apart, nginx is reloaded"):
            renew(service, 0.2)
        time.sleep(15)
    stage.fault(
        "shop",
        "certbot renews and nginx is not reloaded",
        code="not_served",
        within=150.0,
        cause=lambda: renew(service, 0.2, take_up=False),
        cure=service.server.reload,
    )


def blog(host: SceneHost, stage: Stage) -> None:
    """Play a person, who copies the key first and has a coffee."""
    service = host.services["blog"]
    for gap in (30.0, 120.0):
        with stage.quietly("blog", f"a person copies the key, {gap:.0f} s later the certificate, reloads"):
            renew(service, gap)
        time.sleep(10)
    right = service.issue()
    service.disk.renew(right, 0.0)
    service.server.reload()
    foreign = service.issue().key_pem()
    stage.fault(
        "blog",
        "a foreign key is copied and stays",
        code="key_mismatch",
        within=330.0,
        cause=lambda: _write(service.disk.path("site.key"), foreign),
        cure=lambda: _write(service.disk.path("site.key"), right.key_pem()),
    )


def edge(host: SceneHost, stage: Stage) -> None:
    """Play configuration management, with a slow copy of one combined file."""
    service = host.services["edge"]
    for gap in (0.2, 5.0):
        with stage.quietly("edge", f"one combined file is copied in two halves {gap} s apart, haproxy is reloaded"):
            renew(service, gap)
        time.sleep(15)
    bare = service.issue()
    stage.fault(
        "edge",
        "a renewal lacks its intermediate, haproxy is not reloaded",
        code="next_reload_breaks",
        within=330.0,
        cause=lambda: _write(service.disk.path("site.pem"), bare.key_pem() + bare.pem()),
        cure=lambda: renew(service, 0.0),
    )


def panel(host: SceneHost, stage: Stage) -> None:
    """Play a server that only a restart makes take up files, and whose package is upgraded."""
    service = host.services["panel"]
    with stage.quietly("panel", "key and certificate are written over 5 s apart, lighttpd is restarted"):
        renew(service, 5.0)
    time.sleep(15)
    for seconds in (1.0, 4.0):
        with stage.quietly("panel", f"its package is upgraded: stopped, {seconds:.0f} s later started"):
            service.server.stop()
            time.sleep(seconds)
            service.server.start()
        time.sleep(15)


def imap(host: SceneHost, stage: Stage) -> None:
    """Reload onto an incomplete chain."""
    service = host.services["imap"]
    with stage.quietly("imap", "the certificate is copied, 30 s later the key, dovecot is reloaded"):
        renew(service, 30.0)
    time.sleep(15)
    bare = service.issue()

    def reload_onto_it() -> None:
        _write(service.disk.path("site.certificate"), bare.pem())
        _write(service.disk.path("site.key"), bare.key_pem())
        service.server.reload()

    stage.fault(
        "imap",
        "dovecot is reloaded onto a chain without its intermediate",
        code="incomplete_chain",
        within=30.0,
        cause=reload_onto_it,
        cure=lambda: renew(service, 0.0),
    )


def smtp(host: SceneHost, stage: Stage) -> None:
    """Go down for good."""
    service = host.services["smtp"]
    with stage.quietly("smtp", "cp key, cp certificate 0.2 s apart, postfix is reloaded"):
        renew(service, 0.2)
    time.sleep(20)
    stage.fault(
        "smtp",
        "postfix is down",
        code="unreachable",
        within=60.0,
        cause=service.server.stop,
        cure=service.server.start,
    )


def db(host: SceneHost, stage: Stage) -> None:
    """Renew what is not looked at over the network, since it wants a word of its own protocol first."""
    service = host.services["db"]
    for gap in (0.2, 5.0, 60.0):
        with stage.quietly("db", f"key first, {gap} s later the certificate, PostgreSQL is reloaded"):
            renew(service, gap)
        time.sleep(10)


def app(host: SceneHost, stage: Stage) -> None:
    """Play Java, which is away for seconds whenever it is restarted."""
    service = host.services["app"]
    for _ in range(2):
        with stage.quietly("app", "a keystore with a new key, and the Java server is restarted"):
            renew(service, 0.0)
        time.sleep(20)


def fleet(host: SceneHost, stage: Stage) -> None:
    """Have one endpoint flap; then all the others go dark."""
    flapper, others = host.fleet[0], host.fleet[1:]
    done: list[bool] = []

    def flap() -> None:
        while not done:
            flapper.stop()
            time.sleep(12)
            flapper.start()
            time.sleep(6)

    with ThreadPoolExecutor(1) as aside:
        flapping = aside.submit(flap)
        with stage.quietly("fleet-0", "it flaps: 12 s down, 6 s up, for three minutes", most=6):
            try:
                time.sleep(100)
                stage.fault(
                    "fleet-[1-9]\\d?",
                    f"{len(others)} endpoints go dark at once while another flaps",
                    code="unreachable",
                    within=20.0,
                    cause=lambda: _each(others, LocalServer.stop),
                    cure=lambda: _each(others, LocalServer.start),
                )
                time.sleep(30)
            finally:
                done.append(True)
                flapping.result()
            time.sleep(30)


def _each(servers: Iterable[LocalServer], do: Callable[[LocalServer], None]) -> None:
    for server in servers:
        do(server)


def _write(path: str, data: bytes) -> None:
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
    os.rename(new, path)


PARTS: Final[Mapping[str, Part]] = {
    each.__name__: each for each in (shop, blog, edge, panel, imap, smtp, db, app, fleet)
}


def live(host: SceneHost, stage: Stage, parts: Sequence[str]) -> None:
    """Have these parts happen, side by side; what breaks one of them is raised once all are over."""
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(PARTS[name], host, stage) for name in parts]:
            done.result()
