# SPDX-License-Identifier: BSD-2-Clause
"""Waits for a boot's end: reads COM1's file as it grows, and decides when there is nothing more to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.judge import End
from harness.process import Child
from harness.verdicts import Verdict

POLL = 0.03  # seconds
FLOOD = 16 << 20  # bytes on COM1; two orders of magnitude more than a long run has


class Listener(Protocol):
    """Understands what comes out of COM1."""

    @property
    def over(self) -> bool:
        """Nothing that follows can matter."""

    @property
    def grace(self) -> float:
        """Seconds for the emulator to end by itself when it is over."""

    @property
    def progress(self) -> int:
        """Grows whenever the guest has got somewhere."""

    @property
    def last(self) -> str:
        """The last that was understood, for people."""

    def feed(self, data: bytes) -> None: ...


@dataclass(frozen=True)
class Limits:
    """CPU seconds of the emulator, so that a busy machine doesn't make timeouts; and seconds of the wall clock for
    an emulator that just sleeps."""

    stall_cpu: float  # without progress
    stall_wall: float
    total_cpu: float


@dataclass
class Watched:
    data: bytes
    end: End
    cpu_seconds: float
    wall_seconds: float


def watch(child: Child, serial: Path, listener: Listener, limits: Limits, explain: Callable[[int], End]) -> Watched:
    """explain makes an End of the exit status if the emulator ended by itself, too early."""
    began = progressed = time.monotonic()
    cpu_then, progress, over_since = 0.0, listener.progress, 0.0
    data = bytearray()
    end: End | None = None
    while end is None:
        status = child.poll()  # before reading: what was written before the end is then read
        now = time.monotonic()
        if new := _read(serial, len(data)):
            data += new
            listener.feed(new)
        if listener.progress != progress:
            progress, progressed, cpu_then = listener.progress, now, child.cpu_seconds
        if status is not None:
            end = explain(status)
        elif listener.over:
            over_since = over_since or now
            if now - over_since >= listener.grace:
                end = End(Verdict.CRASH, "stopped after the last line")
        else:
            end = _overdue(child, listener, limits, now - progressed, child.cpu_seconds - cpu_then, len(data))
        if end is None:
            time.sleep(POLL)
    child.kill()
    return Watched(bytes(data), end, child.cpu_seconds, time.monotonic() - began)


def _overdue(
    child: Child, listener: Listener, limits: Limits, stall_wall: float, stall_cpu: float, size: int
) -> End | None:
    after = f"after: {listener.last}" if listener.last else "from the start"
    if size > FLOOD:
        return End(Verdict.TIMEOUT, f"more than {FLOOD >> 20} MiB on COM1")
    if stall_cpu > limits.stall_cpu:
        return End(Verdict.TIMEOUT, f"nothing for {stall_cpu:.0f} s of CPU time, {after}")
    if stall_wall > limits.stall_wall:
        return End(Verdict.TIMEOUT, f"nothing for {stall_wall:.0f} s, {after}")
    if child.cpu_seconds > limits.total_cpu:
        return End(Verdict.TIMEOUT, f"not done in {child.cpu_seconds:.0f} s of CPU time, {after}")
    return None


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as f:
            f.seek(offset)
            return f.read(1 << 20)
    except FileNotFoundError:
        return b""
