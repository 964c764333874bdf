# SPDX-License-Identifier: BSD-2-Clause
"""Which masks a run takes by default: few, legal, and every legal pair of bit values is in one of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.options import OptionTable

ALWAYS = (0x0, 0x3C, 0x3E)  # and the largest legal mask


@dataclass(frozen=True)
class Pair:
    """Bits that are on and bits that are off; two in all."""

    on: int
    off: int

    def holds(self, mask: int) -> bool:
        return mask & self.on == self.on and not mask & self.off


def _feasible(table: OptionTable, on: int, off: int) -> bool:
    """Is there a legal mask with these bits on and those off? The smallest candidate decides."""
    smallest = table.closure(on)
    return not smallest & off and table.legal(smallest)


def legal_pairs(table: OptionTable) -> list[Pair]:
    bits = [o.bit for o in table.options]
    pairs = []
    for i, a in enumerate(bits):
        for b in bits[i + 1 :]:
            for on, off in ((0, a | b), (a, b), (b, a), (a | b, 0)):
                if _feasible(table, on, off):
                    pairs.append(Pair(on, off))
    return pairs


def _complete(table: OptionTable, seed: Pair, open_pairs: list[Pair]) -> int:
    """A legal mask that holds `seed` and, decided bit by bit, many of the open pairs."""
    on, off = table.closure(seed.on), seed.off
    for option in table.options:
        if (on | off) & option.bit:
            continue
        choices = [(on, off | option.bit), (table.closure(on | option.bit), off)]
        choices = [c for c in choices if _feasible(table, *c)]
        on, off = max(choices, key=lambda c: sum(_decided(p, *c) for p in open_pairs))
    return on


def _decided(pair: Pair, on: int, off: int) -> bool:
    return not pair.on & ~on and not pair.off & ~off


def covering(table: OptionTable, always: Iterable[int] = ALWAYS) -> list[int]:
    """Deterministic. Ascending, without those of `always` that this table doesn't allow."""
    masks = {m for m in (*always, table.all_on()) if table.legal(m)}
    open_pairs = [p for p in legal_pairs(table) if not any(p.holds(m) for m in masks)]
    while open_pairs:
        candidates = [_complete(table, p, open_pairs) for p in open_pairs[:32]]
        mask = max(candidates, key=lambda m: (sum(p.holds(m) for p in open_pairs), -m))
        masks.add(mask)
        open_pairs = [p for p in open_pairs if not p.holds(mask)]
    return sorted(masks)
