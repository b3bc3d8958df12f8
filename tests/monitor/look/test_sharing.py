"""One key at two servers, or in two files, as the daemon sees it at both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from config.model import Config, Endpoint, Watch
from config.vocabulary import Code, Severity
from monitor.lab.servers import LocalServer, replace_file, write_site
from monitor.state.sharing import KeyIndex
from probes.certificate import certificate
from tests.kit.authority import ISSUING, ROOT
from tests.kit.daemon import RunningDaemon
from tests.kit.monitors import config_with, file_monitor, until

NAMES = ("engine1.example.com", "engine2.example.com")


def test_a_key_at_two_servers_is_told_of_both_and_no_more_once_one_has_another(tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(ROOT.pem())
    one = ISSUING.issue(NAMES[0])
    sites = [
        write_site(str(tmp_path / name), one if name == NAMES[0] else ISSUING.issue(name, key=one.key))
        for name in NAMES
    ]
    with LocalServer([sites[0]]) as first, LocalServer([sites[1]]) as second:
        endpoints = [
            {"name": name, "address": server.address, "server_name": name, "clients": ["browser"], "every": "0.5s"}
            for name, server in zip(NAMES, (first, second), strict=True)
        ]
        config = {
            "endpoints": endpoints,
            "trust_stores": {"corporate": {"bundle": str(root)}},
            "clients": {"browser": {"trusts": "corporate"}},
        }
        with RunningDaemon(config) as daemon:

            def telling() -> set[str]:
                found = daemon.ask("/api/v1/findings?code=key_shared")["items"]
                return {each["target"] for each in found}

            daemon.wait_for(lambda: telling() == set(NAMES), "that both have one key")
            sites[1].install(ISSUING.issue(NAMES[1]))
            second.reload()
            daemon.wait_for(lambda: not telling(), "that each has its own")


def test_a_key_that_many_present_is_compared_once_and_again_once_one_of_them_changed() -> None:
    names = [f"host{number}.example.com" for number in range(50)]
    endpoints = {name: Endpoint(name, name, 443) for name in names}
    config = Config(endpoints=endpoints)
    shared, other = certificate(ISSUING.issue("*.example.com").der()), certificate(ISSUING.issue(names[1]).der())
    index = KeyIndex()
    for name in names:
        index.note(name, (shared,), config)
    first = index.sharing(endpoints[names[0]], config)
    assert {each.endpoint for each in first} == set(names[1:])
    index.note(names[1], (shared,), config)
    assert index.sharing(endpoints[names[0]], config) is first
    index.note(names[1], (other,), config)
    assert {each.endpoint for each in index.sharing(endpoints[names[0]], config)} == set(names[2:])
    index.forget(names[2])
    index.note(names[1], (shared,), config)
    assert {each.endpoint for each in index.sharing(endpoints[names[0]], config)} == {names[1], *names[3:]}


def test_a_key_of_two_files_is_told_of_both_and_no_more_once_one_has_another(tmp_path: Path) -> None:
    one = ISSUING.issue(NAMES[0])
    first, second = tmp_path / "1.pem", tmp_path / "2.pem"
    first.write_bytes(one.pem())
    second.write_bytes(ISSUING.issue(NAMES[1], key=one.key).pem())

    async def story() -> None:
        async with file_monitor(config_with(watches=(Watch((f"{tmp_path}/*.pem",)),))) as kept:
            both = [str(first), str(second)]
            await until(lambda: all(Code.KEY_SHARED in kept.codes(each) for each in both))
            raised = kept.page.shown[both[0]].findings[Code.KEY_SHARED, ""].finding
            assert raised.severity is Severity.NOTICE
            assert raised.detail.startswith(f"{second} also has a certificate for the key of CN={NAMES[0]} (")
            replace_file(both[1], ISSUING.issue(NAMES[1]).pem())
            await until(lambda: not any(Code.KEY_SHARED in kept.codes(each) for each in both))

    asyncio.run(story())


def test_who_is_apart_from_whom_goes_by_the_configuration_in_force() -> None:
    shared = certificate(ISSUING.issue("*.example.com").der())
    one, two = Endpoint("one", "a.example.com", 443), Endpoint("two", "b.example.com", 443)
    index = KeyIndex()

    def sharing(*endpoints: Endpoint) -> set[str]:
        config = Config(endpoints={each.name: each for each in endpoints})
        for each in endpoints:
            index.note(each.name, (shared,), config)
        return {each.endpoint for each in index.sharing(one, config)}

    assert sharing(one, two) == {"two"}
    # The nodes behind one name, another port of one host, and an address of which nobody knows the name.
    assert sharing(one, replace(two, server_name="A.example.com")) == set()
    assert sharing(one, replace(two, host="A.example.com", port=444, server_name="c.example.com")) == set()
    assert sharing(one, replace(two, host="192.0.2.1")) == set()
    assert sharing(one) == set()
    assert sharing(one, two) == {"two"}
    index.forget("two")
    assert sharing(one) == set()
