from __future__ import annotations

import csv
import io
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import pytest

from config.model import DAY, Artefacts, Component, ComponentGroup, Config, Endpoint, Threshold, Thresholds
from config.text import Printable, harmless
from config.vocabulary import Code, Severity, TargetKind, Verdict
from monitor.http import SubjectActs
from monitor.http.console.drawing import life_bar
from monitor.http.console.matrix import matrix_page
from monitor.http.console.subject import subject_page
from monitor.http.console.table import (
    ROWS,
    PageFacts,
    QueryError,
    TableIndex,
    TablePage,
    TableQuery,
    as_csv,
    listed,
    table,
)
from monitor.state.target import Raised, TargetState
from probes.certificate import Certificate
from probes.finding import Edge, Finding, finding
from tests.kit.metrics import some_certificate, some_file

NOW: Final = 1_795_000_000.0


def certificate(name: str, days: float = 90, issuer: str = "CN=Lab Issuing CA") -> Certificate:
    return replace(some_certificate(name, not_after=int(NOW + days * DAY)), issuer=harmless(issuer))


def wrong(state: TargetState, code: Code) -> TargetState:
    found: Finding = finding(code, Printable("as the test has it"))
    return replace(state, findings={(code, found.subject): Raised(found, NOW)})


def site(*states: TargetState, **config: Any) -> PageFacts:
    targets = {each.target: each for each in states}
    return PageFacts(replace(Config(), **config), targets, lambda _: None, NOW)


WEB: Final = Component("web", Artefacts(certificate="/w.crt", key="/w.key"), endpoints=("web/a", "web/b"))
COMPONENTS: Final = MappingProxyType({"web": WEB})
ENDPOINTS: Final = MappingProxyType({name: Endpoint(name, "a", 443, component="web") for name in WEB.endpoints})


def of_web(on_disk: Certificate, *served: Certificate | None, edges: tuple[Edge, ...] = ()) -> list[TargetState]:
    file = TargetState("web/certificate", TargetKind.FILE, "/w.crt", "web", (on_disk,), last_look=NOW)
    ends = zip(WEB.endpoints, served, strict=False)
    return [
        file,
        *(
            TargetState(name, TargetKind.ENDPOINT, "a:443", "web", (each,) if each else (), edges=edges, last_look=NOW)
            for name, each in ends
        ),
    ]


def page_of(known: PageFacts, query: TableQuery) -> TablePage:
    return table(known, TableIndex(known.config, known.targets), query)


def names(known: PageFacts, **query: str) -> list[str]:
    return [each.facts.name for each in page_of(known, TableQuery.of(query)).rows]


FILES: Final = site(
    some_file("/b", certificate("b.example.com", 10)),
    wrong(some_file("/a", certificate("a.example.com", 30, "CN=Other")), Code.EXPIRED),
    replace(some_file("/c", certificate("c.example.com", 20)), labels=(("team", "web"),)),
    some_file("/without"),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["/b", "/c", "/a"]),
        ({"sort": "name"}, ["/a", "/b", "/c"]),
        ({"sort": "name", "order": "down"}, ["/c", "/b", "/a"]),
        ({"sort": "state"}, ["/a", "/b", "/c"]),
        ({"sort": "issuer"}, ["/b", "/c", "/a"]),
        ({"state": "critical"}, ["/a"]),
        ({"issuer": "CN=Other"}, ["/a"]),
        ({"label": "team=web"}, ["/c"]),
        ({"label": "team=we"}, []),
        ({"q": "C.EXAMPLE"}, ["/c"]),
        ({"q": certificate("b.example.com", 10).sha256[:20]}, ["/b"]),
        ({"q": " /b "}, ["/b"]),
        ({"group": "none"}, []),
        ({"page": "2"}, []),
    ],
)
def test_a_table_has_the_rows_that_its_address_asks_for(query: dict[str, str], expected: list[str]) -> None:
    assert names(FILES, **query) == expected


def test_a_table_has_pages() -> None:
    many = site(*(some_file(f"/{number:04}", certificate(str(number))) for number in range(ROWS + 5)))
    assert len(names(many, sort="name")) == ROWS
    page = page_of(many, TableQuery.of({"sort": "name", "page": "2"}))
    assert [each.facts.name for each in page.rows] == [f"/{number:04}" for number in range(ROWS, ROWS + 5)]
    assert (page.total, page.pages, page.first) == (ROWS + 5, 2, ROWS + 1)
    assert (listed(page).total, len(listed(page).items)) == (ROWS + 5, 5)


def test_the_address_of_a_table_asks_for_the_same_again() -> None:
    query = TableQuery.of({"q": "a&b=c ü", "state": "ok", "order": "down", "page": "3"})
    assert query.address() == "?q=a%26b%3Dc+%C3%BC&state=ok&page=3&order=down"
    assert query.address(page=1, q="", descending=False) == "?state=ok"
    assert TableQuery().address() == ""


def test_a_parameter_without_a_meaning_is_named() -> None:
    with pytest.raises(QueryError, match="state is none of ok, warning, critical, unknown"):
        TableQuery.of({"state": "fine"})


