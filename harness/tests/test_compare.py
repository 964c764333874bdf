# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.py compare: runs, reports, and what comes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import engines
from harness.errors import EnvironmentProblem
from harness.report import html
from harness.settings import ROOT, Settings
from harness.stacks import parse
from harness.tests.conftest import Runner

NEST, OTHER = "bochs/xmhf-nest", "bochs/l0"
SCRIPT = {"items": {"test/smp/two": "bad"}, "nested": {"opt/0x0004/ept": "bad", "test/ept/violation": "skip:X"}}
WORDS = ["--opt=0,4", "--test=*"]


@pytest.fixture
def other(tmp_path: Path) -> str:
    """Somebody else's L0, which changes nothing."""
    path = tmp_path / "other.img"
    path.write_bytes(b"L0".ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * 1007))
    return f"--l0={path}"


@pytest.fixture
def reports(run: Runner, other: str, tmp_path: Path) -> dict[str, Path]:
    """bochs, and it with xmhf-nest and with another L0."""
    out = {}
    for name, words in (("bare", ["--stack=bochs"]), ("nested", [f"--stack={NEST}"]), ("third", [other])):
        out[name] = tmp_path / f"{name}.json"
        out[name].write_text(json.dumps(run(*WORDS, *words, script=SCRIPT).document))
    return out


def test_stacks_are_run(run: Runner, other: str) -> None:
    done = run("bochs", NEST, OTHER, other, *WORDS, command="compare", script=SCRIPT)
    assert done.code == 1 and not done.err
    found = {v["path"]: v for v in done.document["votes"]}
    assert set(found) == {f"amd64/1cpu/{p}" for p in ("opt/0x0004/ept/cpu0", "test/smp/two", "test/ept/violation")}
    mask = found["amd64/1cpu/opt/0x0004/ept/cpu0"]
    assert (mask["odd"], mask["wrong"], mask["majority"], mask["expected"]) == ([NEST], [NEST], "GOOD", False)
    test = found["amd64/1cpu/test/smp/two"]
    assert test["odd"] == [NEST] and test["wrong"] == ["bochs"], "the odd one isn't always the one that is wrong"
    assert not found["amd64/1cpu/test/ept/violation"]["disagree"]
    assert done.document["summary"] == {
        "compared": 6, "alone": 0, "differ": 3, "disagree": 2, "ties": 0, "unexpected": 2, "exit": 1, "interrupted": False,
        "wrong": {NEST: 1, "bochs": 1},
    }  # fmt: skip
    assert f"opt/0x0004/ept on amd64/1cpu\n    GOOD bochs, {OTHER}\n    BAD {NEST}: unexpected: x == 1: want 0x1, got 0x2\n"\
        f"  odd one out: {NEST}; wrong: {NEST}\n" in done.out  # fmt: skip
    assert done.out.endswith(
        f"6 results of 3 stacks compared: bochs, {NEST}, {OTHER}\n3 differ, 2 of them unexpected; in 2 stacks disagree, "
        f"0 of these are ties\nwrong: {NEST} in 1, bochs in 1\n"
    )


def test_no_difference(run: Runner) -> None:
    done = run("bochs", NEST, "--opt=0", command="compare")
    assert done.code == 0 and done.out == f"1 results of 2 stacks compared: bochs, {NEST}\nno verdict differs\n"


def test_reports_are_read(run: Runner, reports: dict[str, Path], other: str) -> None:
    """The same as if they had been run together, and nothing is booted."""
    together = run("bochs", NEST, OTHER, other, *WORDS, command="compare", script=SCRIPT)
    words = [str(p) for p in reports.values()]
    refused = run(*words, command="compare", defaults=False, script={"start": "die"})
    assert refused.code == 2 and "--bochs is for stacks that are to be run" in refused.err, "nothing is ignored silently"
    done = compare(*words, f"--json={reports['bare'].parent / 'c.json'}")
    document = json.loads((reports["bare"].parent / "c.json").read_text())
    assert done.returncode == 1 and done.stdout == together.out and document == together.document


