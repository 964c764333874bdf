# SPDX-License-Identifier: BSD-2-Clause
"""The appliance's second disk: what its VMM has to do. The form is described in vmm/job.h, which has the limits too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from images.common import ImageError

SECTOR = 512
TEXT_SECTORS = 32
# Of one size, whatever is on it: a saved state knows the disk's geometry.
DISK_BYTES = 16 << 20
CPUS_MAX = 4
MODULES_MAX = 8
MEMORY_MAX = 1024  # MiB

_PARAMETER = re.compile(r"[a-z_][a-z0-9_]*=[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Job:
    kernel: bytes
    cmdline: str
    modules: Sequence[tuple[bytes, str]] = ()
    disk: bytes = b""  # L1's
    memory_mb: int = 64
    cpus: int = 1
    stall: int = 0  # emulated seconds
    params: tuple[str, ...] = ()  # of kvm_intel: name=value


def check_params(params: Sequence[str]) -> None:
    for text in params:
        if not _PARAMETER.fullmatch(text):
            raise ImageError(f"{text!r} is not a parameter of a kernel module: name=value is wanted")


def disk(job: Job) -> bytes:
    """The whole disk. Raises ImageError for what the VMM would refuse."""
    if not 1 <= job.cpus <= CPUS_MAX:
        raise ImageError(f"{job.cpus} CPUs: the VMM has 1 to {CPUS_MAX}")
    if not 2 <= job.memory_mb <= MEMORY_MAX:
        raise ImageError(f"{job.memory_mb} MiB: the VMM has 2 to {MEMORY_MAX}")
    if len(job.modules) > MODULES_MAX:
        raise ImageError(f"{len(job.modules)} modules: at most {MODULES_MAX}")
    check_params(job.params)
    lines, data = ["lhv-job 1"], bytearray()

    def store(word: str, content: bytes, text: str = "") -> None:
        if not content:
            raise ImageError(f"an empty {word}")
        if not all(" " <= c <= "~" for c in text):
            raise ImageError("a command line with a character that isn't printable ASCII")
        lines.append(f"{word} {TEXT_SECTORS + len(data) // SECTOR} {len(content)} {text}".rstrip())
        data.extend(content.ljust(-len(content) % SECTOR + len(content), b"\0"))

    store("kernel", job.kernel, job.cmdline)
    for content, text in job.modules:
        store("module", content, text)
    if job.disk:
        store("disk", job.disk)
    lines += [f"memory {job.memory_mb}", f"cpus {job.cpus}", f"stall {job.stall}"]
    if job.params:
        lines.append(f"param {' '.join(job.params)}")
    order = ("\n".join([*lines, "end"]) + "\n").encode()
    if len(order) >= TEXT_SECTORS * SECTOR:
        raise ImageError(f"command lines of {len(order)} bytes: they have room for {TEXT_SECTORS * SECTOR}")
    out = order.ljust(TEXT_SECTORS * SECTOR, b"\0") + data
    if len(out) > DISK_BYTES:
        raise ImageError(f"{len(out)} bytes for L1: at most {DISK_BYTES} fit on the appliance's second disk")
    return out.ljust(DISK_BYTES, b"\0")
