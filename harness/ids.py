# SPDX-License-Identifier: BSD-2-Clause
"""Ids of results, read: STACK/ARCH/Ncpu/opt/MASK/BIT/cpuC and STACK/ARCH/Ncpu/test/AREA/NAME (docs/harness.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness import elf
from harness.cases import Item, mask_item
from harness.errors import UsageError
from harness.options import OptionTable
from harness.settings import Settings

_ID = re.compile(
    r"(?P<stack>.+)/(?P<arch>i386|amd64)/(?P<cpus>[1-8])cpu/(?P<item>opt/0x[0-9a-f]{4}|test/[^/]+/[^/]+)(?P<result>/.+)?"
)


@dataclass(frozen=True)
class Id:
    stack: str
    arch: str
    cpus: int
    item: str
    result: str  # BIT/cpuC; empty: the whole item


def parse(text: str, option: str) -> Id:
    """option: what the user wrote before it. Raises UsageError."""
    match = _ID.fullmatch(text)
    if not match:
        raise UsageError(f"{option} {text}: not an id; one looks like bochs/amd64/2cpu/opt/0x003c/ept/cpu1")
    return Id(match["stack"], match["arch"], int(match["cpus"]), match["item"], (match["result"] or "").removeprefix("/"))


def item_of(id: Id, settings: Settings, option: str) -> Item:
    """What lhv is to run for it. Raises UsageError if it hasn't that."""
    kind, _, name = id.item.partition("/")
    if kind == "opt":
        table = OptionTable.load(settings.tables)
        return mask_item(table.parse(name), table)
    for test in elf.read_tests(settings.kernel(id.arch)):
        if test.runs_on(id.arch) and test.id == name:
            return test.item()
    raise UsageError(f"{option} {id.stack}/{id.arch}/{id.cpus}cpu/{id.item}: there is no test {name} on {id.arch}")
