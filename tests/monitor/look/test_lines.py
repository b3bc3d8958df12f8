"""A chain and the configuration files that name it are looked at as one set."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from config.model import Artefacts, Component, Config, ConfigLine, FileTarget, Settings
from config.vocabulary import Code, LineSyntax, Severity
from monitor.actor.facts import facts_of, from_document, reading_of, to_document
from monitor.actor.reading import plain_target
from monitor.lab.ca import Authority
from monitor.state.look_once import look_once
from monitor.state.trust import read_trust_context
from probes.assess_set import SetContext, assess_set, observed_chain
from probes.certificate import certificate
from probes.set import read_set, with_absence
from tests.kit.monitors import file_monitor, until

ROOT = Authority.root()
ISSUING = ROOT.intermediate()
ISSUED = ISSUING.issue("www.example.com")
NOW = 1.9e9


class Place:
    """A component in a directory, whose chain two configuration files name."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self.chain = directory / "site.crt", directory / "intermediate.crt"
        self.files = [directory / "one.conf", directory / "two.conf"]
        self.certificate.write_bytes(ISSUED.pem())
        self.configure(named=False)

    def configure(self, *, named: bool, value: str = "", files: int = 2) -> None:
        line = f'ssl.ca-file = "{value or self.chain}"\n' if named else ""
        for each in self.files[:files]:
            each.write_text(f'ssl.pemfile = "{self.certificate}"\n{line}')

    @property
    def artefacts(self) -> Artefacts:
        chain, certificate_path = str(self.chain), str(self.certificate)
        lines = [
            ConfigLine(str(each), LineSyntax.LIGHTTPD, "ssl.ca-file", chain, certificate_path) for each in self.files
        ]
        return Artefacts(certificate=certificate_path, chain=chain, lines=tuple(lines))

    @property
    def targets(self) -> tuple[FileTarget, ...]:
        artefacts = self.artefacts
        return tuple(
            FileTarget(f"web/{role}", path, role, "web", line=artefacts.line_of.get(role))
            for role, path in artefacts.files.items()
        )

    def findings(self) -> dict[str, list[tuple[Code, Severity]]]:
        """Return the findings on each file, those about times aside."""
        reading = with_absence(read_set(self.targets, NOW), self.targets)
        found = assess_set(reading, SetContext(self.targets, {}), NOW)
        times = {Code.EXPIRED, Code.EXPIRING, Code.VALIDITY_TOO_LONG, Code.NOT_YET_VALID}
        return {
            name: [(each.code, each.severity) for each in assessment.findings if each.code not in times]
            for name, assessment in found.items()
            if any(each.code not in times for each in assessment.findings)
        }

    def on_disk(self) -> int:
        """Return how many certificates a server presents of these files."""
        by_name = {each.target: each for each in read_set(self.targets, NOW).observations}
        return len(observed_chain(self.targets, by_name))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


MISSING = (Code.CONFIG_LINE_MISSING, Severity.WARNING)
DEAD = (Code.CONFIG_LINE_MISSING, Severity.CRITICAL)


def put(place: Place) -> int:
    return place.chain.write_bytes(ISSUING.pem())


@pytest.mark.parametrize(
    ("set_up", "found", "presented"),
    [
        (lambda _: None, {}, 1),
        (lambda place: (put(place), place.configure(named=True)), {}, 2),
        (put, {"web/line": [MISSING], "web/line-2": [MISSING]}, 1),
        (lambda place: (put(place), place.configure(named=True, files=1)), {"web/line-2": [MISSING]}, 1),
        (
            lambda place: (put(place), place.configure(named=True, value="/etc/other.crt")),
            {"web/line": [MISSING], "web/line-2": [MISSING]},
            1,
        ),
        (
            lambda place: place.configure(named=True),
            {
                "web/chain": [(Code.UNREADABLE, Severity.CRITICAL)],
                "web/line": [DEAD],
                "web/line-2": [DEAD],
            },
            1,
        ),
        (lambda place: place.files[0].unlink(), {"web/line": [(Code.UNREADABLE, Severity.CRITICAL)]}, 1),
        (
            lambda place: (put(place), place.files[0].write_text("?"), place.files[1].write_text("?")),
            {"web/line": [MISSING], "web/line-2": [MISSING]},
            2,
        ),
        (lambda place: [each.write_text("?") for each in place.files[:1]], {"web/line": [MISSING]}, 1),
        (lambda place: (put(place), [each.write_text('include "x"\n') for each in place.files]), {}, 2),
    ],
    ids=[
        "no chain",
        "in use",
        "unused",
        "half used",
        "another",
        "named and missing",
        "no file",
        "odd",
        "odd without a chain",
        "included",
    ],
)
def test_a_chain_and_the_lines_that_name_it_must_fit_together(
    set_up: Callable[[Place], object],
    found: dict[str, list[tuple[Code, Severity]]],
    presented: int,
    place: Place,
) -> None:
    set_up(place)
    assert place.findings() == found
    assert place.on_disk() == presented


