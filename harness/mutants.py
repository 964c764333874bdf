# SPDX-License-Identifier: BSD-2-Clause
"""Makes the small wrong changes to xmhf-nest that xmhf-nest/mutants/*.toml lists, one at a time in a copy of the tree, and
sees that lhv notices each one (make mutants). A change that is noticed by nothing shows what the suite doesn't test.

Keys: name; file; old (exactly once in the file); new; run: options of run_tests.py for what is likely to notice it, so that it is
quick; equivalent: why nothing can notice it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import breaks
from harness.breaks import ROOT
from harness.settings import parse_shard

LISTS = ROOT / "xmhf-nest" / "mutants"
SCRATCH = ROOT / "build" / "mutants"
STACK = "bochs/xmhf-nest"
# What is run until something notices the change, cheapest first; a mutant's own options come before.
RUNS: tuple[tuple[str, ...], ...] = (("--arch", "amd64"), ("--arch", "i386"), ("--arch", "amd64", "--cpus", "2"))
_TOLD = 3  # ids, of what noticed it


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    run: tuple[str, ...] = ()  # options of run_tests.py: what is likely to notice it
    equivalent: str = ""  # why nothing can notice it
    stack: str = STACK

    def runs(self, quick: bool = False) -> Iterator[tuple[str, ...]]:
        if self.run:
            yield self.run
        if not quick:
            yield from RUNS
        elif not self.run and not self.equivalent:
            yield RUNS[0]


@dataclass
class Fate:
    mutant: Mutant
    noticed: list[str] = field(default_factory=list)  # ids
    trouble: str = ""

    @property
    def ok(self) -> bool:
        return not self.trouble and bool(self.noticed) != bool(self.mutant.equivalent)

    def text(self) -> str:
        if self.trouble:
            return self.trouble
        if self.noticed:
            more = f" and {len(self.noticed) - _TOLD} more" if len(self.noticed) > _TOLD else ""
            found = ", ".join(self.noticed[:_TOLD]) + more
            return f"noticed, though it is listed as equivalent: {found}" if self.mutant.equivalent else found
        return f"SKIP equivalent: {self.mutant.equivalent}" if self.mutant.equivalent else "survives"


def load(folder: Path = LISTS) -> list[Mutant]:
    entries = [entry for path in sorted(folder.glob("*.toml")) for entry in tomllib.loads(path.read_text())["mutant"]]
    return [Mutant(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}) for entry in entries]


def noticed_by(results: Sequence[dict[str, Any]]) -> list[str]:
    """Results that are otherwise than they should be. What is INFRA says nothing."""
    return [
        f"{r['id'].removeprefix(r['stack'] + '/')} {r['verdict']}"
        for r in results
        if r["outcome"].startswith("unexpected") and r["verdict"] != "INFRA"
    ]


def try_mutant(mutant: Mutant, tree: Path, quick: bool = False) -> Fate:
    fate = Fate(mutant)
    try:
        before = breaks.apply(breaks.Break(mutant.name, mutant.file, mutant.old, mutant.new, [], ""), tree)
    except ValueError as error:
        fate.trouble = str(error)
        return fate
    try:
        for options in mutant.runs(quick):
            fate.noticed = noticed_by(breaks.results_of(options, tree, mutant.stack))
            if fate.noticed:
                break
    except (ValueError, subprocess.TimeoutExpired) as error:
        fate.trouble = str(error)
    finally:
        (tree / mutant.file).write_text(before)
    return fate


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="harness.mutants", description=__doc__)
    parser.add_argument("--name", default="", metavar="TEXT", help="only mutants whose name contains TEXT")
    parser.add_argument("--json", type=Path, metavar="F", help="results as data")
    parser.add_argument("--quick", action="store_true", help="only with each mutant's own tests: what survives them may not survive all, and equivalents without any aren't tried")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the I-th of N parts")
    args = parser.parse_args(argv)
    part, parts = parse_shard(args.shard)
    mutants = [m for m in load() if args.name in m.name][part - 1 :: parts]
    if not mutants:
        print(f"no mutant has {args.name!r} in its name", file=sys.stderr)
        return 2
    tree = SCRATCH / "tree"
    breaks.copy_tree(tree)
    print("KTAP version 1", f"1..{len(mutants) + 1}", sep="\n")
    # On a tree that isn't right by itself everything would be noticed.
    runs = RUNS[:1] if args.quick else RUNS
    wrong = [w for options in runs for w in noticed_by(breaks.results_of(options, tree, STACK))]
    print(f"{'not ok' if wrong else 'ok'} 1 the tree as it is{' # ' + ', '.join(wrong[:_TOLD]) if wrong else ''}", flush=True)
    fates = []
    for number, mutant in enumerate([] if wrong else mutants, 2):
        fate = try_mutant(mutant, tree, args.quick)
        fates.append(fate)
        print(f"{'ok' if fate.ok else 'not ok'} {number} {mutant.name} # {fate.text()}", flush=True)
    killed = sum(bool(f.noticed) for f in fates)
    equivalent = sum(f.ok and not f.noticed for f in fates)
    failed = sum(not f.ok for f in fates) + bool(wrong)
    print(f"# {len(fates)} mutants: {killed} noticed, {equivalent} equivalent, {failed} failed")
    if args.json:
        rows = [{"name": f.mutant.name, "file": f.mutant.file, "noticed": f.noticed, "result": f.text(), "ok": f.ok} for f in fates]
        args.json.write_text(json.dumps({"schema": 1, "mutants": rows}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
