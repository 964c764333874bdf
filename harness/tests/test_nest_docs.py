# SPDX-License-Identifier: BSD-2-Clause
"""docs/xmhf-nest.md lists the controls as the table has them."""

import json
import re

import pytest

from harness.settings import ROOT

HEADINGS = {"PASS": "### Passed", "VIRT": "### Virtualized", "HIDE": "### Hidden"}


def section(heading: str) -> str:
    text = (ROOT / "docs" / "xmhf-nest.md").read_text()
    found = re.search(rf"^{re.escape(heading)}.*?\n(.*?)(?=^##|\Z)", text, re.M | re.S)
    assert found
    return found[1]


def listed(text: str) -> set[str]:
    cells = re.findall(r"^\| (.*?) \|", text, re.M)
    words = [w for line in re.findall(r"^- [^:]*: (.*)$", text, re.M) for w in line.split("; ")]
    return set(cells + words) - {"control", "---"}


@pytest.mark.parametrize("nested", HEADINGS)
def test_controls(nested: str) -> None:
    controls = json.loads((ROOT / "build" / "tables.json").read_text())["controls"]
    assert listed(section(HEADINGS[nested])) == {c["text"] for c in controls if c["nested"] == nested}
