"""The language of runbooks: what stands in them is exactly what the facts are, whatever these hold."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from config.guide import (
    Facts,
    Item,
    Language,
    RunKind,
    StepKind,
    Topic,
    Words,
    fill,
    plain,
    powershell_string,
    read,
    why_not,
)
from monitor.lab.ca import HOSTILE_TEXT

HOSTILE = (
    "it's",
    'a "b" c',
    "$(touch pwned)",
    "`touch pwned`",
    "a;b|c&d>e",
    "%PATH% ^ !x!",
    "\N{RIGHT SINGLE QUOTATION MARK}; Remove-Item x; \N{LEFT SINGLE QUOTATION MARK}",
    "back\\slash",
    "--option",
    "* ** `code` [link](http://x) <b> # | ~",
)


def filled(directory: Path, text: str, facts: Facts) -> Topic:
    """Return the site's topic with that text."""
    directory.chmod(0o755)
    path = directory / "own.yaml"
    path.write_text(text)
    path.chmod(0o644)
    found = read(None, str(directory))
    assert not found.mistakes
    return fill(found.topics["own"], facts)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_fact_is_one_word_of_a_shell_and_nothing_in_it_is_carried_out(value: str, tmp_path: Path) -> None:
    topic = filled(tmp_path, 'title: T\nsteps: [{do: D, sh: "printf %s ${it}"}]', {"it": value})
    (line,) = topic.steps[0].lines
    ran = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == value
    assert not (tmp_path / "pwned").exists()


def test_a_command_as_a_fact_is_its_words(tmp_path: Path) -> None:
    command = Words(("/bin/systemctl", "restart", "it's"))
    topic = filled(tmp_path, 'title: T\nsteps: [{do: D, sh: "sudo ${it}"}]', {"it": command})
    assert shlex.split(topic.steps[0].lines[0]) == ["sudo", *command]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_fact_is_one_string_of_powershell(value: str) -> None:
    spelt = powershell_string(value)
    assert spelt[0] == spelt[-1] == "'"
    # PowerShell takes each of these for the end of such a string, and two of them for one character.
    ends = "'\u2018\u2019\u201a\u201b"
    inside, found = spelt[1:-1], ""
    while inside:
        if inside[0] in ends:
            assert inside[1:2] == inside[0], spelt
            inside = inside[1:]
        found, inside = found + inside[0], inside[1:]
    assert found == value


@pytest.mark.parametrize("language", ["sh", "powershell", "text"])
def test_no_line_holds_what_moves_a_cursor_or_ends_a_line(language: str, tmp_path: Path) -> None:
    topic = filled(tmp_path, f'title: T\nsteps: [{{do: "See ${{it}}", {language}: "x ${{it}}"}}]', {"it": HOSTILE_TEXT})
    shown = [plain(topic.steps[0].text), *topic.steps[0].lines]
    assert len(shown) == 2
    for each in shown:
        assert each.isprintable()
        assert "\\x1b[31m" in each


def test_a_part_with_an_unknown_fact_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    text = """
title: T
about: ["About ${nothing}"]
steps:
  - heading: Over nothing
  - do: Restart it.
    sh: ${web.restart}
  - heading: Over something
  - Do it.
proof: [{certvigil: [check, "${nowhere}"]}]
"""
    topic = filled(tmp_path, text, {"nothing": ""})
    assert [plain(each.text) for each in topic.steps] == ["Over something", "Do it."]
    assert (topic.about, topic.proofs) == ((), ())
    assert topic.left_out == ("nothing", "web.restart", "nowhere")


def test_a_condition_and_a_repetition_are_as_in_a_profile(tmp_path: Path) -> None:
    text = """
title: T
steps:
  - {do: For a primary., when: {role: [primary]}}
  - {do: For none., when: {role: [secondary]}}
  - {do: Of unknown colour., when: {colour: [""]}}
  - {do: "Port ${port}", for_each: {port: ports}}
  - {do: "Certificate ${root.sha256}", for_each: {root: roots}}
  - {do: For no item., for_each: {it: nothing}}
  - {ask: Needed., needs: [ports]}
  - {ask: Not there., needs: [nothing]}
"""
    facts: Facts = {"role": "primary", "ports": ("1", "2"), "roots": ({"sha256": "ab"},), "nothing": ()}
    topic = filled(tmp_path, text, facts)
    assert [plain(each.text) for each in topic.steps] == [
        *("For a primary.", "Of unknown colour.", "Port 1", "Port 2", "Certificate ab", "Needed.")
    ]
    assert topic.steps[-1].kind is StepKind.ASK
    assert topic.left_out == ()


