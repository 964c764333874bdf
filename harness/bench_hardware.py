# SPDX-License-Identifier: BSD-2-Clause
"""How many slow instructions xmhf-nest executes per operation of its L1: exits, VMREADs, VMWRITEs and so on.

An emulator's instruction count takes all instructions for equal; on silicon these cost ten to a thousand times as much.
They are counted with builds in which one class of them is slower by a known number of instructions (COSTS in
lib/arch/asm.inc): the difference to the plain build, divided by that number, is how many were executed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.settings import ROOT

COSTLY = 1000  # instructions; COSTS in lib/arch/asm.inc has the same number
# Classes by their name in the build, and what they are.
CLASSES = {
    "exit": "exits to L0", "vmread": "VMREAD", "vmwrite": "VMWRITE", "vmptrld": "VMPTRLD, VMCLEAR",
    "invalidate": "INVEPT, INVVPID", "msr": "RDMSR, WRMSR",
}  # fmt: skip

Counts = Mapping[str, Mapping[str, int]]  # by operation, by class


def build() -> None:
    """Raises subprocess.CalledProcessError."""
    subprocess.run(["make", "-s", "--no-print-directory", "xmhf-nest-costly"], cwd=ROOT, check=True)


def folder(name: str) -> Path:
    """Of the build in which one class is slow; --build-dir takes it."""
    return ROOT / "build" / "xmhf-nest" / "costly" / name


def count(plain: Mapping[str, int], slow: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """plain, slow[class]: medians by operation. Less than half of one is none: a median between two samples."""
    return {
        name: {c: max(0, round((figures.get(name, value) - value) / COSTLY)) for c, figures in slow.items()}
        for name, value in plain.items()
    }


def rows(texts: Mapping[str, str], counts: Counts) -> list[str]:
    """A Markdown table; texts: operations in their order."""
    out = [["operation", *CLASSES.values()], ["---"] + ["---:"] * len(CLASSES)]
    out += [[texts[name], *(str(counts[name][c]) for c in CLASSES)] for name in texts if name in counts]
    return ["| " + " | ".join(cells) + " |" for cells in out]
