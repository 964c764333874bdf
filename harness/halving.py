# SPDX-License-Identifier: BSD-2-Clause
"""Binary search for a change in an order in which not every place can be judged. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    before: int  # the last that is known to be as the first
    after: int  # the first that is known not to be
    unjudged: tuple[int, ...]  # between them: any of these may be the first that isn't


def find(count: int, changed: Callable[[int], bool | None]) -> Change:
    """The first of `count` isn't changed and the last is. None: this one can't be judged; then its neighbours are asked,
    nearest first."""
    low, high = 0, count - 1
    unjudged: set[int] = set()
    while left := [i for i in range(low + 1, high) if i not in unjudged]:
        middle = min(left, key=lambda i: (abs(2 * i - low - high), i))
        answer = changed(middle)
        if answer is None:
            unjudged.add(middle)
        elif answer:
            high = middle
        else:
            low = middle
    return Change(low, high, tuple(range(low + 1, high)))
