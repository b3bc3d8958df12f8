"""Regular expressions for paths: those that any path is matched against in little time, and no others."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.pattern import expression_for_paths, is_simple
from tests.kit.examples import examples

MANY = "at most 2 repetitions or alternatives for each name between two slashes, 1 that passes over slashes as .+ does"
TAKEN = (
    r"/srv/(?P<site>[^/]+)/tls/.+",
    r"/srv/tls/(?P<site>[a-z0-9-]+)\.(?:crt|pem)",
    r"/home/(?P<owner>[^/]+)/(?P<app>[^/]+)/(?P<env>prod|test)/[^/]*\.pem",
    r".*\.pem",
    r"/etc/(?P<year>\d{4})-(?P<month>\d\d)/x",
    r"/(?P<a>\w+)-(?P<b>\w+)/(?P<c>[^/]+)",
)


@pytest.mark.parametrize("text", TAKEN)
def test_what_sites_write_is_taken_and_takes_little_time_for_any_path(text: str) -> None:
    expression = expression_for_paths(text)
    for path in ("/" + "a" * 4095, "/srv/" + "a-" * 2000, "/a" * 2047, "/srv/x/tls/" + "x/" * 1000 + "\n"):
        begun = time.process_time()
        expression.fullmatch(path)
        assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a+)+", "no repetition and no alternative within a repetition"),
        ("(ab|c)*", "no repetition and no alternative within a repetition"),
        ("(?:a{2,3}){4}", "no repetition and no alternative within a repetition"),
        ("(a|b+)", "no repetition and no alternative within an alternative"),
        (r"(a)\1", "an expression without references and without conditions on what follows or precedes"),
        ("(?=a)a", "an expression without references and without conditions on what follows or precedes"),
        ("a?a?a?a?", MANY),
        ("[^/]+[^/]+[^/]+a", MANY),
        (".+/.+", MANY),
        ("(", "a regular expression as Python reads it: missing ), unterminated subpattern at position 0"),
        ("a" * 1001, "a regular expression of at most 1000 characters"),
        ("(?P<target>a)", "groups by the names of labels, which target is not"),
        ("(?P<kind>a)", "groups by the names of labels, which kind is not"),
        ("(" * 10_000, "a regular expression of at most 1000 characters"),
    ],
)
def test_what_could_take_for_ever_or_is_no_label_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match="^" + expected.replace("(", r"\(").replace(")", r"\)")):
        expression_for_paths(text)


@pytest.mark.parametrize(
    ("pattern", "simple"),
    [
        ("^220 ([^ ]+) ESMTP (.+)$", True),
        ("OK.*STARTTLS", True),
        ("^SSH-2.0-([^ -]+)(?: (.*))?$", True),
        (r"^\+OK", True),
        ("^[*+{]", True),
        ("a*b*", False),
        ("^a*b*c*", False),
        ("^(a+)+$", False),
        ("^(a|b){2}", False),
        (r"^(a)\1", False),
        ("^(", False),
        ("^(?:[^ ]+ )?(?:OK|BAD)[^ ]+$", True),
        ("^OK|NO.*", True),
        ("^a+|b+c+", False),
        ("a*b+|^c", False),
        ("^" + "a?" * 7, False),
        ("^" + "(?:a|a)" * 7, False),
        ("^(?=a)", False),
    ],
)
def test_an_expression_that_may_take_long_is_not_simple(pattern: str, simple: bool) -> None:
    assert is_simple(pattern) is simple


PIECES = st.sampled_from(["a", "/", "[^/]+", "[^/]*", ".+", "a?", "(a|b)", "(?P<x>[a-z]+)", r"\d*", "-", "a{0,50}"])


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(["a", "/", "a/", "a-", "ab"]))
def test_whatever_is_taken_is_matched_in_time(text: str, path: str) -> None:
    try:
        expression = expression_for_paths(text)
    except ValueError:
        return
    begun = time.process_time()
    expression.fullmatch("/" + path * (1_000 // len(path)) + "!")
    assert time.process_time() - begun < 1
