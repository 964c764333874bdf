# SPDX-License-Identifier: BSD-2-Clause
"""Which lines of xmhf-nest lhv's suite makes it execute (make coverage).

xmhf-nest is built with counters in its memory. When lhv ends the machine, a Bochs with our patches saves the machine's
state instead; the counters are found in the saved memory and given to gcov in the form that it reads.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from harness.settings import ROOT

STACK = "bochs@3.0+fixes/xmhf-nest"
MODELS = ("corei7_haswell_4770", "corei7_skylake_x")
BUILD = ROOT / "build" / "xmhf-nest" / "coverage"
IMAGE = BUILD / "xmhf-nest" / "xmhf-nest-amd64.debug"
# What nests; the rest boots the machine and hands it to L1.
NESTED = (
    "check_controls", "check_guest", "check_host", "check_segments", "enter", "ept02", "ept12",
    "exit", "fetch", "insn", "lru", "msr_bitmap", "msr_list", "nested", "nmi", "paging", "poll", "private", "reflect", "route",
    "shadow", "vmcs12", "vpid02",
)  # fmt: skip
LEAST = 90.0  # per cent of the nested code's lines

# GCC 12's gcov-io.h: what its counters look like in memory (struct gcov_info, gcov_fn_info, gcov_ctr_info) and in a file.
_INFO = struct.Struct("<I4xQIIQ8QI4xQ")
_FUNCTION = struct.Struct("<QIII4xI4xQ")
_MAGIC, _TAG_FUNCTION, _TAG_ARCS = 0x67636461, 0x01000000, 0x01A10000
_VERSION_12 = 0x4232  # "B2" in the version word's upper half

Counters = list[int]


@dataclass(frozen=True)
class Function:
    ident: int
    lineno_checksum: int
    cfg_checksum: int
    counters: tuple[int, int]  # address, number


@dataclass(frozen=True)
class Unit:
    """One source file's counters."""

    version: int
    stamp: int
    checksum: int
    path: str  # of the file that gcov would read
    functions: tuple[Function, ...]


class Image:
    """The program as it was linked: where its counters are."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as f:
            elf = ELFFile(f)
            symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
            self.base, self.end = symbols["image_start"], symbols["image_end"]
            self.first_page = elf.get_section_by_name(".text").data()[:4096]
            self._data = bytes(elf.get_section_by_name(".data").data())
            self._parts = [(s["sh_addr"], s.data()) for s in elf.iter_sections() if s["sh_type"] == "SHT_PROGBITS" and s["sh_addr"]]

    def read(self, address: int, size: int) -> bytes:
        for start, data in self._parts:
            if start <= address and address + size <= start + len(data):
                return bytes(data[address - start : address - start + size])
        raise ValueError(f"nothing is linked at 0x{address:x}")

    def text(self, address: int) -> str:
        out = b""
        while b"\0" not in out:
            out += self.read(address + len(out), 1)
        return out[:-1].decode()

    def units(self) -> Iterator[Unit]:
        """The pointers to them are the last of .data (xmhf-nest/link.ld)."""
        data = self._data
        at = len(data)
        while at >= 8:
            at -= 8
            (pointer,) = struct.unpack_from("<Q", data, at)
            if not self.base <= pointer < self.end:
                return
            try:
                unit = self._unit(pointer)
            except (ValueError, UnicodeDecodeError):
                return
            if unit is None:
                return
            yield unit

    def _unit(self, address: int) -> Unit | None:
        fields = _INFO.unpack(self.read(address, _INFO.size))
        version, _, stamp, checksum, name = fields[:5]
        count, table = fields[-2:]
        if version >> 16 != _VERSION_12:
            return None
        functions = []
        for (pointer,) in struct.iter_unpack("<Q", self.read(table, 8 * count)):
            _, ident, lineno, cfg, number, values = _FUNCTION.unpack(self.read(pointer, _FUNCTION.size))
            functions.append(Function(ident, lineno, cfg, (values, number)))
        return Unit(version, stamp, checksum, self.text(name), tuple(functions))


def base_of(memory: bytes, image: Image) -> int:
    """Where the running image is: the highest place, since the loader's copy lies below it. ValueError if it isn't there."""
    at = len(memory)
    while (at := memory.rfind(image.first_page, 0, at)) >= 0:
        if at % 4096 == 0:
            return at
    raise ValueError("xmhf-nest isn't in the saved memory")


def counters_in(memory: bytes, base: int, image: Image, function: Function) -> Counters:
    address, number = function.counters
    at = base + address - image.base
    return list(struct.unpack_from(f"<{number}Q", memory, at))


def gcda(unit: Unit, counters: Mapping[int, Counters]) -> bytes:
    """The file that gcov reads; counters by function's ident."""
    out = [struct.pack("<IIII", _MAGIC, unit.version, unit.stamp, unit.checksum)]
    for f in unit.functions:
        values = counters[f.ident]
        out.append(struct.pack("<IIIII", _TAG_FUNCTION, 12, f.ident, f.lineno_checksum, f.cfg_checksum))
        out.append(struct.pack(f"<II{len(values)}Q", _TAG_ARCS, 8 * len(values), *values))
    return b"".join(out) + struct.pack("<I", 0)


