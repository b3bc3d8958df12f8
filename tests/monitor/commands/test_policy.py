from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.model import DAY, Settings, Web
from config.vocabulary import Code, Mode
from monitor.decide.situation import Result, Situation
from monitor.http.situations import SituationsError, situations_from_plain, situations_to_plain
from monitor.main import main
from tests.kit.configuration import Write, write
from tests.kit.daemon import on_a_terminal
from tests.kit.situations import NOW, attempt, candidate, found, situation, validity
from tests.kit.web_server import FakeView, running

__all__ = ["write"]

Run = Callable[..., tuple[int, str, str]]
CONFIG = """\
policies:
  - name: renew
    when: {remaining_below: 33%}
    windows: [{cron: "0 2 * * *", duration: 3h}]
    mode: auto
    do: [{replace: {allowed_issuers: [{trust_store: system}]}}]
  - {name: elsewhere, match: {target: ["mail*"]}, when: {finding: expired}, do: [activate]}
"""
AT = "2027-01-15T08:00:00Z"
DUE = situation(certificate=validity(90, 31), candidate=candidate())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `certvigil policy` in this process, its output going into pipes."""

    def ran(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["certvigil", "policy", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main()
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capfd.readouterr()

    return ran


@pytest.fixture
def given(write: Write, tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """Return the options that name a configuration and a state in a file."""

    def options(*known: Situation) -> tuple[str, ...]:
        state = tmp_path / "state.json"
        state.write_text(json.dumps({"schema": 1, "situations": situations_to_plain(known)}))
        return "--config", write(CONFIG), "--state", str(state)

    return options


Given = Callable[..., tuple[str, ...]]


def test_the_timeline_has_a_line_for_each_decision(run: Run, given: Given) -> None:
    code, output, errors = run("test", "--at", AT, "--days", "30", *given(DUE))
    assert (code, errors) == (0, "")
    _, waiting, acting = (line.split("\t") for line in output.splitlines())
    assert waiting[:5] == [
        "2027-01-16T15:12:00Z",
        "web",
        "renew",
        "replace",
        "await_window: its window, which opens at 2027-01-17 02:00:00Z",
    ]
    assert acting[:5] == ["2027-01-17T02:00:00Z", "web", "renew", "replace", "act"]
    assert acting[5].startswith("the certificate ends at 2027-02-15 08:00:00Z; 33% of its lifetime")


def test_candidates_and_approvals_can_be_assumed(run: Run, given: Given) -> None:
    facts = situation(certificate=validity(6, 1), allowed_issuers=False, mode=Mode.APPROVE)
    options = ("--assume-candidates", "--assume-approvals", "--days", "7", "--json")
    code, output, _ = run("test", "--at", AT, *options, *given(facts))
    assert code == 0
    statuses = [each["status"] for each in json.loads(output)["timeline"]]
    assert statuses.count("act") == 2


def test_the_timeline_in_json_says_everything(run: Run, given: Given) -> None:
    code, output, _ = run(
        "test", "--at", AT, "--days", "1", "--json", *given(situation(findings=(found(Code.NOT_SERVED),)))
    )
    document = json.loads(output)
    assert code == 0
    assert (document["schema"], document["from"], document["to"]) == (1, AT, "2027-01-16T08:00:00Z")
    (happened,) = document["timeline"]
    assert {key: happened[key] for key in ("at", "subject", "policy", "action", "status", "waits_for")} == {
        "at": AT,
        "subject": "web",
        "policy": "serve-what-is-on-disk",
        "action": "activate",
        "status": "act",
        "waits_for": "",
    }
    assert happened["reasons"][0] == {
        "check": "finding",
        "holds": True,
        "because": "web/443: not_served (warning) since 2027-01-15 07:00:00Z",
        "since": "2027-01-15T07:00:00Z",
    }


def test_a_target_is_explained_by_what_its_component_decides(run: Run, given: Given) -> None:
    code, output, _ = run("explain", "web/443", "--at", AT, *given(DUE))
    assert code == 0
    whole = [line.split("\t") for line in output.splitlines()]
    assert {row[6] for row in whole if row[2] == "not for it"} == {
        "its 'match' leaves it out",
        "it is a fallback, and gives way to another policy with the same action",
    }
    rows = [row[:6] for row in whole]
    assert ["renew", "replace", "does not hold", "remaining_below", "no", "2027-01-16T15:12:00Z"] in rows
    assert ["elsewhere", "activate", "not for it", "", "", ""] in rows
    assert ["replace-in-time", "replace", "not for it", "", "", ""] in rows
    assert ["undo-regression", "rollback", "does not hold", "regressed_within", "no", ""] in rows


def test_what_is_explained_in_json_can_be_simulated(run: Run, given: Given, tmp_path: Path) -> None:
    options = given(DUE)
    code, explained, _ = run("explain", "web", "--at", AT, "--json", *options)
    assert code == 0
    copied = tmp_path / "copy.json"
    copied.write_text(explained)
    _, direct, _ = run("test", "--at", AT, *options)
    _, indirect, _ = run("test", "--at", AT, *options[:2], "--state", str(copied))
    assert direct == indirect


def test_a_terminal_gets_a_table(given: Given) -> None:
    shown = on_a_terminal("policy", "test", "--at", AT, "--days", "30", *given(DUE))
    assert shown.code == 0
    assert "when" in shown.output.splitlines()[0]
    assert "\t" not in shown.output


def test_the_daemon_is_asked_where_no_file_is_given(run: Run, write: Write, tmp_path: Path) -> None:
    socket = str(tmp_path / "s")
    with running(FakeView(decided_by=[DUE]), Settings(socket=socket, web=Web(listen=("127.0.0.1:0",)))):
        code, output, _ = run("test", "--at", AT, "--days", "30", "--config", write(CONFIG), "--socket", socket)
    assert code == 0
    assert [line.split("\t")[4] for line in output.splitlines()][-1] == "act"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("explain", "wbe"), "there is no component or target 'wbe'; did you mean 'web'?"),
        (("explain", "web", "--at", "soon"), "--at soon: this is not a time"),
        (("test", "--at", "soon"), "--at soon: this is not a time"),
    ],
)
def test_what_cannot_be_told_says_why(arguments: tuple[str, ...], says: str, run: Run, given: Given) -> None:
    code, output, errors = run(*arguments, *given(DUE))
    assert (code, output) == (3, "")
    assert says in errors


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "no 'situations'"),
        ('{"situations": [{"subject": "web", "finding": []}]}', "situations[0].finding: unknown key (did you mean"),
        ('{"situations": [{"subject": 7}]}', "situations[0].subject: Input should be a valid string"),
        ('{"situations": [{"subject": "web", "mode": "full"}]}', "situations[0].mode: Input should be"),
    ],
)
def test_a_state_that_is_none_says_where(text: str, says: str, run: Run, write: Write, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    code, _, errors = run("test", "--config", write(CONFIG), "--state", str(state))
    assert code == 3
    assert errors.startswith(f"certvigil policy test: {state}: {says}")


def test_without_a_daemon_a_file_is_asked_for(run: Run, write: Write, tmp_path: Path) -> None:
    code, _, errors = run("test", "--config", write(CONFIG), "--socket", str(tmp_path / "none"))
    assert code == 3
    assert "or give --state FILE" in errors


def test_situations_come_back_as_they_were() -> None:
    facts = situation(
        findings=(found(Code.EXPIRED),),
        candidate=candidate(),
        attempts=(attempt(result=Result.COMMITTED, accepted=frozenset({("java", "web/443")})),),
        certificate=validity(6, 1.23456789),
        drift_since=NOW - DAY / 7,
    )
    plain: Any = json.loads(json.dumps(situations_to_plain([facts])))
    assert situations_from_plain(plain) == (facts,)
    with pytest.raises(SituationsError):
        situations_from_plain({"subject": "web"})


TOLD = """
host: web1.example.com
channels: {ops: {urls: ["json://h"]}, pager: {urls: ["json://p"]}}
notifications:
  routes: [{channels: [ops], events: [committed]}, {channels: [pager], severity: critical}]
