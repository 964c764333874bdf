# SPDX-License-Identifier: BSD-2-Clause
"""One self-contained file: a matrix of verdicts, each of which opens its details."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from harness.verdicts import Outcome, Verdict

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

_SEVERITY = {Outcome.OK: 0, Outcome.KNOWN: 1, Outcome.UNEXPECTED_GOOD: 2, Outcome.UNEXPECTED: 3}
Results = list[dict[str, Any]]


@dataclass(frozen=True)
class Column:
    stack: str
    arch: str
    cpus: int


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
    # Machines come in the order of the run; a stack's columns belong together.
    stacks = list(dict.fromkeys(c.stack for c in columns))
    ordered = sorted(columns, key=lambda c: stacks.index(c.stack))
    lines = []
    for key, found in cells.items():
        first = next(iter(found.values()))[0]
        about = first["sdm"] or first["title"]
        summaries = tuple(summarize(found[c]) if c in found else None for c in ordered)
        lines.append(Line(key, key.split("/", 1)[1], about.replace("+", " ") if first["opt"] else about, summaries))
    return ordered, sorted(lines, key=lambda line: (not line.key.startswith("opt/"), _area(line)))


def _area(line: Line) -> str:
    return "" if line.key.startswith("opt/") else line.name.split("/")[0]


def _spans(keys: Sequence[Any]) -> list[tuple[Any, int]]:
    """Neighbours that are alike share a header."""
    return [(key, len(list(group))) for key, group in itertools.groupby(keys)]


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
    return environment.get_template("report.html.j2").render(
        document=document,
        summary=document["summary"],
        columns=columns,
        firsts=[i == 0 or c.stack != columns[i - 1].stack for i, c in enumerate(columns)],
        stack_spans=_spans([c.stack for c in columns]),
        arch_spans=_spans([(c.stack, c.arch) for c in columns]),
        sections=[(title, found) for title, found in sections if found],
        lines=lines,
        data=data,
        cpu_seconds=sum(b["cpu_seconds"] for b in document["boots"].values()),
    )


_SECTIONS = (("opt/", "Option masks"), ("test/", "Tests"), ("l1/", "Images"))


def write(document: dict[str, Any], path: Path) -> None:
    path.write_text(render(document))
