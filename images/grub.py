# SPDX-License-Identifier: BSD-2-Clause
"""GRUB for BIOS machines: core images, the master boot record, and quoting for its rescue parser.

boot.img (one sector) loads the first sector of core.img (diskboot.img), which loads the rest by a list of blocks
at its own end. Both are patched here, so that neither grub-bios-setup nor root nor a loop device is needed.
"""

from __future__ import annotations

import functools
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

from images.common import ImageError, read_file, run_tool

GRUB_DIR = Path("/usr/lib/grub/i386-pc")
GRUB_PACKAGE = "grub-pc-bin"

SECTOR = 512
CMDLINE_MAX = 4096  # bytes

# Offsets in boot.img and diskboot.img, fixed by GRUB's include/grub/i386/pc/boot.h.
BOOT_KERNEL_SECTOR = 0x5C
BOOT_DRIVE_CHECK = 0x66
BOOT_TABLE = 0x1B8  # disk signature and partition table
DISKBOOT_BLOCKLIST = SECTOR - 12  # the first entry; the list grows downwards


@functools.lru_cache(maxsize=64)
def core_image(config: str, modules: tuple[str, ...], prefix: str = "/", lba: int = 1) -> bytes:
    """A core.img that runs config by the rescue parser and is to be stored from sector lba on."""
    boot_file("kernel.img")  # a missing package shall be named before grub-mkimage complains in its own words
    with tempfile.TemporaryDirectory(prefix="lhv-grub-") as folder:
        file = Path(folder, "config")
        try:
            file.write_text(config)
        except OSError as e:
            raise ImageError(f"{file}: {e.strerror}") from e
        # Not to standard output: grub-mkimage fails when it can't sync a pipe.
        image = Path(folder, "core.img")
        options = ["-O", "i386-pc", "-d", str(GRUB_DIR), "-p", prefix, "-c", str(file), "-o", str(image)]
        run_tool(["grub-mkimage", *options, *modules])
        core = read_file(image)
    core = core.ljust(-len(core) % SECTOR + len(core), b"\0")
    rest = len(core) // SECTOR - 1
    first = struct.pack("<QHH", lba + 1, rest, 0x820)
    return core[:DISKBOOT_BLOCKLIST] + first + core[SECTOR:]


@functools.lru_cache(maxsize=8)
def boot_file(name: str) -> bytes:
    return read_file(GRUB_DIR / name, package=GRUB_PACKAGE)


def boot_sector(core_lba: int) -> bytes:
    """GRUB's master boot record, without the disk signature and partition table that begin at BOOT_TABLE."""
    sector = bytearray(boot_file("boot.img"))
    sector[BOOT_KERNEL_SECTOR : BOOT_KERNEL_SECTOR + 8] = struct.pack("<Q", core_lba)
    # As grub-bios-setup does for hard disks: some BIOSes pass a wrong drive number, these bytes bring the check in.
    sector[BOOT_DRIVE_CHECK : BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
    return bytes(sector)


def quote_word(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def quote_cmdline(cmdline: str) -> str:
    """The command line as words for GRUB's parsers, so that the kernel sees exactly cmdline.

    GRUB joins a command's words by one blank and puts a backslash before quotes and backslashes
    (grub_create_loader_cmdline), so texts with those can't be passed on unchanged.
    """
    check_cmdline(cmdline)
    bad = sorted(set(cmdline) & set("\"'\\"))
    if bad:
        raise ImageError(f"GRUB can't pass {' '.join(bad)} on to a kernel unchanged: {cmdline}")
    if cmdline != " ".join(cmdline.split()):
        raise ImageError(f"GRUB can't pass on blanks at the ends or in a row: {cmdline!r}")
    return " ".join(quote_word(word) for word in cmdline.split())


def check_cmdline(cmdline: str) -> None:
    if len(cmdline) > CMDLINE_MAX:
        raise ImageError(f"command line of {len(cmdline)} bytes: at most {CMDLINE_MAX} are allowed")
    odd = [c for c in cmdline if not " " <= c <= "~"]
    if odd:
        raise ImageError(f"command line with a character that isn't printable ASCII: {odd[0]!r}")


def multiboot_commands(kernel: str, cmdline: str, modules: Sequence[tuple[str, str]]) -> str:
    """GRUB commands that load a kernel and its modules (file, command line) and start it."""
    lines = [f"multiboot {kernel} {quote_cmdline(cmdline)}".rstrip()]
    lines += [f"module {file} {quote_cmdline(text)}".rstrip() for file, text in modules]
    return "\n".join([*lines, "boot"]) + "\n"
