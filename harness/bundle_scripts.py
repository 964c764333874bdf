# SPDX-License-Identifier: BSD-2-Clause
"""The commands in a bug report's folder, for people who have nothing of ours."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from harness import stacks
from harness.engines import Boot, Engine
from harness.engines.bochs import BochsEngine
from harness.engines.kvm import KvmEngine
from harness.engines.qemu import QemuEngine
from harness.layers import LayeredEngine
from harness.plan import Case
from images import bochsrc

DISKS = ("case.img", "second.img")  # as the BIOS numbers them
KERNEL = "lhv.elf"  # what the first disk boots, for VMMs without a BIOS

_HEAD = """#!/bin/sh
# Boots {disks}; the verdicts are in com1.txt (compare with actual.txt), and on the screen if there is one.
set -eu
cd "$(dirname "$0")"
for image in {disks}; do [ -f $image ] || xz -dk $image.xz; done
rm -f com1.txt {locks}
"""

_BOCHS = """# Arguments are more lines of the configuration, for example 'display_library: x'. BOCHS names another Bochs.
bochs=${BOCHS:-bochs}
# Builds differ in their displays; these need neither an X server nor a terminal.
for display in nogui 'rfb, options="timeout=0"'; do
	[ $# -eq 0 ] || break
	printf 'display_library: %s\nend_of_probe: 1\n' "$display" >probe.rc
	if "$bochs" -q -f probe.rc 2>&1 </dev/null | grep -q end_of_probe; then set -- "display_library: $display"; fi
done
help=$("$bochs" --help 2>&1) || true
# A build that starts in its debugger (Debian's 2.7) waits for commands.
case $help in
*-debugger*) ;;
*'-rc '*) set -- -rc bochsrc.dbg "$@" ;;
esac
timeout -s KILL 300 "$bochs" -q -f bochsrc "$@" >console.txt 2>&1 </dev/null || true
grep -aE 'verdict=|PANIC' com1.txt
"""

_KVM = """[ -w /dev/kvm ] && grep -qw vmx /proc/cpuinfo || {{ echo 'needs KVM on a CPU with VMX, and kvm_intel nested=1' >&2; exit 1; }}
# lhv stays with its verdict on the screen: stop it after some seconds.
timeout -s KILL 60 {command} || true
grep -aE 'verdict=|PANIC' com1.txt
"""


_LAB = """#!/bin/sh
# Runs {kernel} on Linux with KVM inside of Bochs: no VMX is needed, but the laboratory's repository, whose folder LAB names.
# It fetches what is missing (kernel, Bochs) and prints whether every result was GOOD.
set -eu
lab=${{LAB:?the folder of the repository that made this}}
cd "$(dirname "$0")"
[ -f {kernel} ] || xz -dk {kernel}.xz
exec "$lab/run_tests.py" {words} --l1 "$PWD/{kernel}" "$@"
"""


def lab_script(case: Case, engine: KvmEngine, text: str) -> str:
    """How the case is run with Linux in Bochs."""
    words = ["--stack", case.machine.stack.name, "--cpus", str(case.machine.cpus), "--append", text]
    for parameter in engine.params:
        words += ["--l0-param", parameter]
    words += ["--expect", "^lhv .* done ", "--reject", "verdict=(BAD|ERROR)|^lhv .* panic "]
    return _LAB.format(kernel=KERNEL, words=shlex.join(words))


def scripts(case: Case, engine: Engine, memory_mb: int, disks: int, text: str) -> dict[str, str]:
    """By file name. disks: how many there are; text: lhv's command line."""
    cpus = case.machine.cpus
    host = engine.engine if isinstance(engine, LayeredEngine) else engine
    extra = {"run-kvm-in-bochs.sh": lab_script(case, engine, text)} if isinstance(engine, KvmEngine) else {}
    own = host if isinstance(host, BochsEngine) else None
    first, second = (DISKS[i] if i < disks else None for i in (0, 1))
    rc = bochsrc.bochsrc(
        own.number if own else (2, 7), model=own.model if own else stacks.DEFAULT_MODELS["bochs"], cpus=cpus,
        memory_mb=memory_mb, disk=first, second=second, com1_path="com1.txt", log_path="bochs.log",
    )  # fmt: skip
    qemu = QemuEngine("qemu-kvm", "", "host", "", "qemu-system-x86_64")
    options = qemu.options(Boot(cpus, disk=Path(DISKS[0]), memory_mb=memory_mb), "com1.txt")
    if second:
        options += ["-drive", f"file={second},format=raw,if=ide,index=1,snapshot=on"]
    names = DISKS[:disks]
    head = _HEAD.format(disks=" ".join(names), locks=" ".join(f"{n}.lock" for n in names))
    return extra | {
        "bochsrc": rc,
        "bochsrc.dbg": "continue\nquit\n",
        "run-bochs.sh": head + _BOCHS,
        "run-qemu-kvm.sh": head + _KVM.format(command=_wrapped([qemu.path, *options])),
    }


def _wrapped(words: Sequence[str]) -> str:
    """A command over several lines, broken before options."""
    return "".join(f" \\\n  {shlex.quote(w)}" if w.startswith("-") else f" {shlex.quote(w)}" for w in words).lstrip()
