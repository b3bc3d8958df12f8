"""Lists of which there are too many: their signatures are verified beside the event loop, before the verdict."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from config.model import DAY, Client, Config, PemBundle, TrustStore, Watch
from config.vocabulary import Code
from monitor.lab.ca import Authority, KeyType, new_key
from monitor.lab.servers import replace_file
from monitor.state import revocation
from probes.certificate import Certificate
from probes.revocation.crl import RevocationList, signed_by
from tests.kit.crl import Entry, crl, crl_pem
from tests.kit.monitors import file_monitor, until

NOW = time.time()
CA = Authority.root("Flooded")
STRANGER = Authority.root("Flooded", key=new_key(KeyType.P256))


def test_no_signature_is_verified_on_the_loop_and_a_flood_hides_no_revocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = list[threading.Thread]()

    def verified(known: RevocationList, issuer: Certificate) -> bool:
        threads.append(threading.current_thread())
        return signed_by(known, issuer)

    monkeypatch.setattr(revocation, "signed_by", verified)
    leaf = CA.issue("www.example.com", not_after=int(NOW + 90 * DAY))
    forged = crl(CA, NOW, signer=STRANGER, key_identifier=False)
    for number in range(4):
        flood = (forged[:-2] + each.to_bytes(2, "big") for each in range(100 * number, 100 * number + 99))
        (tmp_path / f"{number}.pem").write_bytes(b"".join(map(crl_pem, flood)))
    own = crl_pem(crl(CA, NOW, Entry(leaf, NOW - DAY)))
    with (tmp_path / "3.pem").open("ab") as file:
        file.write(own)
    path = str(tmp_path / "site.pem")
    Path(path).write_bytes(leaf.pem() + CA.pem())
    (tmp_path / "root.pem").write_bytes(CA.pem())
    config = Config(
        watches=(Watch((f"{tmp_path}/*.pem",), trust_store="lab"),),
        trust_stores={"lab": TrustStore("lab", PemBundle(f"{tmp_path}/root.pem"))},
        clients={"c": Client("c", "lab")},
    )

    async def story() -> None:
        async with file_monitor(config) as kept:
            # The first look may have come to it before the lists.
            replace_file(path, leaf.pem() + CA.pem() + b"\n")
            await until(lambda: Code.REVOKED in kept.codes(path))

    asyncio.run(story())
    assert threads
    assert threading.main_thread() not in threads
