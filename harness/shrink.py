# SPDX-License-Identifier: BSD-2-Clause
"""Smallest masks and numbers that still show something. Pure, and the same questions are asked in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.options import Option, OptionTable

# Of some masks, given smallest first, the first that shows it. They may be tried together.
First = Callable[[Sequence[int]], int | None]


def smallest_mask(mask: int, table: OptionTable, first: First) -> int:
    """Delta debugging over the bits: without any one of those that are left (and what requires it) it doesn't show. `mask` does."""
    if mask == 0 or first([0]) is not None:
        return 0
    parts = 2
    while len(bits := table.bits(mask)) > 1:
        parts = min(parts, len(bits))
        hit = first(candidates(mask, table, parts))
        if hit is not None:
            mask, parts = hit, 2
        elif parts == len(bits):
            break
        else:
            parts = min(2 * parts, len(bits))
    return mask


def candidates(mask: int, table: OptionTable, parts: int) -> list[int]:
    """Each of so many parts of the bits by itself, with what it requires; and the mask without each, and without what
    requires it. All are legal, because what they are parts of is."""
    out = set()
    for part in _split(table.bits(mask), parts):
        chosen = sum(o.bit for o in part)
        out |= {table.closure(chosen), without(mask, chosen, table)}
    return sorted(out - {mask, 0}, key=lambda m: (m.bit_count(), m))


def without(mask: int, off: int, table: OptionTable) -> int:
    return sum(o.bit for o in table.bits(mask) if not table.closure(o.bit) & off)


def _split(bits: Sequence[Option], parts: int) -> list[Sequence[Option]]:
    """Neighbours stay together: they are often about the same."""
    return [bits[len(bits) * n // parts : len(bits) * (n + 1) // parts] for n in range(parts)]


def smallest_number(most: int, shows: Callable[[int], bool], hints: Iterable[int] = ()) -> int:
    """At least 1. Binary search, as if it showed from some number on; `most` does. hints: what is tried first."""
    low, high = 0, most
    pending = list(hints)
    while high - low > 1:
        wanted = pending.pop(0) if pending else (low + high) // 2
        if not low < wanted < high:
            continue
        if shows(wanted):
            high = wanted
        else:
            low = wanted
    return high
