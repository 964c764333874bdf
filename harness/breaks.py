# SPDX-License-Identifier: BSD-2-Clause
"""Applies each change of testcases/breaks/*.toml to a copy of the tree and sees that a verdict turns BAD (make breaks).

They are small wrong changes to lhv that make the host look wrong, and show that its checks can fail. Keys: name; file; old (exactly
once in the file); new; run: options of run_tests.py; bad: glob over result ids of which at least one must be BAD.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.settings import parse_shard

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "testcases" / "breaks"
SCRATCH = ROOT / "build" / "breaks"
MODEL = "corei7_haswell_4770"
TIMEOUT = 900  # seconds for one build and run, which may hang in many tests


@dataclass(frozen=True)
class Break:
    name: str
    file: str
    old: str
    new: str
    run: list[str]
    bad: str


def load() -> list[Break]:
    return [Break(**entry) for path in sorted(LISTS.glob("*.toml")) for entry in tomllib.loads(path.read_text())["break"]]


def apply(brk: Break, tree: Path) -> str:
    """Changes the file; returns its text before. ValueError if `old` isn't there exactly once."""
    path = tree / brk.file
    before = path.read_text()
    if before.count(brk.old) != 1:
        raise ValueError(f"`old` is {before.count(brk.old)} times in {brk.file}")
    path.write_text(before.replace(brk.old, brk.new))
    return before


def copy_tree(tree: Path) -> None:
    """The working tree as it is now, without what was built."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, tree / name
        if not source.is_file():
            continue
        # Equal files keep their time, so that a second run builds only what changed.
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        target.touch()
    wanted = {tree / name for name in listed.split("\0")}
    for path in tree.rglob("*"):
        if path.is_file() and path not in wanted and path.relative_to(tree).parts[0] != "build":
            path.unlink()


def results_of(options: Sequence[str], tree: Path, stack: str) -> list[dict[str, Any]]:
    """Runs the tree as it is. ValueError if nothing comes out, for example because it isn't valid code."""
    report = tree.parent / "report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "run_tests.py", "--stack", stack, "--cpu-model", MODEL, "--json", str(report), *options]
    if "--cpus" not in options:
        command += ["--cpus", "1"]
    # A wrong change may leave a function or a parameter without use.
    environment = {**os.environ, "WERROR": ""}
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=TIMEOUT, env=environment)
    if not report.exists() or not report.stat().st_size:
        raise ValueError(f"no report, exit status {done.returncode}: {done.stderr.strip()[-400:]}")
    results: list[dict[str, Any]] = json.loads(report.read_text())["results"]
    return results


def check(brk: Break, stack: str) -> str:
    """Empty if a verdict turned BAD, else what happened instead."""
    tree = SCRATCH / "tree"
    before = apply(brk, tree)
    try:
        results = results_of(brk.run, tree, stack)
    finally:
        (tree / brk.file).write_text(before)
    of_interest = {r["id"]: r["verdict"] for r in results if fnmatchcase(r["id"], brk.bad)}
    if not of_interest:
        return f"no result matches {brk.bad}"
    if "BAD" in of_interest.values():
        return ""
    return f"not noticed: {sorted(set(of_interest.values()))}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", default="bochs", help="stack to run on (default: %(default)s)")
    parser.add_argument("--name", default="", metavar="TEXT", help="only changes whose name contains TEXT")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the I-th of N parts")
    args = parser.parse_args()
    part, parts = parse_shard(args.shard)
    breaks = [b for b in load() if args.name in b.name][part - 1 :: parts]
    if not breaks:
        print(f"no change has {args.name!r} in its name", file=sys.stderr)
        return 2
    copy_tree(SCRATCH / "tree")
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
