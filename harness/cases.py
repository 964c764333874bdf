# SPDX-License-Identifier: BSD-2-Clause
"""Items of a plan and the results that each must give (docs/protocol.md, "Items and results")."""

from __future__ import annotations

from dataclasses import dataclass

from harness.options import OptionTable


@dataclass(frozen=True, order=True)
class ResultKey:
    """Names a result line."""

    id: str
    cpu: int


@dataclass(frozen=True)
class Item:
    id: str  # opt/0x003c, test/ept/violation
    names: tuple[str, ...]  # results, without the CPU: opt/0x003c/base, ...
    per_cpu: bool
    mask: int = 0  # option bits; a test's are what it needs
    title: str = ""  # for people
    sdm: str = ""  # title of the SDM's section, of tests

    def keys(self, cpus: int) -> tuple[ResultKey, ...]:
        numbers = range(cpus) if self.per_cpu else range(1)
        return tuple(ResultKey(name, cpu) for name in self.names for cpu in numbers)

    def path(self, key: ResultKey) -> str:
        """The result's part of a full id."""
        return f"{key.id}/cpu{key.cpu}" if self.per_cpu else key.id

    @property
    def word(self) -> tuple[str, str]:
        """lhv's option and value that select this item alone."""
        kind, _, rest = self.id.partition("/")
        return kind, rest


def mask_item(mask: int, table: OptionTable) -> Item:
    id = f"opt/0x{mask:04x}"
    names = ("base", *(o.name for o in table.bits(mask)))
    return Item(id, tuple(f"{id}/{n}" for n in names), True, mask, table.name(mask))