def test_the_finding_has_the_line_to_add(place: Place) -> None:
    put(place)
    reading = read_set(place.targets, NOW)
    found = assess_set(reading, SetContext(place.targets, {}), NOW)["web/line"].findings[0]
    assert found.detail == (
        f"{place.chain} is there, and its server does not use it: ssl.ca-file is not set; to cure it, put "
        f'ssl.ca-file = "{place.chain}" beside ssl.pemfile into {place.files[0]}, and restart its service'
    )


def test_a_line_that_names_another_chain_is_to_be_changed_and_not_put_in_twice(place: Place) -> None:
    put(place)
    place.configure(named=True, value="/etc/other.crt")
    reading = read_set(place.targets, NOW)
    found = assess_set(reading, SetContext(place.targets, {}), NOW)["web/line"].findings[0]
    assert found.detail == (
        f"it sets ssl.ca-file to /etc/other.crt, and not to {place.chain}; to cure it, in {place.files[0]}, change it "
        f'to ssl.ca-file = "{place.chain}" beside ssl.pemfile, and restart its service'
    )


ONE = 'ssl.ca-file = "{chain}"'


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("}}", "its line 2 is not understood; to cure it, {file}: correct this line"),
        (
            f"{ONE}\n{ONE}",
            "in it ssl.ca-file is set twice; to cure it, {file}: leave one of them",
        ),
        (
            'ssl.ca-file = "/etc" + "/x.crt"',
            f"in it ssl.ca-file is put together of several parts; to cure it, {{file}}: write it as one text: {ONE}",
        ),
    ],
)
def test_a_file_that_no_replacement_can_edit_is_a_finding_with_what_to_do_first(
    added: str, said: str, place: Place
) -> None:
    place.files[0].write_text(f'ssl.pemfile = "{place.certificate}"\n{added.format(chain=place.chain)}\n')
    seen = read_set(place.targets, NOW)
    told = reading_of(from_document(to_document(facts_of(seen, place.targets))), place.targets, NOW)
    assert told == seen
    (found,) = assess_set(told, SetContext(place.targets, {}), NOW)["web/line"].findings
    assert found.detail.removesuffix(" beside ssl.pemfile") == "no replacement can edit it: " + said.format(
        file=place.files[0], chain=place.chain
    )


def test_the_actor_s_reader_tells_of_a_configuration_file_whether_it_names_the_chain_and_no_more(place: Place) -> None:
    place.configure(named=True)
    seen = read_set(place.targets, NOW)
    document = json.loads(json.dumps(to_document(facts_of(seen, place.targets))))
    assert "ssl.pemfile" not in json.dumps(document)
    assert reading_of(from_document(document), place.targets, NOW) == seen
    assert [plain_target(each)["line"] is None for each in place.targets] == [True, True, False, False]


def test_a_chain_that_is_taken_out_with_its_lines_is_forgotten_and_no_fault(place: Place) -> None:
    async def story() -> None:
        put(place)
        place.configure(named=True)
        web = Component("web", place.artefacts)
        config = Config(
            Settings(settle=0.1, pending=0.0),
            files=place.targets,
            components=MappingProxyType({"web": web}),
        )
        async with file_monitor(config) as kept:
            await until(lambda: kept.page.shown["web/chain"].presented == (certificate(ISSUING.der()),))
            place.configure(named=False)
            place.chain.unlink()
            await until(lambda: kept.page.shown["web/chain"].presented == ())
            assert kept.page.shown["web/chain"].failure is None
            assert not kept.page.shown["web/line"].findings
            put(place)
            await until(lambda: bool(kept.page.shown["web/line"].findings))
            assert {code for code, _ in kept.page.shown["web/line"].findings} == {Code.CONFIG_LINE_MISSING}
            place.configure(named=True)
            await until(lambda: not kept.page.shown["web/line"].findings)

    asyncio.run(story())


def test_the_one_look_without_a_daemon_misses_no_chain_that_no_line_names(place: Place) -> None:
    web = Component("web", place.artefacts)
    config = Config(components=MappingProxyType({"web": web}), files=place.targets)
    context, _ = read_trust_context(config)
    states = asyncio.run(look_once(context, time.time(), 1.0))
    assert states["web/chain"].failure is None
    assert not [each for each in states["web/chain"].findings.values() if each.finding.severity is Severity.CRITICAL]
    place.configure(named=True)
    states = asyncio.run(look_once(context, time.time(), 1.0))
    assert [key[0] for key in states["web/chain"].findings] == [Code.UNREADABLE]
