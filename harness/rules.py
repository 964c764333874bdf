# SPDX-License-Identifier: BSD-2-Clause
"""--rules: the rules of testcases/rules/, which tests judge them, and on which stacks they hold (docs/rules.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

from harness import elf
from harness.errors import EnvironmentProblem, UsageError
from harness.report.collect import SCHEMA
from harness.settings import ARCHS, ROOT, Settings

FOLDER = ROOT / "testcases" / "rules"
# lhv prints so many fail lines of a result and no more (lhv/report.c): with fewer, all that failed are known.
FAIL_LINES = 4

_ROW = re.compile(r'RULE\("([^"]*)", ([A-Z_]+), "([^"]*)", "([^"]*)"\)')
_ID = re.compile(r"[a-z0-9]+(\.[a-z0-9-]+)+")


class Status(Enum):
    OBSERVABLE = "observable"  # a test can tell
    AMBIGUOUS = "ambiguous"  # the SDM leaves it open, or to the CPU
    NOT_OBSERVABLE = "not observable"  # L1 can't tell on any machine that there is


class State(Enum):
    """Of a rule on a stack: the worst of what its tests say."""

    UNTESTED = "untested"
    SKIPPED = "skipped"
    HOLDS = "holds"
    UNCLEAR = "unclear"  # its tests ended otherwise, or are BAD for another rule
    BROKEN = "broken"


@dataclass(frozen=True)
class Rule:
    id: str
    area: str
    status: Status
    sdm: str
    text: str


@dataclass(frozen=True)
class Told:
    """What the tests of a rule say of it on a stack."""

    state: State
    why: tuple[str, ...]  # tests with reasons, or capabilities that are missing


def _blank_lines(comment: re.Match[str]) -> str:
    return "\n" * comment[0].count("\n")


def parse(text: str, area: str) -> list[Rule]:
    """One row per line; anything else that isn't a comment is an error. Raises ValueError."""
    out = []
    for number, line in enumerate(re.sub(r"/\*.*?\*/", _blank_lines, text, flags=re.S).splitlines(), 1):
        if not line.strip():
            continue
        match = _ROW.fullmatch(line)
        if not match or match[2] not in Status.__members__:
            raise ValueError(f"line {number} is no RULE(id, status, section, text)")
        id, status, sdm, sentence = match.groups()
        if not _ID.fullmatch(id) or not id.startswith(area + "."):
            raise ValueError(f"line {number}: {id} isn't an id of {area}")
        out.append(Rule(id, area, Status[status], sdm, sentence))
    return out


def load(folder: Path = FOLDER) -> dict[str, Rule]:
    """By id, area by area."""
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.def")):
        try:
            for rule in parse(path.read_text(), path.stem.replace("_", ".")):
                if rule.id in rules:
                    raise ValueError(f"{rule.id} is there twice")
                rules[rule.id] = rule
        except ValueError as e:
            raise EnvironmentProblem(f"{path}: {e}") from e
    return rules


def tests_of(settings: Settings) -> dict[str, elf.TestInfo]:
    """Of all architectures' images, by id; without canaries and measurements."""
    tests: dict[str, elf.TestInfo] = {}
    for arch in ARCHS:
        for test in elf.read_tests(settings.kernel(arch)):
            if not test.canary and test.runs_on(arch):
                old = tests.setdefault(test.id, test)
                if old.rules != test.rules:
                    raise EnvironmentProblem(f"test/{test.id} names other rules for {arch}")
    return tests


def check(rules: Mapping[str, Rule], tests: Iterable[elf.TestInfo]) -> None:
    """Raises EnvironmentProblem for an id that doesn't exist."""
    for test in tests:
        for id in test.rules:
            if id not in rules:
                raise EnvironmentProblem(f"test/{test.id} names {id}, which isn't in testcases/rules/")


def judges(tests: Iterable[elf.TestInfo]) -> dict[str, list[str]]:
    """By rule, the ids of the tests that name it."""
    out: dict[str, list[str]] = {}
    for test in tests:
        for id in test.rules:
            out.setdefault(id, []).append(test.id)
    return out


def _named(row: Mapping[str, Any], rules: Sequence[str]) -> set[str]:
    """Rules whose ids the fail lines begin with."""
    heads = {fail.get("expr", "").partition(":")[0] for fail in row["fails"]}
    return heads & set(rules)


def _tell(row: Mapping[str, Any], id: str, rules: Sequence[str]) -> tuple[State, str]:
    """What one result says of one of its test's rules."""
    if row["verdict"] == "GOOD":
        return State.HOLDS, ""
    if row["verdict"] == "SKIP":
        return State.SKIPPED, row["reason"]
    named = _named(row, rules)
    if row["verdict"] != "BAD":
        return State.UNCLEAR, f"{row['id']}: {row['verdict']}: {row['reason']}"
    if not named or id in named:
        return State.BROKEN, f"{row['id']}: {row['reason']}"
    if len(row["fails"]) < FAIL_LINES:
        return State.HOLDS, ""
    return State.UNCLEAR, f"{row['id']}: {row['reason']}"


_ORDER = (State.UNTESTED, State.SKIPPED, State.HOLDS, State.UNCLEAR, State.BROKEN)


def tell(rules: Mapping[str, Rule], tests: Mapping[str, elf.TestInfo], rows: Iterable[Mapping[str, Any]]) -> dict[str, Told]:
    """By rule, from the results of one stack."""
    found: dict[str, list[tuple[State, str]]] = {}
    for row in rows:
        test = tests.get(row["test"] or "")
        for id in test.rules if test else ():
            found.setdefault(id, []).append(_tell(row, id, test.rules if test else ()))
    out = {}
    for id in rules:
        told = found.get(id, [(State.UNTESTED, "")])
        worst = max((state for state, _ in told), key=_ORDER.index)
        out[id] = Told(worst, tuple(dict.fromkeys(why for state, why in told if state is worst and why)))
    return out


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise UsageError(f"--json-in {path}: {e}") from e
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or "results" not in document:
        raise UsageError(f"--json-in {path}: not a report of run_tests.py --json")
    return document


def by_stack(paths: Sequence[Path]) -> dict[str, list[Mapping[str, Any]]]:
    out: dict[str, list[Mapping[str, Any]]] = {}
    for path in paths:
        for row in _read(path)["results"]:
            out.setdefault(row["stack"], []).append(row)
    return out


def document(rules: Mapping[str, Rule], tests: Mapping[str, elf.TestInfo], stacks: Mapping[str, Mapping[str, Told]]) -> dict[str, Any]:
    judged = judges(tests.values())
    return {
        "schema": SCHEMA,
        "areas": [
            {"area": area, "rules": len(own), **{s.name.lower(): sum(r.status is s for r in own) for s in Status},
             "tested": sum(r.id in judged for r in own)}
            for area, own in _areas(rules).items()
        ],
        "rules": [
            {"id": r.id, "area": r.area, "status": r.status.name.lower(), "sdm": r.sdm, "text": r.text, "tests": judged.get(r.id, []),
             "stacks": {name: {"state": told[r.id].state.value, "why": list(told[r.id].why)} for name, told in stacks.items()}}
            for r in rules.values()
        ],
        "tests_without_rule": [t.id for t in tests.values() if not t.rules],
    }  # fmt: skip


def _areas(rules: Mapping[str, Rule]) -> dict[str, list[Rule]]:
    out: dict[str, list[Rule]] = {}
    for rule in rules.values():
        out.setdefault(rule.area, []).append(rule)
    return out


def write_text(doc: Mapping[str, Any], out: TextIO) -> None:
    columns = ("area", "rules", *(s.name.lower() for s in Status), "tested")
    rows = [*doc["areas"], {"area": "all", **{c: sum(a[c] for a in doc["areas"]) for c in columns[1:]}}]
    out.write("".join(f"{c.replace('_', ' '):>{16 if n else 1}}{'' if n else ' ' * 12}" for n, c in enumerate(columns)) + "\n")
    for row in rows:
        out.write(f"{row['area']:<16}" + "".join(f"{row[c]:>16}" for c in columns[1:]) + "\n")
    left = [r for r in doc["rules"] if not r["tests"]]
    out.write(f"\nrules without a test: {len(left)}\n")
    for rule in left:
        out.write(f"  {rule['id']} ({rule['status'].replace('_', ' ')}): {rule['text']}\n")
    out.write(f"\ntests without a rule: {len(doc['tests_without_rule'])}\n")
    for test in doc["tests_without_rule"]:
        out.write(f"  {test}\n")
    for name in doc["rules"][0]["stacks"] if doc["rules"] else ():
        _write_stack(doc, name, out)


def _write_stack(doc: Mapping[str, Any], name: str, out: TextIO) -> None:
    states = {s: [r for r in doc["rules"] if r["stacks"][name]["state"] == s.value] for s in State}
    out.write(f"\n{name}: " + ", ".join(f"{len(own)} {s.value}" for s, own in reversed(states.items())) + "\n")
    for state in (State.BROKEN, State.UNCLEAR, State.SKIPPED):
        for rule in states[state]:
            why = rule["stacks"][name]["why"]
            more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
            out.write(f"  {state.value} {rule['id']}: {why[0] if why else ''}{more}\n")


def run(settings: Settings, reports: Sequence[Path], json_out: Path | None, out: TextIO) -> int:
    rules, tests = load(), tests_of(settings)
    check(rules, tests.values())
    stacks = {name: tell(rules, tests, rows) for name, rows in by_stack(reports).items()}
    doc = document(rules, tests, stacks)
    if json_out:
        json_out.write_text(json.dumps(doc, indent=1) + "\n")
    write_text(doc, out)
    return 0
