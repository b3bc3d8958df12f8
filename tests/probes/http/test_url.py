"""URLs are taken apart, and what is none is refused."""

from __future__ import annotations

import pytest

from probes.http.url import NoURL, url_parts


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("http://crl.example.com", "http://crl.example.com/"),
        ("HTTP://CRL.example.com:80/a%20b?c#d", "http://crl.example.com/a%20b?c"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("ldap:///cn=x", None),
        ("http:///x", None),
        ("http://a b/", None),
        ("http://a/\r\nX: y", None),
        ("http://ä/", None),
        ("http://0x7f000001:8500/", None),
        ("http://127.0.0.0x1/", None),
        ("http://a/" + "x" * 9000, None),
    ],
)
def test_a_url_is_taken_apart(url: str, there: str | None) -> None:
    place = url_parts(url)
    assert (None if isinstance(place, NoURL) else place.url) == there
