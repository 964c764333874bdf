# SPDX-License-Identifier: BSD-2-Clause
"""One self-contained file: a matrix of verdicts, each of which opens its details."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from harness import vote
from harness.report import differences
from harness.report.votes import camps
from harness.verdicts import Outcome, Verdict

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

_SEVERITY = {Outcome.OK: 0, Outcome.KNOWN: 1, Outcome.UNEXPECTED_GOOD: 2, Outcome.UNEXPECTED: 3}
Results = list[dict[str, Any]]


@dataclass(frozen=True)
class Column:
    stack: str
    arch: str
    cpus: int

    @property
    def host(self) -> str:
        """The stack without its layer."""
        return differences.below_of(self.stack) or self.stack

    @property
    def layer(self) -> str:
        return self.stack.removeprefix(self.host).removeprefix("/") or "bare"


@dataclass(frozen=True)
class Cell:
    """All results of one item on one machine."""

    item: str
    verdict: str
    outcome: str
    detail: str  # "3 of 8", "1 skipped"; empty if all are alike


@dataclass(frozen=True)
class Line:
    key: str  # opt/0x003c, test/ept/violation
    name: str
    about: str
    cells: tuple[Cell | None, ...]

    @property
    def differs(self) -> bool:
        """Machines disagree; one that lacks something says nothing."""
        return len({c.verdict for c in self.cells if c and c.verdict != Verdict.SKIP.name}) > 1

    @property
    def remarkable(self) -> bool:
        return any(Outcome(c.outcome).fails for c in self.cells if c)

    @property
    def known(self) -> bool:
        return any(c.outcome == Outcome.KNOWN.value for c in self.cells if c)


def summarize(rows: Results) -> Cell:
    verdicts = Counter(r["verdict"] for r in rows)
    outcome = max((Outcome(r["outcome"]) for r in rows), key=_SEVERITY.__getitem__)
    # What doesn't fit decides what is shown; otherwise the worst. A few bits that a CPU lacks don't make a mask SKIP.
    shown = [r for r in rows if Outcome(r["outcome"]) is outcome]
    names = {r["verdict"] for r in shown} - ({Verdict.SKIP.name} if len(verdicts) > 1 else set())
    verdict = max((Verdict[n] for n in names or {Verdict.SKIP.name}), key=lambda v: v.value)
    detail = ""
    if verdict is Verdict.GOOD and verdicts[Verdict.SKIP.name]:
        detail = f"{verdicts[Verdict.SKIP.name]} skipped"
    elif verdicts[verdict.name] != len(rows):
        detail = f"{verdicts[verdict.name]} of {len(rows)}"
    return Cell(rows[0]["item"], verdict.name, outcome.value, detail)


def matrix(results: Results) -> tuple[list[Column], list[Line]]:
    columns: dict[Column, None] = {}
    cells: dict[str, dict[Column, Results]] = {}
    for row in results:
        column = Column(row["stack"], row["arch"], row["cpus"])
        columns[column] = None
        key = row["item"].removeprefix(f"{column.stack}/{column.arch}/{column.cpus}cpu/")
        cells.setdefault(key, {}).setdefault(column, []).append(row)
    ordered = _ordered(list(columns))
    lines = []
    for key, found in cells.items():
        first = next(iter(found.values()))[0]
        about = first["sdm"] or first["title"]
        summaries = tuple(summarize(found[c]) if c in found else None for c in ordered)
        lines.append(Line(key, key.split("/", 1)[1], about.replace("+", " ") if first["opt"] else about, summaries))
    return ordered, sorted(lines, key=lambda line: (not line.key.startswith("opt/"), _area(line)))


def _ordered(columns: Sequence[Column]) -> list[Column]:
    """Hosts come in the order of the run; what an L0 makes of a machine stands beside the bare one."""
    names = ("host", "arch", "cpus", "stack")
    seen = {name: list(dict.fromkeys(getattr(c, name) for c in columns)) for name in names}

    def key(c: Column) -> list[int]:
        host, arch, cpus, stack = (seen[name].index(getattr(c, name)) for name in names)
        return [host, arch, cpus, c.stack != c.host, stack]

    return sorted(columns, key=key)


def _machine(column: Column) -> tuple[str, str, int]:
    """Without L0s: what they are compared on."""
    return (column.host, column.arch, column.cpus)


def _headers(columns: Sequence[Column]) -> list[tuple[str, list[tuple[str, int]]]]:
    """From the top: class, and texts with the number of columns below each. Bare stacks alone need no row of layers."""
    rows = [
        ("stack", [(c.host, n) for c, n in _spans(columns, lambda c: c.host)]),
        ("arch", [(c.arch, n) for c, n in _spans(columns, lambda c: (c.host, c.arch))]),
        ("cpus", [(f"{c.cpus} CPU{'s' if c.cpus > 1 else ''}", n) for c, n in _spans(columns, _machine)]),
    ]
    if any(c.stack != c.host for c in columns):
        rows.append(("layer", [(c.layer, 1) for c in columns]))
    return rows


def _firsts(columns: Sequence[Column]) -> list[bool]:
    """By column: has a line at its left side, to keep what belongs together together."""
    paired = any(c.stack != c.host for c in columns)
    spans = _spans(columns, _machine) if paired else _spans(columns, lambda c: c.host)
    return [i == 0 for _, n in spans for i in range(n)]


def _area(line: Line) -> str:
    return "" if line.key.startswith("opt/") else line.name.split("/")[0]


def _spans(columns: Sequence[Column], key: Callable[[Column], Any]) -> list[tuple[Column, int]]:
    """Neighbours that are alike share a header: the first of them, and how many they are."""
    groups = (list(group) for _, group in itertools.groupby(columns, key))
    return [(group[0], len(group)) for group in groups]


def render(document: dict[str, Any]) -> str:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    columns, lines = matrix(document["results"])
    sections = [(title, [line for line in lines if line.key.startswith(prefix)]) for prefix, title in _SECTIONS]
    items: dict[str, Results] = {}
    for row in document["results"]:
        items.setdefault(row["item"], []).append(row)
    data = {"items": items, "logs": document["logs"], "boots": document["boots"], "stacks": document["stacks"]}
    votes = _votes(document)
    return environment.get_template("report.html.j2").render(
        document=document,
        summary=document["summary"],
        columns=columns,
        headers=_headers(columns),
        differences=differences.group(document["differences"]),
        changed={d["items"][1] for d in document["differences"]},
        votes=vote.group(d for d in votes or [] if d["disagree"]),
        voted=votes is not None,
        caveats=vote.caveats(document["stacks"]) if votes is not None else [],
        camps=camps,
        vote_text=vote.vote_text,
        blame_text=vote.blame_text,
        firsts=_firsts(columns),
        sections=[(title, found) for title, found in sections if found],
        lines=lines,
        data=data,
        cpu_seconds=sum(b["cpu_seconds"] for b in document["boots"].values()),
    )


def _votes(document: dict[str, Any]) -> Results | None:
    """None: there are too few for a vote, and nobody asked for one. CPU models of a host are one host."""
    hosts = {re.sub(":[^/]*", "", row["stack"]) for row in document["results"]}
    if "votes" not in document and len(hosts) < vote.ENOUGH:
        return None
    return vote.find(document["results"], document["stacks"])


_SECTIONS = (("opt/", "Option masks"), ("test/", "Tests"), ("l1/", "Images"))


def write(document: dict[str, Any], path: Path) -> None:
    path.write_text(render(document))
