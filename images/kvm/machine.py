# SPDX-License-Identifier: BSD-2-Clause
"""The machine that the appliance runs on: files with fixed names in one folder, so that a saved state fits any folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images.bochsrc import Version, bochsrc
from images.common import read_file

DISK, JOB, RC, COM1, LOG, MSRS = "disk.img", "job.img", "bochsrc", "com1.log", "bochs.log", "msrs.def"
MSRS_SOURCE = Path(__file__).resolve().parent / MSRS

# Emulated instructions per second. More than for lhv by itself: Linux's ticks come by time, and shall cost little.
IPS = 40_000_000
MEMORY_MB = {"": 128, "qemu": 256}  # by VMM; the VMM's guest is part of it, as far as it is used

CMDLINE = (
    "console=ttyS0,115200 nokaslr mitigations=off tsc=reliable no_timer_check nosmp audit=0 random.trust_cpu=on "
    "rcupdate.rcu_expedited=1 cryptomgr.notests loglevel=4"
)


@dataclass(frozen=True)
class Host:
    """A Bochs and what it is to emulate."""

    path: str
    number: Version
    debugger: bool
    model: str

    def configuration(self, memory_mb: int) -> str:
        return bochsrc(
            self.number, model=self.model, memory_mb=memory_mb, disk=DISK, second=JOB, com1_path=COM1, log_path=LOG,
            ips=IPS, magic_break=self.debugger, port_e9=True, msrs=MSRS,
        )  # fmt: skip


def write_common(folder: Path) -> None:
    """What is needed at the start and at each restoring."""
    (folder / MSRS).write_bytes(read_file(MSRS_SOURCE))
