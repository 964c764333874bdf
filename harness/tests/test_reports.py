# SPDX-License-Identifier: BSD-2-Clause
"""The forms that results take."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from harness import bench
from harness.report import html, junit, ktap
from harness.rows import exit_code, summary
from harness.tests.conftest import Done, Runner

ITEMS = {
    "opt/0x0014/vpid": "bad", "opt/0x0004/ept": "skip:enable EPT", "test/ept/violation": "crash", "test/smp/two": "error",
}  # fmt: skip
EVIL = "</script><script>alert(1)</script> & \x07 # SKIP"


@pytest.fixture
def done(run: Runner) -> Done:
    words = ["--opt=0,4,0x14", "--test=*", "--arch=amd64", "--cpus=1,2", "-j1"]
    return run(*words, defaults=False, script={"items": ITEMS})


def row(**fields: Any) -> dict[str, Any]:
    base = {
        "id": "bochs/amd64/1cpu/test/a/b", "item": "bochs/amd64/1cpu/test/a/b", "verdict": "GOOD", "expected": "GOOD",
        "outcome": "ok", "reason": "", "note": "", "known": None,
    }  # fmt: skip
    return {**base, **fields}


def test_json(done: Done) -> None:
    """What others read: these keys are promised."""
    document = done.document
    assert document["schema"] == 1
    assert document["stacks"]["bochs"]["engine"] == "bochs" and document["stacks"]["bochs"]["version"] == "9.0"
    assert document["stacks"]["bochs"]["cpu_model"] == "corei7_haswell_4770"
    keys = {"id", "stack", "arch", "opt", "cpus", "verdict", "expected", "outcome", "reason", "instructions", "seconds", "log"}
    for result in document["results"]:
        assert keys <= set(result)
        assert result["log"] in document["logs"] and result["boot"] in document["boots"]
        assert result["outcome"] in ("ok", "known", "unexpected", "unexpected-good")
    first = document["results"][0]
    assert (first["stack"], first["arch"], first["opt"], first["cpus"]) == ("bochs", "amd64", "0x0000", 1)
    assert first["instructions"] > 0 and first["seconds"] is not None
    assert document["summary"]["results"] == len(document["results"]) == sum(document["summary"]["verdicts"].values())
    bad = next(r for r in document["results"] if r["verdict"] == "BAD")
    assert bad["fails"][0] == {"at": "a.c:3", "expr": "x == 1", "want": "0x1", "got": "0x2", "iter": "3"}
    assert "start n=2 id=opt/0x0014" in document["logs"][bad["log"]]
    assert "opt/0x0000" not in document["logs"][bad["log"]], "an item's log is its own"


def test_logs_are_complete(done: Done) -> None:
    """Together, the items' logs of a boot are all that was on COM1."""
    machine = [done.document["logs"][c] for c in dict.fromkeys(r["item"] for r in done.document["results"])]
    text = "".join(machine)
    assert text.count(" plan ") == 4 and text.count(" done ") == 2  # two machines, each booted twice


@pytest.mark.parametrize("fields,line", [
    ({}, "ok 1 x"),
    ({"verdict": "SKIP", "reason": "missing: EPT"}, "ok 1 x # SKIP missing: EPT"),
    ({"verdict": "BAD", "outcome": "unexpected", "reason": "a # b"}, "not ok 1 x # BAD: a % b"),
    ({"verdict": "TIMEOUT", "outcome": "unexpected", "reason": "r"}, "not ok 1 x # TIMEOUT r"),
    ({"verdict": "ERROR", "outcome": "unexpected", "reason": "r", "note": "n"}, "not ok 1 x # ERROR r (n)"),
    ({"verdict": "BAD", "outcome": "known", "known": {"reason": "r", "link": "l"}}, "ok 1 x # XFAIL BAD: r l"),
    ({"outcome": "unexpected-good", "note": "n"}, "not ok 1 x # ERROR unexpectedly good, n"),
    ({"verdict": "SKIP", "outcome": "unexpected", "reason": "missing: EPT"}, "not ok 1 x # SKIP: missing: EPT"),
    ({"verdict": "BAD", "outcome": "unexpected", "reason": "a\nok 2 y\x1b"}, "not ok 1 x # BAD: a?ok 2 y?"),
])  # fmt: skip
def test_ktap_lines(fields: dict[str, Any], line: str) -> None:
    assert ktap.result_line(row(**fields), 1, "x") == line


def test_ktap_nests(done: Done) -> None:
    lines = done.out.splitlines()
    at = lines.index("not ok 3 bochs/amd64/1cpu/opt/0x0014 # 2 GOOD, 1 BAD")
    assert lines[at - 5 : at] == [
        "  KTAP version 1", "  1..3", "  ok 1 base/cpu0", "  ok 2 ept/cpu0",
        "  not ok 3 vpid/cpu0 # BAD: x == 1: want 0x1, got 0x2",
    ]  # fmt: skip
    top = [line for line in lines if re.match(r"(not )?ok ", line)]
    assert lines[1] == f"1..{len(top)}"


