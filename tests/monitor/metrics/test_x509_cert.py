from __future__ import annotations

import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from config.model import X509CertSettings
from monitor.lab.ca import HOSTILE_TEXT, Authority, Issued
from monitor.metrics import Page
from monitor.metrics.x509_cert import trimmed
from monitor.state.target import TargetState
from probes.certificate import Certificate, certificate
from tests.kit.metrics import as_x509_exporter, samples, some_file, text_of, value

PATH = "/etc/ssl/www.pem"


def known_as(issued: Issued) -> Certificate:
    return certificate(issued.der())


def page_of(*known: TargetState, settings: X509CertSettings | None = None) -> Page:
    page = Page(x509_cert=as_x509_exporter(settings))
    for each in known:
        page.update(each)
    return page


def x509_series(page: Page) -> dict[str, list[dict[str, str]]]:
    """Return the labels of each series, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in samples(text_of(page)):
        if name.startswith("x509_"):
            found.setdefault(name, []).append(dict(labels))
    return found


def test_only_who_asks_for_them_gets_them(issuing_ca: Authority) -> None:
    page = Page()
    page.update(some_file(PATH, known_as(issuing_ca.issue("www.example.com"))))
    assert x509_series(page) == {}


def test_a_certificate_has_the_labels_of_x509_certificate_exporter(issuing_ca: Authority) -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "First"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Second"),
            x509.NameAttribute(NameOID.COMMON_NAME, "a"),
            x509.NameAttribute(NameOID.COMMON_NAME, "b"),
        ]
    )
    leaf = known_as(issuing_ca.issue("www.example.com", subject=name, serial=255))
    page = page_of(some_file(PATH, leaf, last_look=leaf.not_before))
    labels = {
        "filename": "www.pem",
        "filepath": PATH,
        "serial_number": "255",
        "issuer_CN": "Lab Issuing CA",
        "subject_C": "CH",
        # As Go has them: the first of all but the common name, of which the last.
        "subject_O": "First",
        "subject_CN": "b",
    }
    of_file = {"filename": "www.pem", "filepath": PATH}
    assert x509_series(page) == {
        name: [labels] for name in ("x509_cert_not_after", "x509_cert_not_before", "x509_cert_expired")
    } | {"x509_cert_error": [of_file]}
    text = text_of(page)
    assert value(text, "x509_cert_not_after") == leaf.not_after
    assert value(text, "x509_cert_not_before") == leaf.not_before
    assert value(text, "x509_cert_expired") == 0


def test_a_certificate_is_expired_from_the_look_after_its_end_on(issuing_ca: Authority) -> None:
    leaf = known_as(issuing_ca.issue("www.example.com"))
    assert leaf.not_after is not None
    at_its_end = some_file(PATH, leaf, last_look=leaf.not_after)
    page = page_of(at_its_end)
    assert value(text_of(page), "x509_cert_expired") == 0
    page.update(replace(at_its_end, last_look=leaf.not_after + 1.0))
    assert value(text_of(page), "x509_cert_expired") == 1


def test_whether_it_is_expired_is_not_said_before_anybody_looked(issuing_ca: Authority) -> None:
    page = page_of(some_file(PATH, known_as(issuing_ca.issue("www.example.com")), last_look=None))
    assert value(text_of(page), "x509_cert_expired") is None
    assert value(text_of(page), "x509_cert_not_after") is not None


def test_certificates_that_share_all_labels_are_told_apart(issuing_ca: Authority) -> None:
    twins = [known_as(issuing_ca.issue("www.example.com", serial=1)) for _ in range(2)]
    page = page_of(some_file(PATH, *twins, twins[0]))
    found = x509_series(page)["x509_cert_not_after"]
    assert {each["discriminator"] for each in found} == {each.sha256[:8] for each in twins}
    assert len(found) == 2


def test_hostile_names_reach_no_page_as_they_stand(issuing_ca: Authority) -> None:
    page = page_of(some_file(PATH, known_as(issuing_ca.issue("www.example.com", subject=HOSTILE_TEXT))))
    ((labels),) = x509_series(page)["x509_cert_not_after"]
    assert labels["subject_CN"].isprintable()
    assert "\\u202e" in labels["subject_CN"]


def test_the_time_to_its_end_is_told_only_where_it_is_wanted(issuing_ca: Authority) -> None:
    now = time.time()
    leaf = known_as(issuing_ca.issue("www.example.com", not_before=int(now) - 100, not_after=int(now) + 1000))
    assert value(text_of(page_of(some_file(PATH, leaf))), "x509_cert_expires_in_seconds") is None
    text = text_of(page_of(some_file(PATH, leaf), settings=X509CertSettings(relative=True)))
    assert value(text, "x509_cert_expires_in_seconds") == pytest.approx(1000, abs=60)
    assert value(text, "x509_cert_valid_since_seconds") == pytest.approx(100, abs=60)


@pytest.mark.parametrize(
    ("components", "shown"),
    [(0, "/mnt/watch/a.pem"), (1, "/watch/a.pem"), (2, "/a.pem"), (3, ""), (9, "")],
)
def test_a_path_is_trimmed_by_its_first_components(components: int, shown: str) -> None:
    assert trimmed("/mnt/watch/a.pem", components) == shown


def test_files_whose_trimmed_paths_are_one_are_told_apart_while_both_are_there(issuing_ca: Authority) -> None:
    leaf = known_as(issuing_ca.issue("www.example.com"))
    first, second = some_file("/one/a.pem", leaf), some_file("/two/a.pem", leaf)
    page = page_of(first, settings=X509CertSettings(trim_path_components=1))
    assert "discriminator" not in text_of(page)
    page.update(second)
    for name in ("x509_cert_not_after", "x509_cert_error"):
        found = x509_series(page)[name]
        assert {each["filepath"] for each in found} == {"/a.pem"}
        assert len({each["discriminator"] for each in found}) == 2
    page.remove(second.target)
    assert "discriminator" not in text_of(page)
    assert len(x509_series(page)["x509_cert_not_after"]) == 1
