# SPDX-License-Identifier: BSD-2-Clause
"""One pytest item per mask or test on each machine; harness/plugin.py says which."""

from __future__ import annotations

import pytest

from harness.lab import Lab
from harness.plan import Case
from harness.plugin import PAYLOAD
from harness.rows import all_skipped, fails


def test_item(case: Case, lab: Lab, request: pytest.FixtureRequest) -> None:
    payload = lab.run(case)
    request.node.stash[PAYLOAD] = payload
    rows = payload["rows"]
    if fails(rows):
        lines = [f"{r['outcome']}: {r['id']}: {r['verdict']}: {r['reason']} {r['note']}".rstrip() for r in rows]
        pytest.fail("\n".join([*lines, f"repeat: {rows[0]['repeat']}"]), pytrace=False)
    if all_skipped(rows):
        pytest.skip(rows[0]["reason"])