def test_a_component_is_one_row_with_what_is_on_disk_and_what_is_served() -> None:
    old, new = certificate("old", 5), certificate("new")
    browser = (Edge("browser", False, Printable("it has ended")), Edge("java", True))
    known = site(
        *of_web(new, old, new, edges=browser),
        components=COMPONENTS,
        endpoints=ENDPOINTS,
        groups=MappingProxyType({"site": ComponentGroup("site", ("web",))}),
    )
    (row,) = page_of(known, TableQuery.of({"group": "site"})).rows
    facts = row.facts
    assert (facts.name, facts.kind, facts.group) == ("web", "component", "site")
    assert (facts.on_disk, facts.served) == (new.sha256, [old.sha256, new.sha256])
    assert facts.next_reload == "serves the one on disk"
    assert facts.accepts == ["java"]
    assert [(each.client, each.target, each.why) for each in facts.rejects] == [
        ("browser", "web/a", "it has ended"),
        ("browser", "web/b", "it has ended"),
    ]


def test_a_reload_that_would_fail_or_change_nothing_is_told() -> None:
    old, new = certificate("old", 5), certificate("new")
    file, *served = of_web(new, old)
    config: dict[str, Any] = {"components": COMPONENTS, "endpoints": ENDPOINTS}
    (row,) = page_of(site(wrong(file, Code.KEY_MISMATCH), *served, **config), TableQuery()).rows
    assert row.facts.next_reload == "fails: key_mismatch"
    (row,) = page_of(site(*of_web(new, new), **config), TableQuery()).rows
    assert row.facts.next_reload == ""
    (row,) = page_of(site(*of_web(new, None), **config), TableQuery()).rows
    assert (row.facts.served, row.facts.next_reload) == ([], "")


def test_a_file_of_no_component_says_where_it_is_served() -> None:
    one = certificate("one")
    served = TargetState("live", TargetKind.ENDPOINT, "a:443", presented=(one,), last_look=NOW)
    on_disk, live = page_of(site(some_file("/one", one), served), TableQuery.of({"sort": "name"})).rows
    assert (on_disk.facts.on_disk, on_disk.facts.served) == (one.sha256, [one.sha256])
    assert (live.facts.name, live.facts.on_disk) == ("live", one.sha256)


@pytest.mark.parametrize("first", [0, 1])
def test_a_file_says_that_it_is_on_disk_whatever_stands_first_in_it(first: int) -> None:
    ca = replace(certificate("Lab Issuing CA"), is_ca=True)
    order = (ca, certificate("leaf"))[:: 1 if first else -1]
    live = TargetState("live", TargetKind.ENDPOINT, "a:443", presented=order, last_look=NOW)
    shown = page_of(site(some_file("/one", *order), live), TableQuery.of({"sort": "name"})).rows
    assert [(each.facts.on_disk, each.facts.served) for each in shown] == [
        (order[first].sha256, [order[first].sha256])
    ] * 2
    config = replace(Config(), endpoints={"live": Endpoint("live", "a", 443)})
    (server,) = matrix_page(config, {"live": live}, "", "").rows
    assert server.sha256 == order[first].sha256


def test_a_cell_that_a_spreadsheet_would_compute_is_text() -> None:
    page = page_of(site(some_file("=cmd|' /C calc'!A0", certificate('"quoted", and\\x0a'))), TableQuery())
    (row,) = csv.DictReader(io.StringIO(as_csv(page)))
    assert row["name"] == "'=cmd|' /C calc'!A0"
    assert row["names"] == 'DNS:"quoted", and\\x0a'


def test_a_life_is_a_bar_with_its_thresholds() -> None:
    whole = replace(certificate("a", 25), not_before=int(NOW - 75 * DAY))
    thresholds = Thresholds(Threshold(0.5, 60), Threshold(0.3, 60), Threshold(0.1, 60))
    bar = life_bar(whole, thresholds, NOW)
    assert bar is not None
    assert (bar.gone, bar.level) == (75.0, "warning")
    assert [(each.at, each.severity) for each in bar.notches] == [
        (50.0, Severity.NOTICE),
        (70.0, Severity.WARNING),
        (90.0, Severity.CRITICAL),
    ]
    assert "25 days left" in bar.text
    ended = life_bar(whole, thresholds, NOW + 40 * DAY)
    assert ended is not None
    assert (ended.gone, ended.level) == (100.0, "ended")
    assert life_bar(replace(whole, not_after=None), None, NOW) is None
    assert life_bar(replace(whole, not_before=int(NOW + 50 * DAY)), None, NOW) is None


def test_the_state_of_a_row_is_the_worst_of_its_targets() -> None:
    file, served = of_web(certificate("a"), certificate("a"))
    known = site(file, wrong(served, Code.EXPIRING), components=COMPONENTS, endpoints=ENDPOINTS)
    (row,) = page_of(known, TableQuery()).rows
    assert (row.facts.state, row.facts.findings) == (Verdict.WARNING, [Code.EXPIRING])


def test_a_component_has_one_state_on_all_pages() -> None:
    file, served = of_web(certificate("a"), certificate("a"))
    known = site(
        wrong(file, Code.EXPIRING), replace(served, last_look=None), components=COMPONENTS, endpoints=ENDPOINTS
    )
    (row,) = page_of(known, TableQuery()).rows
    (member,) = subject_page("web", known, (), SubjectActs(None, (), ())).members
    assert (row.facts.state, member.verdict) == (Verdict.UNKNOWN, Verdict.UNKNOWN)
