"""What is found on a laid-out appliance, by one look at real servers and files."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from config.load import load
from config.model import Config
from config.vocabulary import Code
from monitor.lab.ca import DAY, Authority, Issued, KeyType, bundle
from monitor.lab.servers import Nginx, replace_file, write_site
from monitor.state.look_once import look_once
from monitor.state.target import TargetState
from monitor.state.trust import read_trust_context
from tests.kit.appliance import Appliance, appliance
from tests.kit.authority import ISSUING, NAME, ROOT, fresh

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

MIDDLE = ISSUING.intermediate("Middle CA")
LOWER = MIDDLE.intermediate("Lower CA")


def look(path: str) -> Mapping[str, TargetState]:
    """Return the state of all targets of the configuration at `path`."""
    config = load(path, {})
    assert isinstance(config, Config), config
    return asyncio.run(look_once(read_trust_context(config)[0], time.time(), 5.0))


def found(path: str) -> dict[str, set[str]]:
    """Return the codes of the findings on each target that has any, `client_rejects` aside."""
    states = look(path)
    codes = {name: {str(code) for code, _ in each.findings} - {"client_rejects"} for name, each in states.items()}
    return {name: each for name, each in codes.items() if each}


@pytest.fixture(scope="module")
def single() -> Iterator[Appliance]:
    with appliance("single") as machine:
        yield machine


@pytest.fixture
def well(single: Appliance) -> Iterator[Appliance]:
    """Give an appliance that is well, and put right what a test does to it."""
    single.configure()
    single.install(single.old)
    yield single
    for name in ("portal", "engine"):
        os.chmod(single.artefacts(name)["key"], 0o600)


def install(machine: Appliance, *chain: Issued) -> None:
    """Put a chain as it is into the files of all components, with the key of its first certificate, and serve it."""
    for name, server in machine.servers.items():
        files, key = machine.artefacts(name), chain[0].key_pem()
        if name == "console":
            replace_file(files["combined"], bundle(chain) + key, 0o600)
            server.reload()
            continue
        replace_file(files["key"], key, 0o600)
        separate = chain[1:] if "chain" in files else ()
        replace_file(files["certificate"], bundle([each for each in chain if each not in separate]))
        if "chain" in files:
            replace_file(files["chain"], bundle(separate))
        server.reload()


def endpoints(machine: Appliance) -> dict[str, str]:
    return {name: f"{name}/{server.address}" for name, server in machine.servers.items()}


def test_nothing_is_found_on_an_appliance_that_is_well(well: Appliance) -> None:
    assert found(well.config_file) == {}


def test_a_leaf_without_its_intermediates_is_found_at_each_server(well: Appliance) -> None:
    for name, more in (("console", well.old.key_pem()), ("portal", b"")):
        replace_file(next(iter(well.artefacts(name).values())), well.old.pem() + more, 0o600)
        well.servers[name].reload()
    seen, there = found(well.config_file), endpoints(well)
    assert {seen.pop(there[name]).pop() for name in ("console", "portal")} == {"incomplete_chain"}
    assert there["engine"] not in seen


def test_intermediates_of_several_levels_are_whole_or_missed_or_in_the_wrong_order(well: Appliance) -> None:
    leaf, there = LOWER.issue(NAME), endpoints(well)
    for chain, codes in (
        ((leaf, LOWER, MIDDLE, ISSUING), set()),
        ((leaf, MIDDLE, LOWER, ISSUING), {"wrong_order"}),
        ((leaf, LOWER, ISSUING), {"untrusted_issuer"}),
        ((leaf, MIDDLE, ISSUING), {"incomplete_chain"}),
    ):
        install(well, *chain)
        seen = found(well.config_file)
        assert seen.get(there["portal"], set()) - {"unneeded_certificate"} == codes, codes
        # lighttpd puts the chain of its separate file in order itself.
        assert bool(seen.get(there["engine"])) is bool(codes - {"wrong_order"}), codes


def test_a_key_that_others_may_read_and_one_of_another_certificate_are_found(well: Appliance) -> None:
    os.chmod(well.artefacts("portal")["key"], 0o644)
    replace_file(well.artefacts("engine")["key"], fresh().key_pem(), 0o600)
    console = well.artefacts("console")["combined"]
    replace_file(console, well.old.chain_pem() + fresh().key_pem(), 0o644)
    seen = found(well.config_file)
    assert seen == {
        "portal/key": {"key_exposed"},
        "engine/certificate": {"key_mismatch"},
        "console/combined": {"key_exposed", "key_mismatch"},
    }


def test_a_weak_key_and_a_weak_signature_are_found_in_files_and_at_servers(well: Appliance) -> None:
    old = ROOT.intermediate("Old CA", key=KeyType.RSA2048)
    install(well, old.issue(NAME, key=KeyType.RSA1024, signature_hash="sha1"), old)
    seen, there = found(well.config_file), endpoints(well)
    for where in (*there.values(), "console/combined", "portal/certificate", "engine/certificate"):
        assert {"weak_key", "weak_signature"} <= seen[where], where


def test_what_is_negotiated_is_compared_with_the_lists_of_the_site(well: Appliance) -> None:
    there = endpoints(well).values()
    well.configure(tls={"protocols": ["TLSv1.2"]})
    assert found(well.config_file) == {each: {"obsolete_protocol"} for each in there}
    well.configure(tls={"ciphers": ["ECDHE-*"]})
    assert found(well.config_file) == {each: {"weak_cipher"} for each in there}
    well.configure(tls={"ciphers": ["TLS_*"], "protocols": ["TLSv1.3"]})
    assert found(well.config_file) == {}


def test_one_key_on_two_appliances_is_found_unless_the_certificate_names_both(well: Appliance) -> None:
    names = ("engine1.example.com", "engine2.example.com")
    for issued, codes in ((fresh(names[0]), {"key_shared", "hostname_mismatch"}), (fresh(*names), set())):
        directory = f"{well.directory}/{issued.certificate.serial_number}"
        os.makedirs(directory)
        site = write_site(directory, issued)
        with Nginx(f"{directory}/1", [site]) as one, Nginx(f"{directory}/2", [site]) as two:
            watched = [
                {"name": name, "address": server.address, "server_name": name, "clients": ["browser"]}
                for name, server in zip(names, (one, two), strict=True)
            ]
            well.configure(endpoints=watched)
            seen = {name: codes for name, codes in found(well.config_file).items() if name in names}
            if codes:
                assert seen == {names[0]: {"key_shared"}, names[1]: {"key_shared", "hostname_mismatch"}}
                raised = look(well.config_file)[names[0]].findings
                detail = raised[Code.KEY_SHARED, ""].finding.detail
                assert detail.startswith("engine2.example.com also has the key of CN=")
                assert detail.endswith("and the certificate does not carry engine2.example.com")
            else:
                assert seen == {}
    # The components of the appliance have one key, too: they are one group, and have one name.
    well.configure(groups={})
    assert found(well.config_file) == {}


def test_the_entries_of_the_engines_bundle_are_judged_by_their_names(tmp_path: Path) -> None:
    now = time.time()
    gone = Authority.root("Over CA", not_before=now - 300 * DAY, not_after=now - 9 * DAY)
    soon = Authority.root("Soon over CA", not_before=now - 3000 * DAY, not_after=now + 9 * DAY)
    etc = tmp_path / "var/nexthink/engine/common/etc"
    etc.mkdir(parents=True)
    (etc / "ca-bundle.crt").write_bytes(b"# what the Engine trusts\n" + bundle([ROOT, gone, soon, ROOT]))
    path = tmp_path / "certvigil.yaml"
    site = {"role": "secondary", "external_name": NAME, "root": str(tmp_path)}
    path.write_text(json.dumps({"profile": "nexthink-v6", "appliance": site}))
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    state = look(str(path))[str(etc / "ca-bundle.crt")]
    assert {(str(code), subject, str(each.finding.severity)) for (code, subject), each in state.findings.items()} == {
        ("expired", "CN=Over CA", "notice"),
        ("expiring", "CN=Soon over CA", "notice"),
        ("unneeded_certificate", ROOT.certificate.subject.rfc4514_string(), "notice"),
    }
    assert state.expiry is None
