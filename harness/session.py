# SPDX-License-Identifier: BSD-2-Clause
"""Runs the items of one group: boots lhv as often as it takes to get behind every crash and hang."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.cases import Item, ResultKey
from harness.engines import Boot, Engine, Launch
from harness.errors import EnvironmentProblem
from harness.judge import End, Seen, judge
from harness.process import Child
from harness.settings import Settings
from harness.startlock import listens, start_lock
from harness.transcript import Request, Transcript
from harness.verdicts import Verdict
from harness.watch import Limits, Listener, Watched, watch
from harness.wire import LineReader

# A guest that sleeps doesn't use CPU time: so long on the clock, for each second of CPU time allowed, and at least.
_WALL_FACTOR, _WALL_MIN = 6, 60.0
_START_MAX = 10.0  # seconds that the next start waits for this one


@dataclass
class BootInfo:
    """What is told of one boot in the reports."""

    command: list[str]
    cmdline: str
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    first_end: int | None = None  # time-stamp counter at the end of the first item
    items: int = 0
    end: str = ""
    host: str = field(default_factory=platform.node)  # that the emulator ran on
    caps: dict[str, bool] = field(default_factory=dict)


@dataclass
class ItemRun:
    """What came of one item."""

    seen: dict[ResultKey, Seen]
    boot: int | None = None  # index; None: not booted
    log: str = ""
    instructions: int | None = None
    seconds: float | None = None


@dataclass
class GroupRun:
    counts_instructions: bool = False
    items: dict[str, ItemRun] = field(default_factory=dict)
    boots: list[BootInfo] = field(default_factory=list)


_WORDS_MAX = 1000  # bytes; a layer's line isn't longer


class LhvListener:
    """Feeds a transcript. last_words: what tells that a layer below died, after which it may just halt.
    patience: seconds that the layers below may take to end when lhv is done."""

    def __init__(
        self, request: Request, last_words: Callable[[bytes], End | None] = lambda data: None, patience: float = 2.0
    ):
        self.transcript = Transcript(request)
        self._reader = LineReader()
        self._last_words = last_words
        self._patience = patience
        self._size = 0
        self._since = b""  # the last of what came after lhv's last line
        self._dead = False

    @property
    def over(self) -> bool:
        return self.transcript.over or self._dead

    @property
    def grace(self) -> float:
        """lhv's last act is to end the machine; a layer writes a dump before it does."""
        return max(4.0, self._patience) if self._dead else self._patience

    @property
    def progress(self) -> int:
        return self.transcript.progress

    @property
    def last(self) -> str:
        line = self.transcript.last_line
        return f"{line.kind} {line.fields.get('id', '')}".strip() if line else ""

    def feed(self, data: bytes) -> None:
        lived = 0
        for line in self._reader.feed(data):
            self.transcript.feed(line)
            lived = line.end
        if lived:  # whoever had died
            self._dead, self._since = False, b""
        self._since += data[max(0, lived - self._size) :]
        self._size += len(data)
        self._dead = self._dead or self._last_words(self._since) is not None
        self._since = self._since[-_WORDS_MAX:]


def limits_for(timeout: float, cpus: int, steps: int) -> Limits:
    """Emulating n CPUs takes n times as long. steps: how often a stall may be followed by progress."""
    stall = timeout * cpus
    return Limits(stall, max(_WALL_MIN, stall * _WALL_FACTOR), stall * (steps + 1))


def blame(seen: dict[int, dict[ResultKey, Seen]], t: Transcript, complaints: Sequence[tuple[int, str]]) -> None:
    """What an L0 said of itself makes the item BAD during which it said it, whatever lhv found."""
    for at, text in complaints:
        began = [i for i, record in t.records.items() if record.start <= at]
        index = max(began, default=t.request.first)
        for key, old in seen.get(index, {}).items():
            if old.verdict is not Verdict.BAD or not old.reason.startswith(text):
                reason = "; ".join(part for part in (text, old.reason) if part)
                seen[index][key] = replace(old, verdict=old.verdict.worse(Verdict.BAD), reason=reason)


def cmdline(request: Request, settings: Settings, exit_word: str) -> str:
    """docs/protocol.md, "lhv's command line"."""
    words = [item.word for item in request.items]
    masks = ",".join(value for kind, value in words if kind == "opt")
    tests = ",".join(value for kind, value in words if kind == "test")
    parts = [f"opt={masks}" if masks else "", f"test={tests}" if tests else ""]
    if settings.iterations:
        parts.append(f"iter={settings.iterations}")
    parts += [f"cpus={request.cpus}", f"seed={settings.seed}", f"run={request.token}"]
    if settings.dump:
        parts.append("dump=1")
    parts += [f"from={request.first}" if request.first else "", f"exit={exit_word}"]
    return " ".join(p for p in parts if p)


