"""`certvigil explain` and the documents' page of findings, both made from the catalogue."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from config.catalogue import CATALOGUE
from config.vocabulary import Code, Severity, TargetKind
from docs.generate.findings import page
from monitor.notify.explanation import advice_lines, by_kind, explanation
from tests.kit.daemon import certvigil, on_a_terminal

ROOT = Path(__file__).parents[3]
KEYS = {"code", "group", "severity", "informational", "meaning", "otherwise", "cure", "cures", "hurts", "by_itself"}
KEYS |= {"advice", "cure_in_store", "grouping", "seen_by_actor"}


def test_a_code_is_explained_without_a_configuration_or_a_daemon() -> None:
    ran = certvigil("explain", "no_certificate")
    assert (ran.returncode, ran.stderr) == (0, "")
    row = CATALOGUE[Code.NO_CERTIFICATE]
    for text in (row.meaning, row.otherwise, row.cure, row.by_itself, *row.hurts.values()):
        assert text in ran.stdout
    assert "certvigil replace COMPONENT --from NEW.pem" in ran.stdout


def test_each_reason_is_explained_with_its_cure() -> None:
    shown = certvigil("explain", "unreadable").stdout
    for reason, cure in CATALOGUE[Code.UNREADABLE].cures.items():
        assert f"{reason}: {cure}" in shown


def test_without_a_code_all_are_listed() -> None:
    lines = certvigil("explain").stdout.splitlines()
    assert [line.split("\t")[1] for line in lines[1:]] == [str(code) for code in Code]


def test_a_code_that_is_unknown_is_an_error_that_names_the_nearest() -> None:
    ran = certvigil("explain", "expird\x1b[31m")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr.startswith("certvigil: there is no finding 'expird\\x1b[31m'; did you mean 'expired'")


def test_several_codes_are_explained_by_a_pattern() -> None:
    found = json.loads(certvigil("explain", "exp*", "unsettled", "--json").stdout)
    assert [each["code"] for each in found["findings"]] == ["expired", "expiring", "unsettled"]


def test_json_has_everything_about_every_code() -> None:
    found = json.loads(certvigil("explain", "--json").stdout)
    assert found["schema"] == 1
    assert [each["code"] for each in found["findings"]] == list(Code)
    for each in found["findings"]:
        assert each.keys() == KEYS
        assert each["severity"] in set(Severity)
        assert each["hurts"].keys() == each["advice"].keys() <= set(TargetKind)


def test_on_a_terminal_no_line_is_longer_than_it() -> None:
    shown = on_a_terminal("explain", "unreadable", columns=60)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    assert max(len(line) for line in plain.splitlines()) <= 60
    assert "wrong_password: put the keystore's own password into its file" in " ".join(plain.split())


@pytest.mark.parametrize("code", Code)
def test_the_advice_that_is_shown_has_placeholders_in_place_of_names(code: Code) -> None:
    for sentences in explanation(code).advice.values():
        assert sentences
        for sentence in sentences:
            assert not re.search(r"[{}]|''", sentence)


def test_a_text_that_depends_on_the_kind_of_target_says_which() -> None:
    assert by_kind({"file": "nobody yet", "endpoint": "nobody yet"}) == ["nobody yet"]
    assert by_kind({"file": "one", "self": "other"}) == ["file: one", "certvigil itself: other"]
    unreachable = advice_lines(explanation(Code.UNREACHABLE))
    assert [line.partition(": ")[0] for line in unreachable] == ["endpoint", "component"]


def test_the_page_has_a_heading_for_each_code() -> None:
    assert sorted(re.findall(r"^### `(.*)`$", page(), re.MULTILINE)) == sorted(Code)


def test_no_command_on_the_page_stands_where_two_hyphens_become_a_dash() -> None:
    text = re.sub(r"```.*?```|`[^`]*`|<!--.*?-->", "", page(), flags=re.DOTALL)
    assert "--" not in re.sub(r"^\|[-|]+\|$", "", text, flags=re.MULTILINE)
