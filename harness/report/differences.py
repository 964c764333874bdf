# SPDX-License-Identifier: BSD-2-Clause
"""What changes by a layer: results whose verdicts differ between a stack and the same stack with an L0 on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.rows import Row, fails
from harness.verdicts import Outcome

_TOLD = 30  # in a text; a dead machine makes hundreds


def path_of(row: Mapping[str, Any]) -> str:
    """The id without the stack: what is compared."""
    return str(row["id"]).removeprefix(f"{row['stack']}/")


def below_of(stack: str) -> str:
    """The stack without its layer; empty for a bare one."""
    host, slash, _ = stack.partition("/")
    return host if slash else ""


def why(row: Mapping[str, Any]) -> str:
    """What there is to say to a verdict."""
    if row["outcome"] == Outcome.KNOWN.value:
        return str(row["known"]["reason"])
    return "; ".join(text for text in (row["reason"], row["note"]) if text)


def find(results: Iterable[Row]) -> list[Row]:
    """In the order of the run, as data (docs/harness.md, "What comes out"). Pairs come below first, then above."""
    by_id: dict[str, Row] = {row["id"]: row for row in results}
    out = []
    for above in by_id.values():
        below = by_id.get(f"{below_of(above['stack'])}/{path_of(above)}")
        if below is None or below["verdict"] == above["verdict"]:
            continue
        pair = (below, above)
        out.append({
            "path": path_of(above), "stacks": [r["stack"] for r in pair], "verdicts": [r["verdict"] for r in pair],
            "outcomes": [r["outcome"] for r in pair], "expected": not fails(pair), "reasons": [why(r) for r in pair],
            "items": [r["item"] for r in pair],
        })  # fmt: skip
    return out


def group(differences: Iterable[Row], kind: Callable[[str], str] = str) -> list[Row]:
    """Those that are alike on several machines or CPUs, as one: with `name` and `machines` for path. Unexpected ones first.
    kind: what has to be alike of their reasons."""
    out: dict[tuple[Any, ...], Row] = {}
    for d in differences:
        arch, cpus, *rest = d["path"].split("/")
        if rest[0] == "opt" and rest[-1].startswith("cpu"):
            del rest[-1]
        votes = (tuple(d[k]) for k in ("stacks", "verdicts", "outcomes"))
        key = ("/".join(rest), *votes, tuple(kind(reason) for reason in d["reasons"]))
        found = out.setdefault(key, {**d, "name": "/".join(rest), "machines": [], "count": 0})
        found["count"] += 1
        if f"{arch}/{cpus}" not in found["machines"]:
            found["machines"].append(f"{arch}/{cpus}")
    return sorted(out.values(), key=lambda g: bool(g["expected"]))


def text_lines(differences: Sequence[Row]) -> list[str]:
    """For people, a line for each that differs."""
    if not differences:
        return []
    groups = group(differences)
    unexpected = sum(not d["expected"] for d in differences)
    told = f"{unexpected} of them unexpected" if unexpected else "all as expected"
    verb = "result differs" if len(differences) == 1 else "results differ"
    lines = [f"{len(differences)} {verb} between a stack and an L0 on it, {told}:"]
    for g in groups[:_TOLD]:
        sides = [
            f"{stack} {verdict}" + (f" ({outcome})" if outcome != Outcome.OK.value else "") + (f": {reason}" if reason else "")
            for stack, verdict, outcome, reason in zip(g["stacks"], g["verdicts"], g["outcomes"], g["reasons"])
        ]
        lines.append(f"  {g['name']} on {', '.join(g['machines'])}: {' | '.join(sides)}")
    if len(groups) > _TOLD:
        lines.append(f"  and {len(groups) - _TOLD} more")
    return lines
