# SPDX-License-Identifier: BSD-2-Clause
"""Disks that boot a multiboot kernel without GRUB, about ten times faster: the loader is direct.asm.

GRUB spends its time on unpacking itself. Here all decisions are made when the disk is made: the kernel becomes one
piece of memory, modules and multiboot information others, and the loader only copies.
"""

from __future__ import annotations

import functools
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.common import ImageError, read_file, run_tool
from images.grub import CMDLINE_MAX, SECTOR

SOURCE = Path(__file__).resolve().parent / "direct.asm"
LOADER_SECTORS = 5
LIST_OFFSET = 3 * SECTOR
LIST_MAX = (LOADER_SECTORS * SECTOR - LIST_OFFSET) // 16 - 2  # without entry point and end mark

INFO = 0x10000  # as in direct.asm
MMAP = INFO + 0xE000
LOWEST_KERNEL = 0x100000
FLAT_MAX = 64 << 20  # bytes; more can only be a kernel whose parts are far from each other
PAGE = 4096

HEADER_MAGIC = 0x1BADB002
HEADER_SEARCH = 8192
HEADER_KNOWN = 0x10003  # page-aligned modules, memory information, addresses in the header
HEADER_ADDRESSES = 0x10000


class NotDirect(ImageError):
    """A kernel that wants more of its boot loader than this one does; GRUB may boot it."""


@dataclass(frozen=True)
class Kernel:
    start: int  # physical address
    data: bytes
    clear: int  # bytes behind data
    entry: int

    @property
    def end(self) -> int:
        return self.start + len(self.data) + self.clear


@dataclass
class Piece:
    address: int
    data: bytes
    clear: int = 0


def disk_parts(
    kernel: bytes, cmdline: str, modules: Sequence[tuple[bytes, str]], lba: int
) -> list[tuple[int, bytes]]:
    """What to store at which sectors: the loader, and from lba on the pieces that it loads."""
    flat = load_kernel(kernel)
    pieces = [Piece(flat.start, flat.data, flat.clear)]
    address = flat.end
    places = []
    for content, text in modules:
        address = round_up(address, PAGE)
        pieces.append(Piece(address, content))
        places.append((address, address + len(content), text))
        address += len(content)
    pieces.append(Piece(INFO, information(cmdline, places)))
    if len(pieces) > LIST_MAX:
        raise NotDirect(f"{len(modules)} modules are too many")
    parts = []
    records = struct.pack("<I12x", flat.entry)
    for piece in pieces:
        count = round_up(len(piece.data), SECTOR) // SECTOR
        # What the last sector brings too much is zero.
        clear = max(0, piece.clear - (count * SECTOR - len(piece.data)))
        records += struct.pack("<IIII", lba, count, piece.address, round_up(clear, 4))
        parts.append((lba, piece.data))
        lba += count
    loader = bytearray(assembled().ljust(LOADER_SECTORS * SECTOR, b"\0"))
    loader[LIST_OFFSET : LIST_OFFSET + len(records)] = records
    return [(0, bytes(loader)), *parts]


@functools.lru_cache(maxsize=1)
def assembled() -> bytes:
    with tempfile.TemporaryDirectory(prefix="lhv-direct-") as folder:
        binary = Path(folder, "direct.bin")
        run_tool(["nasm", "-f", "bin", "-o", str(binary), str(SOURCE)])
        return read_file(binary)


