# SPDX-License-Identifier: BSD-2-Clause
"""QEMU, by software (TCG: boots lhv, has no VMX) or by KVM where the CPU has VMX."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.engines.base import Boot, Engine, Launch, last_words, status_text
from harness.errors import EnvironmentProblem
from harness.judge import End
from harness.stacks import Stack
from harness.verdicts import Verdict

_PROGRAM = "qemu-system-x86_64"


@lru_cache
def _version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, text=True
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise EnvironmentProblem(f"{path} can't be run: {e}") from e
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
    if not found:
        raise EnvironmentProblem(f"{path} doesn't look like QEMU: no version in its answer to --version")
    return found[1]


def why_no_kvm(cpuinfo: Path = Path("/proc/cpuinfo"), device: Path = Path("/dev/kvm")) -> str:
    """Empty if KVM can run guests with VMX here. The device may exist without VMX: the CPU's flags decide."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.M)
    if not flags or "vmx" not in flags[1].split():
        return "no VMX on this machine"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"{device} can't be used"
    nested = Path("/sys/module/kvm_intel/parameters/nested")
    if nested.is_file() and nested.read_text().strip() not in ("Y", "1"):
        return "kvm_intel was loaded with nested=0"
    return ""


@dataclass(frozen=True)
class QemuEngine(Engine):
    path: str = ""

    @classmethod
    def find(cls, stack: Stack) -> QemuEngine:
        skip = why_no_kvm() if stack.engine == "qemu-kvm" else ""
        path = shutil.which(_PROGRAM)
        if path is None:
            if skip:  # nothing would be run in any case
                return cls(stack.engine, "", stack.model, skip)
            raise EnvironmentProblem(f"no {_PROGRAM} here: `apt-get install qemu-system-x86`")
        return cls(stack.engine, _version(path), stack.model, skip, path)

    @property
    def exit_word(self) -> str:
        return "qemu"

    def prepare(self, boot: Boot, folder: Path) -> Launch:
        com1 = folder / "com1.log"
        options = self.options(boot, com1)
        if boot.second is not None:
            second = folder / "second.img"
            second.write_bytes(boot.second)
            options += ["-drive", f"file={_escape(second)},format=raw,if=ide,index=1"]
        return Launch((self.path, *options), com1, ())

    def options(self, boot: Boot, com1: Path | str) -> list[str]:
        accel = "kvm" if self.name == "qemu-kvm" else "tcg"
        model = f"{self.model},+vmx" if accel == "kvm" else self.model
        options = [
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "pc", "-accel", accel,
            "-cpu", model, "-smp", str(boot.cpus), "-m", str(boot.memory_mb), "-vga", "std",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-serial", f"file:{_escape(com1)}",
        ]  # fmt: skip
        if boot.kernel:
            options += ["-kernel", str(boot.kernel)]
            if boot.cmdline:
                options += ["-append", boot.cmdline]
            if boot.modules:
                # "file words,file words": a comma in the words is doubled.
                options += ["-initrd", ",".join(f"{_escape(p)} {_escape(text)}" for p, text in boot.modules)]
        if boot.disk:
            options += ["-drive", f"file={_escape(boot.disk)},format=raw,if=ide,snapshot=on"]
        return options

    def explain(self, status: int, console: str, said_something: bool) -> End:
        words = last_words(console)
        # -no-reboot makes a triple fault an exit with 0; QEMU's own refusals are 1 and come with a message.
        if not said_something and status == 1 and console.strip():
            return End(Verdict.INFRA, f"QEMU didn't start: {words}")
        # isa-debug-exit makes every status odd.
        return End(Verdict.CRASH, f"QEMU ended ({status_text(status)}): {words}", status > 0 and status % 2 == 1)


def _escape(path: Path | str) -> str:
    """QEMU's option parser takes a doubled comma for one."""
    return str(path).replace(",", ",,")
