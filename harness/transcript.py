# SPDX-License-Identifier: BSD-2-Clause
"""What one boot said, line by line, held against what it was asked for. Pure.

A transcript only collects and notes what is wrong; judge.py makes verdicts of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.cases import Item, ResultKey
from harness.wire import Line


@dataclass(frozen=True)
class Request:
    """What a boot is asked to run: items[first:] of a group."""

    token: str
    arch: str
    cpus: int
    items: tuple[Item, ...]
    first: int = 0


@dataclass
class Record:
    """What was said of one item."""

    start: int  # offset in the stream
    end: int | None = None
    start_tsc: int | None = None
    end_tsc: int | None = None
    results: dict[ResultKey, list[Line]] = field(default_factory=dict)
    fails: list[Line] = field(default_factory=list)
    taint: str = ""  # why nothing here can be GOOD


class Transcript:
    def __init__(self, request: Request):
        self.request = request
        self.records: dict[int, Record] = {}
        self.current: int | None = None
        self.last: int | None = None  # the last item that ended
        self.caps: dict[str, bool] = {}
        self.plan: Line | None = None
        self.panic: Line | None = None
        self.refusal: Line | None = None
        self.done: Line | None = None
        self.restarted = ""  # how the machine was seen to start anew
        self.spoiled = ""  # why nothing of the whole boot can be GOOD
        self.last_line: Line | None = None
        self.progress = 0  # counts lines that only a living lhv can print for so long
        self._gap = ""
        self._gapped = False

    @property
    def over(self) -> bool:
        """Nothing that follows can matter."""
        return bool(self.done or self.panic or self.refusal or self.restarted or self.spoiled)

    def feed(self, line: Line) -> None:
        if self.over:
            return
        if not self._in_sequence(line):
            return
        self.last_line = line
        handler: Callable[[Line], None] | None = getattr(self, f"_on_{line.kind}", None)
        if handler is None:
            return
        if self.plan is None and line.kind not in ("plan", "panic", "refuse", "note"):
            self.spoiled = f"a {line.kind} line before the plan"
            return
        if line.kind not in ("note", "fail", "cap"):
            self.progress += 1
        handler(line)

    def _in_sequence(self, line: Line) -> bool:
        before = self.last_line.seq if self.last_line else 0
        if line.seq <= before:
            self.restarted = f"line {line.seq} ({line.kind}) after line {before}: the machine started anew"
            return False
        if line.seq > before + 1:
            lost = f"{before + 1}" if line.seq == before + 2 else f"{before + 1} to {line.seq - 1}"
            self._gap, self._gapped = f"lost line {lost}", True
            self._taint(self.current if self.current is not None else self.last, self._gap)
            if self.current is not None and line.kind != "start":
                self._gap = ""
        return True

    def _taint(self, index: int | None, why: str) -> None:
        if index is not None and not self.records[index].taint:
            self.records[index].taint = why

    def _on_plan(self, line: Line) -> None:
        if self.plan:
            self.restarted = "a second plan line"
            return
        self.plan = line
        r = self.request
        wanted: dict[str, object] = {
            "proto": 1, "run": r.token, "arch": r.arch, "cpus": r.cpus,
            "items": len(r.items) - r.first, "from": r.first,
        }  # fmt: skip
        for key, value in wanted.items():
            if line.fields.get(key) != str(value):
                self.spoiled = f"the plan says {key}={line.fields.get(key)}, asked for was {value}"
                return

    def _on_cap(self, line: Line) -> None:
        self.caps[line.fields.get("name", "")] = line.fields.get("have") == "1"

    def _on_start(self, line: Line) -> None:
        index = line.number("n")
        known = index is not None and self.request.first <= index < len(self.request.items)
        if index is None or not known or line.fields.get("id") != self.request.items[index].id:
            self.spoiled = f"an item that isn't in the plan: n={line.fields.get('n')} id={line.fields.get('id')}"
            return
        if index in self.records or (self.records and index < max(self.records)):
            self.spoiled = f"item {index} ({line.fields['id']}) out of order"
            return
        if self.current is not None:
            self._taint(self.current, f"item {index} started before this one's end")
        self.records[index] = Record(line.start, start_tsc=line.number("tsc"), taint=self._gap)
        self._gap = ""
        self.current = index

    def _belongs(self, line: Line) -> Record | None:
        """The record of the item that this line is part of; else notes what is wrong."""
        where = self.current if self.current is not None else self.last
        if where is None:
            self.spoiled = f"a {line.kind} line before the first item"
            return None
        if self.current is None:
            self._taint(where, f"a {line.kind} line after the item's end")
        return self.records[where]

    def _on_result(self, line: Line) -> None:
        record = self._belongs(line)
        if record is None:
            return
        index = self.current if self.current is not None else self.last
        assert index is not None
        cpu = line.number("cpu")
        key = ResultKey(line.fields.get("id", ""), -1 if cpu is None else cpu)
        if key not in self.request.items[index].keys(self.request.cpus):
            self._taint(index, f"a result that isn't in the plan: id={key.id} cpu={line.fields.get('cpu')}")
        record.results.setdefault(key, []).append(line)

    def _on_fail(self, line: Line) -> None:
        if record := self._belongs(line):
            record.fails.append(line)

    def _on_end(self, line: Line) -> None:
        if self.current is None or line.number("n") != self.current:
            self.spoiled = f"the end of an item that isn't running: n={line.fields.get('n')}"
            return
        record = self.records[self.current]
        record.end, record.end_tsc = line.end, line.number("tsc")
        self.last, self.current = self.current, None

    def _on_panic(self, line: Line) -> None:
        self.panic = line

    def _on_refuse(self, line: Line) -> None:
        self.refusal = line

    def _on_done(self, line: Line) -> None:
        self.done = line
        self._taint(self.current, "done before the item's end")
        seen = {"items": len(self.records), "good": 0, "skip": 0, "error": 0, "bad": 0}
        for record in self.records.values():
            for results in record.results.values():
                for result in results:
                    word = result.fields.get("verdict", "").lower()
                    seen[word] = seen.get(word, 0) + 1
        if self._gapped:
            return  # the counts can't agree; the gap itself is accounted for
        for key in ("items", "good", "skip", "error", "bad"):
            if line.number(key) != seen[key]:
                self.spoiled = f"the done line counts {key}={line.fields.get(key)}, seen were {seen[key]}"
                return
