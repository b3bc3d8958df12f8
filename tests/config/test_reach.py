from __future__ import annotations

from ipaddress import ip_network

import pytest

from config.address import is_dns_name
from config.reach import Reach, is_public


def reach(*networks: str) -> Reach:
    return Reach(tuple(map(ip_network, networks)), frozenset({443}))


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("fd00::/8", "fd00::1"),
        ("fd00::/8", "fd00::1%eth0"),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("::1/128", "::1"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("fe80::/10", "fe80::1%2"),
    ],
)
def test_an_address_in_an_allowed_network_is_covered_at_an_allowed_port(network: str, address: str) -> None:
    assert reach(network).covers(address, 443)
    assert not reach(network).covers(address, 22)


@pytest.mark.parametrize("address", ["11.0.0.1", "fd00::1", "::ffff:11.0.0.1", "127.0.0.1"])
def test_an_address_elsewhere_is_not(address: str) -> None:
    assert not reach("10.0.0.0/8").covers(address, 443)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.0.0.1", "127.255.255.254", "169.254.169.254", "224.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%lo", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"),
    ],
)
def test_allowing_the_world_does_not_allow_this_host_or_its_links(address: str) -> None:
    assert not reach("0.0.0.0/0", "::/0").covers(address, 443)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_allowing_the_world_allows_the_rest_of_it(address: str) -> None:
    assert reach("0.0.0.0/0", "::/0").covers(address, 443)


def test_a_proxy_is_asked_for_names_that_are_named_and_for_addresses_of_the_networks() -> None:
    named = Reach(reach("10.0.0.0/8").networks, frozenset((443,)), ("www.example.com", "*.example.org"))
    for host in ("www.example.com", "WWW.example.com", "a.example.org", "10.0.0.1"):
        assert named.covers_name(host, 443)
        assert not named.covers_name(host, 8443)
    for host in ("example.org", "example.com", "www.example.com.example.net", "192.0.2.1"):
        assert not named.covers_name(host, 443)


@pytest.mark.parametrize(
    "host", ["0x7f000001", "127.0.0.0x1", "0xa9fea9fe", "0177.0.0.01", "2130706433", "a.0X", "a.1"]
)
def test_what_resolvers_take_for_an_ipv4_address_is_no_name(host: str) -> None:
    assert not is_dns_name(host)
    assert not Reach(reach("10.0.0.0/8").networks, frozenset((443,)), ("*",)).covers_name(host, 443)


@pytest.mark.parametrize("host", ["0x7f", "1a", "0xg.example.com", "0x7f.example.com"])
def test_a_name_may_begin_with_a_number(host: str) -> None:
    assert is_dns_name(f"{host}.example.com")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((each, True) for each in ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "192.88.98.1")),
        *((each, False) for each in ("10.0.0.1", "100.64.0.1", "fd00::1", "2002:a00:1::", "::ffff:192.88.99.1")),
        *((each, False) for each in ("192.88.99.1", "fec0::1", "feff::1%eth0", "3fff::1", "5f00::1")),
    ],
)
def test_an_address_of_the_internet_is_no_special_one(address: str, public: bool) -> None:
    assert is_public(address) is public
