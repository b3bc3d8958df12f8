"""Debian's Chromium, driven by Playwright, and axe-core, which `tests/kit/install browser` puts into `build/`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.lab.process import find_command

if TYPE_CHECKING:
    # It is loaded where a browser is: most runs have none.
    from playwright.sync_api import Browser, Page

BUILD: Final = Path(__file__).parents[2] / "build"
AXE: Final = BUILD / "browser" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS: Final = BUILD / "screenshots"
"""To be looked at; nothing compares them."""
_RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser without a screen."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    command = find_command("chromium")
    assert command is not None, "tests/kit/install servers installs chromium"
    with sync_playwright() as playwright:
        # Root, as which containers run, has no sandbox.
        browser = playwright.chromium.launch(executable_path=command, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page of a context that passes the content security policy by."""
    assert AXE.exists(), "tests/kit/install browser brings axe-core"
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("rules => axe.run({runOnly: rules})", list(_RULES))
    return [
        f"{each['id']}: {each['help']}: {[node['target'] for node in each['nodes']][:3]}"
        for each in found["violations"]
    ]
