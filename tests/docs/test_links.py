"""Links lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.documents import DOCUMENTS, ROOT, anchors, links, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    broken = []
    for link in links(document):
        if link.text.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.text.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.is_relative_to(ROOT) or not target.exists():
            broken.append(f"{link.where}: there is no {link.text}")
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link.where}: {name(target)} has no heading #{anchor}")
    assert not broken, "\n".join(broken)


def test_the_readme_is_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_each_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {each.stem for each in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages == {page for page in pages if f"\n{page}\n" in index}
