"""Whether the files that somebody put on disk are a whole set: the same rule as for a backup set or a thaw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from actions.plan import Serving
from config.service import Service
from monitor.actor.context import actor_context
from monitor.lab.ca import Issued
from monitor.lab.servers import Site
from monitor.state.trust import read_trust_context
from probes.certificate import certificate
from tests.kit.authority import ISSUING, NAME, fresh
from tests.kit.component import InstalledComponent, ServerMachine


def encrypted(issued: Issued) -> bytes:
    return issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[ServerMachine]:
    with ExitStack() as cleanup:
        yield ServerMachine(tmp_path, cleanup)


def declared(machine: ServerMachine, site: Site) -> InstalledComponent:
    # Nobody needs to listen there: only files are looked at.
    return machine.declared(site, Service(("/bin/true",)), {"address": "127.0.0.1:1", "name": NAME})


def whole(web: InstalledComponent) -> tuple[Serving, ...] | None:
    with actor_context(read_trust_context(web.declare())[0]) as context:
        return context.transaction.live.whole(("web",))


def sha256(*chain: Issued) -> tuple[str, ...]:
    return tuple(certificate(each.der()).sha256 for each in chain)


@pytest.mark.parametrize(
    ("write", "presented"),
    [
        pytest.param(lambda site, new: site.install(new), lambda new: (new, ISSUING), id="a pair and its chain"),
        pytest.param(
            lambda site, new: (site.install(new), Path(site.key).write_bytes(encrypted(new))),
            lambda new: (new, ISSUING),
            id="an encrypted key, which only its server opens",
        ),
        pytest.param(
            lambda site, new: (site.install(new), Path(site.certificate).write_bytes(ISSUING.pem() + new.pem())),
            lambda new: (ISSUING, new),
            id="in an order that some servers put right",
        ),
    ],
)
def test_a_set_with_which_a_server_may_start_is_whole(
    write: Callable[[Site, Issued], object], presented: Callable[[Issued], tuple[Issued, ...]], machine: ServerMachine
) -> None:
    site, new = machine.site(), fresh()
    web = declared(machine, site)
    write(site, new)
    (serving,) = whole(web) or ()
    assert sha256(*presented(new)) in serving.chains


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda site: Path(site.key).write_bytes(fresh().key_pem()), id="another certificate's key"),
        pytest.param(lambda site: Path(site.key).unlink(), id="no key"),
        pytest.param(lambda site: Path(site.certificate).write_bytes(b""), id="an empty certificate file"),
        pytest.param(lambda site: Path(site.certificate).unlink(), id="no certificate file"),
        pytest.param(lambda site: Path(site.key).write_bytes(b"-----BEGIN PRIVATE KEY-----\n"), id="half a key"),
    ],
)
def test_a_set_with_which_no_server_starts_is_not_whole(
    spoil: Callable[[Site], object], machine: ServerMachine
) -> None:
    site = machine.site()
    web = declared(machine, site)
    spoil(site)
    assert whole(web) is None


def test_a_set_whose_chain_file_is_missing_is_whole_as_its_server_may_not_need_it(machine: ServerMachine) -> None:
    site = machine.site(separate_chain=True)
    web = declared(machine, site)
    assert site.chain is not None
    Path(site.chain).unlink()
    (serving,) = whole(web) or ()
    assert serving.chains == (sha256(machine.old),)
