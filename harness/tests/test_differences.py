# SPDX-License-Identifier: BSD-2-Clause
"""What an L0 changes, in every form of report."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.report import differences, html
from harness.rows import Row
from harness.tests.conftest import Runner

NEST = "bochs/xmhf-nest"


def row(stack: str, path: str, verdict: str, outcome: str = "ok", **fields: Any) -> Row:
    item = "/".join(f"{stack}/{path}".split("/")[: stack.count("/") + (5 if "/opt/" in path else 6)])
    base = {"id": f"{stack}/{path}", "item": item, "stack": stack, "verdict": verdict, "outcome": outcome}
    return {**base, "reason": "", "note": "", "known": None, **fields}


MASK, TEST = "amd64/2cpu/opt/0x0004/ept", "test/smp/two"
RESULTS = [
    *(row("bochs", f"{MASK}/cpu{n}", "GOOD") for n in (0, 1)),
    row("bochs", f"i386/1cpu/{TEST}", "BAD", "known", known={"reason": "INIT is lost"}, reason="x == 1"),
    row("bochs", f"amd64/1cpu/{TEST}", "BAD", "known", known={"reason": "INIT is lost"}, reason="x == 1"),
    row("bochs", "amd64/1cpu/test/a/alike", "SKIP", reason="missing: A"),
    row("bochs", "amd64/1cpu/test/a/bare_only", "GOOD"),
    *(row(NEST, f"{MASK}/cpu{n}", "CRASH", "unexpected", reason="L0 died") for n in (0, 1)),
    row(NEST, f"i386/1cpu/{TEST}", "GOOD", note="hidden"),
    row(NEST, f"amd64/1cpu/{TEST}", "GOOD", note="hidden"),
    row(NEST, "amd64/1cpu/test/a/alike", "SKIP", reason="missing: B"),
    row(NEST, "amd64/1cpu/test/a/nested_only", "BAD", "unexpected"),
    # Another model's bare stack isn't here: nothing to compare with.
    row("bochs:corei7_skylake_x/xmhf-nest", f"amd64/1cpu/{TEST}", "GOOD"),
]


def test_find() -> None:
    found = differences.find(RESULTS)
    assert [(d["path"], d["verdicts"], d["outcomes"], d["expected"]) for d in found] == [
        (f"{MASK}/cpu0", ["GOOD", "CRASH"], ["ok", "unexpected"], False),
        (f"{MASK}/cpu1", ["GOOD", "CRASH"], ["ok", "unexpected"], False),
        (f"i386/1cpu/{TEST}", ["BAD", "GOOD"], ["known", "ok"], True),
        (f"amd64/1cpu/{TEST}", ["BAD", "GOOD"], ["known", "ok"], True),
    ]
    assert {tuple(d["stacks"]) for d in found} == {("bochs", NEST)}
    assert found[0]["reasons"] == ["", "L0 died"] and found[2]["reasons"] == ["INIT is lost", "hidden"]
    assert found[0]["items"] == ["bochs/amd64/2cpu/opt/0x0004", f"{NEST}/amd64/2cpu/opt/0x0004"]


def test_alike_ones_are_told_once() -> None:
    """And what nobody expects first, wherever it was in the run."""
    found = differences.find(reversed(RESULTS))
    groups = [(g["name"], sorted(g["machines"]), g["count"], g["expected"]) for g in differences.group(found)]
    assert groups == [
        ("opt/0x0004/ept", ["amd64/2cpu"], 2, False), (TEST, ["amd64/1cpu", "i386/1cpu"], 2, True),
    ]  # fmt: skip
    other = [*RESULTS[:-1], row("bochs", f"i386/2cpu/{TEST}", "BAD", "known", known={"reason": "INIT hangs"}),
             row(NEST, f"i386/2cpu/{TEST}", "GOOD", note="hidden")]  # fmt: skip
    assert len(differences.group(differences.find(other))) == 3, "another reason is another difference"


def test_text() -> None:
    assert differences.text_lines(differences.find(RESULTS)) == [
        "4 results differ between a stack and an L0 on it, 2 of them unexpected:",
        f"  opt/0x0004/ept on amd64/2cpu: bochs GOOD | {NEST} CRASH (unexpected): L0 died",
        f"  {TEST} on i386/1cpu, amd64/1cpu: bochs BAD (known): INIT is lost | {NEST} GOOD: hidden",
    ]
    one = differences.find([RESULTS[2], RESULTS[8]])
    assert differences.text_lines(one)[0] == "1 result differs between a stack and an L0 on it, all as expected:"
    assert differences.text_lines([]) == []
    many = [row(s, f"amd64/1cpu/test/a/t{n}", v) for n in range(35) for s, v in (("bochs", "GOOD"), (NEST, "SKIP"))]
    lines = differences.text_lines(differences.find(many))
    assert len(lines) == 32 and lines[-1] == "  and 5 more"


@pytest.mark.parametrize("specs,order,layers", [
    # As asked for, host by host; beside each bare machine what an L0 makes of it.
    (("bochs", NEST, "bochs:tigerlake"), [
        ("bochs", "i386", 1), (NEST, "i386", 1), ("bochs", "i386", 2), (NEST, "i386", 2),
        ("bochs", "amd64", 1), (NEST, "amd64", 1), ("bochs", "amd64", 2), (NEST, "amd64", 2),
        ("bochs:tigerlake", "i386", 1), ("bochs:tigerlake", "i386", 2), ("bochs:tigerlake", "amd64", 1), ("bochs:tigerlake", "amd64", 2),
    ], ["bare", "xmhf-nest"] * 4 + ["bare"] * 4),
    # Whatever came first; two L0s beside their host.
    (("bochs/xmhf-nest+disk", NEST, "bochs"), [
        (stack, arch, cpus) for arch in ("i386", "amd64") for cpus in (1, 2) for stack in ("bochs", "bochs/xmhf-nest+disk", NEST)
    ], ["bare", "xmhf-nest+disk", "xmhf-nest"] * 4),
    # Bare ones alone need no row that says so.
    (("bochs",), [("bochs", arch, cpus) for arch in ("i386", "amd64") for cpus in (1, 2)], None),
])  # fmt: skip
def test_columns(specs: tuple[str, ...], order: list[tuple[str, str, int]], layers: list[str] | None) -> None:
    results = [
        row(s, f"{a}/{n}cpu/{TEST}", "GOOD", arch=a, cpus=n, sdm="", title="", opt=None)
        for s in specs for a in ("i386", "amd64") for n in (1, 2)
    ]  # fmt: skip
    columns, lines = html.matrix(results)
    assert [(c.stack, c.arch, c.cpus) for c in columns] == order
    assert [c.item for c in lines[0].cells if c] == [f"{s}/{a}/{n}cpu/{TEST}" for s, a, n in order]
    headers = dict(html._headers(columns))
    assert [text for text, n in headers.get("layer", []) if n == 1] == (layers or []) and ("layer" in headers) == bool(layers)
    hosts = list(dict.fromkeys(s.split("/")[0] for s in specs))
    assert [text for text, _ in headers["stack"]] == hosts
    assert all(sum(n for _, n in texts) == len(order) for texts in headers.values())


def test_reports_of_a_run(run: Runner) -> None:
    """KTAP, JSON and HTML tell the same."""
    name, lacks = "test/ept/violation", "EPT accessed and dirty flags"
    script = {"items": {name: "bad"}, "nested": {name: f"skip:{lacks}"}, "version": "3.0"}
    done = run("--test=*", f"--stack=bochs,{NEST}", script=script)
    (found,) = done.document["differences"]
    assert found == {
        "path": "amd64/1cpu/test/ept/violation", "stacks": ["bochs", NEST], "verdicts": ["BAD", "SKIP"],
        "outcomes": ["unexpected", "ok"], "expected": False,
        "reasons": ["x == 1: want 0x1, got 0x2", "missing: EPT accessed and dirty flags"],
        "items": [f"{s}/amd64/1cpu/test/ept/violation" for s in ("bochs", NEST)],
    }  # fmt: skip
    told = [line for line in done.out.splitlines() if line.startswith("# ")]
    assert told[:2] == [
        "# 1 result differs between a stack and an L0 on it, 1 of them unexpected:",
        "#   test/ept/violation on amd64/1cpu: bochs BAD (unexpected): x == 1: want 0x1, got 0x2"
        f" | {NEST} SKIP: missing: EPT accessed and dirty flags",
    ]
    page = html.render(done.document)
    section = page[page.index('<section class="differences">') : page.index("</section>")]
    assert page.index("</section>") < page.index('<table class="matrix">')
    assert [re.sub(r"\s+", " ", t) for t in re.findall(r'class="on">([^<]*)</span>([^<]*)<', section)[0]] == ["bochs", "x == 1: want 0x1, got 0x2"]
    assert re.findall(r'data-item="([^"]*)"', section) == found["items"] and "no: unexpected" in section
    marked = re.findall(r'data-item="([^"]*)" title="not as without', page)
    assert marked == found["items"][1:]


def test_no_difference(run: Runner) -> None:
    done = run("--opt=0", f"--stack=bochs,{NEST}")
    assert done.document["differences"] == [] and "differ" not in done.out
    page = html.render(done.document)
    assert "No verdict differs" in page and '<section class="differences">' not in page
    page = html.render(run("--opt=0").document)
    assert "No verdict differs" not in page, "there is nothing to compare"
