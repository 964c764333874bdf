# SPDX-License-Identifier: BSD-2-Clause
"""Progress on a terminal: which machines run, how far the run is, what was seen."""

from __future__ import annotations

import time
from collections import Counter
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.rows import Row
from harness.verdicts import Outcome, Verdict

_STYLES = {Verdict.GOOD.name: "green", Verdict.SKIP.name: "dim", Verdict.ERROR.name: "magenta"}
_LATEST = 8  # unexpected results that stay in view


class LiveDisplay:
    def __init__(self, stream: TextIO, total: int):
        self._total, self._done = total, 0
        self._seen: Counter[str] = Counter()
        self._known = 0
        self._unexpected: list[Row] = []
        self._running: dict[str, float] = {}  # machine: since when
        self._began = time.monotonic()
        self._console = Console(file=stream)
        self._live = Live(self, console=self._console, refresh_per_second=4, transient=True)

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def above(self, text: str) -> None:
        """Prints so that the display stays below, for lines that go to the same terminal."""
        self._console.out(text, end="", highlight=False)

    def began(self, machine: str) -> None:
        self._running.setdefault(machine, time.monotonic())

    def item(self, machine: str, rows: list[Row], last_of_machine: bool) -> None:
        self._done += 1
        self._seen.update(r["verdict"] for r in rows)
        self._known += sum(r["outcome"] == Outcome.KNOWN.value for r in rows)
        self._unexpected += [r for r in rows if Outcome(r["outcome"]).fails]
        if last_of_machine:
            self._running.pop(machine, None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        table = Table.grid(padding=(0, 2))
        table.add_row(
            ProgressBar(self._total, self._done, width=30), f"{self._done}/{self._total} items", self._counts(),
            f"{now - self._began:.0f} s",
        )  # fmt: skip
        yield table
        for machine, since in self._running.items():
            yield Text(f"  {machine}  {now - since:.0f} s", style="cyan")
        for row in self._unexpected[-_LATEST:]:
            yield Text(f"  {row['verdict']} {row['id']}: {row['reason']}", style="red", overflow="ellipsis", no_wrap=True)

    def _counts(self) -> Text:
        parts = [Text(f"{n} {verdict}  ", style=_STYLES.get(verdict, "red")) for verdict, n in self._seen.items()]
        if self._known:
            parts.append(Text(f"({self._known} known)", style="yellow"))
        return Text.assemble(*parts, no_wrap=True)
