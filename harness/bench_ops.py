# SPDX-License-Identifier: BSD-2-Clause
"""What an L0 that nests adds to single operations: lhv's bench lines on a bare stack and on a nested one.

Bochs counts instructions, so the figures repeat exactly. They are held against the limits in bench_ops.toml, and
against bench_ops.json, where the best so far are: over 2 % worse fails, better ones are written there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import bench_hardware, stacks
from harness.errors import UsageError
from harness.rows import EXIT_ENVIRONMENT, EXIT_OK, EXIT_UNEXPECTED
from harness.settings import ROOT
from harness.wire import LineReader
from images.kvm import kernels

MODEL = "corei7_haswell_4770"
# The limits are about a 64-bit L1; lhv for i386 takes more memory operands and PDPTEs. Its figures mustn't get worse.
LIMITED = "amd64"
BARE, NESTED = "bochs", "bochs/xmhf-nest"
OPERATIONS = ROOT / "harness" / "bench_ops.toml"
BEST = ROOT / "harness" / "bench_ops.json"
# Power-on to L1's first line: what a nested stack adds is L0's boot, and what L1's boot costs more on it.
BOOT, BOOT_MAX = "boot", 30_000_000
HARDWARE = "hardware operations"  # their key in BEST
# How much worse than the best is noise of a changed compiler: the greater of both.
WORSE_PART, WORSE_TICKS = 0.02, 5

Figures = Mapping[str, int]  # by operation


class Unavailable(Exception):
    """This machine doesn't have what the stack needs."""


@dataclass(frozen=True)
class Operation:
    name: str
    text: str
    limit: int
    hosts: list[int | list[int]]


@dataclass(frozen=True)
class Table:
    hosts: list[str]
    operations: list[Operation]

    @classmethod
    def load(cls, path: Path = OPERATIONS) -> Table:
        data = tomllib.loads(path.read_text())
        return cls(data["hosts"], [Operation(**entry) for entry in data["operation"]])


def read_figures(log: bytes) -> dict[str, int]:
    """Medians of the bench lines of a serial log, and the time of its first line."""
    out = {}
    for line in LineReader().feed(log):
        if line.kind == "plan" and (tsc := line.number("tsc")) is not None:
            out[BOOT] = tsc
        median = line.number("median")
        if line.kind == "bench" and median is not None:
            out[line.fields.get("id", "").rpartition("/")[2]] = median
    return out


def measure(stack: str, arch: str, table: Table, build: Path | None = None) -> dict[str, int]:
    """Medians by operation; what the host doesn't offer is missing. Raises Unavailable, or ValueError if nothing came out."""
    with tempfile.TemporaryDirectory(prefix="lhv-bench-") as folder:
        report = Path(folder, "report.json")
        names = ",".join(f"bench/{o.name}" for o in table.operations)
        command = [
            sys.executable, str(ROOT / "run_tests.py"), "--no-build", f"--stack={stack}", f"--cpu-model={MODEL}",
            f"--arch={arch}", "--cpus=1", f"--test={names}", f"--json={report}",
        ]  # fmt: skip
        if build:
            command.append(f"--build-dir={build}")
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if not report.exists() or not report.stat().st_size:
            raise ValueError(done.stderr.strip() or f"the run ended with {done.returncode}")
        document = json.loads(report.read_text())
    results = document["results"]
    if results and all(r["verdict"] == "INFRA" for r in results):
        raise Unavailable(f"{stack}: {results[0]['reason']}")
    figures: dict[str, int] = {}
    for row in results:
        if row["verdict"] == "GOOD":
            figures |= read_figures(document["logs"][row["log"]].encode("latin-1"))
    bad = (r for r in results if r["verdict"] not in ("GOOD", "SKIP"))
    reasons = {f"{r['id']}: {r['verdict']} {r['reason']}" for r in bad}
    for reason in sorted(reasons):
        print(f"bench: {reason}", file=sys.stderr)
    if not figures:
        raise ValueError(f"{stack}/{arch}: nothing was measured")
    return figures


def measure_nested(stack: str, arch: str, table: Table) -> dict[str, int] | None:
    """None: there is no such stack here."""
    try:
        stacks.parse(stack)
        return measure(stack, arch, table)
    except (UsageError, Unavailable) as e:
        print(f"bench: left out: {e}", file=sys.stderr)
        return None


def added(bare: Figures, nested: Figures) -> dict[str, int]:
    return {name: nested[name] - bare[name] for name in bare if name in nested}


def _cell(value: int | list[int] | None) -> str:
    if isinstance(value, list):
        return " to ".join(f"{v:,}" for v in value)
    return "-" if value is None else f"{value:,}"


