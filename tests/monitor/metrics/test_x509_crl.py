"""The series of revocation lists in files, by the names of x509-certificate-exporter."""

from __future__ import annotations

from config.vocabulary import TargetKind
from monitor.lab.ca import DAY, Authority
from monitor.metrics import Page
from monitor.state.target import TargetState
from probes.revocation.crl import RevocationList, revocation_list
from tests.kit.crl import crl
from tests.kit.metrics import as_x509_exporter, samples, text_of

NOW = 1_795_000_000
CA = Authority.root("Lab CA")


def shown(*lists: RevocationList, last_look: float | None = NOW, x509_cert: bool = True) -> dict[str, float]:
    page = Page(x509_cert=as_x509_exporter() if x509_cert else None)
    page.update(TargetState("/a/b.crl", TargetKind.FILE, "/a/b.crl", lists=lists, last_look=last_look))
    labels = {"filename": "b.crl", "filepath": "/a/b.crl", "crl_number": "7", "issuer_CN": "Lab CA"}
    found = samples(text_of(page))
    return {name: found[name, of] for name, of in found if name.startswith("x509_crl") and dict(of) == labels}


def test_a_list_has_the_series_and_labels_of_x509_certificate_exporter() -> None:
    known = revocation_list(crl(CA, NOW, number=7))
    assert shown(known) == {
        "x509_crl_this_update": NOW - 3600,
        "x509_crl_next_update": NOW + 7 * DAY,
        "x509_crl_number": 7,
        "x509_crl_stale": 0,
    }
    assert shown(known, last_look=NOW + 7 * DAY + 1)["x509_crl_stale"] == 1
    assert "x509_crl_stale" not in shown(known, last_look=None)
    assert not shown(known, x509_cert=False)


def test_a_page_shows_that_a_list_has_become_stale() -> None:
    page, known = Page(x509_cert=as_x509_exporter()), revocation_list(crl(CA, NOW))
    for at, stale in ((NOW, "0"), (NOW + 7 * DAY + 1, "1")):
        page.update(TargetState("/b.crl", TargetKind.FILE, "/b.crl", lists=(known,), last_look=at))
        (line,) = [each for each in text_of(page).splitlines() if each.startswith("x509_crl_stale{")]
        assert line.endswith(stale)


def test_lists_with_the_same_labels_are_one_series() -> None:
    older, newer = (revocation_list(crl(CA, NOW, this_update=NOW - each, number=7)) for each in (7200, 60))
    assert shown(newer, older)["x509_crl_this_update"] == NOW - 60
