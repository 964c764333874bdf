# SPDX-License-Identifier: BSD-2-Clause
"""An L0 between the engine and lhv: what boots is the L0, which boots lhv."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engines import Boot, Engine, Launch
from harness.errors import EnvironmentProblem
from harness.judge import End
from harness.settings import Settings
from harness.stacks import Stack
from harness.verdicts import Verdict
from images import ImageError, mkimage

# "xmhf-nest: PANIC cpu=0 at=xmhf-nest/exit.c:150 exit of L1 for reason 0x21"; a dump follows in lines with the prefix.
_PANIC = re.compile(rb"^xmhf-nest: PANIC ([^\r\n]*)", re.M)


@dataclass(frozen=True)
class LayeredEngine(Engine):
    """Boots a layer on an engine, and hands it what would have been booted. Everything else is the engine's."""

    below: Engine | None = None
    layer: Path = Path()  # a kernel of ours
    l0: str = ""  # somebody else's disk instead
    way: str = "module"

    @classmethod
    def put(cls, below: Engine, stack: Stack, settings: Settings) -> LayeredEngine:
        return cls(
            below.name, below.version, below.model, below.skip, below,
            settings.layer(stack.layers[-1]), settings.l0, settings.l1_boot,
        )  # fmt: skip

    @property
    def engine(self) -> Engine:
        assert self.below is not None
        return self.below

    @property
    def counts_instructions(self) -> bool:
        return self.engine.counts_instructions

    @property
    def exit_word(self) -> str:
        return self.engine.exit_word

    def prepare(self, boot: Boot, folder: Path) -> Launch:
        return self.engine.prepare(self.layered(boot), folder)

    def layered(self, boot: Boot) -> Boot:
        if not self.l0 and not self.layer.is_file():
            raise EnvironmentProblem(f"{self.layer} isn't there: `make xmhf-nest`")
        own = f"exit={self.exit_word}"
        if self.way == "module":
            if boot.kernel is None:
                raise EnvironmentProblem("a disk image as L1 needs --l1-boot disk")
            return replace(boot, kernel=self.layer, cmdline=own, modules=((boot.kernel, boot.cmdline),))
        second = self._second(boot)
        if self.l0:
            return replace(boot, kernel=None, cmdline="", disk=Path(self.l0), second=second)
        return replace(boot, kernel=self.layer, cmdline=own, second=second)

    @staticmethod
    def _second(boot: Boot) -> bytes:
        try:
            if boot.kernel:
                return mkimage.boot_disk(boot.kernel.read_bytes(), boot.cmdline)
            assert boot.disk is not None
            return boot.disk.read_bytes()
        except (ImageError, OSError) as e:
            raise EnvironmentProblem(str(e)) from e

    def explain(self, status: int, console: str, said_something: bool) -> End:
        return self.engine.explain(status, console, said_something)

    def last_words(self, com1: bytes) -> End | None:
        """L0's own panic, if it's there: that's why nothing more came."""
        panic = _PANIC.search(com1)
        if panic is None:
            return None
        return End(Verdict.CRASH, f"CRASH of xmhf-nest: {panic[1].decode('ascii', 'replace')}", True)
