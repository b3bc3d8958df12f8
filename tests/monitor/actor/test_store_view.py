"""Looking at trust stores beside components: a service that serves, too, must answer after it was started anew."""

from __future__ import annotations

from pathlib import Path

from actions.validate import Acceptance, Live, LiveView, Served
from actions.world import World
from config.model import Artefacts, Client, Component, Config, Endpoint, PemBundle, TrustStore
from config.service import Service, systemd
from config.vocabulary import Mode
from monitor.actor.store_view import StoreEyes, with_stores
from monitor.lab.process import free_address
from monitor.state.trust import TrustContext
from tests.kit.authority import ROOT

SERVICE = systemd("nxengine@1", timeout=300)
ANSWER = LiveView((Served("engine/443", "127.0.0.1", ("aa",)),), frozenset({Acceptance("finder", "engine/443")}))


def looked(directory: Path, of_component: Service | None) -> tuple[list[tuple[str, ...]], LiveView]:
    """Return the components that were looked at, and the look at a store of `SERVICE` whose server answers nobody."""
    path = directory / "bundle.pem"
    path.write_bytes(ROOT.pem())
    host, port = free_address()
    config = Config(
        trust_stores={"bundle": TrustStore("bundle", PemBundle(str(path)), mode=Mode.APPROVE, service=SERVICE)},
        clients={"engine": Client("engine", "bundle")},
        endpoints={"ldap": Endpoint("ldap", host, port, clients=("engine",), timeout=1.0)},
        components={"engine": Component("engine", Artefacts(combined="/a.pem"), service=of_component)},
    )
    asked: list[tuple[str, ...]] = []

    def look(names: tuple[str, ...], _now: float) -> LiveView:
        asked.append(names)
        return ANSWER

    eyes = StoreEyes(TrustContext(config, {}, {}), World(), lambda _name: (None,), planned=True)
    live = with_stores(Live(look, lambda *_: frozenset()), eyes, config.changeable_stores)
    return asked, live.look(("bundle",), 1_700_000_000.0)


def test_the_component_of_the_same_service_must_go_on_serving(tmp_path: Path) -> None:
    # A time limit of its own makes no other service of it.
    assert looked(tmp_path, systemd("nxengine@1", timeout=60)) == ([("engine",)], ANSWER)


def test_another_service_is_left_alone(tmp_path: Path) -> None:
    assert looked(tmp_path, systemd("nginx")) == ([], LiveView())
    assert looked(tmp_path, None) == ([], LiveView())
