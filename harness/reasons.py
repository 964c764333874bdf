# SPDX-License-Identifier: BSD-2-Clause
"""Kinds of reasons: two failures are of a kind if they differ in nothing but numbers and in what came before. Pure."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\d+", re.IGNORECASE)
# A machine that hangs: what it said last depends on which item it was in, and not on why it hangs.
_WHERE = re.compile(r",? (after: .*|from the start)$", re.DOTALL)


def kind(reason: str) -> str:
    """The reason without addresses and other numbers."""
    return _NUMBER.sub("N", _WHERE.sub("", reason))
