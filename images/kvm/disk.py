# SPDX-License-Identifier: BSD-2-Clause
"""A raw disk that boots Linux by GRUB, without a file system: GRUB reads both files by lists of sectors."""

from __future__ import annotations

from images import grub, mkimage
from images.common import ImageError
from images.grub import SECTOR


def boot_disk(bzimage: bytes, initramfs: bytes, cmdline: str) -> bytes:
    """Both files are followed by zeros up to a sector's end, which neither minds."""
    if not (bzimage and initramfs):
        raise ImageError("an empty file can't be booted")
    kernel_lba = mkimage.EXTRA_LBA
    initramfs_lba = kernel_lba + mkimage.sectors(bzimage)
    end = mkimage.round_up(initramfs_lba + mkimage.sectors(initramfs), mkimage.CYLINDER // SECTOR)
    # $root is the disk that the BIOS booted from.
    config = (
        f"linux ($root){kernel_lba}+{mkimage.sectors(bzimage)} {grub.quote_cmdline(cmdline)}\n"
        f"initrd ($root){initramfs_lba}+{mkimage.sectors(initramfs)}\nboot\n"
    )
    core = grub.core_image(config, ("biosdisk", "linux"), lba=mkimage.CORE_LBA)
    if mkimage.CORE_LBA + mkimage.sectors(core) > kernel_lba:
        raise ImageError(f"GRUB's core image has {mkimage.sectors(core)} sectors, more than fit")
    disk = bytearray(end * SECTOR)
    parts = [(0, grub.boot_sector(mkimage.CORE_LBA)), (mkimage.CORE_LBA, core), (kernel_lba, bzimage)]
    for lba, data in [*parts, (initramfs_lba, initramfs)]:
        mkimage.put(disk, lba, data)
    table = mkimage.partition_table(kernel_lba, end - kernel_lba, mkimage.PARTITION_DATA)
    disk[grub.BOOT_TABLE : SECTOR] = table
    return bytes(disk)
