# SPDX-License-Identifier: BSD-2-Clause
"""docs/findings/: the index has every page, and what the expectations link to is there."""

from __future__ import annotations

import re
import tomllib

import pytest

from harness.settings import ROOT

FOLDER = ROOT / "docs" / "findings"
INDEX = FOLDER / "README.md"
PAGES = sorted(p.name for p in FOLDER.glob("*.md") if p != INDEX)


def test_the_index_has_every_page_once() -> None:
    assert sorted(re.findall(r"\]\(([^)]+)\)", INDEX.read_text())) == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert re.match(r"# (KVM|Bochs)[^:\n]*: .", text), "the title begins with the host"
    assert "run_tests.py" in text, "the command that repeats it"


def test_links_of_expectations() -> None:
    links = {
        entry["link"]
        for path in (ROOT / "harness" / "expect").glob("*.toml")
        for entry in tomllib.loads(path.read_text()).get("known", [])
        if "link" in entry and not entry["link"].startswith("http")
    }
    assert links and [link for link in links if not (ROOT / link).is_file()] == []