def rows(
    table: Table, bare: Figures, nested: Figures | None, limited: bool = True, beside: Mapping[str, Figures] = {}
) -> list[str]:
    """A Markdown table. beside: what others were measured to take, on the same machine."""
    titles = ["operation", BARE]
    if nested is not None:
        titles += [NESTED, "L0 adds"]
    # What was measured here replaces what was measured elsewhere.
    told_hosts = [i for i, host in enumerate(table.hosts) if f"{BARE}/kvm-{host.removeprefix('KVM ')}" not in beside]
    titles += ["at most", *(f"{stack} adds" for stack in beside), *(table.hosts[i] for i in told_hosts)]
    out = [titles, ["---"] * 2 + ["---:"] * (len(titles) - 2)]
    adds = added(bare, nested or {})
    others = [added(bare, figures) for figures in beside.values()]
    for op in table.operations:
        cells = [op.text, _cell(bare.get(op.name))]
        if nested is not None:
            exceeded = " EXCEEDED" if limited and op.name in adds and adds[op.name] > op.limit else ""
            cells += [_cell(nested.get(op.name)), _cell(adds.get(op.name)) + exceeded]
        told = [op.limit if limited else None, *(other.get(op.name) for other in others), *(op.hosts[i] for i in told_hosts)]
        out.append([*cells, *map(_cell, told)])
    return ["| " + " | ".join(cells) + " |" for cells in out]


def exceeded(table: Table, adds: Figures) -> list[str]:
    limits = {op.name: op.limit for op in table.operations} | {BOOT: BOOT_MAX}
    return [
        f"{name}: {adds[name]:,} instructions, at most {limit:,}"
        for name, limit in limits.items()
        if name in adds and adds[name] > limit
    ]


def compare(adds: Figures, best: Figures) -> tuple[list[str], dict[str, int]]:
    """What got worse, and the best from now on."""
    worse = []
    now = dict(best)
    for name, value in adds.items():
        # How long the boot takes depends on devices' timing too: a limit is all it has.
        if name == BOOT:
            continue
        old = best.get(name)
        if old is None or value < old:
            now[name] = value
        elif value - old > max(old * WORSE_PART, WORSE_TICKS):
            worse.append(f"{name}: {value:,} instructions, were {old:,}")
    return worse, now


def measure_hardware(nested: Figures, best: dict[str, int], table: Table) -> tuple[list[str], dict[str, int]]:
    """Prints the table. What got worse, and the best from now on, by OPERATION/CLASS."""
    bench_hardware.build()
    slow = {c: measure(NESTED, LIMITED, table, bench_hardware.folder(c)) for c in bench_hardware.CLASSES}
    counts = bench_hardware.count({name: value for name, value in nested.items() if name != BOOT}, slow)
    print("\nSlow instructions of L0 per operation (the same for lhv on the bare machine: none):\n")
    print("\n".join(bench_hardware.rows({o.name: o.text for o in table.operations}, counts)))
    flat = {f"{name}/{c}": n for name, of_name in counts.items() for c, n in of_name.items()}
    worse = [f"{k}: {n}, were {best[k]}" for k, n in flat.items() if k in best and n > best[k]]
    return worse, {k: min(n, best.get(k, n)) for k, n in flat.items()}


def kvm_stacks() -> list[str]:
    """Those whose kernels are in the cache: a table isn't the place for a download."""
    return [f"{BARE}/kvm-{line}" for line in stacks.KVM_LINES if kernels.cached(line)]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="harness.bench_ops", description=__doc__)
    parser.add_argument("--stack", default=NESTED, help="nested stack (default: %(default)s)")
    parser.add_argument("--arch", action="append", choices=("amd64", "i386"), help="of lhv; default both")
    parser.add_argument("--kvm", action="store_true", help="measure Linux with KVM too, the kernels that are in the cache")
    parser.add_argument("--no-save", action="store_true", help=f"leave {BEST.name} alone")
    args = parser.parse_args(argv)
    table = Table.load()
    best: dict[str, dict[str, int]] = json.loads(BEST.read_text()) if BEST.exists() else {}
    problems: list[str] = []
    for arch in args.arch or ("amd64", "i386"):
        try:
            bare = measure(BARE, arch, table)
            nested = measure_nested(args.stack, arch, table)
            others = {s: measure_nested(s, arch, table) for s in (kvm_stacks() if args.kvm else [])}
        except (ValueError, Unavailable) as e:
            print(f"bench: {e}", file=sys.stderr)
            return EXIT_ENVIRONMENT
        print(f"\nInstructions per operation, lhv for {arch}, {MODEL}:\n")
        beside = {stack: figures for stack, figures in others.items() if figures}
        print("\n".join(rows(table, bare, nested, arch == LIMITED, beside)))
        if nested is None:
            continue
        adds = added(bare, nested)
        print(f"\nL0's boot: {adds[BOOT]:,} instructions until L1's first line, at most {BOOT_MAX:,}")
        key = f"{args.stack}/{arch}"
        worse, best[key] = compare(adds, best.get(key, {}))
        limits = exceeded(table, adds) if arch == LIMITED else []
        problems += [f"{key}/{text}" for text in limits + worse]
        if arch == LIMITED and args.stack == NESTED:
            worse, best[HARDWARE] = measure_hardware(nested, best.get(HARDWARE, {}), table)
            problems += [f"{key}/{text}" for text in worse]
        missing = sorted(set(bare) - set(nested))
        problems += [f"{key}/{name}: not measured" for name in missing]
    if best and not args.no_save:
        BEST.write_text(json.dumps(best, indent=1, sort_keys=True) + "\n")
    for problem in problems:
        print(f"bench: {problem}", file=sys.stderr)
    return EXIT_UNEXPECTED if problems else EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
