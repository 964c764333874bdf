# SPDX-License-Identifier: BSD-2-Clause
"""Smallest masks and numbers: against search on a small table, on lhv's own, and how much is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from harness.options import OptionTable
from harness.shrink import candidates, smallest_mask, smallest_number, without
from harness.tests.fake_lhv import TABLE
from harness.tests.test_options import lhv_table


def asker(table: OptionTable, shows: Callable[[int], bool], asked: list[int]) -> Callable[[Sequence[int]], int | None]:
    def first(masks: Sequence[int]) -> int | None:
        assert all(table.legal(m) for m in masks), "an illegal mask"
        asked.extend(masks)
        return next((m for m in masks if shows(m)), None)

    return first


def test_every_need_of_a_small_table() -> None:
    """What needs certain bits, and no more, is found from every legal mask that has them."""
    legal = [m for m in range(TABLE.all_bits + 1) if TABLE.legal(m)]
    for need in legal:
        for start in (m for m in legal if m & need == need):
            found = smallest_mask(start, TABLE, asker(TABLE, lambda m: m & need == need, []))
            assert found == need, f"{start:#x} for {need:#x}"


@pytest.mark.parametrize("need", [0, 0x4, 0x1C, 0x8000, 0x8001, 0x2024, 0xE8FD])
def test_lhv(need: int) -> None:
    table, asked = lhv_table(), []  # type: ignore[var-annotated]
    start = table.all_on()
    assert table.legal(need) and need & start == need
    assert smallest_mask(start, table, asker(table, lambda m: m & need == need, asked)) == need
    again: list[int] = []
    smallest_mask(start, table, asker(table, lambda m: m & need == need, again))
    assert asked == again, "the order isn't always the same"


def test_one_of_several() -> None:
    """With two ways to show it, any that can't be made smaller will do."""
    found = smallest_mask(0x7D, TABLE, asker(TABLE, lambda m: m & 0x11 == 0x11 or m & 0x60 == 0x60, []))
    assert found in (0x11, 0x64)
    # Bits that hide it don't stop the search.
    assert smallest_mask(0x7D, TABLE, asker(TABLE, lambda m: bool(m & 0x10) and m.bit_count() % 2 == 0 or m == 0x7D, [])).bit_count() == 2


def test_candidates_come_smallest_first() -> None:
    found = candidates(0x3D, TABLE, 2)
    assert found == [0x10, 0x05, 0x3C], "parts with what they require; the mask without each"
    assert without(0x3C, 0x4, TABLE) == 0x10, "what requires it goes with it"


def test_number() -> None:
    for most in range(1, 30):
        for least in range(1, most + 1):
            lists: list[list[int]] = [[], [least, least - 1], [4, 3], [0, 99]]
            for hints in lists:
                asked: list[int] = []

                def shows(n: int) -> bool:
                    asked.append(n)
                    return n >= least

                assert smallest_number(most, shows, hints) == least
                assert len(asked) == len(set(asked)) and most not in asked and 0 not in asked
                if hints == [least, least - 1]:
                    assert len(asked) <= 2
