from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.server("no-such-server")
def test_with_a_missing_server(): pass

@pytest.mark.slow
def test_that_is_slow(): pass
"""


@pytest.mark.parametrize(
    ("ci", "option", "outcome"),
    [("", "", "2 skipped"), ("", "--all", "1 passed, 1 skipped"), ("true", "", "1 skipped, 1 error")],
)
def test_a_missing_server_skips_a_test_but_fails_it_in_ci(
    pytestconfig: pytest.Config, tmp_path: Path, ci: str, option: str, outcome: str
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "0"),
            *(
                "-c",
                str(pytestconfig.inipath),
                "--rootdir",
                str(tmp_path),
                *([option] if option else []),
                str(tmp_path),
            ),
        ],
        cwd=pytestconfig.rootpath,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome in ran.stdout.splitlines()[-1], ran.stdout + ran.stderr
