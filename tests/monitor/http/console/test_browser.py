"""The pages in a real browser: readable at each width, for everybody, and live without disturbing whoever reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import pytest

from monitor.lab.ca import DAY, Authority
from tests.kit.browser import SHOTS, chromium, violations
from tests.kit.console import configured_host
from tests.kit.daemon import RunningDaemon
from tests.kit.hostile import hostile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS: Final = (
    *("/", "/certificates", "/components/web", "/groups/site", "/clients", "/timeline", "/history", "/settings"),
    "CERTIFICATE",
)
WIDTHS: Final = (360, 1280, 1920)
FILES: Final = 20

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class SeenWorld:
    """A daemon with things to be seen, and a browser."""

    daemon: RunningDaemon
    browser: Browser
    directory: Path

    def address(self, path: str) -> str:
        return f"http://{self.daemon.web}{path}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeenWorld]:
    directory, issued = tmp_path_factory.mktemp("seen"), hostile()
    root, now = Authority.root("Corporate Root CA"), time.time()
    issuing = root.intermediate("Corporate Issuing CA 3")
    for number in range(FILES):
        end = now + (number * 9 - 8) * DAY
        (directory / f"{number:02}.pem").write_bytes(
            issuing.issue(f"host{number}.example.com", not_before=end - 90 * DAY, not_after=end).chain_pem()
        )
    (directory / "root.pem").write_bytes(root.pem())
    with (
        configured_host(directory, issued, "browser", "java") as config,
        RunningDaemon(config) as daemon,
        chromium() as browser,
    ):
        daemon.wait_for(lambda: "presents web/" in daemon.text, "a look at the endpoint")
        daemon.wait_for(lambda: daemon.ask("/api/v1/problems")["total"], "the problems")
        yield SeenWorld(daemon, browser, directory)


def addresses(world: SeenWorld) -> Sequence[tuple[str, str]]:
    certificate = world.daemon.ask("/api/v1/targets/web%2Fcertificate")["presented"][0]
    return [(path, path.replace("CERTIFICATE", f"/certificates/{certificate}")) for path in PATHS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_each_page_fits_its_width_and_axe_finds_nothing(
    world: SeenWorld, width: int, scheme: Literal["light", "dark"]
) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    context = world.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    wrong = []
    for name, path in addresses(world):
        page.goto(world.address(path))
        page.screenshot(path=SHOTS / f"{name.strip('/').replace('/', '-') or 'now'}-{width}-{scheme}.png")
        # Wider than that, nothing is laid out otherwise.
        wrong += [f"{path}: {each}" for each in violations(page)] if width < max(WIDTHS) else []
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wrong.append(f"{path}: wider than {width}")
    context.close()
    assert wrong == []


def test_nothing_is_refused_by_the_policy_and_nothing_fails(world: SeenWorld) -> None:
    page = world.browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
    for _, path in addresses(world):
        page.goto(world.address(path))
        page.locator("#live", has_text="Live.").wait_for()
    page.close()
    assert said == []


def test_every_page_is_reached_by_the_keyboard_alone(world: SeenWorld) -> None:
    page = world.browser.new_page()
    page.goto(world.address("/"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(world.address("/"))
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/certificates")
    page.close()


def told(page: Page) -> str:
    return page.inner_text("#problems")


def test_a_page_changes_as_things_happen_and_leaves_alone_whoever_reads_it(world: SeenWorld) -> None:
    page = world.browser.new_page(viewport={"width": 800, "height": 400})
    page.goto(world.address("/"))
    page.locator("#live", has_text="Live.").wait_for()
    page.evaluate("""() => {
        window.marked = document.querySelectorAll('#problems a')[1];
        marked.focus({preventScroll: true});
        const title = document.querySelector('#problems h3');
        getSelection().selectAllChildren(title);
        window.chosen = String(getSelection());
        scrollTo(0, 300);
    }""")
    assert "renewed.example.com" not in told(page)
    new = Authority.root("Another").issue("renewed.example.com", not_before=1.6e9, not_after=1.7e9)
    (world.directory / "zz.pem").write_bytes(new.chain_pem())
    page.locator("#problems", has_text="renewed.example.com").wait_for()
    kept = page.evaluate("[marked === document.activeElement, String(getSelection()) === chosen, scrollY]")
    page.close()
    assert kept == [True, True, 300]


def test_what_is_being_written_stays_while_a_page_changes(world: SeenWorld) -> None:
    page = world.browser.new_page()
    page.goto(world.address("/certificates"))
    page.locator("#live", has_text="Live.").wait_for()
    page.fill("#f-q", "half a wo")
    (world.directory / "yy.pem").write_bytes(Authority.root("Yet another").pem())
    page.locator("#table", has_text="yy.pem").wait_for()
    assert page.input_value("#f-q") == "half a wo"
    page.close()


def test_a_page_that_cannot_be_had_is_not_called_live_until_it_can(world: SeenWorld) -> None:
    page = world.browser.new_page()
    page.goto(world.address("/certificates"))
    page.locator("#live", has_text="Live.").wait_for()
    page.route("**/certificates", lambda route: route.fulfill(status=503))
    (world.directory / "xx.pem").write_bytes(Authority.root("The third").pem())
    page.locator("#live", has_text="Not live: the daemon answers 503.").wait_for()
    page.unroute("**/certificates")
    page.locator("#table", has_text="xx.pem").wait_for()
    page.locator("#live", has_text="Live.").wait_for()
    assert page.inner_text("#live") == "Live."
    page.close()


def test_pages_work_without_javascript(world: SeenWorld) -> None:
    context = world.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(world.address("/certificates"))
    page.fill("#f-q", "host3.example.com")
    page.click("text=Show")
    assert page.url.endswith("q=host3.example.com&state=&group=&label=&issuer=&sort=end")
    assert page.locator("tbody tr").count() == 1
    context.close()
