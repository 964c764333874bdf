# SPDX-License-Identifier: BSD-2-Clause
"""Results as the reports have them: plain data (docs/harness.md, "JSON"), which also travels between processes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from harness.engines import Engine
from harness.expectations import NONE, Expectations
from harness.judge import Seen
from harness.plan import Case
from harness.session import BootInfo, ItemRun
from harness.settings import Settings
from harness.stacks import FOREIGN, Stack
from harness.verdicts import Outcome, Verdict

Row = dict[str, Any]
Payload = dict[str, Any]


def stack_row(stack: Stack, engine: Engine, data: Expectations) -> Row:
    row = {
        "engine": engine.name, "version": engine.version, "cpu_model": engine.model, "expectations": data.source,
        "below": None, "layer": None, "l0": None, "l1_boot": None,
    }  # fmt: skip
    if stack.below:
        row |= {"below": stack.below.name, "layer": stack.layers[-1], "l0": engine.l0, "l1_boot": None if stack.kvm else stack.way}
    return row


def stack_text(row: Row) -> str:
    """What a stack is, for people."""
    text = f"{row['engine']} {row['version']}, {row['cpu_model']}"
    if row["layer"]:
        text += f"; {row['l0']}"
    return f"{text}, which gets L1 by {row['l1_boot']}" if row["l1_boot"] else text


def boot_row(info: BootInfo, stack: str) -> Row:
    row = asdict(info)
    row["command"] = shlex.join(info.command)
    row["stack"] = stack
    return row


def repeat_command(case: Case, settings: Settings) -> str:
    m = case.machine
    kind, value = case.item.word
    words = ["./run_tests.py", "--stack", m.stack.name, "--arch", m.arch, "--cpus", str(m.cpus), f"--{kind}", value]
    if FOREIGN in m.stack.layers:
        words += ["--l0", settings.l0]
    if settings.iterations:
        words += ["--iter", str(settings.iterations)]
    if settings.seed != 1:
        words += ["--seed", str(settings.seed)]
    return shlex.join(words)


def item_rows(case: Case, run: ItemRun, data: Expectations, settings: Settings, boot_id: str) -> list[Row]:
    """One per result, in the order in which lhv must print them."""
    m = case.machine
    rows = []
    for key, seen in run.seen.items():
        path = case.item.path(key)
        expected = data.judge(f"{m.arch}/{m.cpus}cpu/{path}", m.stack.model, seen.verdict, seen.reason)
        known = expected.known
        rows.append({
            "id": f"{m.name}/{path}", "stack": m.stack.name, "arch": m.arch,
            "opt": f"0x{case.item.mask:04x}" if case.item.per_cpu else None,
            "test": None if case.item.per_cpu else case.item.word[1],
            "cpus": m.cpus, "cpu": key.cpu if case.item.per_cpu else None,
            "verdict": seen.verdict.name, "expected": expected.verdict.name, "outcome": expected.outcome.value,
            "reason": seen.reason, "note": expected.note,
            "known": {"reason": known.reason, "link": known.link, "evidence": known.evidence} if known else None,
            "instructions": run.instructions, "seconds": run.seconds, "checks": seen.checks, "fails": list(seen.fails),
            "item": case.id, "title": case.item.title, "sdm": case.item.sdm, "log": case.id,
            "boot": boot_id, "repeat": repeat_command(case, settings),
        })  # fmt: skip
    return rows


def infra_rows(case: Case, reason: str, settings: Settings) -> list[Row]:
    """What can be said of an item that couldn't be run."""
    keys = case.item.keys(case.machine.cpus)
    run = ItemRun(dict.fromkeys(keys, Seen(Verdict.INFRA, reason)))
    return item_rows(case, run, NONE, settings, "")


def fails(rows: Iterable[Mapping[str, Any]]) -> bool:
    return any(Outcome(r["outcome"]).fails for r in rows)


def all_skipped(rows: Iterable[Mapping[str, Any]]) -> bool:
    return all(r["verdict"] == Verdict.SKIP.name for r in rows)


def summary(rows: list[Row]) -> Row:
    """Counts by verdict and by outcome."""
    out: Row = {"results": len(rows), "verdicts": {}, "outcomes": {}}
    for verdict in Verdict:
        out["verdicts"][verdict.name] = sum(r["verdict"] == verdict.name for r in rows)
    for outcome in Outcome:
        out["outcomes"][outcome.value] = sum(r["outcome"] == outcome.value for r in rows)
    return out


EXIT_OK, EXIT_UNEXPECTED, EXIT_USAGE, EXIT_ENVIRONMENT, EXIT_SKIPPED, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130


def exit_code(rows: list[Row]) -> int:
    """A host's misbehaviour weighs more than this machine's."""
    if fails(r for r in rows if r["verdict"] != Verdict.INFRA.name):
        return EXIT_UNEXPECTED
    if any(r["verdict"] == Verdict.INFRA.name for r in rows):
        return EXIT_ENVIRONMENT
    return EXIT_SKIPPED if all_skipped(rows) else EXIT_OK
