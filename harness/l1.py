# SPDX-License-Identifier: BSD-2-Clause
"""Somebody else's image instead of lhv (--l1): judged by what regular expressions find on COM1."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from harness.cases import Item
from harness.engines import Boot, Engine
from harness.errors import UsageError
from harness.judge import End, Seen
from harness.plan import Case, Machine
from harness.session import BootInfo, GroupRun, ItemRun, boot, boot_folder
from harness.settings import Settings
from harness.verdicts import Verdict
from harness.watch import Limits

ARCH = "x86"  # whatever the image makes of it
_WALL_FACTOR = 2  # a guest that just sleeps uses no CPU time

_MULTIBOOT_MAGIC = 0x1BADB002
_MULTIBOOT_SEARCH = 8192
_ELF_MAGIC = b"\x7fELF"
_BOOT_SIGNATURE = b"\x55\xaa"


@dataclass(frozen=True)
class Image:
    path: Path
    multiboot: bool


def inspect(path: Path) -> Image:
    """Raises UsageError if it isn't something that can be booted."""
    try:
        with path.open("rb") as f:
            head = f.read(_MULTIBOOT_SEARCH)
    except OSError as e:
        raise UsageError(f"--l1 {path}: {e.strerror}") from e
    if head[510:512] == _BOOT_SIGNATURE and not head.startswith(_ELF_MAGIC):
        # Before the search: GRUB's own core, in the first sectors of a disk, has a multiboot header too.
        return Image(path.resolve(), False)
    for offset in range(0, len(head) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", head, offset)
        if magic == _MULTIBOOT_MAGIC and (magic + flags + checksum) & 0xFFFFFFFF == 0:
            return Image(path.resolve(), True)
    raise UsageError(f"--l1 {path}: neither a multiboot kernel nor a disk image with a boot sector")


def plan(settings: Settings) -> list[Case]:
    if not settings.expect:
        raise UsageError("--l1 needs --expect REGEX: what shall appear on COM1?")
    image = inspect(Path(settings.l1))
    if settings.append and not image.multiboot:
        raise UsageError("--append is for multiboot kernels; this is a disk image")
    id = "l1/" + re.sub(r"[^A-Za-z0-9._-]", "_", image.path.name)
    item = Item(id, (id,), False, title=" and ".join(settings.expect))
    stacks = settings.stack_list()
    if not image.multiboot and any(s.layers and s.way == "module" for s in stacks):
        raise UsageError("a disk image as L1 of a layer needs --l1-boot disk")
    machines = [Machine(stack, ARCH, cpus) for stack in stacks for cpus in settings.cpus]
    part, parts = settings.shard
    return [Case(m, item, f"{m.name}/0") for m in machines[part - 1 :: parts]]


class RegexListener:
    """Over when all that is expected was seen, or one that must not be."""

    grace = 0.0

    def __init__(self, settings: Settings):
        self._expect = {text: re.compile(text, re.M) for text in settings.expect}
        self._reject = {text: re.compile(text, re.M) for text in settings.reject}
        self._text = ""
        self.missing = list(self._expect)
        self.rejected = ""

    @property
    def over(self) -> bool:
        return bool(self.rejected) or not self.missing

    @property
    def progress(self) -> int:
        return min(len(self._text), 1)  # that it lives; more can't be known

    @property
    def last(self) -> str:
        lines = [line.strip() for line in self._text[-500:].splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def feed(self, data: bytes) -> None:
        self._text += data.decode("latin-1").replace("\r\n", "\n")
        self.rejected = self.rejected or next((t for t, r in self._reject.items() if r.search(self._text)), "")
        self.missing = [t for t in self.missing if not self._expect[t].search(self._text)]


def verdict(listener: RegexListener, data: bytes, end: End) -> Seen:
    """Pure."""
    if not listener.missing and not listener.rejected:
        return Seen(Verdict.GOOD, checks=1)
    if end.below:
        return Seen(end.verdict, end.text)
    if listener.rejected:
        return Seen(Verdict.BAD, f"COM1 has what must not be there: {listener.rejected}")
    if end.verdict is Verdict.INFRA:
        return Seen(Verdict.INFRA, end.text)
    if not data and not end.orderly:
        return Seen(Verdict.SILENT, f"nothing on COM1; {end.text}")
    return Seen(Verdict.BAD if end.orderly else end.verdict, f"not on COM1: {listener.missing[0]}; {end.text}")


def run(engine: Engine, case: Case, settings: Settings) -> GroupRun:
    out = GroupRun(engine.counts_instructions)
    (key,) = case.item.keys(1)
    if engine.skip:
        out.items[case.item.id] = ItemRun({key: Seen(Verdict.SKIP, f"environment: {engine.skip}")})
        return out
    image = inspect(Path(settings.l1))
    machine = Boot(
        case.machine.cpus,
        kernel=image.path if image.multiboot else None,
        disk=None if image.multiboot else image.path,
        cmdline=settings.append,
        memory_mb=settings.memory_mb,
    )
    limit = settings.timeout * case.machine.cpus * engine.slowness
    listener = RegexListener(settings)
    with boot_folder(settings.keep, case.group) as folder:
        watched, argv = boot(engine, machine, listener, Limits(limit, limit * _WALL_FACTOR, limit), folder)
        complaints = engine.complaints(watched.data, folder)
    if watched.end.verdict is not Verdict.INFRA:
        watched.end = engine.last_words(watched.data) or watched.end
    seen = verdict(listener, watched.data, watched.end)
    if complaints:
        seen = Seen(seen.verdict.worse(Verdict.BAD), "; ".join([complaints[0][1], *filter(None, [seen.reason])]), checks=seen.checks)
    info = BootInfo(argv, settings.append, round(watched.cpu_seconds, 2), round(watched.wall_seconds, 2), items=1)
    info.end = watched.end.text
    out.boots.append(info)
    log = watched.data.decode("latin-1")
    out.items[case.item.id] = ItemRun({key: seen}, 0, log, None, info.cpu_seconds)
    return out
