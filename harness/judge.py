# SPDX-License-Identifier: BSD-2-Clause
"""Makes verdicts of a transcript and of how its boot ended. Pure; every doubt is against GOOD."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness.cases import Item, ResultKey
from harness.transcript import Record, Transcript
from harness.verdicts import LHV_VERDICTS, Verdict
from harness.wire import Line, LineReader

_SKIP_REASON = re.compile(r"(missing|environment): .+")


@dataclass(frozen=True)
class End:
    """How a boot ended where lhv itself didn't end it: TIMEOUT, CRASH (the machine ended) or INFRA."""

    verdict: Verdict
    text: str
    orderly: bool = False  # the guest turned the machine off
    below: bool = False  # a layer below lhv told of its own death: that explains everything else


@dataclass(frozen=True)
class Seen:
    """What was seen of one result."""

    verdict: Verdict
    reason: str = ""
    checks: int = 0
    fails: tuple[dict[str, str], ...] = ()


@dataclass
class Judgement:
    """Verdicts by item (index in the request) and result; and where a next boot must go on, if it must."""

    seen: dict[int, dict[ResultKey, Seen]] = field(default_factory=dict)
    resume: int | None = None


def read(transcript: Transcript, data: bytes) -> Transcript:
    """Feeds a whole log."""
    for line in LineReader().feed(data):
        transcript.feed(line)
    return transcript


def judge(transcript: Transcript, end: End) -> Judgement:
    t, request = transcript, transcript.request
    out = Judgement()
    wanted = range(request.first, len(request.items))

    def rest(first: int, seen: Seen) -> None:
        for i in range(first, len(request.items)):
            out.seen[i] = {key: seen for key in request.items[i].keys(request.cpus)}

    if t.last_line is None:
        told = end.below or end.verdict is Verdict.INFRA
        rest(request.first, Seen(end.verdict, end.text) if told else Seen(Verdict.SILENT, f"no line from lhv; {end.text}"))
        return out
    if t.refusal:
        fields = t.refusal.fields
        rest(request.first, Seen(Verdict.ERROR, f"lhv refused: {fields.get('rule')}: {fields.get('text')}"))
        return out
    if t.spoiled:
        for i in wanted:
            out.seen[i] = _judge_item(request.items[i], request.cpus, t.records.get(i), t.spoiled)
        return out

    for i, record in t.records.items():
        out.seen[i] = _judge_item(request.items[i], request.cpus, record, record.taint)
    reached = max(t.records, default=request.first - 1) + 1
    for i in range(request.first, reached):
        if i not in out.seen:
            out.seen[i] = _judge_item(request.items[i], request.cpus, None, "the item's lines were lost")
    if t.done:
        rest(reached, Seen(Verdict.ERROR, "not run, though lhv says that it is done"))
        if not end.below:
            return out

    dead = _death(t, end)
    victim = t.current if t.current is not None else t.last
    if victim is None:
        rest(request.first, dead)
        return out
    if t.current is None:
        dead = Seen(dead.verdict, f"after the item's end: {dead.reason}")
    out.seen[victim] = _judge_dead(request.items[victim], request.cpus, t.records[victim], dead)
    if reached < len(request.items) and not t.done:
        out.resume = reached
    return out


def _death(t: Transcript, end: End) -> Seen:
    if end.below:
        return Seen(end.verdict, end.text)
    if t.panic:
        return Seen(Verdict.CRASH, f"panic: {t.panic.fields.get('text')} ({t.panic.fields.get('at')})")
    if t.restarted:
        return Seen(Verdict.CRASH, t.restarted)
    return Seen(end.verdict, end.text)


def _fails(record: Record, key: ResultKey) -> tuple[dict[str, str], ...]:
    return tuple(
        {k: v for k, v in line.fields.items() if k not in ("id", "cpu")}
        for line in record.fails
        if line.fields.get("id") == key.id and line.number("cpu") == key.cpu
    )


def _judge_line(line: Line, fails: tuple[dict[str, str], ...]) -> Seen:
    verdict = LHV_VERDICTS.get(line.fields.get("verdict", ""))
    checks = line.number("checks")
    reason = line.fields.get("reason", "")
    if verdict is None or checks is None:
        return Seen(Verdict.ERROR, "a result line without a verdict or without a count of checks", 0, fails)
    if verdict is Verdict.GOOD and checks == 0:
        return Seen(Verdict.ERROR, "GOOD without a check", 0, fails)
    if verdict is Verdict.GOOD and fails:
        return Seen(Verdict.ERROR, "GOOD in spite of a fail line", checks, fails)
    if verdict is Verdict.SKIP and not _SKIP_REASON.fullmatch(reason):
        return Seen(Verdict.ERROR, f"SKIP without a proper reason: {reason!r}", checks, fails)
    return Seen(verdict, reason, checks, fails)


def _judge_item(item: Item, cpus: int, record: Record | None, taint: str) -> dict[ResultKey, Seen]:
    """An item that ended, or whose end was lost."""
    out = {}
    for key in item.keys(cpus):
        lines = record.results.get(key, []) if record else []
        if record is None or not lines:
            seen = Seen(Verdict.ERROR, taint or "no result, though the item ended")
        else:
            fails = _fails(record, key)
            seen = max((_judge_line(line, fails) for line in lines), key=lambda s: s.verdict.value)
            if len(lines) > 1:
                seen = _at_least_error(seen, f"{len(lines)} result lines")
            elif taint:
                seen = _at_least_error(seen, taint)
        out[key] = seen
    return out


def _at_least_error(seen: Seen, why: str) -> Seen:
    if seen.verdict.value >= Verdict.ERROR.value:
        return seen
    return Seen(Verdict.ERROR, why, seen.checks, seen.fails)


def _judge_dead(item: Item, cpus: int, record: Record, dead: Seen) -> dict[ResultKey, Seen]:
    """The item in which the machine died: what was BAD before stays BAD."""
    judged = _judge_item(item, cpus, record, record.taint)
    for key, seen in judged.items():
        if seen.verdict is not Verdict.BAD:
            judged[key] = Seen(dead.verdict, dead.reason, seen.checks, seen.fails)
    return judged
