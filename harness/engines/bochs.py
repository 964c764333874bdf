# SPDX-License-Identifier: BSD-2-Clause
"""Bochs: Debian's 2.7, the 3.0 that `make bochs` builds, or one that --bochs names."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.engines.base import Boot, Engine, Launch, last_words, status_text
from harness.errors import EnvironmentProblem, UsageError
from harness.judge import End
from harness.stacks import Stack
from harness.verdicts import Verdict
from images import ImageError, bochsrc, mkimage
from images.build_bochs import FIXES

# The wrapper /usr/bin/bochs adds nothing that we need.
_INSTALLED = ("bochs-bin", "bochs")
_TICK = re.compile(r"^(\d{11,})[a-z ]\[", re.M)
# "00012345678p[CPU0  ] >>PANIC<< exception(): ...": panics and errors, without the time.
_TROUBLE = re.compile(r"^\d{11,}[pe](\[[^]]*\].*)$|(>>PANIC<<.*)$", re.M)


def _cached() -> list[Path]:
    """What `make bochs` has built, newest version first; with our patches last, for it must be asked for."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = [p for p in (cache / "lhv").glob("bochs-*/bin/bochs") if os.access(p, os.X_OK)]
    found.sort(key=lambda p: [int(n) for n in re.findall(r"\d+", p.parts[-3])], reverse=True)
    return sorted(found, key=_has_fixes)


def _has_fixes(path: Path) -> bool:
    return path.parts[-3].endswith(f"+{FIXES}")


def _candidates(given: str) -> list[str]:
    if given:
        return [given]
    installed = [path for name in _INSTALLED if (path := shutil.which(name))]
    return [str(p) for p in _cached()] + installed[:1]


@lru_cache
def _detect(path: str) -> tuple[tuple[int, int], bool]:
    return bochsrc.detect(path)


@lru_cache
def _models(path: str) -> list[str]:
    return bochsrc.models(path)


@dataclass(frozen=True)
class BochsEngine(Engine):
    path: str = ""
    number: tuple[int, int] = (0, 0)
    debugger: bool = False

    @classmethod
    def find(cls, stack: Stack, given: str) -> BochsEngine:
        seen = []
        for path in _candidates(given):
            try:
                number, debugger = _detect(path)
            except ImageError as e:
                raise EnvironmentProblem(str(e)) from e
            version = f"{number[0]}.{number[1]}" + (f"+{FIXES}" if not given and _has_fixes(Path(path)) else "")
            if stack.version == version or not (stack.version or FIXES in version):
                models = _models(path)
                if models and stack.model not in models:
                    raise UsageError(f"Bochs {version} has no CPU model {stack.model!r} (it has {', '.join(models)})")
                return cls("bochs", version, stack.model, "", path, number, debugger)
            seen.append(f"{version} ({path})")
        if seen:
            raise EnvironmentProblem(f"no Bochs {stack.version} here; found: {', '.join(seen)}")
        raise EnvironmentProblem("no Bochs here: `apt-get install bochs`, or `make bochs`")

    @property
    def counts_instructions(self) -> bool:
        return True

    @property
    def exit_word(self) -> str:
        return "bochs"

    def prepare(self, boot: Boot, folder: Path) -> Launch:
        names = ("disk.img", "second.img", "bochsrc", "bochs.log", "com1.log")
        disk, second, rc, log, com1 = (folder / n for n in names)
        try:
            if boot.kernel:
                modules = [(path.read_bytes(), text) for path, text in boot.modules]
                disk.write_bytes(mkimage.boot_disk(boot.kernel.read_bytes(), boot.cmdline, modules))
            elif boot.disk:
                shutil.copyfile(boot.disk, disk)
            if boot.second is not None:
                second.write_bytes(boot.second)
            text = bochsrc.bochsrc(
                self.number, model=self.model, cpus=boot.cpus, memory_mb=boot.memory_mb,
                disk=disk, com1_path=com1, log_path=log,
                second=second if boot.second is not None else None,
            )  # fmt: skip
            rc.write_text(text)
            argv = bochsrc.command(self.path, self.number, rc, self.debugger)
        except ImageError as e:
            raise EnvironmentProblem(str(e)) from e
        return Launch(tuple(argv), com1, (log,), listens=any("rfb" in word for word in argv))

    def explain(self, status: int, console: str, said_something: bool) -> End:
        ticks = max((int(t) for t in _TICK.findall(console)), default=0)
        troubles = [a or b for a, b in _TROUBLE.findall(console)]
        words = last_words(troubles[-1].replace(">>PANIC<< ", "") if troubles else console)
        if not said_something and ticks == 0:
            return End(Verdict.INFRA, f"Bochs didn't start ({status_text(status)}): {words}")
        return End(Verdict.CRASH, f"Bochs ended ({status_text(status)}): {words}", "shutdown requested" in words)