@contextmanager
def boot_folder(keep: str, name: str) -> Iterator[Path]:
    """A folder that nobody has used before; it stays only if asked for."""
    prefix = re.sub(r"[^A-Za-z0-9.-]+", "-", name) + "-"
    if keep:
        Path(keep).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{'' if keep else 'lhv-'}{prefix}", dir=keep or None)).resolve()
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def boot(engine: Engine, machine: Boot, listener: Listener, limits: Limits, folder: Path) -> tuple[Watched, list[str]]:
    """One boot. What is wrong with this machine comes back as INFRA."""
    try:
        launch = engine.prepare(machine, folder)
        (folder / "boot.json").write_text(json.dumps({"cmdline": machine.cmdline, "argv": launch.argv}))
        console = folder / "console.log"

        def explain(status: int) -> End:
            texts = [p.read_text(errors="replace") for p in (console, *launch.logs) if p.is_file()]
            return engine.explain(status, "\n".join(texts), listener.progress > 0)

        with _started(launch, folder, console) as child:
            watched = watch(child, launch.com1, listener, limits, explain)
    except EnvironmentProblem as e:
        return Watched(b"", End(Verdict.INFRA, str(e)), 0.0, 0.0), []
    except OSError as e:
        return Watched(b"", End(Verdict.INFRA, f"{e.filename or folder}: {e.strerror}"), 0.0, 0.0), []
    if _full(folder) and not listener.over:
        watched.end = End(Verdict.INFRA, f"{folder}: {os.strerror(errno.ENOSPC)}")
    return watched, list(launch.argv)


@contextmanager
def _started(launch: Launch, folder: Path, console: Path) -> Iterator[Child]:
    if not launch.listens:
        with Child(launch.argv, folder, console) as child:
            yield child
        return
    with ExitStack() as starting:
        starting.enter_context(start_lock())
        with Child(launch.argv, folder, console) as child:
            deadline = time.monotonic() + _START_MAX
            while child.poll() is None and not listens(child.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            starting.close()
            yield child


def _full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < 4096


def run_group(
    engine: Engine, arch: str, cpus: int, items: Sequence[Item], settings: Settings, name: str
) -> GroupRun:
    """Every item gets its verdicts. Each boot gets at least one item further, so it ends."""
    out = GroupRun(engine.counts_instructions)
    if engine.skip:
        skip = Seen(Verdict.SKIP, f"environment: {engine.skip}")
        out.items = {i.id: ItemRun(dict.fromkeys(i.keys(cpus), skip)) for i in items}
        return out
    first: int | None = 0
    while first is not None:
        request = Request(_token(name, items, first), arch, cpus, tuple(items), first)
        first = _run_boot(engine, request, settings, name, out)
    return out


def _token(name: str, items: Sequence[Item], first: int) -> str:
    """Tells runs apart that aren't the same run. Not random: with the same bytes in the guest's memory, an emulator
    that counts instructions repeats a run exactly."""
    text = "\n".join([name, str(first), *(i.id for i in items)])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _run_boot(engine: Engine, request: Request, settings: Settings, name: str, out: GroupRun) -> int | None:
    listener = LhvListener(request, engine.last_words, engine.patience)
    t = listener.transcript
    text = cmdline(request, settings, engine.exit_word)
    machine = Boot(request.cpus, settings.kernel(request.arch), text, memory_mb=settings.memory_mb)
    steps = len(request.items) - request.first
    with boot_folder(settings.keep, name) as folder:
        limits = limits_for(settings.timeout * engine.slowness, request.cpus, steps)
        watched, argv = boot(engine, machine, listener, limits, folder)
        complaints = engine.complaints(watched.data, folder)
    if watched.end.verdict is not Verdict.INFRA:
        # lhv's `done` is the last word on what was printed before it.
        watched.end = engine.last_words(watched.data[t.done.end if t.done else 0 :]) or watched.end
    if watched.end.verdict is Verdict.INFRA:
        # Not lhv's last words but this machine's trouble is the reason for what is missing.
        judgement = judge(Transcript(request), watched.end)
    else:
        judgement = judge(t, watched.end)
        blame(judgement.seen, t, complaints)
    info = BootInfo(argv, text, round(watched.cpu_seconds, 2), round(watched.wall_seconds, 2), items=len(t.records))
    info.first_end = next((r.end_tsc for r in t.records.values() if r.end_tsc is not None), None)
    info.end = "done" if t.done and not watched.end.below else watched.end.text
    info.caps = t.caps
    out.boots.append(info)
    _collect(request, t, judgement.seen, watched, out)
    return judgement.resume


def _collect(
    request: Request, t: Transcript, seen: dict[int, dict[ResultKey, Seen]], watched: Watched, out: GroupRun
) -> None:
    # Elsewhere the counter is a clock.
    counted = t.records if out.counts_instructions else {}
    spans = {i: r.end_tsc - r.start_tsc for i, r in counted.items() if r.end_tsc and r.start_tsc}
    final = [r.end_tsc for r in t.records.values() if r.end_tsc]
    cut = 0
    for i in sorted(seen):
        record = t.records.get(i)
        # The log of an item begins where the one before ends: what other layers print belongs to somebody.
        end = record.end if record and record.end is not None and i != max(seen) else len(watched.data)
        log = watched.data[cut:end].decode("latin-1")
        cut = end
        run = ItemRun(seen[i], len(out.boots) - 1, log, spans.get(i))
        if i in spans and final[-1]:
            # Emulators take about equally long for each instruction: the item's share of the boot's CPU time.
            run.seconds = round(watched.cpu_seconds * spans[i] / final[-1], 3)
        out.items[request.items[i].id] = run
