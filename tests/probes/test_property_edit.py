"""Setting one key in a file of properties: every other byte stays."""

from __future__ import annotations

import time

import pytest

from probes.property_edit import with_value

KEY = "globalconfig.portal.dispatcher.engine-ssl-ignore-certificate-problems"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"a=1\nKEY=true\nb=2\n", b"a=1\nKEY=false\nb=2\n", id="in the middle"),
        pytest.param(b"KEY=true", b"KEY=false", id="without a final newline"),
        pytest.param(b"a=1\r\nKEY=true\r\n", b"a=1\r\nKEY=false\r\n", id="with CRLF"),
        pytest.param(b"  KEY : true \t\n", b"  KEY : false \t\n", id="with white space and a colon"),
        pytest.param(b"KEY true\n", b"KEY false\n", id="with a blank alone"),
        pytest.param(b"KEY=\n", b"KEY=false\n", id="empty"),
        pytest.param(b'KEY="true"\n', b'KEY="false"\n', id="in quotation marks"),
        pytest.param(b"#KEY=true\n! KEY=true\n", b"#KEY=true\n! KEY=true\nKEY=false\n", id="commented out"),
        pytest.param(b"KEY=true\nKEY=true\n", b"KEY=true\nKEY=false\n", id="twice, of which the last counts"),
        pytest.param(b"KEYS=true\nmy.KEY=true\n", b"KEYS=true\nmy.KEY=true\nKEY=false\n", id="as a part of others"),
        pytest.param(b"a=\\\nKEY=true\n", b"a=\\\nKEY=true\nKEY=false\n", id="as a part of a value"),
        pytest.param(b"# note \\\nKEY=true\n", b"# note \\\nKEY=false\n", id="after a comment, which never goes on"),
        pytest.param(b"\xef\xbb\xbfKEY=true\n", b"\xef\xbb\xbfKEY=false\n", id="after a byte order mark"),
        pytest.param(b"name=M\xfcller\nKEY=true\n", b"name=M\xfcller\nKEY=false\n", id="beside Latin-1"),
        pytest.param(b"", b"KEY=false\n", id="in an empty file"),
        pytest.param(b"a=1", b"a=1\nKEY=false\n", id="in a file without it, nor a final newline"),
        pytest.param(b"a=1\r\nb=2", b"a=1\r\nb=2\r\nKEY=false\r\n", id="in a file of CRLF without it"),
    ],
)
def test_a_key_is_set_and_every_other_byte_stays(before: bytes, after: bytes) -> None:
    key = KEY.encode()
    edited = with_value(before.replace(b"KEY", key), KEY, "false")
    assert edited == after.replace(b"KEY", key)
    assert with_value(edited, KEY, "false") == edited


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (f"{KEY}=\\\ntrue\n".encode(), f"its line {KEY} goes on in the next line"),
        (b"a=1\\", "its last line goes on where the file ends"),
        (f"{KEY}=true\n".encode("utf-16"), "it is no text of one octet for each letter"),
    ],
)
def test_a_file_that_cannot_be_edited_safely_is_refused_with_the_line_to_write(before: bytes, why: str) -> None:
    assert with_value(before, KEY, "false") == f"{why}; write the line {KEY}=false by hand"


def test_a_value_that_needs_an_escape_is_refused() -> None:
    assert "is not written" in str(with_value(b"", KEY, "a\nb"))


@pytest.mark.parametrize("line", [b"k=y" + b" " * 2**20 + b"z", b"k" + b"\t" * 2**20, b"\\\\" * 2**20, b" " * 2**20])
def test_a_long_line_does_not_hold_an_edit_up(line: bytes) -> None:
    begun = time.process_time()
    assert with_value(line + b"\nKEY=true", "KEY", "false") == line + b"\nKEY=false"
    assert time.process_time() - begun < 10.0