def test_exit_codes() -> None:
    good, skip, infra = row(), row(verdict="SKIP"), row(verdict="INFRA", outcome="unexpected")
    bad, known = row(verdict="BAD", outcome="unexpected"), row(verdict="BAD", outcome="known")
    for rows, code in (
        ([good], 0), ([good, skip, known], 0), ([known], 0), ([skip], 4), ([good, bad], 1), ([bad, infra], 1),
        ([good, infra], 3), ([skip, infra], 3), ([row(outcome="unexpected-good")], 1),
    ):  # fmt: skip
        assert exit_code(rows) == code
    assert summary([good, bad])["outcomes"] == {"ok": 1, "known": 0, "unexpected": 1, "unexpected-good": 0}


def test_junit(done: Done, tmp_path: Path) -> None:
    done.document["logs"] = {k: v + EVIL for k, v in done.document["logs"].items()}
    done.document["results"][0]["reason"] = EVIL
    path = tmp_path / "r.xml"
    junit.write(done.document, path)
    root = ET.parse(path).getroot()
    cases = {c.get("name"): c for c in root.iter("testcase")}
    assert set(cases) == set(done.verdicts)
    bad = cases["bochs/amd64/1cpu/opt/0x0014/vpid/cpu0"].find("failure")
    assert bad is not None and bad.get("type") == "BAD" and bad.get("message") == "BAD: x == 1: want 0x1, got 0x2"
    assert "--opt 0x0014" in (bad.text or "")
    error = cases["bochs/amd64/1cpu/test/smp/two"].find("error")
    assert error is not None and error.get("type") == "ERROR"
    skipped = cases["bochs/amd64/1cpu/opt/0x0004/ept/cpu0"].find("skipped")
    assert skipped is not None and (skipped.get("message") or "").startswith("SKIP: missing: enable EPT")
    assert sum(int(s.get("failures", 0)) + int(s.get("errors", 0)) for s in root) == len(
        [r for r in done.document["results"] if r["outcome"] == "unexpected"]
    )


def test_html_is_self_contained_and_safe(done: Done) -> None:
    done.document["results"][0]["reason"] = EVIL
    done.document["logs"] = {k: v + EVIL for k, v in done.document["logs"].items()}
    text = html.render(done.document)
    assert "alert(1)</script>" not in text
    assert not re.search(r'(src|href)="|url\(|@import', text)
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert embedded and json.loads(embedded[1])["items"]["bochs/amd64/1cpu/opt/0x0000"][0]["reason"] == EVIL
    for result in done.document["results"]:
        assert f'data-item="{result["item"]}"' in text


def test_html_matrix(done: Done) -> None:
    columns, lines = html.matrix(done.document["results"])
    assert [(c.stack, c.arch, c.cpus) for c in columns] == [("bochs", "amd64", 1), ("bochs", "amd64", 2)]
    found = {line.key: line.cells[0] for line in lines}
    assert list(found)[:3] == ["opt/0x0000", "opt/0x0004", "opt/0x0014"]
    assert {k: (c.verdict, c.outcome, c.detail) for k, c in found.items() if c} == {
        "opt/0x0000": ("GOOD", "ok", ""), "opt/0x0004": ("GOOD", "ok", "1 skipped"),
        "opt/0x0014": ("BAD", "unexpected", "1 of 3"), "test/ept/violation": ("CRASH", "unexpected", ""),
        "test/intr/window": ("GOOD", "ok", ""), "test/smp/two": ("ERROR", "unexpected", ""),
    }  # fmt: skip


def test_html_without_results() -> None:
    document = {
        "schema": 1, "stacks": {}, "results": [], "differences": [], "boots": {}, "logs": {}, "warnings": ["w"],
        "summary": {**summary([]), "exit": 130, "interrupted": True},
    }  # fmt: skip
    assert "Interrupted" in html.render(document)


def test_bench_figures(done: Done) -> None:
    rows = {f.what: f for f in bench.figures(done.document, bench.CPU_SECONDS_MAX + 1, 5.0)}
    assert rows["power-on to the first verdict, amd64"].value > 5_000_000
    assert [w for w, f in rows.items() if f.exceeded] == ["default run, CPU time in all"]
    assert f"| under {bench.CPU_SECONDS_MAX:.0f} EXCEEDED |" in rows["default run, CPU time in all"].row()
    with pytest.raises(ValueError):
        bench.figures({**done.document, "boots": {}}, 1.0, 1.0)