def information(cmdline: str, modules: Sequence[tuple[int, int, str]]) -> bytes:
    """Multiboot Specification 0.6.96, "Boot information format"; memory sizes are the loader's."""
    for text in [cmdline, *(text for _, _, text in modules)]:
        if len(text) > CMDLINE_MAX:
            raise ImageError(f"command line of {len(text)} bytes: at most {CMDLINE_MAX} are allowed")
    strings = bytearray()
    base = INFO + 0x80 + 16 * len(modules)

    def string(text: str) -> int:
        at = base + len(strings)
        try:
            strings.extend(text.encode("ascii") + b"\0")
        except UnicodeEncodeError as e:
            raise ImageError(f"command line with a character that isn't ASCII: {text!r}") from e
        return at

    rows = b"".join(struct.pack("<IIII", start, end, string(text), 0) for start, end, text in modules)
    flags = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x200
    fields = struct.pack("<IIIIIII", flags, 0, 0, 0x80FFFFFF, string(cmdline), len(modules), INFO + 0x80)
    fields += struct.pack("<16xIIIIII", 0, MMAP, 0, 0, 0, string("lhv direct"))
    block = fields.ljust(0x80, b"\0") + rows + bytes(strings)
    if INFO + len(block) > MMAP:
        raise ImageError("the modules' command lines are too long together")
    return block


def load_kernel(kernel: bytes) -> Kernel:
    at, flags = find_header(kernel)
    if flags & 0xFFFF & ~HEADER_KNOWN:
        raise NotDirect(f"the kernel's multiboot header asks for features {flags:#x}")
    flat = from_addresses(kernel, at) if flags & HEADER_ADDRESSES else from_elf(kernel)
    if flat.start < LOWEST_KERNEL:
        raise NotDirect(f"the kernel wants to be loaded below 1 MiB, to {flat.start:#x}")
    return flat


def find_header(kernel: bytes) -> tuple[int, int]:
    for at in range(0, min(len(kernel), HEADER_SEARCH) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", kernel, at)
        if magic == HEADER_MAGIC and (magic + flags + checksum) & 0xFFFFFFFF == 0:
            return at, flags
    raise ImageError("not a multiboot kernel: no header in its first 8 KiB")


def from_addresses(kernel: bytes, at: int) -> Kernel:
    try:
        header, start, load_end, bss_end, entry = struct.unpack_from("<IIIII", kernel, at + 12)
    except struct.error as e:
        raise ImageError("the kernel's multiboot header is cut off") from e
    offset = at - (header - start)
    size = load_end - start if load_end else len(kernel) - offset
    if offset < 0 or size <= 0 or offset + size > len(kernel):
        raise ImageError("the addresses in the kernel's multiboot header don't fit its size")
    return Kernel(start, kernel[offset : offset + size], max(0, bss_end - start - size), entry)


def from_elf(kernel: bytes) -> Kernel:
    if kernel[:4] != b"\x7fELF" or len(kernel) < 52:
        raise ImageError("not a multiboot kernel: neither addresses in its header nor an ELF file")
    if kernel[4:6] != b"\x01\x01":
        raise NotDirect("not a 32-bit little-endian ELF file")
    entry, phoff = struct.unpack_from("<II", kernel, 24)
    size, count = struct.unpack_from("<HH", kernel, 42)
    segments = []
    for i in range(count):
        try:
            kind, offset, virtual, start, filled, total = struct.unpack_from("<IIIIII", kernel, phoff + i * size)
        except struct.error as e:
            raise ImageError("the kernel's program headers are cut off") from e
        if kind != 1 or total == 0:
            continue
        if filled > total or offset + filled > len(kernel):
            raise ImageError("the kernel's file is cut off: a segment lies behind its end")
        segments.append((start, virtual, kernel[offset : offset + filled], total))
    if not segments:
        raise ImageError("the kernel has nothing to load")
    return flatten(entry, segments)


def flatten(entry: int, segments: Sequence[tuple[int, int, bytes, int]]) -> Kernel:
    start = min(s[0] for s in segments)
    filled_end = max(s[0] + len(s[2]) for s in segments)
    end = max(s[0] + s[3] for s in segments)
    if filled_end - start > FLAT_MAX:
        raise NotDirect("the kernel's segments are too far from each other")
    data = bytearray(max(0, filled_end - start))
    physical = entry
    for address, virtual, content, total in segments:
        data[address - start : address - start + len(content)] = content
        # As GRUB does: the entry point is a virtual address, used before there is paging.
        if virtual <= entry < virtual + total:
            physical = entry - virtual + address
    return Kernel(start, bytes(data), end - start - len(data), physical)


def round_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit
