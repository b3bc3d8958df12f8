from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.document import ALIAS_LIMIT, Mark, YAMLDocument, escape, fill, join, parse, substitute


def read(text: str, file: str = "a.yaml") -> YAMLDocument:
    document, mistakes = parse(text.encode(), file)
    assert document is not None
    assert mistakes == ()
    return document


def refusal(data: bytes | str) -> str:
    document, (*_, mistake) = parse(data.encode() if isinstance(data, str) else data, "a.yaml")
    assert document is None
    return str(mistake)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("10:30", "10:30"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("2027-03-31", "2027-03-31"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("9" * 5000, float("inf")),
    ],
)
def test_a_scalar_means_what_the_core_schema_says(scalar: str, value: object) -> None:
    found = read(f"key: {scalar}").values["key"]
    assert found == value
    assert type(found) is type(value)


def test_a_key_is_text_as_it_is_written() -> None:
    assert read("99: {true: x}").values == {"99": {"true": "x"}}


def test_every_value_knows_its_line() -> None:
    document = read("a:\n  b:\n    - 1\n    - c: 2\n")
    assert document.marks == {
        (): Mark("a.yaml", 1),
        ("a",): Mark("a.yaml", 1),
        ("a", "b"): Mark("a.yaml", 2),
        ("a", "b", 0): Mark("a.yaml", 3),
        ("a", "b", 1): Mark("a.yaml", 4),
        ("a", "b", 1, "c"): Mark("a.yaml", 4),
    }
    assert document.mark(("a", "b", 7, "missing")) == Mark("a.yaml", 2)


def test_each_key_given_twice_is_a_mistake_with_both_lines() -> None:
    document, mistakes = parse(b"a: {b: 1,\n b: {c: 1}}\nd: 1\na: 2\n", "a.yaml")
    assert document is not None
    assert document.values == {"a": {"b": 1}, "d": 1}
    assert [str(mistake) for mistake in mistakes] == [
        "a.yaml:2: a.b: given twice, expected once; it is in line 1 already",
        "a.yaml:4: a: given twice, expected once; it is in line 1 already",
    ]


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        ("", "a.yaml:1: found nothing, expected a mapping of sections"),
        ("# only a comment\n", "a.yaml:1: found nothing, expected a mapping of sections"),
        ("\n- 1\n", "a.yaml:2: found a list, expected a mapping of sections"),
        ("word", "a.yaml:1: found 'word', expected a mapping of sections"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2: a second document, expected one"),
        ("a: 1\nb: *x\n", "a.yaml:2: there is no '&x' above, expected an anchor that stands in this file"),
        ("a: &x [1, *x]\n", "a.yaml:1: there is no '&x' above, expected an anchor that stands in this file"),
        ("a: &x 1\nb: &x 2\n", "a.yaml:2: there is an anchor '&x' in line 1 already, expected another name"),
        ("&x a: 1\n", "a.yaml:1: an anchor before a key, expected it before a value"),
        ("a: &x 1\n*x : 1\n", "a.yaml:2: a key that is not text, expected a word followed by a colon"),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "a.yaml:1: found a tag, which begins with '!', expected the value alone: text is text in quotes",
        ),
        ("? [a]\n: 1\n", "a.yaml:1: a key that is not text, expected a word followed by a colon"),
        (
            "a: 1\nb: [\n",
            "a.yaml:3: found no value, expected one, or the ']' that ends a list",
        ),
        (
            "a: {b: 1\nc: 2\n",
            (
                "a.yaml:2: found no ',' and no '}', expected one of them after each value in '{...}'; this is about "
                "what begins in line 1"
            ),
        ),
        (
            "a: {b: 1\n",
            (
                "a.yaml:2: found no ',' and no '}', expected one of them after each value in '{...}'; this is about "
                "what begins in line 1"
            ),
        ),
        (
            "a: 'b\nc: 1\n",
            (
                "a.yaml:3: found the end of the file, expected the quotation mark that ends a text; this is about what "
                "begins in line 1"
            ),
        ),
        (
            "a:\n  - b\n   - c\n- d\n",
            (
                "a.yaml:4: found no key, expected each key of a mapping with the same indentation; this is about what "
                "begins in line 1"
            ),
        ),
        ("a: *\n", "a.yaml:1: found '*' or '&' without a name, expected quotes around a text that begins so"),
        (
            "a:\n\tb: 1\n",
            (
                "a.yaml:2: found a character that begins no value, such as a tab, '@' or '%', expected spaces for the "
                "indentation, and quotes around such a text"
            ),
        ),
        (b"a: 1\nb: \xff\n", "a.yaml:2: bytes that are no UTF-8, expected UTF-8 text"),
        ("a: 1\nb: \x1b[2J\n", "a.yaml:2: control characters are not allowed, expected YAML"),
        ("[" * 500, "a.yaml:1: nested too deeply, expected at most 32 levels"),
        (
            "a: " * 3 + "b",
            (
                "a.yaml:1: found a ':' where no key may stand, expected quotes around a text with ': ' in it, and the "
                "indentation of the lines above"
            ),
        ),
    ],
)
def test_what_is_no_document_is_refused(data: bytes | str, mistake: str) -> None:
    assert refusal(data) == mistake


