# SPDX-License-Identifier: BSD-2-Clause
"""From a machine's memory to executed lines, with a small program instead of xmhf-nest."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness import coverage

SOURCE = """int f(int a)
{
	if (a > 3)
		return 1;
	return 2;
}
int g(int a)
{
	return a;
}
"""
SCRIPT = """SECTIONS {
	. = 0xffffffff80000000; image_start = .;
	.text : { *(.text*) } .rodata : { *(.rodata*) }
	.data ALIGN(16) : { *(.data*) KEEP(*(.gcov_info)) }
	.bss ALIGN(4096) : { *(.bss*) } image_end = .;
	/DISCARD/ : { *(.note* .comment .eh_frame*) }
}"""
FLAGS = (
    "-O1", "-ffreestanding", "-fno-pic", "-fno-pie", "-mcmodel=kernel", "-fno-asynchronous-unwind-tables", "-fprofile-arcs",
    "-ftest-coverage", "-fprofile-info-section", "-fprofile-update=single",
)  # fmt: skip


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "f.c").write_text(SOURCE)
    (tmp_path / "link.ld").write_text(SCRIPT)
    subprocess.run(["gcc", *FLAGS, "-c", "-o", str(tmp_path / "f.o"), str(tmp_path / "f.c")], check=True, cwd=tmp_path)
    link = ["gcc", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,--defsym=__gcov_merge_add=0", "-Wl,-e,0"]
    subprocess.run([*link, "-Wl,-T,link.ld", "-o", "f.elf", "f.o"], check=True, cwd=tmp_path)
    return tmp_path / "f.elf"


def memory_of(program: Path, base: int, image: coverage.Image) -> bytearray:
    memory = bytearray(base + image.end - image.base)
    with program.open("rb") as f:
        for s in ELFFile(f).iter_sections():
            if s["sh_type"] == "SHT_PROGBITS" and s["sh_addr"]:
                at = base + s["sh_addr"] - image.base
                memory[at : at + s["sh_size"]] = s.data()
    memory[4096 * 3 : 4096 * 3 + len(image.first_page)] = image.first_page  # the loader's copy, below
    return memory


def test_lines(program: Path, tmp_path: Path) -> None:
    image = coverage.Image(program)
    (unit,) = image.units()
    assert [f.counters[1] for f in unit.functions] and unit.path.endswith("f.gcda")
    base = 4096 * 20
    for n, (values_f, values_g) in enumerate([((5, 3), (0,)), ((1, 0), (0,))]):
        memory = memory_of(program, base, image)
        by_size = {f.counters[1]: f.counters[0] for f in unit.functions}
        struct.pack_into("<2Q", memory, base + by_size[2] - image.base, *values_f)
        struct.pack_into("<1Q", memory, base + by_size[1] - image.base, *values_g)
        (tmp_path / "keep" / str(n)).mkdir(parents=True)
        (tmp_path / "keep" / str(n) / "memory.ram").write_bytes(memory)
    units, counters, boots = coverage.collect(tmp_path / "keep", image)
    assert boots == 2
    (lines,) = coverage.lines_of(units, counters).values()
    assert lines[1] == 6 and lines[3] == 6 and lines[7] == 0 and lines[9] == 0
    assert lines[4] == 3


def test_no_image(program: Path) -> None:
    with pytest.raises(ValueError, match="isn't in the saved memory"):
        coverage.base_of(bytes(8192), coverage.Image(program))


def test_ranges() -> None:
    assert coverage.ranges([]) == "" and coverage.ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"


def test_table() -> None:
    lines = {"xmhf-nest/enter.c": {1: 5, 2: 0, 3: 1, 4: 2}, "xmhf-nest/main.c": {1: 0}, "lib/core/fmt.c": {1: 1}}
    text, share = coverage.table(lines, missing=True)
    assert share == 75.0
    assert "enter.c" in text[0] and text[1].endswith("never: 2")
    assert "main.c" in text[2] and "not nested" in text[2] and not any("fmt.c" in line for line in text)
