# SPDX-License-Identifier: BSD-2-Clause
"""KTAP: one line per item; an item with anything but GOOD has its results below it as a nested test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.rows import Row, all_skipped, fails
from harness.verdicts import Outcome, Verdict

_FAILURES = {Verdict.TIMEOUT.name: "TIMEOUT ", Verdict.ERROR.name: "ERROR ", Verdict.INFRA.name: "ERROR INFRA: "}


def clean(text: str) -> str:
    """No text of a guest may look like a line of ours or begin a directive."""
    return " ".join("".join(c if " " <= c <= "~" else "?" for c in text).replace("#", "%").split())


def result_line(row: Row, number: int, name: str) -> str:
    outcome, verdict, reason = Outcome(row["outcome"]), row["verdict"], clean(row["reason"])
    if outcome is Outcome.OK:
        directive = f" # SKIP {reason}" if verdict == Verdict.SKIP.name else ""
        return f"ok {number} {name}{directive}"
    if outcome is Outcome.KNOWN:
        known = row["known"]
        return f"ok {number} {name} # XFAIL {verdict}: {clean(known['reason'])} {clean(known['link'])}".rstrip()
    if outcome is Outcome.UNEXPECTED_GOOD:
        return f"not ok {number} {name} # ERROR unexpectedly good, {clean(row['note'])}"
    directive = _FAILURES.get(verdict, f"{verdict}: ")
    if reason.startswith(f"{verdict} of "):  # whose it is
        directive = ""
    note = f" ({clean(row['note'])})" if row["note"] else ""
    return f"not ok {number} {name} # {directive}{reason}{note}"


def item_lines(rows: Sequence[Row], number: int, verbose: bool) -> list[str]:
    """All lines of one item; a test has one result and needs no nesting."""
    name = rows[0]["item"]
    if len(rows) == 1 and rows[0]["id"] == name:
        return [result_line(rows[0], number, name)]
    alike = len({(r["verdict"], r["outcome"], r["reason"]) for r in rows}) == 1
    if alike and not verbose and rows[0]["verdict"] != Verdict.GOOD.name:
        return [result_line(rows[0], number, name)]
    lines = []
    plain = all(r["verdict"] == Verdict.GOOD.name and r["outcome"] == Outcome.OK.value for r in rows)
    if verbose or not plain:
        lines = ["  KTAP version 1", f"  1..{len(rows)}"]
        lines += ["  " + result_line(r, n, r["id"][len(name) + 1 :]) for n, r in enumerate(rows, 1)]
    counts = [f"{sum(r['verdict'] == v.name for r in rows)} {v.name}" for v in Verdict]
    told = ", ".join(c for c in counts if not c.startswith("0 "))
    if fails(rows):
        return [*lines, f"not ok {number} {name} # {told}"]
    skip = "SKIP " if all_skipped(rows) else ""
    return [*lines, f"ok {number} {name} # {skip}{told}"]


class KtapWriter:
    def __init__(self, write: Callable[[str], object], total: int, *, verbose: bool = False):
        """write gets whole lines."""
        self._write: Callable[[str], object] | None = write
        self._verbose = verbose
        self._number = 0
        self.put(["KTAP version 1", f"1..{total}"])

    def item(self, rows: Sequence[Row]) -> None:
        self._number += 1
        self.put(item_lines(rows, self._number, self._verbose))

    def comment(self, text: str) -> None:
        self.put([f"# {line}" for line in text.splitlines()])

    def put(self, lines: Iterable[str]) -> None:
        if self._write is None:
            return
        try:
            self._write("".join(line + "\n" for line in lines))
        except BrokenPipeError:  # the reader has seen enough; the run and its exit code go on
            self._write = None
