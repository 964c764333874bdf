# SPDX-License-Identifier: BSD-2-Clause
"""Linux with KVM inside of Bochs, as an engine: its VMM boots what would have been booted (docs/kvm.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.engines.base import Boot, Engine, Launch
from harness.engines.bochs import BochsEngine
from harness.errors import EnvironmentProblem
from harness.judge import End
from harness.verdicts import Verdict
from images import ImageError
from images.kvm import job, machine
from images.kvm.snapshot import Snapshot, command

# What the appliance says, docs/kvm.md. L1's output can't be taken for it: see _lines().
_FAIL = re.compile(r"fail (.*)")
_END = re.compile(r"end (\S+)(.*)")
_ORDERLY = "port"

# Messages by which Linux says that it, or its memory, is in disorder. Every one begins a report that a developer wants.
_SPLAT = re.compile(
    r"WARNING: CPU|kernel BUG at|BUG: |Oops: |general protection fault|Kernel panic|stack segment:|"
    r"INFO: task .* blocked|detected stalls|list_(add|del) corruption|UBSAN: |KASAN: |KVM: debugfs: duplicate|"
    r"refcount_t: |unchecked MSR access error|bad: scheduling while atomic"
)
_CONSOLE_STAMP = re.compile(r"^\[ *\d+\.\d+\] ")
# Emulated seconds without a byte from L1 after which the VMM ends it: at machine.IPS, some seconds of CPU time each.
_STALL = 40


@dataclass(frozen=True)
class KvmEngine(Engine):
    """name, version and model are the emulator's."""

    below: BochsEngine | None = None
    snapshot: Snapshot | None = None
    title: str = ""
    params: tuple[str, ...] = ()

    @property
    def l0(self) -> str:
        return self.title

    @property
    def patience(self) -> float:
        return 30.0  # the kernel's log is still to come, and what KVM says when its machine goes

    @property
    def slowness(self) -> float:
        return 4.0

    @property
    def counts_instructions(self) -> bool:
        return True

    @property
    def exit_word(self) -> str:
        return "qemu"

    @property
    def host(self) -> machine.Host:
        assert self.below is not None
        return host_of(self.below)

    def prepare(self, boot: Boot, folder: Path) -> Launch:
        assert self.snapshot is not None
        if boot.kernel is None:
            raise EnvironmentProblem("the VMM inside of Linux boots multiboot kernels, not disks")
        try:
            disk = job.disk(job.Job(
                boot.kernel.read_bytes(), boot.cmdline, [(path.read_bytes(), text) for path, text in boot.modules],
                _marked_disk(), boot.memory_mb, boot.cpus, _STALL, self.params,
            ))  # fmt: skip
            self.snapshot.unpack(folder, disk)
            argv = command(self.host, folder)
        except (ImageError, OSError) as e:
            raise EnvironmentProblem(str(e)) from e
        return Launch(tuple(argv), folder / "console.log", (folder / machine.LOG,), listens=self.host.debugger)

    def explain(self, status: int, console: str, said_something: bool) -> End:
        """After the VMM's word on it, which is in `console` too."""
        assert self.below is not None
        end = _last(_END, _lines(console.encode("latin-1", "replace")))
        if end and end[1] != _ORDERLY:
            return End(Verdict.CRASH, f"{self.title} ended L1: {end[1]}{end[2]}")
        return self.below.explain(status, console, said_something)

    def last_words(self, com1: bytes) -> End | None:
        fail = _last(_FAIL, _lines(com1))
        return End(Verdict.INFRA, f"{self.title}: {fail[1]}") if fail else None

    def complaints(self, com1: bytes, folder: Path) -> list[tuple[int, str]]:
        """The kernel's log comes with L1's output; what it said when nobody could relay that is on its own console."""
        found = [(at, text) for at, text in _lines(com1, b"kvm-log: ") if _SPLAT.search(text)]
        console = folder / machine.COM1
        if not found and console.is_file():
            lines = console.read_text(errors="replace").splitlines()
            plain = (_CONSOLE_STAMP.sub("", line) for line in lines)
            found = [(len(com1), line) for line in plain if _SPLAT.search(line)]
        return [(at, f"{self.title}: {text.strip()}") for at, text in found]


def host_of(engine: BochsEngine) -> machine.Host:
    return machine.Host(engine.path, engine.number, engine.debugger, engine.model)


def _lines(data: bytes, prefix: bytes = b"kvm: ") -> list[tuple[int, str]]:
    """The appliance's own lines, with their offsets. L1 could write the same: then it only accuses its host, which
    the log shows; nothing that it says can make a verdict better."""
    out, at = [], 0
    for line in data.split(b"\n"):
        if line.startswith(prefix):
            out.append((at, line[len(prefix) :].decode("ascii", "replace").rstrip("\r")))
        at += len(line) + 1
    return out


def _last(pattern: re.Pattern[str], lines: list[tuple[int, str]]) -> re.Match[str] | None:
    return next((match for _, text in reversed(lines) if (match := pattern.fullmatch(text))), None)


def _marked_disk() -> bytes:
    """A disk for L1 whose sectors all differ from each other and from zeros."""
    return b"".join(f"lhv sector {n:08d} ".encode().ljust(32, b".") * 16 for n in range(64))
