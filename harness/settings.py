# SPDX-License-Identifier: BSD-2-Clause
"""What a run was asked to do. run_tests.py and pytest's own command line both end here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
ARCHS = ("i386", "amd64")
TIMEOUT = 20.0  # CPU seconds without progress, per CPU of the machine


@dataclass(frozen=True)
class Settings:
    stacks: tuple[str, ...] = ("bochs",)
    models: tuple[str, ...] = ()
    archs: tuple[str, ...] = ARCHS
    cpus: tuple[int, ...] = (1, 2)
    opts: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    bochs: str = ""
    timeout: float = TIMEOUT
    shard: tuple[int, int] = (1, 1)
    iterations: int = 0  # 0: lhv's own default
    seed: int = 1
    splits: int = 1  # boots that the items of one machine are spread over
    keep: str = ""
    build: Path = ROOT / "build"
    l1: str = ""
    append: str = ""
    expect: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    memory_mb: int = 64

    def kernel(self, arch: str) -> Path:
        return self.build / "lhv" / f"lhv-{arch}.elf"

    @property
    def tables(self) -> Path:
        return self.build / "tables.json"


def words(values: Iterable[str]) -> tuple[str, ...]:
    """Repeatable options also take lists with commas. Order is kept, repetitions are dropped."""
    return tuple(dict.fromkeys(w for value in values for w in value.split(",") if w))


def parse_cpus(values: Iterable[str]) -> tuple[int, ...]:
    out = []
    for word in words(values):
        if not re.fullmatch(r"[1-8]", word):
            raise UsageError(f"--cpus {word}: a number from 1 to 8 is wanted")
        out.append(int(word))
    return tuple(out)


def parse_archs(values: Iterable[str]) -> tuple[str, ...]:
    for word in words(values):
        if word not in ARCHS:
            raise UsageError(f"--arch {word}: must be {' or '.join(ARCHS)}")
    return words(values)


def parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard {text}: I/N with 1 <= I <= N is wanted")
    return int(match[1]), int(match[2])


def parse_timeout(text: str | float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise UsageError(f"--timeout {text}: seconds are wanted, more than 0")
    return value


def parse_regexes(option: str, values: Iterable[str]) -> tuple[str, ...]:
    for value in values:
        try:
            re.compile(value)
        except re.error as e:
            raise UsageError(f"{option} {value}: {e}") from e
    return tuple(values)


def parse_number(option: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]+", text) or not least <= int(text) <= most:
        raise UsageError(f"{option} {text}: a number from {least} to {most} is wanted")
    return int(text)
