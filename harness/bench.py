# SPDX-License-Identifier: BSD-2-Clause
"""make bench: measures what users wait for, and what an L0 that nests adds to operations (bench_ops.py), and holds it
against limits. Exit 1 if one is exceeded."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import bench_ops
from harness.rows import EXIT_ENVIRONMENT, EXIT_OK, EXIT_UNEXPECTED
from harness.settings import ROOT

INSTRUCTIONS_MAX = 20_000_000
CPU_SECONDS_MAX = 180.0


@dataclass(frozen=True)
class Figure:
    what: str
    value: float | int
    unit: str
    limit: float | None = None

    @property
    def exceeded(self) -> bool:
        return self.limit is not None and self.value > self.limit

    def row(self) -> str:
        number = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.1f}"
        limit = f"under {self.limit:,.0f}" if self.limit is not None else ""
        return f"| {self.what} | {f'{number} {self.unit}'.strip()} | {limit}{' EXCEEDED' if self.exceeded else ''} |"


def first_verdicts(document: dict[str, Any]) -> dict[str, int]:
    """By architecture: instructions from power-on to the end of the first item, one CPU."""
    out: dict[str, int] = {}
    for name, boot in document["boots"].items():
        parts = name.split("/")
        if "1cpu" in parts and boot["first_end"] is not None:
            out.setdefault(parts[parts.index("1cpu") - 1], boot["first_end"])
    return out


def figures(document: dict[str, Any], cpu_seconds: float, seconds: float) -> list[Figure]:
    firsts = first_verdicts(document)
    if not firsts:
        raise ValueError("no boot with one CPU got to a verdict")
    machines = sum(b["cpu_seconds"] for b in document["boots"].values())
    rows = [
        Figure(f"power-on to the first verdict, {arch}", count, "instructions", INSTRUCTIONS_MAX)
        for arch, count in sorted(firsts.items())
    ]
    return rows + [
        Figure("default run, CPU time in all", cpu_seconds, "s", CPU_SECONDS_MAX),
        Figure("default run, CPU time of the emulators", machines, "s"),
        Figure("default run, by the clock", seconds, "s"),
        Figure("results", document["summary"]["results"], ""),
    ]


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(options: Sequence[str]) -> int:
    """options: for run_tests.py."""
    with tempfile.TemporaryDirectory(prefix="lhv-bench-") as folder:
        report = Path(folder, "report.json")
        began, cpu = time.monotonic(), _children_cpu()
        command = [sys.executable, str(ROOT / "run_tests.py"), "--no-build", f"--json={report}", *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
        if done.returncode not in (EXIT_OK, EXIT_UNEXPECTED) or not report.exists():
            print(f"bench: the run ended with {done.returncode}; nothing to measure", file=sys.stderr)
            return EXIT_ENVIRONMENT
        document = json.loads(report.read_text())
        try:
            rows = figures(document, _children_cpu() - cpu, time.monotonic() - began)
        except ValueError as e:
            print(f"bench: {e}", file=sys.stderr)
            return EXIT_ENVIRONMENT
    for name, stack in document["stacks"].items():
        print(f"{name}: {stack['engine']} {stack['version']}, {stack['cpu_model']}\n")
    print("| figure | measured | limit |\n| --- | --- | --- |")
    for figure in rows:
        print(figure.row(), flush=True)
    operations = bench_ops.main(["--kvm"])
    return EXIT_UNEXPECTED if any(f.exceeded for f in rows) else operations


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
