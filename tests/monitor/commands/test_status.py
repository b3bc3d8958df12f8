"""`certvigil status` says what is wrong, since when, how long is left and what cures it, at any width."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.model import DAY, Settings, Web
from config.text import Printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.commands.layout import fit, wrap
from monitor.commands.status import _way_out
from monitor.http.view import DaemonStatus
from monitor.notify.lifecycle import Alert
from monitor.state.own import SELF
from monitor.state.target import Raised, TargetState
from probes.finding import Finding, finding
from tests.kit.daemon import begun, certvigil, on_a_terminal
from tests.kit.web_server import FakeView, running

NOW = time.time()
SINCE = 1_795_000_000.0
LONG = "/etc/letsencrypt/live/portal.customer.example.com/fullchain-with-a-long-name.pem"
CLIENT_REJECTS = finding(
    Code.CLIENT_REJECTS,
    Printable(
        "browser rejects shop/127.0.0.1:443: the certificate of CN=Issuing CA 3 is neither presented nor in the store "
        "mozilla; to cure it, append the missing intermediate to the certificates that the server presents"
    ),
    Printable("browser"),
)


def known(
    target: str,
    *findings: Finding,
    component: str | None = None,
    days: float | None = 80.5,
    pending: tuple[Finding, ...] = (),
) -> TargetState:
    return TargetState(
        target,
        TargetKind.FILE,
        target,
        component,
        findings={(each.code, each.subject): Raised(each, SINCE) for each in findings},
        pending={(each.code, each.subject): Raised(each, SINCE) for each in pending},
        expiry=None if days is None else int(NOW + days * DAY),
        last_look=NOW,
    )


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    view = FakeView()
    view.add(
        known(
            "shop/127.0.0.1:443",
            CLIENT_REJECTS,
            finding(Code.WEAK_CIPHER, Printable("negotiated RC4-SHA")),
            component="shop",
        ),
        known("shop/certificate", component="shop"),
        known(
            "portal/certificate",
            component="portal",
            pending=(finding(Code.KEY_MISMATCH, Printable("the private key in /x.key does not belong to CN=portal")),),
        ),
        known(LONG, finding(Code.EXPIRED, Printable("CN=old ended at 2026-11-01 00:00:00Z")), days=-3.2),
        known("/etc/ssl/good.pem", finding(Code.ROOT_PRESENTED, Printable("CN=Root is presented"))),
        replace(known("evil", days=None), location="x", target="evil\x1b[31m\u202e"),
        known(SELF, days=None),
    )
    path = str(tmp_path_factory.mktemp("s") / "s")
    with running(view, Settings(socket=path, web=Web(listen=("127.0.0.1:0",)))) as started:
        assert started.problems == ()
        yield path


def rows(said: str) -> list[dict[str, str]]:
    header, *lines = [line.split("\t") for line in said.splitlines() if "\t" in line]
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_a_pipe_gets_a_header_and_a_line_for_each_thing_that_is_wrong(socket: str) -> None:
    ran = certvigil("status", "--socket", socket)
    assert (ran.returncode, ran.stderr) == (2, "")
    assert ran.stdout.startswith("verdict\ttarget\tends\tleft\tlast look\tseverity\tfinding\tsince\tdetail\t")
    of_shop = [each for each in rows(ran.stdout) if each["target"] == "shop/127.0.0.1:443"]
    assert [each["finding"] for each in of_shop] == ["client_rejects", "weak_cipher"]
    first = of_shop[0]
    assert (first["verdict"], first["severity"], first["left"]) == ("critical", "critical", "80 days")
    assert first["since"] == "2026-11-18T11:06:40Z"
    assert first["detail"].endswith("nor in the store mozilla")
    assert first["cure"] == "append the missing intermediate to the certificates that the server presents"
    (old,) = [each for each in rows(ran.stdout) if each["target"] == LONG]
    assert (old["left"], old["cure"]) == ("ended 3 days ago", "replace the certificate")


def test_what_is_pending_is_shown_and_does_not_count(socket: str) -> None:
    ran = certvigil("status", "--socket", socket, "portal")
    assert ran.returncode == 0
    (row,) = rows(ran.stdout)
    assert (row["verdict"], row["severity"], row["finding"]) == ("ok", "pending", "key_mismatch")
    shown = on_a_terminal("status", "--socket", socket, "portal").output
    assert "pending: key_mismatch (since 2026-11-18T11:06:40Z)" in shown


@pytest.mark.parametrize(
    ("names", "targets", "code"),
    [
        (["shop"], {"shop/127.0.0.1:443", "shop/certificate"}, 2),
        (["shop/certificate"], {"shop/certificate"}, 0),
        (["*/certificate"], {"shop/certificate", "portal/certificate"}, 0),
        (["/etc/ssl/good.pem", "portal"], {"/etc/ssl/good.pem", "portal/certificate"}, 0),
    ],
)
def test_components_and_targets_are_chosen_and_the_exit_code_is_theirs(
    socket: str, names: list[str], targets: set[str], code: int
) -> None:
    ran = certvigil("status", "--socket", socket, *names)
    assert ran.returncode == code
    assert {each["target"] for each in rows(ran.stdout)} == targets
    document = json.loads(certvigil("status", "--json", "--socket", socket, *names).stdout)
    assert {each["target"] for each in document["targets"]} == targets


@pytest.mark.parametrize(
    ("name", "says"),
    [("shp", "did you mean 'shop'?"), ("certificate", "did you mean 'shop/certificate'"), ("q*", "there are ")],
)
def test_an_unknown_name_is_an_error_that_suggests_the_nearest(socket: str, name: str, says: str) -> None:
    ran = certvigil("status", "--socket", socket, name)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert f"there is no component or target '{name}'" in ran.stderr
    assert says in ran.stderr


def test_problems_are_what_is_not_ok_or_pending(socket: str) -> None:
    ran = certvigil("status", "--problems", "--socket", socket)
    assert ran.returncode == 2
    assert {each["target"] for each in rows(ran.stdout)} == {LONG, "shop/127.0.0.1:443", "portal/certificate"}
    quiet = certvigil("status", "--problems", "--socket", socket, "shop/certificate", "/etc/ssl/good.pem")
    assert quiet.returncode == 0
    assert "no problems: all 2 targets are ok" in quiet.stderr
    assert quiet.stdout.count("\n") == 1, "the names of the columns alone"


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_no_word_is_broken_on_a_terminal_of_any_width(socket: str, columns: int) -> None:
    shown = on_a_terminal("status", "--socket", socket, columns=columns)
    assert shown.code == 2
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output).replace("\r", "")
    for whole in (LONG, "shop/127.0.0.1:443", "2026-11-18T11:06:40Z", "client_rejects:", "intermediate", "ended"):
        assert whole in plain
    for line in plain.splitlines():
        assert len(line) <= columns or len(line.split()) <= 2, "only a word that is too long for a line is"
    ends = re.findall(r"\d{4}-\d\d-\d\dT\S*", plain)
    assert ends
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ,?\)?:?", each) for each in ends)


def test_what_a_rogue_daemon_says_is_harmless(socket: str) -> None:
    for said in (certvigil("status", "--socket", socket).stdout, on_a_terminal("status", "--socket", socket).output):
        assert r"evil\x1b[31m\u202e" in said
        assert "\x1b[31m" not in said
        assert "\u202e" not in said


def test_what_flaps_is_shown_once_although_it_may_be_well_now(tmp_path: Path) -> None:
    class Polled(FakeView):
        def status(self) -> DaemonStatus:
            return replace(super().status(), directories_polled=1, polled_because="no more watches")

    view = Polled()
    view.add(known("flap"))
    view.notifier.told += [
        Alert(
            channel,
            "flapping outage unreachable 1.0 flap",
            Severity.WARNING,
            frozenset({Code.UNREACHABLE}),
            frozenset({"flap"}),
            SINCE,
            SINCE,
            SINCE,
            "unreachable",
            flapping={"flap": (3, SINCE)},
        )
        for channel in ("ops", "chat")
    ]
    path = str(tmp_path / "s")
    with running(view, Settings(socket=path, web=Web(listen=("127.0.0.1:0",)))):
        ran = certvigil("status", "--socket", path)
    said = f"flapping: flap, unreachable 3 times since 2026-11-18T11:06:40Z (problem {view.notifier.told[0].problem})"
    assert (ran.stdout + ran.stderr).count(said) == 1
    assert "one directory is polled: no more watches" in ran.stdout + ran.stderr


def test_a_daemon_that_answers_half_is_not_taken_for_one_where_all_is_well(tmp_path: Path) -> None:
    class BrokenView(FakeView):
        def components(self) -> list[None]:  # type: ignore[override]
            raise RuntimeError

    path = str(tmp_path / "s")
    with running(BrokenView(), Settings(socket=path, web=Web(listen=("127.0.0.1:0",)))):
        ran = certvigil("status", "--socket", path)
    assert (ran.returncode, ran.stdout) == (3, "")


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("  one two three", 7, ["  one", "  two", "  three"]),
        ("a-word-that-is-longer than that", 8, ["a-word-that-is-longer", "than", "that"]),
        ("", 5, [""]),
        ("\u4e2d\u6587 \u4e2d\u6587", 8, ["\u4e2d\u6587", "\u4e2d\u6587"]),
    ],
)
def test_lines_are_broken_between_words_alone(text: str, width: int, lines: list[str]) -> None:
    assert wrap(text, width) == lines


def test_columns_give_way_where_words_allow_it() -> None:
    sentence = "a sentence that is long enough to be broken somewhere"
    assert fit(("when", "how"), [("2026-11-18T11:06:40Z", sentence)], 50) == [20, 28]
    assert fit(("when", "how"), [("2026-11-18T11:06:40Z", sentence)], 25) is None


def read_by_nobody(*arguments: str) -> tuple[int, str]:
    """Run a command whose output goes into a pipe that nobody reads; return its exit code and its errors."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with begun(*arguments, stdout=writing, stderr=subprocess.PIPE, text=True) as running:
            said = running.communicate(timeout=60)[1]
            return running.wait(), said
    finally:
        os.close(writing)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_who_leaves_changes_no_verdict(socket: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    code, said = read_by_nobody("status", "--socket", socket, *options)
    assert (code, "Traceback" in said, "Broken" in said) == (2, False, False)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    wanted = certvigil("check", str(nothing), *options).returncode
    assert wanted == 2
    code, said = read_by_nobody("check", str(nothing), *options)
    assert (code, said) == (wanted, certvigil("check", str(nothing), *options).stderr)


def test_a_silence_that_matches_nothing_now_says_so_and_holds(socket: str) -> None:
    arguments = ("notify", "silence", "--socket", socket, "--for", "1h", "--reason", "work")
    ran = certvigil(*arguments, "--target", "nosuch*", "--target", "shop/*")
    assert (ran.returncode, "silent until" in ran.stdout) == (0, True)
    assert "a name matches nothing now: there is no target 'nosuch*'" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("codes", "way"),
    [
        ([], "certvigil reload reads it"),
        (["config_rejected"], "it was rejected: correct it, see certvigil config check, then certvigil reload"),
    ],
)
def test_a_rejected_configuration_is_not_said_to_be_read_by_a_reload(codes: list[str], way: str) -> None:
    assert _way_out({"findings": [{"code": each} for each in codes]}) == way
