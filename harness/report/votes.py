# SPDX-License-Identifier: BSD-2-Clause
"""Where stacks disagree and who is wrong, as lines and as a table for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from harness import vote
from harness.report.ktap import clean
from harness.rows import Row
from harness.verdicts import Outcome, Verdict

_NONE = "-"
_STYLES = {Verdict.GOOD.name: "green", Verdict.SKIP.name: "dim", Verdict.ERROR.name: "magenta"}
_TITLES = {
    True: "Stacks disagree",
    False: "Verdicts differ, but no vote is against another (SKIP and ERROR abstain)",
}


def sections(groups: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for disagree, title in _TITLES.items():
        if found := [g for g in groups if g["disagree"] is disagree]:
            yield title, found


def where(group: Row) -> str:
    machines = ", ".join(group["machines"])
    return f"{machines}: {', '.join(group['members'])}" if len(group["members"]) > 1 else machines


@dataclass
class Camp:
    """Stacks of which there is the same to say."""

    verdict: str
    outcome: str
    text: str
    item: str = ""  # of the first of them
    stacks: list[str] = field(default_factory=list)


def camps(group: Row) -> list[Camp]:
    """Those that have no such result come last."""
    found: dict[tuple[str, str], Camp] = {}
    columns = ("stacks", "verdicts", "outcomes", "reasons", "known", "items")
    for stack, verdict, outcome, reason, known, item in zip(*(group[c] for c in columns)):
        told = [f"{outcome}:"] if outcome != Outcome.OK.value else []
        told += [reason] if reason else []
        if outcome == Outcome.KNOWN.value:
            told += [f"[{text}]" for text in (known["evidence"], known["link"]) if text]
        text = clean(" ".join(told))
        found.setdefault((verdict, text), Camp(verdict, outcome, text, item)).stacks.append(stack)
    out = list(found.values())
    if group["missing"]:
        out.append(Camp(_NONE, Outcome.OK.value, "not run", stacks=group["missing"]))
    return out


def judgement(group: Row) -> str:
    return "; ".join(text for text in (vote.vote_text(group), vote.blame_text(group)) if text)


def text_lines(groups: Sequence[Row]) -> list[str]:
    lines = []
    for title, found in sections(groups):
        lines += [f"{title}:", ""]
        for g in found:
            lines.append(f"{g['name']} on {where(g)}")
            lines += [f"    {c.verdict} {', '.join(c.stacks)}{': ' if c.text else ''}{c.text}" for c in camps(g)]
            lines += [f"  {judgement(g)}", ""]
    return lines


def tables(groups: Sequence[Row]) -> Iterator[Table]:
    for title, found in sections(groups):
        table = Table(title=title, title_justify="left", title_style="bold", show_lines=False, expand=True)
        table.add_column("result", ratio=4, overflow="fold")
        table.add_column("verdict", no_wrap=True)
        table.add_column("stacks", ratio=3, overflow="fold")
        table.add_column("reason", ratio=6, overflow="fold")
        table.add_column("who", ratio=4, overflow="fold")
        for g in found:
            _add(table, g)
        yield table


def _add(table: Table, group: Row) -> None:
    """A line for each camp. Text, not str: rich would read brackets as markup."""
    name = Text.assemble((group["name"], "bold"), "\n", (where(group), "dim"))
    who = Text("\n".join(text for text in (vote.vote_text(group), vote.blame_text(group)) if text))
    lines = camps(group)
    for n, camp in enumerate(lines):
        style = _STYLES.get(camp.verdict, "red")
        table.add_row(
            name if n == 0 else "", Text(camp.verdict, style), Text("\n".join(camp.stacks)), Text(camp.text),
            who if n == 0 else "", end_section=n == len(lines) - 1,
        )  # fmt: skip
