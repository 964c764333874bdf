# SPDX-License-Identifier: BSD-2-Clause
"""The test cases that an image of lhv contains, read from its section .lhv_tests (struct test_info of lhv/test.h)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.cases import Item
from harness.errors import EnvironmentProblem

SECTION = ".lhv_tests"
RECORD = struct.Struct("<16s64s96s128sIIIIQ")

CANARY, TWO_CPUS, I386_ONLY, AMD64_ONLY, BENCH, NAMED = 1, 2, 4, 8, 16, 32


@dataclass(frozen=True)
class TestInfo:
    __test__ = False  # not for pytest

    area: str
    name: str
    sdm: str
    needs: str
    opt: int
    flags: int
    rules: tuple[str, ...] = ()  # ids, in testcases/rules/
    last: bool = False  # leaves the machine in a state that others can't use

    @property
    def id(self) -> str:
        return f"{self.area}/{self.name}"

    @property
    def canary(self) -> bool:
        """Or a measurement: runs only when named without wildcards."""
        return bool(self.flags & (CANARY | BENCH | NAMED))

    @property
    def bench(self) -> bool:
        return bool(self.flags & BENCH)

    def runs_on(self, arch: str) -> bool:
        only = {"i386": I386_ONLY, "amd64": AMD64_ONLY}[arch]
        return not self.flags & (I386_ONLY | AMD64_ONLY) or bool(self.flags & only)

    def item(self) -> Item:
        id = f"test/{self.id}"
        return Item(id, (id,), False, self.opt, self.needs, self.sdm)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("ascii")


def _string_at(file: ELFFile, address: int) -> str:
    """Raises ValueError."""
    for section in file.iter_sections():
        start = section["sh_addr"]
        if section["sh_type"] == "SHT_PROGBITS" and start <= address < start + section["sh_size"]:
            data: bytes = section.data()[address - start :]
            return data[: data.index(b"\0")].decode("ascii")
    raise ValueError(f"nothing is at address {address:#x}")


def _no_strings(address: int) -> str:
    raise ValueError(f"no string at {address:#x}")


def parse_records(data: bytes, string_at: Callable[[int], str] = _no_strings) -> list[TestInfo]:
    """Raises ValueError."""
    if len(data) % RECORD.size:
        raise ValueError(f"{SECTION} has {len(data)} bytes, no multiple of {RECORD.size}")
    out = []
    for area, name, sdm, needs, opt, flags, last, _, address in RECORD.iter_unpack(data):
        rules = tuple(dict.fromkeys(string_at(address).split())) if address else ()
        info = TestInfo(_text(area), _text(name), _text(sdm), _text(needs), opt, flags, rules, bool(last))
        if not info.area or not info.name:
            raise ValueError(f"{SECTION} has a record without a name")
        out.append(info)
    return out


@lru_cache
def read_tests(image: Path) -> tuple[TestInfo, ...]:
    """In the order in which lhv runs them if nobody asks for another."""
    try:
        with image.open("rb") as f:
            file = ELFFile(f)
            section = file.get_section_by_name(SECTION)
            tests = parse_records(section.data() if section else b"", lambda address: _string_at(file, address))
    except OSError as e:
        raise EnvironmentProblem(f"{image}: {e.strerror}; run `make lhv`") from e
    except (ELFError, ValueError) as e:
        raise EnvironmentProblem(f"{image}: not an image of lhv: {e}") from e
    if len({t.id for t in tests}) != len(tests):
        raise EnvironmentProblem(f"{image}: two tests of one name")
    return tuple(tests)
