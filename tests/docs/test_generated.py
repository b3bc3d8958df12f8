"""The pages that are made from the code are what the code makes."""

from __future__ import annotations

import pytest

from docs.generate import PAGES
from tests.kit.documents import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_what_the_code_makes(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == PAGES[page](), "run `make pages`"


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    rows = [line for line in PAGES["configuration.md"]().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert not [row for row in rows if not row.split(" | ")[2].strip()]


def test_every_metric_is_described_once() -> None:
    families = [line.split("`")[1].partition("{")[0] for line in PAGES["metrics.md"]().splitlines() if "| `" in line]
    assert len(families) > 30
    assert len(families) == len(set(families))


def test_required_options_are_marked_and_a_profile_names_the_backups_of_its_product() -> None:
    assert "| `--for DURATION` | How long, such as 2h. | required |" in PAGES["commands.md"]()
    assert "| `console` | `/var/nexthink/console/certificates/backup/" in PAGES["profiles.md"]()


def test_no_command_in_the_advice_on_a_finding_has_an_empty_word() -> None:
    assert "''" not in PAGES["findings.md"]()


def test_every_command_has_a_section() -> None:
    sections = {line for line in PAGES["commands.md"]().splitlines() if line.startswith("## ")}
    assert {"## certvigil check", "## certvigil config units", "## certvigil policy test"} <= sections
