"""Configuration lines are put in and taken out by position: every other byte stays."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.model import ConfigLine
from config.vocabulary import LineState, LineSyntax
from monitor.lab.process import find_command
from probes.line.registry import by_hand, edit_line, included, read_line
from probes.line.syntax import LARGEST, CannotEdit

_CORPUS: Final = Path(__file__).parent / "corpus"
CHAIN: Final = "/etc/own/intermediate.crt"
LIGHTTPD: Final = ConfigLine("/x.conf", LineSyntax.LIGHTTPD, "ssl.ca-file", CHAIN, "/etc/own/certificate.pem")
XML: Final = ConfigLine("/x.xml", LineSyntax.XML, "ssl/certificate_chain_file", CHAIN)
FILES: Final = [
    *((LIGHTTPD, each) for each in sorted(_CORPUS.glob("lighttpd/*.conf"))),
    *((XML, each) for each in sorted(_CORPUS.glob("xml/*.xml"))),
]
every_file = pytest.mark.parametrize(
    ("line", "path"), [pytest.param(line, path, id=f"{line.syntax}-{path.stem}") for line, path in FILES]
)


def edited(data: bytes, line: ConfigLine, *, wanted: bool = True) -> bytes:
    made = edit_line(data, line, wanted=wanted)
    assert isinstance(made, bytes), made
    return made


def why_not(data: bytes, line: ConfigLine, *, wanted: bool = True) -> str:
    made = edit_line(data, line, wanted=wanted)
    assert isinstance(made, CannotEdit), made
    return made.why


def text_of(data: bytes) -> str:
    """Return the text of a file of the corpus, in which a byte that is no ASCII means nothing."""
    return data.decode("utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data.decode("latin-1")


@every_file
def test_a_line_that_is_put_in_and_taken_out_leaves_the_bytes_as_they_were(line: ConfigLine, path: Path) -> None:
    before = path.read_bytes()
    after = edited(before, line)
    assert after != before
    assert read_line(after, line).state is LineState.PRESENT
    assert edited(after, line) == after
    assert edited(after, line, wanted=False) == before
    assert edited(before, line, wanted=False) == before


@every_file
def test_nothing_else_changes(line: ConfigLine, path: Path) -> None:
    before = path.read_bytes()
    after = edited(before, line)
    if path.stem == "two-sockets":
        assert after.count(f'\tssl.ca-file = "{CHAIN}"\n'.encode()) == 2
        assert after.replace(f'\tssl.ca-file = "{CHAIN}"\n'.encode(), b"") == before
        return
    whole, now = text_of(before), text_of(after)
    text, more = by_hand(line).partition(" inside ")[0].partition(" beside ")[0], len(now) - len(whole)
    runs = [now[at : at + more] for at in range(len(whole) + 1) if now[:at] + now[at + more :] == whole]
    assert text in map(str.strip, runs)
    assert (now.count("\n") == now.count("\r\n")) or (whole.count("\n") != whole.count("\r\n")) or "\r" not in whole


@pytest.mark.parametrize("path", sorted(_CORPUS.glob("xml/*.xml")), ids=lambda each: each.stem)
def test_another_parser_of_xml_reads_the_wanted_value_and_all_else_as_before(path: Path) -> None:
    before, after = ET.fromstring(path.read_bytes()), ET.fromstring(edited(path.read_bytes(), XML))
    (within,) = after.iter("ssl")
    (found,) = within.findall("certificate_chain_file")
    assert found.text == CHAIN
    within.remove(found)

    def plain(element: ET.Element) -> list[object]:
        return [(each.tag, each.attrib, (each.text or "").strip()) for each in element.iter()]

    assert plain(after) == plain(before)


def printed(path: Path) -> str:
    """Return the configuration as lighttpd itself reads it."""
    command = [str(find_command("lighttpd")), "-p", "-f", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.server("lighttpd")
@pytest.mark.parametrize(
    "name", ["console", "two-sockets", "commented", "other-certificates", "windows", "no-final-newline", "one-line"]
)
def test_lighttpd_itself_reads_the_wanted_value_and_all_else_as_before(name: str, tmp_path: Path) -> None:
    data = (_CORPUS / "lighttpd" / f"{name}.conf").read_bytes()
    (tmp_path / "before").write_bytes(data)
    (tmp_path / "after").write_bytes(edited(data, LIGHTTPD))
    before, after = printed(tmp_path / "before"), printed(tmp_path / "after")
    setting = re.compile(rf'\s*ssl\.ca-file\s*= "{CHAIN}"')
    assert len(setting.findall(after)) == (2 if name == "two-sockets" else 1)

    def settings(text: str) -> list[str]:
        lines = (re.sub(r"^\s*#.*|\s+|.*var\.PID.*", " ", each).strip() for each in setting.sub("", text).splitlines())
        return [each for each in lines if each]

    assert settings(after) == settings(before)


def config(text: str) -> bytes:
    return f'ssl.engine = "enable"\nssl.pemfile = "/etc/own/certificate.pem"\n{text}\n'.encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('ssl.ca-file = "/other.crt"', "it sets ssl.ca-file to /other.crt already"),
        (f'ssl.ca-file = "{CHAIN}"\nssl.ca-file = "{CHAIN}"', "in it ssl.ca-file is set twice"),
        (f'ssl.ca-file += "{CHAIN}"', "in it ssl.ca-file is added to with +="),
        ('ssl.ca-file = var.etc + "/intermediate.crt"', "in it ssl.ca-file is put together of several parts"),
        ('server.tag = "no end', "its line 3 is not understood"),
        ('$HTTP["host"] == "x" {', "a block in it has no end"),
        ("}", "its line 3 is not understood"),
        ("server.port", "its line 3 is not understood"),
        ("server.port = ", "its line 3 is not understood"),
        ("x = (", "it ends amid a statement"),
        ("\x01", "its line 3 is not understood"),
        ("\0", "it is no text"),
        ("x = " + "(" * 200 + ")" * 200, "it has too many brackets within each other"),
        ('$HTTP["host"] == "x" {' * 101 + "}" * 101, "it has too many blocks within each other"),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_a_lighttpd_file_that_cannot_be_edited_safely_is_refused(text: str, why: str, wanted: bool) -> None:
    assert why_not(config(text), LIGHTTPD, wanted=wanted) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('ssl.pemfile = "/a" ssl.engine = "enable"\n', "ssl.pemfile does not stand on a line of its own"),
        (
            'ssl.pemfile = "/a"\n$HTTP["host"] == "x" {\nssl.pemfile = "/b"\n}\n',
            "it sets ssl.pemfile several times, never to /etc/own/certificate.pem",
        ),
        (
            (
                f'$HTTP["host"] == "x" {{\nssl.pemfile = "{LIGHTTPD.certificate}"\n}}\n'
                f'$HTTP["host"] == "y" {{\nssl.ca-file = "{CHAIN}"\n}}\n'
            ),
            "in it ssl.ca-file is set in another block than the certificate",
        ),
    ],
)
def test_a_line_is_put_in_only_where_its_place_is_sure(text: str, why: str) -> None:
    assert why_not(text.encode(), LIGHTTPD) == why


def test_a_line_in_the_global_scope_or_in_the_block_itself_is_there() -> None:
    block = f'$SERVER["socket"] == ":99" {{\n  ssl.pemfile = "{LIGHTTPD.certificate}"\n%s}}\n'
    for text in (
        f'ssl.ca-file="{CHAIN}"\n{block % ""}',
        block % f'  ssl.ca-file = "{CHAIN}" # ours\n',
        f'global {{\nssl.ca-file := "{CHAIN}"\n}}\n{block % ""}',
    ):
        assert edited(text.encode(), LIGHTTPD) == text.encode()


def test_a_comment_of_somebody_s_stays_where_the_line_is_taken_out() -> None:
    before = config(f'  ssl.ca-file = "{CHAIN}"  # because of ticket 7')
    assert edited(before, LIGHTTPD, wanted=False) == config("  # because of ticket 7")


def test_a_setting_that_an_included_file_may_have_is_unclear_and_the_files_are_named() -> None:
    data = config('include "/etc/lighttpd/conf-enabled/*.conf"\ninclude_shell "/usr/bin/generate"')
    reading = read_line(data, LIGHTTPD)
    assert (reading.state, reading.absent) == (LineState.UNCLEAR, True)
    assert reading.detail == "it includes other files, which may set ssl.ca-file"
    assert included(data, LIGHTTPD) == ("/etc/lighttpd/conf-enabled/*.conf", "")
    assert read_line(edited(data, LIGHTTPD), LIGHTTPD).state is LineState.PRESENT


ENGINE: Final = "<config>\n  <ssl>\n    <a/>\n%s  </ssl>\n</config>\n"
ELEMENT: Final = f"<certificate_chain_file>{CHAIN}</certificate_chain_file>"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (ENGINE % f"{ELEMENT}{ELEMENT}", "it has ssl/certificate_chain_file twice"),
        (ENGINE % ELEMENT.replace(CHAIN, "/other"), "it sets ssl/certificate_chain_file to /other already"),
        (ENGINE % ELEMENT.replace(CHAIN, "<a/>"), "ssl/certificate_chain_file in it has further elements"),
        ("<config/>", "it has no element ssl"),
        ("<config><ssl></ssl><b><ssl></ssl></b></config>", "it has 2 elements ssl"),
        ("<config><ssl></config>", "it is no XML that is understood: mismatched tag"),
        ("", "it is no XML that is understood: no element found"),
        (f"<a><ssl>&x;{ELEMENT}</ssl></a>", "it is no XML that is understood: undefined entity"),
        (
            '<!DOCTYPE a [<!ENTITY x "y">]><a><ssl></ssl></a>',
            "it has a document type, whose entities could stand for anything",
        ),
        ("<!DOCTYPE a SYSTEM '/etc/passwd'><a/>", "it has a document type, whose entities could stand for anything"),
        ("<a>" * 300, "it has too many elements within each other"),
        ('<?xml version="1.0" encoding="none-such"?><a/>', "its encoding is not known"),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_an_xml_file_that_cannot_be_edited_safely_is_refused(data: str, why: str, wanted: bool) -> None:
    assert why_not(data.encode(), XML, wanted=wanted) == why


def test_an_element_that_is_closed_at_once_has_no_room() -> None:
    assert why_not(b"<a><ssl/></a>", XML) == "<ssl/> in it has no room for an element"


def test_an_element_without_a_value_is_filled() -> None:
    for empty in ("<certificate_chain_file/>", "<certificate_chain_file>\n</certificate_chain_file>"):
        data = (ENGINE % f"    {empty}\n").encode()
        assert edited(data, XML, wanted=False) == data
        assert edited(data, XML) == (ENGINE % f"    {ELEMENT}\n").encode()


def test_a_path_that_the_encoding_lacks_is_refused() -> None:
    line = ConfigLine("/x", LineSyntax.XML, XML.setting, "/etc/\u0142\u00f3d\u017a.crt")
    data = (_CORPUS / "xml/latin-1.xml").read_bytes()
    assert why_not(data, line) == "the path of the chain cannot be written in ISO-8859-1"
    assert "\u0142\u00f3d\u017a".encode() in edited((_CORPUS / "xml/engine.xml").read_bytes(), line)


@pytest.mark.parametrize("line", [LIGHTTPD, XML])
def test_a_file_that_is_too_large_is_not_read(line: ConfigLine) -> None:
    data = b"\n" * (LARGEST + 1)
    assert why_not(data, line) == f"it is larger than {LARGEST} bytes"
    assert read_line(data, line).state is LineState.UNCLEAR


@pytest.mark.parametrize("line", [LIGHTTPD, XML])
@pytest.mark.parametrize("path", ["/a\nb", "/a\x7f", '/a"b', "/a\\b", "/a<b>&c", " /a", "/\u00fcber/\u0142"])
def test_a_path_is_written_so_that_it_is_read_again_or_refused(line: ConfigLine, path: str) -> None:
    line = ConfigLine(line.file, line.syntax, line.setting, path, line.certificate)
    data = (_CORPUS / ("xml/engine.xml" if line.syntax is LineSyntax.XML else "lighttpd/console.conf")).read_bytes()
    made = edit_line(data, line, wanted=True)
    if isinstance(made, CannotEdit):
        assert made.why == "the path of the chain cannot be written into it"
    else:
        assert read_line(made, line).state is LineState.PRESENT
        assert edited(made, line, wanted=False) == data


_NEWLINES: Final = st.sampled_from(["\n", "\r\n", "\r"])
_BLANKS: Final = st.text(" \t", max_size=4)
_STATEMENTS: Final = st.sampled_from(
    [
        *(
            "server.port = 99",
            'ssl.engine = "enable"',
            'x = ( "a" => "b{", "c" )',
            "x += ( 1 )",
            "",
            "# }",
            "# ssl.ca-file",
        ),
        *('include "x/*.conf"', 'var.x = "ssl.ca-file" + "=" + var.y', 'a = "\\""', 'b = "x" # y'),
    ]
)


@st.composite
def lighttpd_files(draw: st.DrawFn) -> bytes:
    """Return a file with statements and blocks, perhaps with the certificate in one of them, and any line ends."""
    newline = draw(_NEWLINES)
    lines = [draw(_BLANKS) + draw(_STATEMENTS) for _ in range(draw(st.integers(0, 6)))]
    place = draw(st.sampled_from(["nowhere", "global", "block"]))
    if place != "nowhere":
        statement = f'{draw(_BLANKS)}ssl.pemfile = "/etc/own/certificate.pem"{draw(_BLANKS)}'
        block = ['$SERVER["socket"] == ":99" {', statement, draw(_STATEMENTS), "}"]
        at = draw(st.integers(0, len(lines)))
        lines[at:at] = [statement] if place == "global" else block
    mark = draw(st.sampled_from(["", "\xef\xbb\xbf"]))
    return (mark + newline.join(lines) + draw(st.sampled_from(["", newline]))).encode("latin-1")


@st.composite
def xml_files(draw: st.DrawFn) -> bytes:
    """Return a document with an element `ssl` and anything in it, in any encoding."""
    newline = draw(_NEWLINES)
    parts = st.sampled_from(
        [
            "<a/>",
            "<b>\u00e4</b>",
            "text",
            "<!-- <c> -->",
            " ",
            "\t",
            newline,
            "<![CDATA[ ]]>",
            "<?p x?>",
            "&amp;",
            "&#10;",
        ]
    )
    within = "".join(draw(st.lists(parts, max_size=8)))
    around = [draw(st.sampled_from(["", newline, f"<x>{newline}</x>", "<certificate_chain_file/>"])) for _ in "12"]
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "iso-8859-1", "utf-16"]))
    declared = "" if encoding.startswith("utf-8") else f'<?xml version="1.0" encoding="{encoding}"?>'
    text = f"{declared}<config>{around[0]}<ssl>{within}</ssl>{around[1]}</config>"
    return (text + draw(st.sampled_from(["", newline]))).encode(encoding)


def check(data: bytes, line: ConfigLine, reads: Callable[[bytes], bool]) -> None:
    after = edited(data, line)
    assert reads(after)
    assert edited(after, line) == after
    assert edited(after, line, wanted=False) == data
    assert edited(data, line, wanted=False) == data


@given(lighttpd_files())
def test_any_lighttpd_file_gets_the_line_and_is_as_before_without_it(data: bytes) -> None:
    text = f'ssl.ca-file = "{CHAIN}"'.encode()
    check(data, LIGHTTPD, lambda after: after.count(text) == 1)


@given(xml_files())
def test_any_xml_file_gets_the_element_and_is_as_before_without_it(data: bytes) -> None:
    check(data, XML, lambda after: ET.fromstring(after).findtext("ssl/certificate_chain_file") == CHAIN)


@given(st.binary(max_size=300) | st.text('ssl.ca-file="x" \n{}()#$<>/&;!?[]', max_size=300).map(str.encode))
def test_no_content_makes_reading_or_editing_raise(data: bytes) -> None:
    for line in (LIGHTTPD, XML):
        for wanted in (True, False):
            made = edit_line(data, line, wanted=wanted)
            if isinstance(made, bytes) and made != data:
                assert read_line(made, line).state is (LineState.PRESENT if wanted else LineState.ABSENT) or not wanted
        included(data, line)
