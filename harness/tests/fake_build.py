# SPDX-License-Identifier: BSD-2-Clause
"""A build folder with all that the harness reads, without a compiler: tables.json and images with test records."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from pathlib import Path

from harness.elf import CANARY, RECORD, SECTION
from harness.tests.fake_lhv import CANARIES, TABLE, TESTS

_BASE = 0x100000


def record(
    name: str, *, flags: int = 0, opt: int = 0, sdm: str = "EPT Violations", needs: str = "enable EPT", last: bool = False
) -> bytes:
    area, test = name.split("/")
    return RECORD.pack(area.encode(), test.encode(), sdm.encode(), needs.encode(), opt, flags, last, 0, 0)


def records() -> bytes:
    return b"".join([record(t) for t in TESTS] + [record(c, flags=CANARY) for c in CANARIES])


def elf(section: bytes) -> bytes:
    """ELF32 with a multiboot header, one loadable segment and the section."""
    names = b"\0" + SECTION.encode() + b"\0.shstrtab\0"
    text = struct.pack("<III", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFFFFFF) + b"\xf4\xeb\xfd\0"
    header_size, program_size, section_size = 52, 32, 40
    at_text = header_size + program_size
    at_section = at_text + len(text)
    at_names = at_section + len(section)
    at_headers = at_names + len(names)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01" + bytes(9), 2, 3, 1, _BASE + at_text, header_size, at_headers, 0,
        header_size, program_size, 1, section_size, 3, 2,
    )  # fmt: skip
    program = struct.pack("<8I", 1, 0, _BASE, _BASE, at_names, at_names, 7, 4096)
    headers = bytes(section_size)
    headers += struct.pack("<10I", 1, 1, 2, _BASE + at_section, at_section, len(section), 0, 0, 8, 0)
    headers += struct.pack("<10I", 1 + len(SECTION) + 1, 3, 0, 0, at_names, len(names), 0, 0, 1, 0)
    return header + program + text + section + names + headers


def make(folder: Path) -> Path:
    for name in ("lhv", "xmhf-nest"):
        (folder / name).mkdir(parents=True)
    rows = [asdict(o) for o in TABLE.options]
    (folder / "tables.json").write_text(json.dumps({"options": rows}))
    for arch in ("i386", "amd64"):
        (folder / "lhv" / f"lhv-{arch}.elf").write_bytes(elf(records()))
        (folder / "xmhf-nest" / f"xmhf-nest-{arch}.elf").write_bytes(elf(b"L0"))
    return folder
