# SPDX-License-Identifier: BSD-2-Clause
"""Who is wrong where stacks disagree: the odd one out by vote, and whose fault it is by what is below it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from harness import reasons
from harness.report import differences
from harness.report.differences import path_of, why
from harness.rows import Row, fails
from harness.verdicts import Verdict

ENOUGH = 3  # stacks: of two that disagree, no vote can tell which is the odd one
# These say nothing about the host, so they aren't votes.
_ABSTENTIONS = {v.name for v in (Verdict.SKIP, Verdict.ERROR, Verdict.INFRA)}
_GOOD = Verdict.GOOD.name

Ballots = Mapping[str, Row]  # by stack


def abstains(row: Row) -> bool:
    return row["verdict"] in _ABSTENTIONS


def family(stack: str) -> str:
    """Whose code it is that is judged: versions, CPU models and builds of one program aren't independent votes."""
    host, _, layer = stack.partition("/")
    name = layer or re.split("[@:]", host.rpartition("=")[2])[0]  # compare's REPORT=STACK
    return "kvm" if re.match("(qemu-)?kvm", name) else re.sub(r"(-i386)?(\+disk)?$", "", name)


def counted(votes: Mapping[str, str]) -> dict[str, Fraction]:
    """votes: verdicts by stack. What each verdict gets: a vote of each family, and one that is divided divides it."""
    families: dict[str, list[str]] = {}
    for stack, verdict in votes.items():
        families.setdefault(family(stack), []).append(verdict)
    counts: dict[str, Fraction] = {}
    for verdicts in families.values():
        for verdict in verdicts:
            counts[verdict] = counts.get(verdict, Fraction(0)) + Fraction(1, len(verdicts))
    return counts


def majority(votes: Mapping[str, str]) -> str | None:
    """What more than half of the families say; None: a tie."""
    counts = counted(votes)
    best = max(counts, key=lambda v: counts[v], default=None)
    return best if best is not None and 2 * counts[best] > sum(counts.values()) else None


def below_of(stack: str, stacks: Mapping[str, Row]) -> str:
    """As the report has it; a stack on which nothing could be run isn't in its list. Empty: nothing is below."""
    if stack in stacks:
        return str(stacks[stack]["below"] or "")
    return differences.below_of(stack)


def culprit(stack: str, ballots: Ballots, stacks: Mapping[str, Row]) -> tuple[str, str]:
    """Of a verdict that isn't GOOD: who is wrong, and why that can't be told (then it is one of the two; else empty).

    An L0 is wrong only where what is below it is GOOD: L2 is executed by that."""
    below = below_of(stack, stacks)
    if not below:
        return stack, ""
    row = ballots.get(below)
    if row is None:
        return below, "wasn't run"
    if abstains(row):
        return below, f"says {row['verdict']}"
    return (stack, "") if row["verdict"] == _GOOD else culprit(below, ballots, stacks)


def find(results: Iterable[Row], stacks: Mapping[str, Row]) -> list[Row]:
    """Results whose verdicts differ, in the order of the run, as data (docs/harness.md, "Comparing")."""
    by_path: dict[str, dict[str, Row]] = {}
    everyone: dict[str, None] = {}
    for row in results:
        by_path.setdefault(path_of(row), {})[row["stack"]] = row
        everyone[row["stack"]] = None
    # This machine's trouble is no difference between hosts.
    told = {p: {s: r for s, r in b.items() if r["verdict"] != Verdict.INFRA.name} for p, b in by_path.items()}
    return [_judge(p, b, list(everyone), stacks) for p, b in told.items() if len({r["verdict"] for r in b.values()}) > 1]


def _judge(path: str, ballots: Ballots, everyone: Sequence[str], stacks: Mapping[str, Row]) -> Row:
    rows = list(ballots.values())
    votes = {s: r["verdict"] for s, r in ballots.items() if not abstains(r)}
    winner = majority(votes)
    found = {s: culprit(s, ballots, stacks) for s, v in votes.items() if v != _GOOD}
    # That they fail as well may have reasons of their own.
    blamed = {s: ballots[name] for s, (name, doubt) in found.items() if name != s and not doubt}
    own = [s for s, r in blamed.items() if (r["verdict"], reasons.kind(why(r))) != (votes[s], reasons.kind(why(ballots[s])))]
    return {
        "path": path, "stacks": list(ballots), "verdicts": [r["verdict"] for r in rows],
        "outcomes": [r["outcome"] for r in rows], "expected": not fails(rows), "reasons": [why(r) for r in rows],
        "known": [r["known"] for r in rows], "items": [r["item"] for r in rows],
        "missing": [s for s in everyone if s not in ballots], "abstain": [s for s in ballots if s not in votes],
        "disagree": len(set(votes.values())) > 1, "majority": winner,
        "odd": [s for s, v in votes.items() if winner and v != winner],
        "wrong": list(dict.fromkeys(name for name, doubt in found.values() if not doubt)),
        "otherwise": own,
        "open": [{"stack": s, "below": name, "why": doubt} for s, (name, doubt) in found.items() if doubt],
    }  # fmt: skip


def group(found: Iterable[Row]) -> list[Row]:
    """Those that are alike, as one: on several machines and CPUs, a bit in several masks, several tests of an area. With `name`,
    `machines` and `members`. Where votes disagree first; of these, what nobody expects."""
    out: dict[tuple[Any, ...], Row] = {}
    for g in differences.group(found, reasons.kind):
        kind, *rest = g["name"].split("/")
        # In masks the bit says what it is about; of tests it's the area.
        common, member = (f"opt/*/{rest[1]}", rest[0]) if kind == "opt" else (f"{kind}/{'/'.join([*rest[:-1], '*'])}", rest[-1])
        votes = tuple(tuple(g[k]) for k in ("stacks", "verdicts", "outcomes"))
        key = (common, votes, tuple(map(reasons.kind, g["reasons"])), tuple(g["machines"]), tuple(g["missing"]))
        merged = out.setdefault(key, {**g, "members": [], "count": 0})
        merged["count"] += g["count"]
        merged["members"].append(member)
        if len(merged["members"]) > 1:
            merged["name"] = common
    return sorted(out.values(), key=lambda g: (not g["disagree"], bool(g["expected"])))


def vote_text(row: Row) -> str:
    """What the vote gives."""
    if not row["disagree"]:
        return "no vote against another"
    if row["majority"] is None:
        counts = counted({s: v for s, v in zip(row["stacks"], row["verdicts"]) if s not in row["abstain"]})
        return "tie: " + ", ".join(f"{n} {v}" for v, n in sorted(counts.items(), key=lambda c: -c[1]))
    return f"odd one out: {', '.join(row['odd'])}"


def blame_text(row: Row) -> str:
    """Whose fault it is; empty if it is nobody's."""
    parts = [f"wrong: {', '.join(row['wrong'])}"] if row["wrong"] else []
    parts += [f"{', '.join(row['otherwise'])} in another way"] if row["otherwise"] else []
    parts += [f"wrong: {o['stack']} or {o['below']}, which {o['why']}" for o in row["open"]]
    return "; ".join(parts)


def caveats(stacks: Mapping[str, Row]) -> list[str]:
    """Where the stack below isn't quite what is below."""
    out = []
    for name, row in stacks.items():
        below = stacks.get(below_of(name, stacks))
        if below and (below["engine"], below["version"]) != (row["engine"], row["version"]):
            out.append(
                f"{name} runs on {row['engine']} {row['version']}; below it, {row['below']} was run on {below['version']}"
            )
    return out
