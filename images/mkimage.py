#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make bootable images of multiboot kernels: disk for one run, USB stick with a menu, ISO, case for a bug report.

Exit codes: 0 done, 2 wrong usage, 3 the environment or the input doesn't allow it.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from images import direct, grub
from images.common import ImageError, find_tool, read_file, run_tool, write_file
from images.grub import SECTOR
from images.menu import Entry, default_entries, load_options

# The geometry that BIOSes and Bochs assume for a small disk.
HEADS, SECTORS_PER_TRACK = 16, 63
CYLINDER = HEADS * SECTORS_PER_TRACK * SECTOR
# Sectors of the disk for one run. `extra` has a fixed place so that a guest finds it.
CORE_LBA = 1
EXTRA_LBA = HEADS * SECTORS_PER_TRACK

PARTITION_DATA = 0xDA  # "non-FS data": nobody mounts or repairs it
PARTITION_FAT16 = 0x0E

LOADERS = ("auto", "direct", "grub")

# The stick with a menu: partition and file system, far more than lhv needs but small to write.
MENU_CYLINDERS = 33
MENU_PARTITION_LBA = 2048
MENU_MODULES = ("biosdisk", "part_msdos", "fat", "normal", "multiboot")
MENU_TIMEOUT = 10  # seconds
KERNEL_FILE, L0_FILE = "boot/kernel.elf", "boot/l0.elf"
SERIAL_NUMBER = "4c485631"
# Images shall not depend on when they were made.
EPOCH = 1700000000


