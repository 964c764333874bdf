# SPDX-License-Identifier: BSD-2-Clause
"""What every back end offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from harness.judge import End


@dataclass(frozen=True)
class Boot:
    """One start of a machine. Either a multiboot kernel with its command line, or a disk."""

    cpus: int
    kernel: Path | None = None
    cmdline: str = ""
    disk: Path | None = None
    memory_mb: int = 64
    modules: tuple[tuple[Path, str], ...] = ()  # multiboot modules with their command lines
    second: bytes | None = None  # a second disk


@dataclass(frozen=True)
class Launch:
    argv: tuple[str, ...]
    com1: Path  # doesn't exist yet
    logs: tuple[Path, ...]  # the emulator's own words, to be read after the end
    listens: bool = False  # it takes a port when it starts; see startlock.py


@dataclass(frozen=True)
class Engine(ABC):
    name: str
    version: str
    model: str
    skip: str = ""  # why nothing can be run, though nothing is broken: all is SKIP without booting

    @property
    def l0(self) -> str:
        """What is between the emulator and lhv, for people; empty: nothing."""
        return ""

    @property
    def patience(self) -> float:
        """Seconds from lhv's last line to the machine's end; what layers below say meanwhile counts."""
        return 2.0

    @property
    def slowness(self) -> float:
        """How many times as long everything takes, compared with the emulator alone; for timeouts."""
        return 1.0

    @property
    def counts_instructions(self) -> bool:
        """The time-stamp counter counts emulated instructions."""
        return False

    @property
    @abstractmethod
    def exit_word(self) -> str:
        """lhv's exit= for this machine."""

    @abstractmethod
    def prepare(self, boot: Boot, folder: Path) -> Launch:
        """Writes what the emulator needs into an empty folder, which will be its working directory.

        Raises EnvironmentProblem.
        """

    def last_words(self, com1: bytes) -> End | None:
        """Does a layer between the emulator and lhv say on COM1 that it died?"""
        return None

    def complaints(self, com1: bytes, folder: Path) -> list[tuple[int, str]]:
        """What an L0 says of itself that makes it BAD whatever lhv says: offset in COM1's bytes, and the words.
        folder: that prepare() got, after the end."""
        return []

    @abstractmethod
    def explain(self, status: int, console: str, said_something: bool) -> End:
        """The emulator ended by itself before the guest was done: CRASH, or INFRA if it never ran the guest."""


def last_words(text: str, limit: int = 160) -> str:
    """The last line that isn't empty, for a reason."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip(" =\t\0")]
    return lines[-1][-limit:] if lines else "no message"


def status_text(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