components:
  web:
    artefacts: {certificate: /etc/x/site.crt, key: /etc/x/site.key}
    endpoints: [{address: "127.0.0.1:443", name: www.example.com}]
    service: {unit: nginx.service, activate: reload}
    allowed_issuers: [{trust_store: system}]
    mode: auto
"""


def messages(output: str) -> list[str]:
    rows = [line.split("\t") for line in output.splitlines()]
    return [f"{row[0]} {row[3]}: {row[5]}" for row in rows if row[4] == "told"]


def test_the_timeline_of_a_lifetime_says_what_is_told_when_by_which_channel(run: Run, write: Write) -> None:
    code, output, errors = run("test", "--at", AT, "--lifetime", "6d", "--config", write(TOLD))
    assert (code, errors) == (0, "")
    what = "web1.example.com: expiring: the certificate of web on 2 targets"
    assert messages(output) == [
        f"2027-01-19T20:00:00Z tell ops: [warning] {what}",
        f"2027-01-20T14:00:00Z tell ops: [critical, worse than before] {what}",
        f"2027-01-20T14:00:00Z tell pager: [critical] {what}",
        *(
            f"2027-01-{at}Z tell {channel}: [critical, still] {what}"
            for at in ("20T23:00:00", "21T03:30:00", "21T06:30:00")
            for channel in ("ops", "pager")
        ),
        *(
            f"2027-01-21T08:00:01Z tell {channel}: [critical, worse than before] {what.replace('expiring', 'expired')}"
            for channel in ("ops", "pager")
        ),
    ]
    assert "await_candidate" in output


def test_with_candidates_assumed_it_shows_what_is_told_of_the_replacement(run: Run, write: Write) -> None:
    options = ("--assume-candidates", "--days", "4", "--config", write(TOLD))
    _, output, _ = run("test", "--at", AT, "--lifetime", "6d", *options)
    assert messages(output) == [
        "2027-01-18T08:00:00Z tell ops: [done] web1.example.com: the certificate of web was replaced"
    ]


def test_without_a_lifetime_it_is_the_installed_certificate_until_its_end(run: Run, write: Write, given: Given) -> None:
    _, _, _, state = given(situation(certificate=validity(90, 3)))
    code, output, _ = run("test", "--at", AT, "--json", "--config", write(TOLD), "--state", state)
    document = json.loads(output)
    assert (code, document["to"]) == (0, "2027-01-19T08:00:00Z")
    assert document["messages"][0] == {
        "at": AT,
        "channel": "ops",
        "title": "[critical] web1.example.com: expiring: the certificate of web on 2 targets",
    }
    assert "expired" in document["messages"][-1]["title"]


def test_it_says_so_where_nobody_would_be_told(run: Run, given: Given) -> None:
    code, _, errors = run("test", "--at", AT, "--lifetime", "6d", *given()[:2])
    assert (code, errors) == (0, "nobody would be told anything: no channel is configured\n")
    assert run("test", "--lifetime", "soon", *given()[:2])[0] == 3
