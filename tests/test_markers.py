from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.long import LONG, dealt
from tests.kit.tenth import drawn

TESTS = """
import pytest

@pytest.mark.server("no-such-server")
def test_with_a_missing_server(): pass

@pytest.mark.slow
@pytest.mark.parametrize("number", range(40))
def test_that_is_slow(number): pass
"""
SEED = "it's today"
DRAWN = sum(drawn(SEED, f"test_it.py::test_that_is_slow[{number}]") for number in range(40))


@pytest.mark.parametrize(
    ("ci", "options", "outcome"),
    [
        ("", (), "41 skipped"),
        ("", ("--all",), "40 passed, 1 skipped"),
        ("true", ("--slow-tenth", SEED), f"{DRAWN} passed, {40 - DRAWN} skipped, 1 error"),
    ],
    ids=["by default", "all", "in CI, with a tenth of the slow"],
)
def test_a_missing_server_skips_a_test_but_fails_it_in_ci_and_slow_tests_are_asked_for(
    pytestconfig: pytest.Config, tmp_path: Path, ci: str, options: tuple[str, ...], outcome: str
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "0"),
            *("-c", str(pytestconfig.inipath), "--rootdir", str(tmp_path), *options, str(tmp_path)),
        ],
        cwd=pytestconfig.rootpath,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome in ran.stdout.splitlines()[-1], ran.stdout + ran.stderr
    told = "pytest -m slow --slow-tenth 'it'\"'\"'s today'" in ran.stdout
    assert told == ("--slow-tenth" in options), "how to have the same tenth again"


def test_each_seed_draws_another_tenth_and_many_draw_every_test() -> None:
    tests = list(map(str, range(300)))
    tenths = [{test for test in tests if drawn(f"seed {number}", test)} for number in range(100)]
    assert len(set(map(frozenset, tenths))) == 100
    assert set().union(*tenths) == set(tests)
    assert 25 < sum(map(len, tenths)) / 100 < 35


def test_tests_that_take_long_are_there_and_come_first_in_the_parts_of_half_of_the_workers() -> None:
    for each in LONG:
        path, _, name = each.partition("::")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert not name or callable(getattr(module, name)), each
    (file,) = [each for each in LONG if "::" not in each]
    long = [f"{each}[1]" for each in sorted(LONG - {file})[:4]]
    tests = [*(f"test_{number}" for number in range(25)), *long, f"{file}::test_one", f"{file}::test_other"]
    found = dealt(tests, 4, str)
    assert sorted(found) == sorted(tests)
    parts = [found[31 * part // 4 : 31 * (part + 1) // 4] for part in range(4)]
    assert [part[:2] for part in parts[:2]] == [long[::2], long[1::2]]
    assert not any(each in long for part in parts[2:] for each in part)
    assert [each for each in parts[0] if each.startswith(file)] == [f"{file}::test_one", f"{file}::test_other"]
    assert [each for each in found if each.startswith("test_")] == tests[:25], "modules stay together"
