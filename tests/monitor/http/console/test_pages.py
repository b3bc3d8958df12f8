"""The pages of a real daemon, over certificates, files and servers whose text is hostile."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from monitor.lab.ca import Authority
from tests.kit.command_lines import refusal
from tests.kit.console import configured_host
from tests.kit.daemon import PATIENCE, RunningDaemon
from tests.kit.hostile import FILES, hostile
from tests.kit.html import ParsedPage, parsed

PAGES: Final = (
    *("/", "/certificates", "/certificates?sort=state&order=down", "/clients", "/timeline", "/history", "/settings"),
    *("/components/web", "/groups/site", "CERTIFICATE"),
)
"""`CERTIFICATE` stands for the page of the hostile one."""


@dataclass(frozen=True, slots=True)
class ConsoleWorld:
    """A daemon with hostile things, and how to read its pages."""

    daemon: RunningDaemon
    client: httpx.Client
    sha256: str
    directory: Path

    def page(self, path: str) -> ParsedPage:
        address = f"/certificates/{self.sha256}" if path == "CERTIFICATE" else path
        answer = self.client.get(address)
        assert answer.status_code == 200, answer.text
        return parsed(answer.text, str(answer.url))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    directory, issued = tmp_path_factory.mktemp("console"), hostile()
    for name in FILES:
        with open(os.path.join(os.fsencode(directory), name), "wb") as file:
            file.write(issued.chain_pem())
    (directory / "root.pem").write_bytes(Authority.root().pem())
    with configured_host(directory, issued, "browser") as config:
        config |= {
            "waivers": [
                {"target": f"{directory}/root.pem", "finding": "expiring", "reason": "<b>soon", "until": "2099-01-01"}
            ],
        }
        with (
            RunningDaemon(config) as daemon,
            httpx.Client(base_url=f"http://{daemon.web}", verify=False, timeout=PATIENCE) as client,
        ):
            daemon.wait_for(lambda: "presents web/" in daemon.text, "a look at the endpoint")
            daemon.wait_for(lambda: daemon.ask("/api/v1/history").get("items"), "the history")
            daemon.wait_for(lambda: daemon.ask("/api/v1/problems")["total"], "the problems")
            yield ConsoleWorld(daemon, client, hashlib.sha256(issued.der()).hexdigest(), directory)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sound_html_in_which_no_text_became_markup(world: ConsoleWorld, path: str) -> None:
    page = world.page(path)
    assert page.harm() == []
    assert page.title.endswith("certvigil")


@pytest.mark.parametrize("path", [each for each in PAGES if each not in {"/settings", "/clients", "/timeline"}])
def test_a_page_shows_hostile_text_as_text(world: ConsoleWorld, path: str) -> None:
    assert "<script>alert(1)</script>" in world.page(path).text


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(world: ConsoleWorld, path: str) -> None:
    links = world.page(path).links()
    assert len(links) > 5
    found = {link: world.client.get(link).status_code for link in links if not link.startswith("/api/v1/events")}
    assert {link: status for link, status in found.items() if status not in {200, 303}} == {}


@pytest.mark.parametrize("path", PAGES)
def test_every_command_for_the_host_is_one_that_certvigil_takes(world: ConsoleWorld, path: str) -> None:
    commands = [each for each in world.page(path).commands() if each.startswith("certvigil ")]
    assert [(each, why) for each in commands if (why := refusal(shlex.split(each)[1:]))] == []


def test_commands_reach_the_daemon_that_shows_them(world: ConsoleWorld) -> None:
    commands = world.page("/settings").commands()
    assert f"certvigil doctor --config {world.daemon.config_file}" in commands


def test_pages_load_nothing_from_elsewhere_and_nothing_inline(world: ConsoleWorld) -> None:
    answer = world.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["cache-control"] == "no-store"


def test_an_asset_whose_address_names_its_content_may_be_kept(world: ConsoleWorld) -> None:
    (link,) = [each for each in world.page("/").links() if "console.css" in each]
    assert "immutable" in world.client.get(link).headers["cache-control"]
    assert world.client.get("/assets/console.css?v=old").headers["cache-control"] == "no-store"
    assert world.client.get("/assets/..%2fpages.py").status_code == 404


def test_the_table_for_programs_has_exactly_the_rows_that_are_shown(world: ConsoleWorld) -> None:
    query = "?q=pem&sort=name"
    shown = world.page(f"/certificates{query}").text
    rows = world.client.get(f"/certificates.json{query}").json()["items"]
    lines = list(csv.DictReader(io.StringIO(world.client.get(f"/certificates.csv{query}").text)))
    assert [each["name"] for each in rows] == [each["name"].removeprefix("'") for each in lines]
    assert len(rows) == len(FILES) + 1
    assert all(each["name"] in shown for each in rows)
    assert world.client.get("/certificates.json?q=nothing+is+like+that").json()["items"] == []


@pytest.mark.parametrize(
    "query", ["sort=size", "page=0", "page=1e3", "state=bad", "order=none", "page=99999999", "page=%D9%A1"]
)
def test_a_parameter_without_a_meaning_is_refused(world: ConsoleWorld, query: str) -> None:
    for path in ("/certificates", "/certificates.json", "/certificates.csv"):
        assert world.client.get(f"{path}?{query}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        *("/components/none", "/groups/none", "/targets/none", f"/certificates/{'0' * 64}"),
        *("/components/%3Cscript%3E", "/targets/%2F%2Fevil.example.com", "/targets/..%2f..%2fetc%2fpasswd"),
    ],
)
def test_a_page_about_nothing_is_not_there(world: ConsoleWorld, path: str) -> None:
    answer = world.client.get(path)
    assert answer.status_code == 404
    assert parsed(answer.text).harm() == []


def test_a_page_finds_its_assets_whatever_slashes_are_in_a_name(world: ConsoleWorld) -> None:
    for path in ("/targets/%2Fetc%2Fa.pem", "/targets/..%2fa", "/targets/none", "/components/none"):
        text = world.client.get(path).text
        assert set(re.findall(r"((?:[.][.]/)*)assets/", text)) == {"../"}, (path, text[:300])


def test_a_target_leads_to_the_page_about_it(world: ConsoleWorld) -> None:
    for target in (each["target"] for each in world.daemon.ask("/api/v1/targets")["items"]):
        answer = world.client.get(f"/targets/{quote(target, safe='')}")
        assert answer.status_code == 303, target
        where = world.client.get(answer.headers["location"])
        assert (where.status_code, answer.headers["location"].startswith("../")) == (200, True), target


def test_now_says_of_a_problem_what_its_messages_say(world: ConsoleWorld) -> None:
    told = world.daemon.ask("/api/v1/problems")["items"]
    shown = " ".join(world.page("/").text.split())
    assert told
    for each in told:
        for said in (each["headline"], each["hurts"], *each["by_itself"], *each["to_act"], each["problem"]):
            assert " ".join(said.split()) in shown


def test_settings_name_the_line_of_a_value(world: ConsoleWorld) -> None:
    text = world.page("/settings").text
    line = Path(world.daemon.config_file).read_text().splitlines().index('  "web": {') + 1
    assert f"certvigil.yaml:{line}" in text or "certvigil.yaml:" in text


def test_the_calendar_has_the_ends_of_the_year(world: ConsoleWorld) -> None:
    answer = world.client.get("/timeline.ics")
    assert answer.headers["content-type"].startswith("text/calendar")
    assert answer.text.startswith("BEGIN:VCALENDAR\r\n")


def test_events_come_as_they_happen_and_go_on_behind_the_last_one(world: ConsoleWorld) -> None:
    new = world.directory / "another.pem"
    with world.client.stream("GET", "/api/v1/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        begun = next(each for each in lines if each.startswith("id: ")).removeprefix("id: ")
        new.write_bytes(Authority.root("another").pem())
        assert next(each for each in lines if each.startswith("event: ")) == "event: added"
        told = json.loads(next(each for each in lines if each.startswith("data: ")).removeprefix("data: "))
        assert told["target"] == str(new)
    for header in ({"last-event-id": begun}, {"last-event-id": "another run-7"}):
        with world.client.stream("GET", "/api/v1/events", headers=header) as answer:
            first = next(each for each in answer.iter_lines() if each.startswith("event: "))
        assert first == ("event: added" if header["last-event-id"] == begun else "event: reset")
    new.unlink()


def test_a_daemon_with_readers_of_events_ends_in_time(world: ConsoleWorld) -> None:
    config = {"watch": [{"files": [f"{world.directory}/root.pem"]}]}
    with RunningDaemon(config) as daemon:
        with httpx.stream("GET", f"http://{daemon.web}/api/v1/events", verify=False) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("retry: ")
            begun = time.monotonic()
            assert daemon.stop() == 0
            assert not [each for each in lines if each.startswith("event: ") and each != "event: acting"]
        assert time.monotonic() - begun < 10
