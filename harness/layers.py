# SPDX-License-Identifier: BSD-2-Clause
"""An L0 between the engine and lhv: what boots is the L0, which boots lhv."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness import engines, expectations
from harness.engines import Boot, Engine, Launch
from harness.errors import EnvironmentProblem
from harness.judge import End
from harness.settings import Settings
from harness.stacks import FOREIGN, Stack
from harness.verdicts import Verdict
from images import ImageError, mkimage

# "xmhf-nest: PANIC cpu=0 at=xmhf-nest/exit.c:150 exit of L1 for reason 0x21"; a dump follows in lines with the prefix.
# Not only at the beginning of a line: another CPU may have been in the middle of one.
_PANIC = re.compile(rb"xmhf-nest: PANIC ([^\r\n]*)")


def find(stack: Stack, settings: Settings) -> Engine:
    """The engine of a stack, with the stack's layer on it. Errors are those of engines.find()."""
    if stack.kvm:
        from harness import provision  # most runs need nothing of it

        return provision.find(stack, settings)
    engine = engines.find(stack, settings.bochs)
    if not stack.layers:
        return engine
    layer = stack.layers[-1]
    return LayeredEngine(
        engine.name, engine.version, engine.model, engine.skip, engine, settings.layer(layer), layer == FOREIGN, stack.way,
        expectations.of_host(engine.name, engine.version).layer_options,
    )  # fmt: skip


@dataclass(frozen=True)
class LayeredEngine(Engine):
    """Boots a layer on an engine, and hands it what would have been booted. Everything else is the engine's."""

    below: Engine | None = None
    layer: Path = Path()  # a kernel of ours, or somebody else's disk
    foreign: bool = False
    way: str = "module"
    options: tuple[str, ...] = ()  # for a layer of ours

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

    @property
    def l0(self) -> str:
        return self.layer.name

    def prepare(self, boot: Boot, folder: Path) -> Launch:
        return self.engine.prepare(self.layered(boot), folder)

    def layered(self, boot: Boot) -> Boot:
        """What the engine below boots instead."""
        if not self.layer.is_file():
            hint = "" if self.foreign else ": run `make xmhf-nest`"
            raise EnvironmentProblem(f"{self.layer} isn't there{hint}")
        own = " ".join((f"exit={self.exit_word}", *self.options))
        if self.way == "module":
            if boot.kernel is None:
                raise EnvironmentProblem("a disk image as L1 needs --l1-boot disk")
            return replace(boot, kernel=self.layer, cmdline=own, modules=((boot.kernel, boot.cmdline),))
        second = self._second(boot)
        if self.foreign:
            return replace(boot, kernel=None, cmdline="", disk=self.layer, second=second)
        return replace(boot, kernel=self.layer, cmdline=own, disk=None, second=second)

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
        panic = _PANIC.search(com1)
        if panic is None:
            return None
        return End(Verdict.CRASH, f"CRASH of xmhf-nest: {panic[1].decode('ascii', 'replace')}", below=True)
