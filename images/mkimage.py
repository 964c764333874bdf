#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make bootable images of multiboot kernels: a minimal disk for one run, a USB stick with a menu, an ISO, a bug report's case.

Exit codes: 0 done, 2 wrong usage, 3 the environment or the input doesn't allow it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from images import grub
from images.common import ImageError
from images.grub import SECTOR

# The geometry that BIOSes and Bochs assume for a small disk.
HEADS, SECTORS_PER_TRACK = 16, 63
CYLINDER = HEADS * SECTORS_PER_TRACK * SECTOR
# Sectors of the disk for one run. `extra` has a fixed place so that a guest finds it.
CORE_LBA = 1
EXTRA_LBA = HEADS * SECTORS_PER_TRACK

PARTITION_DATA = 0xDA  # "non-FS data": nobody mounts or repairs it
PARTITION_FAT16 = 0x0E


def boot_disk(
    kernel: bytes,
    cmdline: str,
    modules: Sequence[tuple[bytes, str]] = (),
    extra: bytes = b"",
) -> bytes:
    """A raw disk that boots the kernel with the fewest instructions: no file system, no menu.

    modules are (content, command line) of multiboot modules; extra is stored from sector EXTRA_LBA on.
    """
    lba = EXTRA_LBA + sectors(extra)
    places = []
    for blob in [kernel, *(content for content, _ in modules)]:
        if not blob:
            raise ImageError("an empty file can't be booted")
        places.append((lba, blob))
        lba += sectors(blob)
    names = [f"($root){at}+{sectors(blob)}" for at, blob in places]
    texts = [text for _, text in modules]
    config = grub.multiboot_commands(names[0], cmdline, list(zip(names[1:], texts)))
    core = grub.core_image(config, ("biosdisk", "multiboot"), lba=CORE_LBA)
    if CORE_LBA + sectors(core) > EXTRA_LBA:
        raise ImageError(f"GRUB's core image has {sectors(core)} sectors, more than fit")
    end = round_up(lba, CYLINDER // SECTOR)
    disk = bytearray(end * SECTOR)
    put(disk, 0, grub.boot_sector(CORE_LBA, partition_table(EXTRA_LBA, end - EXTRA_LBA, PARTITION_DATA)))
    put(disk, CORE_LBA, core)
    put(disk, EXTRA_LBA, extra)
    for at, blob in places:
        put(disk, at, blob)
    return bytes(disk)


def put(disk: bytearray, lba: int, data: bytes) -> None:
    disk[lba * SECTOR : lba * SECTOR + len(data)] = data


def sectors(data: bytes) -> int:
    return round_up(len(data), SECTOR) // SECTOR


def round_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def partition_table(start: int, count: int, kind: int) -> bytes:
    """Disk signature to boot signature, with one active partition: some BIOSes boot no stick without one."""
    entry = struct.pack("<B3sB3sII", 0x80, chs(start), kind, chs(start + count - 1), start, count)
    return struct.pack("<IH", 0x2076686C, 0) + entry + bytes(48) + b"\x55\xaa"


def chs(lba: int) -> bytes:
    cylinder, rest = divmod(lba, HEADS * SECTORS_PER_TRACK)
    head, sector = divmod(rest, SECTORS_PER_TRACK)
    if cylinder > 1023:
        return b"\xfe\xff\xff"
    return bytes([head, sector + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF])
