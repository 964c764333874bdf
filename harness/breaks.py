# SPDX-License-Identifier: BSD-2-Clause
"""Applies each change of testcases/breaks.toml to a copy of the tree and sees that a verdict turns BAD (make breaks)."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "testcases" / "breaks.toml"
SCRATCH = ROOT / "build" / "breaks"
TREE = SCRATCH / "tree"
MODEL = "corei7_haswell_4770"
TIMEOUT = 300  # seconds for one build and run


@dataclass(frozen=True)
class Break:
    name: str
    file: str
    old: str
    new: str
    run: list[str]
    bad: str


def load() -> list[Break]:
    return [Break(**entry) for entry in tomllib.loads(LIST.read_text())["break"]]


def apply(brk: Break, tree: Path) -> str:
    """Changes the file; returns its text before. ValueError if `old` isn't there exactly once."""
    path = tree / brk.file
    before = path.read_text()
    if before.count(brk.old) != 1:
        raise ValueError(f"`old` is {before.count(brk.old)} times in {brk.file}")
    path.write_text(before.replace(brk.old, brk.new))
    return before


def copy_tree() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, TREE / name
        if not source.is_file():
            continue
        # Equal files keep their time, so that a second run builds only what changed.
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        target.touch()
    wanted = {TREE / name for name in listed.split("\0")}
    for path in TREE.rglob("*"):
        if path.is_file() and path not in wanted and path.relative_to(TREE).parts[0] != "build":
            path.unlink()


def verdicts_of(brk: Break, stack: str) -> dict[str, str]:
    """Runs the changed tree; ids and verdicts."""
    report = SCRATCH / "report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "run_tests.py", "--stack", stack, "--cpu-model", MODEL, "--json", str(report), *brk.run]
    if "--cpus" not in brk.run:
        command += ["--cpus", "1"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=TIMEOUT)
    if not report.exists() or not report.stat().st_size:
        raise ValueError(f"no report, exit status {done.returncode}: {done.stderr.strip()[-400:]}")
    return {r["id"]: r["verdict"] for r in json.loads(report.read_text())["results"]}


def check(brk: Break, stack: str) -> str:
    """Empty if a verdict turned BAD, else what happened instead."""
    before = apply(brk, TREE)
    try:
        verdicts = verdicts_of(brk, stack)
    finally:
        (TREE / brk.file).write_text(before)
    of_interest = {i: v for i, v in verdicts.items() if fnmatchcase(i, brk.bad)}
    if not of_interest:
        return f"no result matches {brk.bad}"
    if "BAD" in of_interest.values():
        return ""
    return f"not noticed: {sorted(set(of_interest.values()))}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", default="bochs", help="stack to run on (default: %(default)s)")
    parser.add_argument("--name", default="", metavar="TEXT", help="only changes whose name contains TEXT")
    args = parser.parse_args()
    breaks = [b for b in load() if args.name in b.name]
    if not breaks:
        print(f"no change has {args.name!r} in its name", file=sys.stderr)
        return 2
    copy_tree()
    failed = 0
    print("KTAP version 1", f"1..{len(breaks)}", sep="\n")
    for number, brk in enumerate(breaks, 1):
        try:
            problem = check(brk, args.stack)
        except (ValueError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        failed += bool(problem)
        print(f"{'not ok' if problem else 'ok'} {number} {brk.name}{' # ' + problem if problem else ''}", flush=True)
    print(f"{len(breaks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