def compare(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_tests.py"), "compare", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_reports_and_stacks(run: Runner, reports: dict[str, Path]) -> None:
    """A stack that is in two of them is two; what is below is the one of the same report, else any."""
    done = run(str(reports["bare"]), "bochs", NEST, *WORDS, command="compare", script={"items": SCRIPT["nested"]})
    assert f"compared: bare=bochs, run=bochs, {NEST}\n" in done.out
    found = {v["path"]: v for v in done.document["votes"]}
    assert found["amd64/1cpu/test/smp/two"]["odd"] == ["bare=bochs"]
    assert found["amd64/1cpu/opt/0x0004/ept/cpu0"]["wrong"] == ["run=bochs"], f"{NEST} stands on run=bochs"
    assert done.document["stacks"][NEST]["below"] == "run=bochs"


def test_the_same_report_twice(reports: dict[str, Path]) -> None:
    done = compare(str(reports["bare"]), str(reports["bare"]))
    assert done.returncode == 0 and "compared: bare1=bochs, bare2=bochs\nno verdict differs" in done.stdout


def test_selection_in_reports(reports: dict[str, Path]) -> None:
    words = [str(reports["bare"]), str(reports["nested"])]
    assert compare(*words, "--test=smp/*").stdout.count(" on amd64/1cpu\n") == 1
    assert compare(*words, "--test=t*o").stdout.count("test/smp/two on") == 1, "also by the name alone"
    done = compare(*words, "--opt=0x4")
    assert "2 results of 2 stacks" in done.stdout and "opt/0x0004/ept on" in done.stdout
    assert compare(*words, "--opt=0").returncode == 0
    none = compare(*words, "--arch=i386")
    assert none.returncode == 2 and "nothing to compare" in none.stderr and not none.stdout


def test_what_is_in_one_report_only(reports: dict[str, Path], tmp_path: Path) -> None:
    document = json.loads(reports["third"].read_text())
    document["results"] = [r for r in document["results"] if r["test"] != "smp/two"]
    path = tmp_path / "part.json"
    path.write_text(json.dumps(document))
    done = compare(str(reports["bare"]), str(reports["nested"]), str(path))
    assert "6 results of 3 stacks compared" in done.stdout and "there of one stack only" not in done.stdout
    assert f"    - {OTHER}: not run\n  tie: 1 BAD, 1 GOOD; wrong: bochs\n" in done.stdout


def test_nothing_in_common(reports: dict[str, Path], tmp_path: Path) -> None:
    """That is no agreement."""
    document = json.loads(reports["nested"].read_text())
    document["results"] = [r for r in document["results"] if r["test"]]
    tests, path = {r["id"].removeprefix(NEST) for r in document["results"]}, tmp_path / "part.json"
    path.write_text(json.dumps(document))
    bare = json.loads(reports["bare"].read_text())
    bare["results"] = [r for r in bare["results"] if r["id"].removeprefix("bochs") not in tests]
    reports["bare"].write_text(json.dumps(bare))
    done = compare(str(reports["bare"]), str(path))
    assert done.returncode == 2 and "nothing to compare" in done.stderr


def test_html(run: Runner, reports: dict[str, Path], other: str, tmp_path: Path) -> None:
    page = tmp_path / "c.html"
    assert compare(*map(str, reports.values()), f"--html={page}").returncode == 1
    text = page.read_text()
    assert "Not complete" not in text
    section = text[text.index('<section class="differences votes">') :]
    section = section[: section.index("</section>")]
    assert "Who is wrong" in section and section.count('<tr class="difference">') == 2
    assert f"odd one out: {NEST}" in " ".join(section.split()) and "private" not in section
    # In a run's own report as well, from three hosts on; models of a CPU are no hosts.
    document = run(*WORDS, f"--stack=bochs,{NEST},{OTHER}", other, script=SCRIPT).document
    assert "Who is wrong" in html.render(document)
    document = run(*WORDS, f"--stack=bochs,{NEST},bochs:tigerlake,bochs:tigerlake/xmhf-nest", script=SCRIPT).document
    assert "Who is wrong" not in html.render(document)
    assert "No vote is against another" in html.render(run("--opt=0", f"--stack=bochs,{NEST},{OTHER}", other).document)


def test_terminal(reports: dict[str, Path]) -> None:
    """A table, in which what a guest said isn't markup."""
    document = json.loads(reports["nested"].read_text())
    for r in document["results"]:
        r["reason"] = "[bold]x[/nosuch] \x1b[31m" if r["verdict"] == "BAD" else r["reason"]
    reports["nested"].write_text(json.dumps(document))
    line = " ".join([sys.executable, str(ROOT / "run_tests.py"), "compare", *map(str, reports.values())])
    done = subprocess.run(
        ["script", "-qec", f"stty cols 200; {line}", "/dev/null"], capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm"},
    )  # fmt: skip
    assert "Stacks disagree" in done.stdout and "┃" in done.stdout and done.returncode == 1
    assert "[bold]x[/nosuch] ?[31m" in done.stdout and "Traceback" not in done.stdout


def test_environment(run: Runner) -> None:
    done = run("bochs", "bochs@8.1", "--opt=0", command="compare")
    assert done.code == 3 and "bochs@8.1: no Bochs 8.1 here; found: 9.0" in done.err and "no verdict differs" in done.out
    assert not done.document["votes"]


@pytest.mark.parametrize("words,part", [
    ([], "WHAT"), (["bochs"], "nothing to compare"), (["bochs", "nosuch"], "neither a report nor a stack"),
    (["bochs", "/nosuch.json"], "No such file"), (["bochs", "FILE.json"], "not a report"), (["bochs", NEST, "--opt=8"], "requires ept"),
    (["bochs", NEST, "--shard=1/2"], "--shard"), (["bochs", NEST, "--stack=bochs"], "--stack"),
])  # fmt: skip
def test_usage(run: Runner, tmp_path: Path, words: list[str], part: str) -> None:
    (tmp_path / "FILE.json").write_text('{"schema": 1}')
    done = run(*(w.replace("FILE", str(tmp_path / "FILE")) for w in words), command="compare")
    assert done.code == 2 and part in done.err and not done.out


def test_help(run: Runner) -> None:
    assert "compare" in run("--help", reports=False).out
    done = run("--help", command="compare", reports=False)
    assert done.code == 0 and "usage: run_tests.py compare" in done.out and "--json" in done.out


def test_for_real(tmp_path: Path) -> None:
    """lhv on Bochs and on xmhf-nest: a mistake of Bochs that doesn't show through the L0."""
    settings = Settings()
    if not settings.kernel("amd64").exists() or not settings.layer("xmhf-nest").exists():
        pytest.skip("lhv or xmhf-nest isn't built")
    try:
        engines.find(parse("bochs"))
    except EnvironmentProblem as e:
        pytest.skip(str(e))
    path = tmp_path / "c.json"
    words = ["--arch=amd64", "--cpus=1", "--test=insn/vmcall_root", "--no-build", "-j1", f"--json={path}"]
    done = compare("bochs", NEST, *words)
    assert done.returncode == 1, done.stderr
    (found,) = json.loads(path.read_text())["votes"]
    assert found["verdicts"] == ["BAD", "GOOD"] and found["wrong"] == ["bochs"] and found["majority"] is None
    known: dict[str, Any] = found["known"][0]
    assert known["link"] in done.stdout and known["evidence"] in done.stdout