def boot_disk(
    kernel: bytes,
    cmdline: str,
    modules: Sequence[tuple[bytes, str]] = (),
    extra: bytes = b"",
    loader: str = "auto",
) -> bytes:
    """A raw disk that boots the kernel with the fewest instructions: no file system, no menu.

    modules are (content, command line) of multiboot modules; extra is stored from sector EXTRA_LBA on.
    The loader is "direct", "grub", or "auto": direct, but GRUB for a kernel that asks for what only GRUB does.
    """
    if loader not in LOADERS:
        raise ValueError(f"loader {loader!r}: one of {', '.join(LOADERS)}")
    contents = [kernel, *(content for content, _ in modules)]
    if not all(contents):
        raise ImageError("an empty file can't be booted")
    lba = EXTRA_LBA + sectors(extra)
    parts: list[tuple[int, bytes]] = []
    if loader != "grub":
        try:
            parts = direct.disk_parts(kernel, cmdline, modules, lba)
        except direct.NotDirect:
            if loader == "direct":
                raise
    if not parts:
        parts = grub_parts(contents, cmdline, [text for _, text in modules], lba)
    end = round_up(max(at + sectors(data) for at, data in parts), CYLINDER // SECTOR)
    disk = bytearray(end * SECTOR)
    for at, data in [*parts, (EXTRA_LBA, extra)]:
        put(disk, at, data)
    table = partition_table(EXTRA_LBA, end - EXTRA_LBA, PARTITION_DATA)
    disk[grub.BOOT_TABLE : SECTOR] = table
    return bytes(disk)


def grub_parts(contents: Sequence[bytes], cmdline: str, texts: Sequence[str], lba: int) -> list[tuple[int, bytes]]:
    """GRUB, and behind it the files, which it reads by lists of sectors."""
    parts = []
    names = []
    for content in contents:
        parts.append((lba, content))
        # $root is the disk that the BIOS booted from, whatever its number.
        names.append(f"($root){lba}+{sectors(content)}")
        lba += sectors(content)
    config = grub.multiboot_commands(names[0], cmdline, list(zip(names[1:], texts)))
    core = grub.core_image(config, ("biosdisk", "multiboot"), lba=CORE_LBA)
    if CORE_LBA + sectors(core) > EXTRA_LBA:
        raise ImageError(f"GRUB's core image has {sectors(core)} sectors, more than fit")
    return [(0, grub.boot_sector(CORE_LBA)), (CORE_LBA, core), *parts]


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


def case_image(kernel: bytes, cmdline: str, modules: Sequence[tuple[bytes, str]] = ()) -> bytes:
    """A disk for one command line to attach to a bug report: boots from a USB stick too, small when compressed."""
    return boot_disk(kernel, cmdline, modules, loader="grub")


def compress_xz(data: bytes) -> bytes:
    # By the program: not every Python has the module.
    return run_tool(["xz", "-9", "-e", "-c"], stdin=data)


def menu_disk(
    kernel: bytes, entries: Sequence[Entry], *, timeout: int = MENU_TIMEOUT, l0: tuple[bytes, str] | None = None
) -> bytes:
    """A USB stick's image: MBR, one FAT16 partition with the kernel and GRUB's menu, which boots the first entry.

    l0 is (kernel, command line) of a hypervisor that is booted instead and gets the kernel as its module.
    """
    files = {KERNEL_FILE: kernel, **({L0_FILE: l0[0]} if l0 else {})}
    if not all(files.values()):
        raise ImageError("an empty file can't be booted")
    if not entries:
        raise ImageError("a menu needs an entry")
    core = grub.core_image("", MENU_MODULES, prefix="(,msdos1)/boot/grub", lba=CORE_LBA)
    if CORE_LBA + sectors(core) > MENU_PARTITION_LBA:
        raise ImageError(f"GRUB's core image has {sectors(core)} sectors, more than fit before the partition")
    end = MENU_CYLINDERS * CYLINDER // SECTOR
    table = partition_table(MENU_PARTITION_LBA, end - MENU_PARTITION_LBA, PARTITION_FAT16)
    disk = bytearray(end * SECTOR)
    put(disk, 0, grub.boot_sector(CORE_LBA))
    disk[grub.BOOT_TABLE : SECTOR] = table
    put(disk, CORE_LBA, core)
    files["boot/grub/grub.cfg"] = menu_config(entries, timeout, l0[1] if l0 else None).encode()
    put(disk, MENU_PARTITION_LBA, fat16(end - MENU_PARTITION_LBA, MENU_PARTITION_LBA, files))
    return bytes(disk)


def menu_config(entries: Sequence[Entry], timeout: int, l0: str | None = None) -> str:
    """l0: the command line of the hypervisor below the kernel, if there is one."""
    lines = [f"set timeout={timeout}", "set default=0"]
    for entry in entries:
        if l0 is None:
            commands = grub.multiboot_commands(f"/{KERNEL_FILE}", entry.cmdline, [])
        else:
            commands = grub.multiboot_commands(f"/{L0_FILE}", l0, [(f"/{KERNEL_FILE}", entry.cmdline)])
        # GRUB boots what a menu entry loaded by itself.
        body = commands.removesuffix("boot\n").replace("\n", "\n  ").removesuffix("  ")
        lines.append(f"menuentry {grub.quote_word(entry.title)} {{\n  {body}}}")
    return "\n".join(lines) + "\n"


def fat16(count: int, hidden: int, files: dict[str, bytes]) -> bytes:
    """A FAT16 file system of count sectors that begins hidden sectors behind the disk's start."""
    with tempfile.TemporaryDirectory(prefix="lhv-fat-") as folder:
        image = Path(folder, "fat.img")
        try:
            image.write_bytes(bytes(count * SECTOR))
            tree = store_tree(Path(folder, "tree"), files)
        except OSError as e:
            raise ImageError(f"{e.filename or folder}: {e.strerror}") from e
        mtools = {"SOURCE_DATE_EPOCH": str(EPOCH), "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
        geometry = ["-h", str(HEADS), "-s", str(SECTORS_PER_TRACK), "-H", str(hidden), "-c", "4"]
        run_tool(
            ["mformat", "-i", str(image), "-T", str(count), *geometry, "-N", SERIAL_NUMBER, "-v", "LHV", "::"],
            env=mtools,
        )
        top = [str(path) for path in sorted(tree.iterdir())]
        run_tool(["mcopy", "-i", str(image), "-s", "-m", "-Q", *top, "::/"], env=mtools)
        return read_file(image)


def store_tree(top: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for path in [top, *top.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH))
    return top


def iso(kernel: bytes, cmdline: str) -> bytes:
    """A CD image that boots the kernel at once (BIOS only)."""
    if not kernel:
        raise ImageError("an empty file can't be booted")
    find_tool("xorriso")  # grub-mkrescue's own message doesn't name the package
    grub.boot_file("boot.img")
    config = grub.multiboot_commands("/boot/lhv.elf", cmdline, [])
    with tempfile.TemporaryDirectory(prefix="lhv-iso-") as folder:
        image = Path(folder, "image.iso")
        try:
            tree = store_tree(
                Path(folder, "tree"), {"boot/lhv.elf": kernel, "boot/grub/grub.cfg": config.encode()}
            )
        except OSError as e:
            raise ImageError(f"{e.filename or folder}: {e.strerror}") from e
        keep_small = ["--fonts=", "--locales=", "--themes=", "--install-modules=biosdisk iso9660 normal multiboot"]
        run_tool(
            ["grub-mkrescue", "-d", str(grub.GRUB_DIR), *keep_small, "-o", str(image), str(tree)],
            env={"SOURCE_DATE_EPOCH": str(EPOCH)},
        )
        return read_file(image)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mkimage.py", description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, text in {
        "boot": "disk for one run, fewest instructions",
        "case": "disk for a bug report; xz-compressed if the output's name ends in .xz",
        "iso": "CD image for one run",
        "menu": "USB stick with a menu of masks",
    }.items():
        sub = kinds.add_parser(kind, help=text, description=text)
        sub.add_argument("--output", "-o", required=True, metavar="FILE")
        sub.add_argument("kernel", help="a multiboot kernel")
        if kind == "menu":
            sub.add_argument("--tables", metavar="JSON", help="the build's tables.json, for the options' names")
            sub.add_argument("--timeout", type=int, default=MENU_TIMEOUT, help="seconds (default: %(default)s)")
            sub.add_argument(
                "--entry", nargs=2, action="append", metavar=("TITLE", "CMDLINE"), help="instead of the default menu"
            )
            sub.add_argument(
                "--l0", nargs=2, metavar=("FILE", "CMDLINE"), help="a hypervisor to boot, with the kernel as its multiboot module"
            )
        else:
            sub.add_argument("cmdline", nargs="?", default="", help="the kernel's command line, one argument")
        if kind in ("boot", "case"):
            sub.add_argument(
                "--module", nargs=2, action="append", default=[], metavar=("FILE", "CMDLINE"), help="a multiboot module"
            )
        if kind == "boot":
            sub.add_argument("--loader", choices=LOADERS, default="auto", help="default: direct if it can")
            sub.add_argument("--extra", metavar="FILE", help=f"raw data to store from sector {EXTRA_LBA} on")
    return parser.parse_args(argv)


def make(a: argparse.Namespace) -> bytes:
    kernel = read_file(a.kernel)
    if a.kind == "iso":
        return iso(kernel, a.cmdline)
    if a.kind == "menu":
        if a.entry:
            entries = [Entry(title, cmdline) for title, cmdline in a.entry]
        else:
            entries = default_entries(load_options(a.tables) if a.tables else [])
        l0 = (read_file(a.l0[0]), a.l0[1]) if a.l0 else None
        return menu_disk(kernel, entries, timeout=a.timeout, l0=l0)
    modules = [(read_file(file), text) for file, text in a.module]
    if a.kind == "case":
        return case_image(kernel, a.cmdline, modules)
    return boot_disk(kernel, a.cmdline, modules, read_file(a.extra) if a.extra else b"", a.loader)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        data = make(arguments)
        write_file(arguments.output, compress_xz(data) if arguments.output.endswith(".xz") else data)
    except ImageError as e:
        print(f"mkimage: {e}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
