# SPDX-License-Identifier: BSD-2-Clause
"""What can be seen of a result, and how it compares with what was expected."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """Least severe first. The first four are lhv's own words, the others are the reader's."""

    GOOD = 0
    SKIP = 1
    ERROR = 2
    BAD = 3
    TIMEOUT = 4
    CRASH = 5
    SILENT = 6
    INFRA = 7

    def worse(self, other: Verdict) -> Verdict:
        """The more severe of the two."""
        return self if self.value >= other.value else other


LHV_VERDICTS = {v.name: v for v in (Verdict.GOOD, Verdict.SKIP, Verdict.ERROR, Verdict.BAD)}


class Outcome(enum.Enum):
    """A verdict held against the data on the stack."""

    OK = "ok"
    KNOWN = "known"
    UNEXPECTED = "unexpected"
    UNEXPECTED_GOOD = "unexpected-good"

    @property
    def fails(self) -> bool:
        return self in (Outcome.UNEXPECTED, Outcome.UNEXPECTED_GOOD)