def run_suite(keep: Path, options: Sequence[str]) -> None:
    """Each boot leaves its machine's memory in a folder below `keep`."""
    command = [
        sys.executable, str(ROOT / "run_tests.py"), "--no-build", f"--stack={STACK}", f"--build-dir={BUILD}", "--arch=amd64",
        f"--cpu-model={','.join(MODELS)}", f"--keep={keep}", *options,
    ]  # fmt: skip
    subprocess.run(command, env={**os.environ, "BOCHS_CHECKPOINT": "."}, stdout=subprocess.DEVNULL, check=False)


def collect(keep: Path, image: Image) -> tuple[list[Unit], dict[str, dict[int, Counters]], int]:
    """Counters summed over all boots, by unit and function; and how many boots there were."""
    units = list(image.units())
    total: dict[str, dict[int, Counters]] = {u.path: {f.ident: [0] * f.counters[1] for f in u.functions} for u in units}
    boots = 0
    for path in sorted(keep.glob("*/memory.ram")):
        memory = path.read_bytes()
        base = base_of(memory, image)
        for unit in units:
            for f in unit.functions:
                own = total[unit.path][f.ident]
                own[:] = [a + b for a, b in zip(own, counters_in(memory, base, image, f))]
        boots += 1
    return units, total, boots


def lines_of(units: Sequence[Unit], counters: Mapping[str, dict[int, Counters]]) -> dict[str, dict[int, int]]:
    """Times that each line was executed, by file."""
    out: dict[str, dict[int, int]] = {}
    for unit in units:
        path = Path(unit.path)
        path.write_bytes(gcda(unit, counters[unit.path]))
        done = subprocess.run(
            ["gcov", "--json-format", "--stdout", str(path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for text in done.stdout.splitlines():
            document: dict[str, Any] = json.loads(text)
            for file in document["files"]:
                lines = out.setdefault(file["file"], {})
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, 0) + line["count"]
    return out


def is_nested(file: str) -> bool:
    return file.startswith("xmhf-nest/") and Path(file).stem in NESTED


def ranges(numbers: Sequence[int]) -> str:
    """1-3, 7"""
    out: list[list[int]] = []
    for n in numbers:
        if out and n == out[-1][1] + 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def table(lines: Mapping[str, Mapping[int, int]], missing: bool) -> tuple[list[str], float]:
    """For people; and the nested code's share."""
    out, executed, every = [], 0, 0
    for file in sorted(lines, key=lambda f: (not is_nested(f), f)):
        if not file.startswith("xmhf-nest/"):
            continue
        counts = lines[file]
        hit = sum(n > 0 for n in counts.values())
        if is_nested(file):
            executed, every = executed + hit, every + len(counts)
        share = 100 * hit / len(counts) if counts else 100.0
        out.append(f"{share:6.1f} %  {hit:5} of {len(counts):5}  {file}{'' if is_nested(file) else '  (not nested code)'}")
        never = [n for n in sorted(counts) if not counts[n]]
        if missing and never and is_nested(file):
            out.append(f"          never: {ranges(never)}")
    share = 100 * executed / every if every else 0.0
    return [*out, f"{share:6.1f} %  {executed:5} of {every:5}  nested code, at least {LEAST:.0f} % wanted"], share


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="harness.coverage", description=__doc__)
    parser.add_argument("--missing", action="store_true", help="tell the lines of nested code that were never executed")
    parser.add_argument("--json", type=Path, metavar="F", help="counts of each line, by file")
    parser.add_argument("options", nargs="*", help="for run_tests.py, after --; default: everything with 1 and 2 CPUs")
    args = parser.parse_args(argv)
    image = Image(IMAGE)
    with tempfile.TemporaryDirectory(prefix="lhv-coverage-") as folder:
        run_suite(Path(folder), args.options)
        try:
            units, counters, boots = collect(Path(folder), image)
        except ValueError as e:
            print(f"coverage: {e}", file=sys.stderr)
            return 3
    if not boots or not units:
        print("coverage: no boot left its memory; is there a Bochs with our patches (make bochs-fixes)?", file=sys.stderr)
        return 3
    lines = lines_of(units, counters)
    text, share = table(lines, args.missing)
    print("\n".join(text))
    if args.json:
        args.json.write_text(json.dumps({"schema": 1, "files": lines}, indent=1) + "\n")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
