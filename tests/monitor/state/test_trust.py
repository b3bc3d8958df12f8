"""The trust stores of the daemon: what has changed is read again, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType

import pytest

from config.expected import ValidationSwitch
from config.model import Client, Config, Endpoint, PemBundle, TrustStore
from monitor.lab.ca import Authority
from monitor.lab.servers import replace_file
from monitor.state import trust
from monitor.state.trust import TrustReadings, read_trust_context

FIRST, SECOND = Authority.root("First"), Authority.root("Second")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Two clients, each with a store, an intermediate and a switch of its own."""
    names = ("java", "browser")
    for name in names:
        (tmp_path / f"{name}.pem").write_bytes(FIRST.pem())
        (tmp_path / f"{name}-held.pem").write_bytes(FIRST.intermediate().pem())
        (tmp_path / f"{name}.conf").write_text("ignore=false\n")
    switches = {name: ValidationSwitch(str(tmp_path / f"{name}.conf"), "ignore", "true") for name in names}
    return Config(
        endpoints=MappingProxyType({"e": Endpoint("e", "127.0.0.1", 443, clients=names)}),
        trust_stores={name: TrustStore(name, PemBundle(str(tmp_path / f"{name}.pem"))) for name in names},
        clients={
            name: Client(
                name, name, intermediates=(str(tmp_path / f"{name}-held.pem"),), validation_switch=switches[name]
            )
            for name in names
        },
    )


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is read, as it is read."""
    found: list[str] = []

    def noting(what: str) -> None:
        real = getattr(trust, what)

        def note(argument: object) -> object:
            found.append(str(getattr(argument, "file", getattr(argument, "name", argument))))
            return real(argument)

        monkeypatch.setattr(trust, what, note)

    for each in ("read_certificates", "read_trust", "read_switch"):
        noting(each)
    return found


CHANGES: dict[str, tuple[str | None, bytes, list[str]]] = {
    "nothing": (None, b"", []),
    "a store": ("java.pem", SECOND.pem(), ["java"]),
    "a store that is spoilt": ("java.pem", b"no certificate", ["java"]),
    "an intermediate": ("java-held.pem", SECOND.pem(), ["{}/java-held.pem"]),
    "a switch": ("java.conf", b"ignore=true\n", ["{}/java.conf"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_changed_is_read_again(change: str, config: Config, read: list[str], tmp_path: Path) -> None:
    changed, content, again = CHANGES[change]
    readings = TrustReadings()
    before, _ = read_trust_context(config, None, readings)
    assert len(read) == 6
    read.clear()
    if changed is not None:
        replace_file(str(tmp_path / changed), content)
    after, findings = read_trust_context(config, before, readings)
    assert read == [each.format(tmp_path) for each in again]
    assert after.trusts["browser"] is before.trusts["browser"]
    fresh, wrong = read_trust_context(config)
    assert {name: each.anchors for name, each in after.trusts.items()} == {
        name: each.anchors for name, each in fresh.trusts.items()
    }
    assert (after.held, after.switches, findings) == (fresh.held, fresh.switches, wrong)


def test_what_cannot_be_used_is_told_each_time_though_it_is_read_once(
    config: Config, read: list[str], tmp_path: Path
) -> None:
    os.unlink(tmp_path / "java.pem")
    readings = TrustReadings()
    first, told = read_trust_context(config, None, readings)
    read.clear()
    _, again = read_trust_context(config, first, readings)
    assert (read, again) == ([], told)
    assert len(told) == 1
    (tmp_path / "java.pem").write_bytes(SECOND.pem())
    mended, none = read_trust_context(config, first, readings)
    assert (read, none) == (["java"], ())
    assert mended.trusts["java"].anchors[0].der == SECOND.der()