def test_aliases_cannot_multiply() -> None:
    """The billion laughs: each line would hold ten times the one before."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert (
        refusal("\n".join(lines))
        == f"a.yaml:6: '*a4' makes it too much, expected aliases for at most {ALIAS_LIMIT} values"
    )


def test_aliases_cannot_multiply_where_a_key_is_given_twice() -> None:
    """What is not used counts, too."""
    lines = [f"a: &a [{', '.join('x' * 1000)}]", *(["a: *a"] * 200)]
    assert "makes it too much" in refusal("\n".join(lines))


def test_aliases_cannot_nest_deeper_than_values_may() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    assert "nested too deeply" in refusal("\n".join(lines))


def test_an_alias_stands_for_what_its_anchor_marks() -> None:
    document = read("a: &a\n  b: [1, &often 5m]\n  c: *often\nd: [*a, *often]\ne: *a\n")
    whole = {"b": [1, "5m"], "c": "5m"}
    assert document.values == {"a": whole, "d": [whole, "5m"], "e": whole}
    assert document.mark(("e",)).line == 5
    assert document.mark(("e", "b", 1)).line == 2
    assert document.mark(("d", 0, "c")).line == 3


def test_a_merge_key_is_a_mistake_that_hides_no_other() -> None:
    _, mistakes = parse(b"a: &a {b: 1}\nc:\n  <<: *a\n  d: 1\n  d: 2\n", "a.yaml")
    assert [str(mistake) for mistake in mistakes] == [
        "a.yaml:3: c.<<: found a merge key, expected the keys themselves, or an alias for the whole mapping",
        "a.yaml:5: c.d: given twice, expected once; it is in line 4 already",
    ]


def test_hostile_text_in_a_mistake_is_harmless() -> None:
    _, (mistake,) = parse(b'"a\\e[2J\\n": 1\n"a\\e[2J\\n": 2', "evil\n.yaml")
    assert str(mistake).isprintable()


def test_variables_are_replaced_in_text() -> None:
    document, mistakes = substitute(read("a: ['${X}/${Y}', 5]\nb: {c: '$${X} $X $$'}"), {"X": "1", "Y": "${X}"})
    assert mistakes == ()
    assert document.values == {"a": ["1/${X}", 5], "b": {"c": "${X} $X $$"}}


def test_what_a_variable_holds_stays_text() -> None:
    assert substitute(read("a: ${X}"), {"X": "null"})[0].values == {"a": "null"}


def test_what_was_written_is_kept_beside_what_a_variable_holds() -> None:
    assert substitute(read("a: b\nc: ${X}"), {"X": "hunter2"})[0].mark(("c",)) == Mark("a.yaml", 2, "${X}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${MISSING}", "${MISSING} is not set, expected it in the environment"),
        ("${", "found '${' that begins no variable, expected ${NAME}, or $${ for '${' itself"),
        ("${a-b}", "found '${' that begins no variable, expected ${NAME}, or $${ for '${' itself"),
    ],
)
def test_a_variable_that_cannot_be_replaced_is_a_mistake(text: str, problem: str) -> None:
    _, mistakes = substitute(read(f"a:\n  - b: '{text}'"), {})
    assert [str(mistake) for mistake in mistakes] == [f"a.yaml:2: a[0].b: {problem}"]


@given(st.text(alphabet="${}aX \\"))
def test_escaped_text_comes_back(text: str) -> None:
    assert fill(escape(text), {}) == (text, ())


def test_documents_are_joined_with_their_lines() -> None:
    first = read("list: [1]\nmap: {a: 1}\nword: x", "a.yaml")
    second = read("list:\n  - 2\n  - {k: 3}\nmap:\n  b: 2\nmore: {c: 4}", "b.yaml")
    joined, lost = join(first, second)
    assert lost == ()
    assert joined.values == {"list": [1, 2, {"k": 3}], "map": {"a": 1, "b": 2}, "word": "x", "more": {"c": 4}}
    assert joined.mark(("list", 0)) == Mark("a.yaml", 1)
    assert joined.mark(("list", 2, "k")) == Mark("b.yaml", 3)
    assert joined.mark(("map", "b")) == Mark("b.yaml", 5)
    assert joined.mark(("more", "c")) == Mark("b.yaml", 6)


def test_what_both_documents_give_is_the_first_ones() -> None:
    first = read("map: {a: {x: 1}}\nword: x", "a.yaml")
    joined, lost = join(first, read("word: y\nmap: {a: {y: 2}, b: 3}", "b.yaml"))
    assert joined.values == {"map": {"a": {"x": 1}, "b": 3}, "word": "x"}
    assert lost == (("word",), ("map", "a"))
    assert ("map", "a", "y") not in joined.marks