def test_names_and_literal_text_are_told_apart(tmp_path: Path) -> None:
    topic = filled(tmp_path, "title: T\nsteps: ['Click **OK** at `https://${host}/`, ${host}.']", {"host": "a.example"})
    assert topic.steps[0].text == (
        *((RunKind.TEXT, "Click "), (RunKind.NAME, "OK"), (RunKind.TEXT, " at "), (RunKind.CODE, "https://a.example/")),
        *((RunKind.TEXT, ", "), (RunKind.CODE, "a.example"), (RunKind.TEXT, ".")),
    )
    assert topic.steps[0].language is Language.TEXT


def test_options_that_are_not_needed_leave_nothing_behind(tmp_path: Path) -> None:
    text = 'title: T\nsteps: [{do: D, sh: "certvigil plan web ${config}"}]\nproof: [{certvigil: [status, "${config}"]}]'
    topic = filled(tmp_path, text, {"config": Words()})
    assert topic.steps[0].lines == ("certvigil plan web",)
    assert topic.proofs[0].command == ("certvigil", "status")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("title: T", "1: steps: missing, expected the steps, in order"),
        ("title: T\nsteps: []", "2: steps: found an empty list, expected at least one item"),
        (
            "title: T\nsteps:\n  - {do: A, ask: B}",
            "3: steps[0]: not one sentence, expected exactly one of 'do', 'ask' and",
        ),
        (
            "title: T\nsteps:\n  - {do: A, sh: a, text: b}",
            "3: steps[0]: several languages, expected one of 'sh', 'powersh",
        ),
        (
            "title: T\nsteps:\n  - {do: A, shell: a}",
            "3: steps[0].shell: unknown key (did you mean 'powershell'?), expec",
        ),
        (
            "title: T\nsteps:\n  - {do: A, sh: \"a '${b}'\"}",
            "3: steps[0]: a fact in a command with quotes, expected none",
        ),
        (
            "title: T\nsteps:\n  - {do: A, powershell: 'a \"${b}\"'}",
            "3: steps[0]: a fact in a command with quotes, expec",
        ),
        ("title: [", "2: found no value, expected one"),
    ],
)
def test_a_mistake_in_a_site_s_topic_is_told_with_its_line(text: str, mistake: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "own.yaml").write_text(text)
    (tmp_path / "own.yaml").chmod(0o644)
    found = read(None, str(tmp_path))
    assert str(found.mistakes[0]).startswith(f"{tmp_path}/own.yaml:{mistake}")
    assert not found.topics


def test_the_example_of_the_documents_is_a_topic(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/guide.md").read_text()
    (example,) = re.findall(r"```text\n(title: .*?)```", page, re.DOTALL)
    command = Words(("check", "127.0.0.1:443"))
    checks: tuple[Item, ...] = ({"check": command, "clients": "browser", "address": "127.0.0.1:443"},)
    facts: Facts = {"shop.url": "https://shop", "shop.restart": Words(("/bin/true",)), "shop.checks": checks}
    topic = filled(tmp_path, example, facts)
    assert topic.left_out == ()
    assert topic.proofs[0].command == ("certvigil", *command)


def test_a_topic_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("title: T\nsteps: [Do it.]")
    (tmp_path / "own.yaml").chmod(0o666)
    found = read(None, str(tmp_path))
    assert str(found.mistakes[0]).endswith("writable by group or others (mode 0666), expected its owner alone")
    assert not found.topics


def test_a_topic_of_the_site_takes_the_place_of_the_profile_s(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "replace.yaml").write_text("title: Ours\nneeds: [ticket]\nsteps: [Ask the help desk.]")
    (tmp_path / "replace.yaml").chmod(0o644)
    found = read("nexthink-v6", str(tmp_path))
    assert found.topics["replace"].section.title == "Ours"
    assert why_not(found.topics["replace"], {}) == "ticket is not known"
    assert "restore" in found.topics
