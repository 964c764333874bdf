# SPDX-License-Identifier: BSD-2-Clause
"""--list: what a run would do, a line per item; and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from harness import elf, plan
from harness.plan import Case
from harness.settings import Settings


def write(cases: Sequence[Case], settings: Settings, out: TextIO) -> None:
    """id, tab, the mask's names or what the test needs, tab, the test's section of the SDM."""
    for case in cases:
        out.write("\t".join([case.id, case.item.title, case.item.sdm]).rstrip("\t") + "\n")
    if settings.l1:
        return
    canaries = {t.id: t for arch in settings.archs for t in elf.read_tests(settings.kernel(arch)) if t.canary}
    for test in canaries.values():
        out.write(f"# only by its full name: test/{test.id}\n")
    for text in plan.not_planned(settings):
        out.write(f"# {text}\n")
    boots = len({c.group for c in cases})
    out.write(f"# {len(cases)} items in {boots} boots\n")
