# SPDX-License-Identifier: BSD-2-Clause
"""The rule book: its files, the tests' references to it, and what results say of rules."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from harness import elf, rules
from harness.errors import EnvironmentProblem
from harness.rules import State
from harness.settings import Settings

BOOK = """/* SPDX
 * head */
RULE("a.b.one", OBSERVABLE, "Section", "One.")
RULE("a.b.two", AMBIGUOUS, "Section", "Two.")
RULE("a.b.three", NOT_OBSERVABLE, "Section", "Three.")
"""
TEST = elf.TestInfo("x", "y", "", "", 0, 0, ("a.b.one", "a.b.two"))


def row(verdict: str, *exprs: str, reason: str = "why") -> dict[str, Any]:
    return {"id": "s/amd64/1cpu/test/x/y", "stack": "s", "test": "x/y", "verdict": verdict, "reason": reason,
            "fails": [{"expr": e} for e in exprs]}  # fmt: skip


def book(tmp_path: Path, text: str = BOOK) -> Path:
    (tmp_path / "a_b.def").write_text(text)
    return tmp_path


def states(tmp_path: Path, *results: dict[str, Any]) -> list[State]:
    told = rules.tell(rules.load(book(tmp_path)), {"x/y": TEST}, results)
    return [t.state for t in told.values()]


def test_the_book_and_the_tests() -> None:
    """Every id that a test names exists, and every test of a rule of the SDM names one."""
    own = rules.load()
    assert len(own) >= 500
    assert all(r.sdm and r.text.endswith(".") for r in own.values())
    real = Settings()
    if not all(real.kernel(arch).is_file() for arch in ("i386", "amd64")):
        pytest.skip("make lhv")
    tests = rules.tests_of(real)
    rules.check(own, tests.values())
    assert [t.id for t in tests.values() if not t.rules and t.area != "private"] == []


@pytest.mark.parametrize(
    "line",
    ['RULE("a.c.one", OBSERVABLE, "S", "T.")', 'RULE("a.b.one", SEEN, "S", "T.")', "RULE(a.b.one)", 'RULE("a.b.one", OBSERVABLE, "S", "T.")'],
)
def test_bad_rows(tmp_path: Path, line: str) -> None:
    with pytest.raises(EnvironmentProblem):
        rules.load(book(tmp_path, BOOK + line + "\n"))


def test_unknown_id(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="names a.b.four"):
        rules.check(rules.load(book(tmp_path)), [elf.TestInfo("x", "y", "", "", 0, 0, ("a.b.four",))])


def test_states(tmp_path: Path) -> None:
    assert states(tmp_path) == [State.UNTESTED] * 3
    assert states(tmp_path, row("GOOD")) == [State.HOLDS, State.HOLDS, State.UNTESTED]
    assert states(tmp_path, row("SKIP")) == [State.SKIPPED, State.SKIPPED, State.UNTESTED]
    assert states(tmp_path, row("GOOD"), row("SKIP")) == [State.HOLDS, State.HOLDS, State.UNTESTED]
    assert states(tmp_path, row("GOOD"), row("BAD", "x == 1")) == [State.BROKEN, State.BROKEN, State.UNTESTED]
    assert states(tmp_path, row("CRASH")) == [State.UNCLEAR, State.UNCLEAR, State.UNTESTED]


def test_a_failing_check_names_its_rule(tmp_path: Path) -> None:
    assert states(tmp_path, row("BAD", "a.b.two: guest_cr0 |= 1")) == [State.HOLDS, State.BROKEN, State.UNTESTED]
    assert states(tmp_path, row("BAD", *["a.b.two: x"] * rules.FAIL_LINES)) == [State.UNCLEAR, State.BROKEN, State.UNTESTED]


def test_reports(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    report.write_text(json.dumps({"schema": 1, "results": [row("BAD", "a.b.two: x")]}))
    own = rules.load(book(tmp_path))
    stacks = {name: rules.tell(own, {"x/y": TEST}, rows) for name, rows in rules.by_stack([report]).items()}
    document = rules.document(own, {"x/y": TEST}, stacks)
    assert document["areas"] == [{"area": "a.b", "rules": 3, "observable": 1, "ambiguous": 1, "not_observable": 1, "tested": 2}]
    assert document["rules"][1]["stacks"]["s"] == {"state": "broken", "why": ["s/amd64/1cpu/test/x/y: why"]}
    out = io.StringIO()
    rules.write_text(document, out)
    assert "s: 1 broken, 0 unclear, 1 holds, 0 skipped, 1 untested" in out.getvalue()
    assert "  a.b.three (not observable): Three." in out.getvalue()
